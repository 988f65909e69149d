import {
  ALL_DISPATCHERS,
  type Column,
  type DispatcherId,
  defineTable,
  dispatcherOfTable,
  type ReplicaIdentity,
  type Table,
} from '../../events/index.ts';
import { printTable } from './print.ts';
import { readTable } from './read-event.ts';
import { Scanner } from './scanner.ts';
import type { TableName } from './sketch.ts';

/**
 * Columns of a table: `name type`, `!name type` for one of the primary key, the type's name as PostgreSQL's catalog has it; default `text`.
 * With `replicaIdentity: 'full'` an old image holds every column.
 */
export type TableSketch = readonly string[] | { readonly columns: readonly string[]; readonly replicaIdentity?: ReplicaIdentity };

/** Tables by name: `{ users: ['!id int4', 'email text'], 'shop.orders': […] }`. */
export type TableSketches = Readonly<Record<string, TableSketch>>;

const DEFAULT_COLUMNS = ['!id', 'note'];

/** The tables that diagrams name: those that are given, and for any other name one of two text columns, `id` (the key) and `note`. */
export class MarbleTables {
  readonly #sketches = new Map<string, TableSketch>();
  readonly #tables = new Map<string, Table>();

  /** @throws MR_MARBLES_MALFORMED for a name or a column that makes no sense. */
  constructor(sketches: TableSketches = {}) {
    for (const [name, sketch] of Object.entries(sketches)) this.#sketches.set(printTable(tableNameOf(name)), sketch);
  }

  /** A version of a table, routed to `target` if that is given; the same object for the same arguments. */
  table(source: TableName, version = 1n, target: TableName | null = null): Table {
    const name = printTable(source);
    const key = `${name}>${target === null ? '' : printTable(target)}v${version}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const sketch = this.#sketches.get(name) ?? DEFAULT_COLUMNS;
      table = makeTable(source, target ?? source, version, 'columns' in sketch ? sketch : { columns: sketch });
      this.#tables.set(key, table);
    }
    return table;
  }
}

/** The tables where none are given. */
export const defaultTables = new MarbleTables();

/** The table version that a diagram means by `name` where it is given no columns: `id` (the key) and `note`, both text. */
export function tableNamed(name: string, version = 1n): Table {
  return defaultTables.table(tableNameOf(name), version);
}

/** The dispatcher of the table that diagrams call `name`; `*` is that of marks of all. */
export function dispatcherNamed(name: string): DispatcherId {
  return name === '*' ? ALL_DISPATCHERS : dispatcherOf(tableNameOf(name));
}

/** The name that diagrams have for a dispatcher; null for one that no diagram has named. */
export function nameOfDispatcher(dispatcher: DispatcherId): TableName | null {
  return names.get(dispatcher) ?? null;
}

export function tableNameOf(text: string): TableName {
  const scanner: Scanner = new Scanner(text);
  const name = readTable(scanner);
  if (!scanner.isAtEnd) scanner.fail('a table name ends here', 'Write a name such as orders, shop.orders, or "two words"');
  return name;
}

const ids = new Map<string, number>();
/** What each dispatcher was named for: an identity is a number, and a failed comparison should show names. */
const names = new Map<DispatcherId, TableName>();

function idOf(table: TableName): number {
  const name = printTable(table);
  let id = ids.get(name);
  if (id === undefined) {
    id = ids.size + 1;
    ids.set(name, id);
    names.set(dispatcherOfTable(PIPELINE, id), table);
  }
  return id;
}

const PIPELINE = 'marbles';

function dispatcherOf(table: TableName): DispatcherId {
  return dispatcherOfTable(PIPELINE, idOf(table));
}

function makeTable(source: TableName, target: TableName, version: bigint, sketch: Exclude<TableSketch, readonly string[]>): Table {
  const { columns, replicaIdentity = 'default' } = sketch as { columns: readonly string[]; replicaIdentity?: ReplicaIdentity };
  return defineTable({
    dispatcher: dispatcherOf(source),
    sourceSchema: source.schema,
    sourceName: source.name,
    schema: target.schema,
    name: target.name,
    tableId: idOf(source),
    version,
    columns: columns.map((text, index) => makeColumn(text, index, replicaIdentity)),
    replicaIdentity,
  });
}

function makeColumn(text: string, wireIndex: number, replicaIdentity: ReplicaIdentity): Column {
  const scanner: Scanner = new Scanner(text);
  const match = scanner.take(/(!?)(\S+)(?: (\S+))?$/y);
  if (match === null) scanner.fail('this is no column', 'Write name type, with ! in front when it is of the primary key: !id int4');
  const [, mark, name = '', type = 'text'] = match;
  const isPrimaryKey = mark === '!';
  return {
    name,
    wireIndex,
    columnId: wireIndex + 1,
    type,
    typeModifier: -1,
    nullable: !isPrimaryKey,
    isPrimaryKey,
    isIdentity: isPrimaryKey || replicaIdentity === 'full',
    defaultText: null,
  };
}
