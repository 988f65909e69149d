import { COLUMN_TYPES, type ColumnSpec } from './event.ts';
import { checkName, Fault, kindOf } from './event-fault.ts';

/** The columns that every row begins with, in this order (C2). */
export const BASE_COLUMNS: readonly ColumnSpec[] = Object.freeze(
  (
    [
      { name: 'type', type: 'string', semantic: 'tag', nullable: false },
      { name: 'payload', type: 'json', semantic: 'field', nullable: false },
      { name: 'timestamp', type: 'timestampNs', semantic: 'timestamp', nullable: false },
    ] as const
  ).map((column) => Object.freeze(column)),
);

/** Names that no extra column may have: the base columns, and what handlers put beside them. */
export const RESERVED_COLUMNS: readonly string[] = [
  ...BASE_COLUMNS.map(({ name }) => name),
  'event_id',
  'event_row',
  'event_seq',
  'event_table',
  'event_time_ns',
];

const COLUMNS_MAX = 256;

/** Extra columns as they are kept: checked, copied, frozen, with `nullable` said. Those that were frozen by their producer are looked at once. */
export function acceptSchema(schema: unknown): readonly ColumnSpec[] {
  if (!Array.isArray(schema)) throw new Fault('its extraSchema is no list');
  const known = accepted.get(schema);
  if (known !== undefined) return known;
  const columns = acceptColumns(schema);
  if (Object.isFrozen(schema) && schema.every((column) => Object.isFrozen(column))) accepted.set(schema, columns);
  return columns;
}

/** Bytes that `columns`, accepted of `schema`, cost an event: nothing where all events of that schema share them. */
export function schemaBytes(schema: object, columns: readonly ColumnSpec[]): number {
  if (accepted.has(schema)) return 0;
  return columns.reduce((bytes, { name }) => bytes + COLUMN_BYTES + name.length, 0);
}

/** The object of a column, about. */
const COLUMN_BYTES = 100;
const accepted = new WeakMap<object, readonly ColumnSpec[]>();

function acceptColumns(schema: readonly unknown[]): readonly ColumnSpec[] {
  if (schema.length > COLUMNS_MAX) throw new Fault(`it has ${schema.length} extra columns, more than ${COLUMNS_MAX}`);
  const names = new Set(RESERVED_COLUMNS);
  return Object.freeze(
    Array.from(schema, (given: unknown, index) => {
      const column = acceptColumn(given, index);
      if (RESERVED_COLUMNS.includes(column.name)) throw new Fault(`its extra column ${column.name} has a reserved name`);
      if (names.has(column.name)) throw new Fault(`its extra column ${column.name} is there twice`);
      names.add(column.name);
      return column;
    }),
  );
}

function acceptColumn(given: unknown, index: number): ColumnSpec {
  if (typeof given !== 'object' || given === null) throw new Fault(`its extra column ${index} is no object`);
  const { name, type, semantic, nullable } = given as Partial<Record<keyof ColumnSpec, unknown>>;
  checkName(name, `the name of its extra column ${index}`);
  const known = COLUMN_TYPES.find((each) => each === type);
  if (known === undefined) throw new Fault(`the type of its extra column ${name} is ${wordOf(type)}, none of ${COLUMN_TYPES.join(', ')}`);
  if (semantic !== 'tag' && semantic !== 'field')
    throw new Fault(`the semantic of its extra column ${name} is ${wordOf(semantic)}, neither tag nor field`);
  if (nullable !== undefined && typeof nullable !== 'boolean') throw new Fault(`nullable of its extra column ${name} is no boolean`);
  return Object.freeze({ name, type: known, semantic, nullable: nullable ?? semantic === 'field' });
}

/** What stands where a word of ours should: a short one as it is. */
function wordOf(value: unknown): string {
  return typeof value === 'string' && /^[\w-]{1,20}$/.test(value) ? JSON.stringify(value) : kindOf(value);
}

/** Full equality, order and all (C2). */
export function isSameSchema(a: readonly ColumnSpec[], b: readonly ColumnSpec[]): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every((column, index) => describeColumn(column) === describeColumn(b[index]!));
}

/** `[cost uint64 field, query string field null]`: for messages. */
export function describeSchema(schema: readonly ColumnSpec[]): string {
  return `[${schema.map(describeColumn).join(', ')}]`;
}

function describeColumn({ name, type, semantic, nullable }: ColumnSpec): string {
  return `${name} ${type} ${semantic}${nullable === true ? ' null' : ''}`;
}
