import type { Socket } from 'node:net';
import pg from 'pg';
import { MillraceError } from '../../../lib/errors.ts';
import type { Clock } from '../../../lib/flow/index.ts';
import { connectionOf } from '../../../lib/sources/postgres/options.ts';
import { pinSessionSql, quoteIdentifier } from '../../../lib/sources/postgres/session-settings.ts';

/** A row of a result: every value as its text. */
export type TextRow = Readonly<Record<string, string | null>>;

/** Runs one statement; `values` stand in it as `$1`, …. */
export type Query = (sql: string, values?: readonly unknown[]) => Promise<TextRow[]>;

/** One session with the database of events: made when first needed, and again when it was lost. Its work runs one after another. */
export class PostgresSession {
  readonly #config: pg.ClientConfig;
  readonly #clock: Clock;
  #client: pg.Client | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** @throws MR_INVALID_OPTION when the URL is none of a database. */
  constructor(url: string, clock: Clock, { applicationName, option }: { readonly applicationName: string; readonly option?: string }) {
    const { config } = connectionOf(url, option);
    this.#config = {
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      ...config,
      application_name: applicationName,
      types: AS_TEXT,
    };
    this.#clock = clock;
  }

  /** Runs `work` in the session. When `signal` is aborted the connection is dropped: no statement of the work starts any more, and it rejects. */
  run<T>(work: (query: Query) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const result = this.#last.then(() => this.#run(work, signal));
    this.#last = result.catch(() => {});
    return result;
  }

  async #run<T>(work: (query: Query) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) throw givenUp();
    let client = this.#client;
    const drop = () => {
      if (client !== null) this.#drop(client);
    };
    signal?.addEventListener('abort', drop, { once: true });
    try {
      if (client === null) {
        client = this.#newClient();
        await client.connect();
        await client.query(`${pinSessionSql()}; ${DURABLE_SQL}`);
      }
      const session = client;
      if (signal?.aborted) throw givenUp();
      return await work(async (sql, values) => {
        const { rows } = await session.query<Record<string, string | null>>(sql, values === undefined ? undefined : [...values]);
        return rows;
      });
    } catch (error) {
      // A session that is in a transaction still, or was never made, is of no use to the next work; a lost one is none.
      if (client !== null && !(await isIdle(client, error))) this.#drop(client);
      throw signal?.aborted ? givenUp(error) : error;
    } finally {
      signal?.removeEventListener('abort', drop);
    }
  }

  /** Ends the session; it may not be used afterwards. Idempotent. */
  async close(): Promise<void> {
    const client = this.#client;
    if (client === null) return;
    const cancel = this.#clock.after(CLOSE_TIMEOUT_MS, () => this.#drop(client));
    await client.end().catch(() => {});
    cancel();
    this.#client = null;
  }

  #newClient(): pg.Client {
    const client = new pg.Client(this.#config);
    this.#client = client;
    // Also while nobody waits for it: the server ends sessions when it goes.
    client.on('error', () => this.#drop(client));
    client.on('end', () => this.#forget(client));
    return client;
  }

  #drop(client: pg.Client): void {
    this.#forget(client);
    const { connection } = client as unknown as { connection: { stream: Socket } };
    connection.stream.destroy();
  }

  #forget(client: pg.Client): void {
    if (this.#client === client) this.#client = null;
  }
}

/** The SQLSTATE of an error that the server sent; null for any other. */
export function sqlStateOf(error: unknown): string | null {
  const { code, severity } = (typeof error === 'object' && error !== null ? error : {}) as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && typeof severity === 'string' ? code : null;
}

export function qualifiedName(schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}

/** After an error of a statement: whether the session can go on, its transaction rolled back. */
async function isIdle(client: pg.Client, error: unknown): Promise<boolean> {
  const state = sqlStateOf(error);
  if (state === null || state.startsWith('57P') || state.startsWith('08')) return false;
  try {
    await client.query('ROLLBACK');
    return true;
  } catch {
    return false;
  }
}

function givenUp(cause?: unknown): MillraceError {
  return new MillraceError('MR_EVENT_CALL_GIVEN_UP', {}, cause);
}

/** What the server answers for is to survive its crash, whatever its own settings, the database's or the role's say. */
const DURABLE_SQL = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`;
const AS_TEXT: pg.CustomTypesConfig = { getTypeParser: (() => (text: string) => text) as pg.CustomTypesConfig['getTypeParser'] };
const CONNECT_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 1_500;
