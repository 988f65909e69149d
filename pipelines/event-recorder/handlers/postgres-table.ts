import { quoteIdentifier, quoteLiteral } from '../../../lib/sources/postgres/session-settings.ts';
import type { ColumnSpec, ColumnType, StoredValue } from '../event.ts';
import type { EventRow } from '../rows.ts';
import { type Query, qualifiedName } from './postgres-session.ts';
import { isoOfMs, isoOfNsInUs } from './time-text.ts';

/** A column of a table of events, and what a row has there. */
export interface TargetColumn {
  readonly name: string;
  /** As `format_type` spells it. */
  readonly sqlType: string;
  valueOf(row: EventRow): unknown;
}

/** Integers without a sign need 20 digits; a time in nanoseconds is no `timestamptz`, which ends at microseconds. */
const SQL_TYPES: Readonly<Record<ColumnType, string>> = {
  string: 'text',
  json: 'jsonb',
  int64: 'bigint',
  uint64: 'numeric(20,0)',
  float64: 'double precision',
  boolean: 'boolean',
  timestampMs: 'timestamp with time zone',
  timestampNs: 'bigint',
  binary: 'bytea',
};

/**
 * The columns of every table of events: the base columns (`timestamp` in microseconds), then what names the row and keeps its time exactly. Extra columns
 * follow as events bring them.
 */
const FIXED_COLUMNS: readonly TargetColumn[] = [
  { name: 'type', sqlType: 'text', valueOf: ({ event }) => event.type },
  { name: 'payload', sqlType: 'jsonb', valueOf: ({ event }) => event.payload },
  { name: 'timestamp', sqlType: 'timestamp with time zone', valueOf: ({ event }) => isoOfNsInUs(event.timestampNs) },
  { name: 'event_id', sqlType: 'text', valueOf: ({ event }) => event.id },
  { name: 'event_row', sqlType: 'integer', valueOf: ({ row }) => row },
  { name: 'event_seq', sqlType: 'bigint', valueOf: ({ event }) => event.seq },
  { name: 'event_time_ns', sqlType: 'bigint', valueOf: ({ event }) => event.timestampNs },
];

const BASE_WIDTH = 3;

/** The columns that rows of this schema fill. */
export function targetColumns(columns: readonly ColumnSpec[]): TargetColumn[] {
  const extra = columns.slice(BASE_WIDTH).map(({ name, type }, index) => ({
    name,
    sqlType: SQL_TYPES[type],
    valueOf: ({ values }: EventRow) => sqlValue(values[BASE_WIDTH + index] ?? null, type),
  }));
  return [...FIXED_COLUMNS, ...extra];
}

function sqlValue(value: StoredValue, type: ColumnType): unknown {
  if (value === null) return null;
  if (type === 'timestampMs') return isoOfMs(value as bigint);
  return typeof value === 'object' ? Buffer.from(value) : value;
}

/** One statement for any number of rows: each column is one array. Rows that are there already stay as they are (G7). */
export function insertSql(schema: string, table: string, columns: readonly TargetColumn[]): string {
  const names = columns.map(({ name }) => quoteIdentifier(name)).join(', ');
  const arrays = columns.map(({ sqlType }, index) => `$${index + 1}::${sqlType}[]`).join(', ');
  return `INSERT INTO ${qualifiedName(schema, table)} (${names}) SELECT * FROM unnest(${arrays}) ON CONFLICT (event_id, event_row) DO NOTHING`;
}

/** Removes rows that have the same tags and time as one of those that come. The parameters: one array for each of `tags`. */
export function replaceSql(schema: string, table: string, tags: readonly TargetColumn[]): string {
  const arrays = tags.map(({ sqlType }, index) => `$${index + 1}::${sqlType}[]`).join(', ');
  const names = tags.map((_, index) => `c${index}`);
  const same = tags.map(({ name }, index) => `old.${quoteIdentifier(name)} IS NOT DISTINCT FROM new.${names[index]}`);
  return `DELETE FROM ${qualifiedName(schema, table)} AS old USING unnest(${arrays}) AS new (${names.join(', ')}) WHERE ${same.join(' AND ')}`;
}

/** The values of `rows` for one array of each column. */
export function arraysOf(rows: readonly EventRow[], columns: readonly TargetColumn[]): unknown[][] {
  return columns.map((column) => rows.map((row) => column.valueOf(row)));
}

/** What a table lacks, beside a type, says why its rows cannot be stored. */
export type Reconciled = { readonly known: ReadonlyMap<string, string> } | { readonly conflict: string };

/**
 * Makes the table, or the columns that it lacks (W12, C5.32). Several processes may do so at once. A column that is there with another type is not touched:
 * that is the conflict.
 */
export async function reconcileTable(query: Query, schema: string, table: string, columns: readonly TargetColumn[]): Promise<Reconciled> {
  await query('BEGIN');
  await query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`millrace events ${schema}.${table}`]);
  let known = await readColumns(query, schema, table);
  if (known.size === 0) {
    await query(createSql(schema, table));
    known = await readColumns(query, schema, table);
  }
  const conflict = conflictOf(`${schema}.${table}`, known, columns);
  if (conflict !== null) {
    await query('ROLLBACK');
    return { conflict };
  }
  for (const { name, sqlType } of columns) {
    if (known.has(name)) continue;
    // Rows of other types of events have nothing there.
    await query(`ALTER TABLE ${qualifiedName(schema, table)} ADD COLUMN ${quoteIdentifier(name)} ${sqlType}`);
    known.set(name, sqlType);
  }
  await query('COMMIT');
  return { known };
}

/** A table that somebody else made is not touched, nor is a column of another type. */
function conflictOf(table: string, known: ReadonlyMap<string, string>, columns: readonly TargetColumn[]): string | null {
  for (const { name, sqlType } of columns) {
    const found = known.get(name);
    if (found !== undefined && found !== sqlType) return `column ${name} of ${table} is ${found}, and events bring ${sqlType}`;
    if (found === undefined && FIXED_COLUMNS.some((fixed) => fixed.name === name))
      return `${table} is no table of events: it has no column ${name}`;
  }
  return null;
}

/** Columns and their types; empty when there is no such table. */
export async function readColumns(query: Query, schema: string, table: string): Promise<Map<string, string>> {
  const rows = await query(
    `SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
       FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [qualifiedName(schema, table)],
  );
  return new Map(rows.map(({ name, type }) => [name ?? '', type ?? '']));
}

function createSql(schema: string, table: string): string {
  const columns = FIXED_COLUMNS.map(({ name, sqlType }) => `${quoteIdentifier(name)} ${sqlType} NOT NULL`);
  const name = qualifiedName(schema, table);
  return `CREATE TABLE ${name} (${columns.join(', ')}, PRIMARY KEY (event_id, event_row));
    CREATE INDEX ON ${name} ("timestamp", type);
    COMMENT ON TABLE ${name} IS ${quoteLiteral('events recorded by Millrace')}`;
}

/** Removes at most `$3` rows of type `$1` from before `$2`; gives one row for each. */
export function cleanUpSql(schema: string, table: string): string {
  const name = qualifiedName(schema, table);
  return `WITH removed AS (
      DELETE FROM ${name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${name} WHERE "timestamp" < $2::timestamptz AND type = $1 LIMIT $3::bigint))
      RETURNING 1)
    SELECT count(*)::text AS count FROM removed`;
}
