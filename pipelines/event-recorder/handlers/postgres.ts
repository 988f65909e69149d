import { type MillraceError, reasonOf } from '../../../lib/errors.ts';
import { type Context, createContext } from '../../../lib/flow/index.ts';
import { checkName, connectionOf } from '../../../lib/sources/postgres/options.ts';
import { type ColumnType, type EventGroup, type EventHandler, EventRejectedError, type StoredValue } from '../event.ts';
import { CLEAN_UP_RETRY_MS, hintTimes, windowStartMs } from '../hints.ts';
import { buildRows, type EventRow, type EventRows } from '../rows.ts';
import { targetFailed } from './abortable.ts';
import { PostgresSession, type Query, sqlStateOf } from './postgres-session.ts';
import { arraysOf, cleanUpSql, insertSql, reconcileTable, replaceSql, type TargetColumn, targetColumns } from './postgres-table.ts';
import { isoOfMs } from './time-text.ts';

export interface PostgresEventsOptions {
  /** `postgres://user:password@host:port/database`. The role needs USAGE and CREATE on the schema. */
  readonly url: string;
  /** The schema of the tables of events; it must exist. Default `public`. */
  readonly schema?: string;
}

/**
 * Writes events into tables of PostgreSQL, which it makes and extends as events need it: one INSERT for each group, on one connection that is made again
 * when it was lost. Rows are known by the event's id, so a call made again inserts nothing twice (G7). Rows beyond the hint `ttl` are removed, once per window.
 *
 * What the server will never take (a NUL in a text, a value that a constraint of the table refuses, a column of another type, a missing right) is rejected
 * for good; everything else may pass and is tried again.
 *
 * @throws MR_INVALID_OPTION.
 */
export function postgresEvents({ url, schema = 'public' }: PostgresEventsOptions): EventHandler {
  connectionOf(url);
  checkName('schema', schema);
  return new PostgresEvents(url, schema);
}

class PostgresEvents implements EventHandler {
  readonly name = 'postgres';
  readonly #url: string;
  readonly #schema: string;
  #context: Context = createContext();
  #session: PostgresSession | null = null;
  /** The columns that each table is known to have, with their types. */
  readonly #known = new Map<string, ReadonlyMap<string, string>>();
  /** Up to when each table is cleaned up, by table and type. */
  readonly #cleanedUpToMs = new Map<string, number>();
  /** When the last clean-up of one failed. */
  readonly #failedMs = new Map<string, number>();

  constructor(url: string, schema: string) {
    this.#url = url;
    this.#schema = schema;
  }

  async open(context: Context): Promise<void> {
    this.#context = context;
  }

  async deliver(group: EventGroup, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const built = buildRows(group);
    if (built.rows.length === 0) return;
    this.#refuseUnstorable(group, built);
    const columns = targetColumns(built.columns);
    this.#session ??= new PostgresSession(this.#url, this.#context.clock, { applicationName: 'millrace events' });
    try {
      await this.#session.run((query) => this.#insert(query, group, columns, built.rows), signal);
    } catch (error) {
      throw this.#failure(error, group);
    }
    await this.#cleanUp(group, signal);
  }

  async close(): Promise<void> {
    await this.#session?.close();
    this.#session = null;
  }

