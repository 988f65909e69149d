import type pg from 'pg';
import { MillraceError, reasonOf } from '../../errors.ts';
import type { Clock } from '../../flow/index.ts';
import { connectWire, type TextRow, type WireConnection } from './wire-connection.ts';
import { type ServerNotice, sqlStateOf } from './wire-frames.ts';

/** How every connection to one server is made. */
export interface ConnectOptions {
  readonly config: pg.ClientConfig;
  /** `host:port`, the database and the role, for messages. */
  readonly address: string;
  readonly database: string;
  readonly user: string;
  /** As `pg_stat_activity` shows it. */
  readonly applicationName: string;
  readonly clock: Clock;
}

/**
 * A session of the database; `isReplication`: one that may replicate.
 *
 * @throws MR_SOURCE_UNREACHABLE, MR_SOURCE_LOGIN_REFUSED, MR_SOURCE_DATABASE_MISSING, MR_SOURCE_FULL, MR_NO_REPLICATION_RIGHT.
 */
export async function connectSession(
  options: ConnectOptions,
  isReplication = false,
  onNotice: (notice: ServerNotice) => void = () => {},
): Promise<WireConnection> {
  const { clock, applicationName } = options;
  const config = { ...options.config, application_name: applicationName };
  try {
    return await connectWire({ config, replication: isReplication, clock, onNotice });
  } catch (error) {
    throw connectFailure(error, options, isReplication);
  }
}

function connectFailure(error: unknown, { address, database, user }: ConnectOptions, isReplication: boolean): unknown {
  const reason = error instanceof MillraceError && typeof error.details.reason === 'string' ? error.details.reason : reasonOf(error);
  const state = sqlStateOf(error);
  if (state === '3D000') return new MillraceError('MR_SOURCE_DATABASE_MISSING', { address, database }, error);
  if (state === '53300') return new MillraceError('MR_SOURCE_FULL', { address, reason }, error);
  if (state === '42501' && isReplication) return new MillraceError('MR_NO_REPLICATION_RIGHT', { user, reason }, error);
  if (state?.startsWith('28') || state === '42501' || /^(SASL|SCRAM)\b/.test(reason)) {
    return new MillraceError('MR_SOURCE_LOGIN_REFUSED', { address, user, reason }, error);
  }
  return state === '57P03' ? new MillraceError('MR_SOURCE_UNREACHABLE', { address, reason }, error) : error;
}

/** Runs SQL and returns the rows of its last statement that has any. */
export type Query = (sql: string) => Promise<TextRow[]>;

/** One session for the catalog, made when first asked and again when it was lost. Its queries run one after another. */
export class ControlConnection {
  readonly #options: ConnectOptions;
  readonly #isReplication: boolean;
  readonly #greeting: string | null;
  #connection: WireConnection | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** `greeting`: SQL that each of its sessions begins with. */
  constructor(options: ConnectOptions, isReplication = false, greeting: string | null = null) {
    this.#options = options;
    this.#isReplication = isReplication;
    this.#greeting = greeting;
  }

  readonly query: Query = (sql) => {
    const result = this.#last.then(() => this.#run(sql));
    this.#last = result.catch(() => {});
    return result;
  };

  /** Ends the session; a query that is under way fails. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#connection?.close();
  }

  async #run(sql: string): Promise<TextRow[]> {
    if (this.#connection === null || this.#connection.isLost) {
      if (this.#closed) throw new MillraceError('MR_CONNECTION_LOST', { reason: 'it was closed here' });
      const connection = await connectSession(this.#options, this.#isReplication);
      this.#connection = connection;
      if (this.#closed) await connection.close();
      else if (this.#greeting !== null) await greet(connection, this.#greeting);
    }
    return await this.#connection.query(sql);
  }
}

/** A session that could not be greeted is of no use. */
async function greet(connection: WireConnection, greeting: string): Promise<void> {
  try {
    await connection.query(greeting);
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** A column of a result that is never null. */
export function textOf(row: TextRow | undefined, column: string): string {
  const value = row?.[column];
  if (value === null || value === undefined) throw new MillraceError('MR_WIRE_MALFORMED', { reason: `a catalog query gave no ${column}` });
  return value;
}
