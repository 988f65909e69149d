import { MillraceError, reasonOf } from '../../../lib/errors.ts';
import type { Clock } from '../../../lib/flow/index.ts';
import { quoteJson } from '../../../lib/formats/json.ts';
import { redactUrl } from '../../../lib/redact.ts';
import { quoteIdentifier } from '../../../lib/sources/postgres/session-settings.ts';
import { floatJson, lineOf } from '../handlers/event-line.ts';
import { PostgresSession, type Query, qualifiedName, type TextRow } from '../handlers/postgres-session.ts';
import { readColumns } from '../handlers/postgres-table.ts';
import { isoOfNsInUs } from '../handlers/time-text.ts';
import { compareEvents, type EventFilter, type StoredEvent } from './stored-event.ts';

export interface PostgresEventsPlace {
  readonly url: string;
  /** Default `public`. */
  readonly schema?: string;
  readonly clock: Clock;
}

/**
 * Reads what `postgresEvents` wrote, in the order of time over all tables, as it is at one moment. The rows stay on the server but for some hundreds of each
 * table.
 *
 * @throws MR_INVALID_OPTION; MR_EVENTS_UNREADABLE when the server cannot be reached or there is no such table.
 */
export async function* eventsFromPostgres(place: PostgresEventsPlace, filter: EventFilter = {}): AsyncGenerator<StoredEvent> {
  const { url, schema = 'public', clock } = place;
  const session = new PostgresSession(url, clock, { applicationName: 'millrace events', option: 'from' });
  const run = async <T>(work: (query: Query) => Promise<T>): Promise<T> => {
    try {
      return await session.run(work);
    } catch (error) {
      if (error instanceof MillraceError && error.code === 'MR_EVENTS_UNREADABLE') throw error;
      throw unreadable(url, reasonOf(error), error);
    }
  };
  try {
    // One snapshot for all; it stays open between the calls.
    const cursors = await run((query) => openCursors(query, url, schema, filter));
    const heads = await Promise.all(cursors.map((cursor) => cursor.next(run)));
    for (;;) {
      let first = -1;
      for (const [index, head] of heads.entries())
        if (head !== null && (first < 0 || compareEvents(head, heads[first]!) < 0)) first = index;
      if (first < 0) return;
      yield heads[first]!;
      heads[first] = await cursors[first]!.next(run);
    }
  } finally {
    await session.close();
  }
}

async function openCursors(query: Query, url: string, schema: string, filter: EventFilter): Promise<TableCursor[]> {
  await query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const tables = await eventTables(query, schema);
  if (filter.table !== undefined && !tables.includes(filter.table)) {
    throw unreadable(url, `there is no table ${schema}.${filter.table} of events; there are: ${tables.join(', ') || 'none yet'}`);
  }
  const cursors: TableCursor[] = [];
  for (const table of tables) {
    if (filter.table !== undefined && filter.table !== table) continue;
    const extra = Array.from(await readColumns(query, schema, table)).filter(([name]) => !OWN_COLUMNS.includes(name));
    const name = `events_${cursors.length}`;
    const { sql, values } = selectSql(schema, table, extra, filter);
    await query(`DECLARE ${name} NO SCROLL CURSOR FOR ${sql}`, values);
    cursors.push(new TableCursor(name, table, extra));
  }
  return cursors;
}

/** Tables that have what every table of events has. */
async function eventTables(query: Query, schema: string): Promise<string[]> {
  const rows = await query(
    `SELECT c.relname::text AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND $2::int = (SELECT count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname::text = ANY ($3::text[]))
      ORDER BY c.relname`,
    [schema, OWN_COLUMNS.length, OWN_COLUMNS],
  );
  return rows.map(({ name }) => name ?? '');
}

const OWN_COLUMNS = ['type', 'payload', 'timestamp', 'event_id', 'event_row', 'event_seq', 'event_time_ns'];

type Extra = readonly (readonly [name: string, sqlType: string])[];

function selectSql(schema: string, table: string, extra: Extra, { types, sinceNs }: EventFilter): { sql: string; values: unknown[] } {
  const values: unknown[] = [];
  const conditions: string[] = [];
  if (types !== undefined) conditions.push(`type = ANY ($${values.push(types)}::text[])`);
  if (sinceNs !== undefined) {
    // The first is what the index knows.
    conditions.push(
      `"timestamp" >= $${values.push(isoOfNsInUs(sinceNs))}::timestamptz`,
      `event_time_ns >= $${values.push(sinceNs)}::bigint`,
    );
  }
  const columns = extra.map(([name, sqlType], index) => `${textSql(quoteIdentifier(name), sqlType)} AS x${index}`);
  const sql = `SELECT ${['type', 'payload', 'event_id', 'event_row', 'event_seq', 'event_time_ns', ...columns].join(', ')}
    FROM ${qualifiedName(schema, table)}${conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`}
    ORDER BY "timestamp", event_time_ns, event_seq, event_id COLLATE "C", event_row`;
  return { sql, values };
}

function textSql(column: string, sqlType: string): string {
  if (sqlType === 'timestamp with time zone') return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
  return `${column}::text`;
}

class TableCursor {
  readonly #name: string;
  readonly #table: string;
  readonly #extra: Extra;
  #rows: TextRow[] = [];
  #at = 0;

  constructor(name: string, table: string, extra: Extra) {
    this.#name = name;
    this.#table = table;
    this.#extra = extra;
  }

  async next(run: <T>(work: (query: Query) => Promise<T>) => Promise<T>): Promise<StoredEvent | null> {
    if (this.#at === this.#rows.length) {
      this.#rows = await run((query) => query(`FETCH ${FETCH_ROWS} FROM ${this.#name}`));
      this.#at = 0;
    }
    const row = this.#rows[this.#at++];
    return row === undefined ? null : this.#eventOf(row);
  }

  #eventOf(row: TextRow): StoredEvent {
    const identity = {
      table: this.#table,
      id: row['event_id'] ?? '',
      row: Number(row['event_row']),
      seq: BigInt(row['event_seq'] ?? 0),
      type: row['type'] ?? '',
      timestampNs: BigInt(row['event_time_ns'] ?? 0),
    };
    return { ...identity, line: lineOf(identity, row['payload'] ?? 'null', this.#extrasOf(row)) };
  }

  *#extrasOf(row: TextRow): Generator<readonly [string, string]> {
    for (const [index, [name, sqlType]] of this.#extra.entries()) {
      const text = row[`x${index}`];
      if (text !== null && text !== undefined) yield [name, jsonOf(text, sqlType)];
    }
  }
}

const FETCH_ROWS = 500;

function jsonOf(text: string, sqlType: string): string {
  if (sqlType === 'jsonb' || sqlType === 'json') return text;
  if (sqlType === 'boolean') return text;
  if (sqlType === 'double precision' || sqlType === 'real') return floatJson(Number(text));
  if (INTEGER.test(sqlType) && /^-?\d+$/.test(text)) return text;
  if (sqlType === 'bytea') return `"${Buffer.from(text.slice(2), 'hex').toString('base64')}"`;
  return quoteJson(text);
}

const INTEGER = /^(?:smallint|integer|bigint|numeric\(\d+,0\))$/;

function unreadable(url: string, reason: string, cause?: unknown): MillraceError {
  return new MillraceError('MR_EVENTS_UNREADABLE', { uri: redactUrl(url), reason }, cause);
}