  /** Inserts; where the table turns out to be another one than was known, looks at it again, once. */
  async #insert(query: Query, group: EventGroup, columns: readonly TargetColumn[], rows: readonly EventRow[]): Promise<void> {
    const { table } = group;
    const known = this.#known.get(table);
    if (columns.every(({ name, sqlType }) => known?.get(name) === sqlType)) {
      try {
        return await this.#write(query, group, columns, rows);
      } catch (error) {
        if (!OTHER_TABLE.includes(sqlStateOf(error) ?? '')) throw error;
        await query('ROLLBACK');
      }
    }
    this.#known.delete(table);
    const reconciled = await reconcileTable(query, this.#schema, table, columns);
    if ('conflict' in reconciled)
      throw this.#rejection(
        reconciled.conflict,
        group,
        group.events.map(({ id }) => id),
      );
    this.#known.set(table, reconciled.known);
    await this.#write(query, group, columns, rows);
  }

  async #write(query: Query, { table, hints }: EventGroup, columns: readonly TargetColumn[], rows: readonly EventRow[]): Promise<void> {
    const insert = insertSql(this.#schema, table, columns);
    if (hints.appendMode) {
      await query(insert, arraysOf(rows, columns));
      return;
    }
    const tags = tagColumns(rows, columns);
    const last = lastOfEach(rows, tags);
    await query('BEGIN');
    await query(replaceSql(this.#schema, table, tags), arraysOf(last, tags));
    await query(insert, arraysOf(last, columns));
    await query('COMMIT');
  }

  /** The events are delivered: that old ones could not be removed is a warning, and tried again a minute later. */
  async #cleanUp({ table, type, hints }: EventGroup, signal: AbortSignal): Promise<void> {
    const { ttlMs, windowMs } = hintTimes(hints);
    if (ttlMs === null || this.#session === null) return;
    const nowMs = this.#context.clock.now();
    const cutoffMs = windowStartMs(nowMs - ttlMs, windowMs);
    const key = JSON.stringify([table, type]);
    if ((this.#cleanedUpToMs.get(key) ?? Number.NEGATIVE_INFINITY) >= cutoffMs) return;
    if (nowMs - (this.#failedMs.get(key) ?? Number.NEGATIVE_INFINITY) < CLEAN_UP_RETRY_MS) return;
    try {
      const values = [type, isoOfMs(cutoffMs), REMOVED_MAX];
      const [row] = await this.#session.run((query) => query(cleanUpSql(this.#schema, table), values), signal);
      if (Number(row?.['count']) < REMOVED_MAX) this.#cleanedUpToMs.set(key, cutoffMs);
    } catch (error) {
      this.#failedMs.set(key, nowMs);
      const details = { table: `${this.#schema}.${table}`, type, reason: reasonOf(error) };
      this.#context.logger.warn(details, 'events beyond their ttl could not be removed');
    }
  }

  /** PostgreSQL has no NUL in a text, and none in JSON. */
  #refuseUnstorable(group: EventGroup, { columns, rows }: EventRows): void {
    const refused = new Set<string>();
    for (const { event, values } of rows) {
      if (values.some((value, index) => holdsNul(value, columns[index]!.type))) refused.add(event.id);
    }
    if (refused.size > 0) throw this.#rejection('PostgreSQL stores no NUL in a text or in JSON', group, [...refused]);
  }

  #failure(error: unknown, group: EventGroup): MillraceError {
    if (error instanceof EventRejectedError) return error;
    const state = sqlStateOf(error);
    const reason = reasonOf(error);
    if (state !== null && PERMANENT.test(state)) return this.#rejection(`${reason} (${state})`, group, null, error);
    return targetFailed(this.name, group, state === null ? reason : `${reason} (${state})`, error);
  }

  #rejection(reason: string, { table, type }: EventGroup, eventIds: readonly string[] | null, cause?: unknown): EventRejectedError {
    return new EventRejectedError(reason, { handler: this.name, table, type, eventIds }, cause);
  }
}

/** No such column, no such table, a type that does not fit: the table is not what it was. */
const OTHER_TABLE: readonly string[] = ['42703', '42P01', '42804', '42846'];
/** The data (22), a constraint (23), what the server does not allow, know or have room for (42, 54): the same again would fail again. */
const PERMANENT = /^(?:22|23|42|54)/;
const REMOVED_MAX = 10_000;

/** What tells rows apart where only the last of equals is kept: the type, the time and the tags. */
function tagColumns(rows: readonly EventRow[], columns: readonly TargetColumn[]): TargetColumn[] {
  const schema = rows[0]!.event.extraSchema;
  const tags = new Set(['type', 'event_time_ns', ...schema.filter(({ semantic }) => semantic === 'tag').map(({ name }) => name)]);
  return columns.filter(({ name }) => tags.has(name));
}

function lastOfEach(rows: readonly EventRow[], tags: readonly TargetColumn[]): EventRow[] {
  const last = new Map<string, EventRow>();
  for (const row of rows) {
    const key = JSON.stringify(tags.map((tag) => String(tag.valueOf(row))));
    // Behind whatever stood there before: rows stay in their order.
    last.delete(key);
    last.set(key, row);
  }
  return [...last.values()];
}

/** A NUL in a text, or the escape of one in JSON text, where a backslash before it may itself be escaped. */
function holdsNul(value: StoredValue, type: ColumnType): boolean {
  if (typeof value !== 'string') return false;
  if (type !== 'json') return value.includes('\0');
  return value.includes('\\u0000') && Array.from(value.matchAll(ESCAPE)).some(([text]) => text === '\\u0000');
}

const ESCAPE = /\\(?:u0000|[\s\S])/g;
