import { isMillraceError, MillraceError } from '../../errors.ts';
import { ByteWriter, OP_INSERT, type RowBlock, RowBlockBuilder, type Table } from '../../events/index.ts';
import type { Clock, Logger } from '../../flow/index.ts';
import { CopyTextReader } from '../../formats/copy-text.ts';
import { type CatalogTable, oidsIn, type PublishedTable, readTables } from './catalog.ts';
import { type ConnectOptions, connectSession, type Query, textOf } from './connection.ts';
import { displayName, qualified } from './publication.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';
import { createSlot } from './slot.ts';
import type { WireConnection } from './wire-connection.ts';
import { sqlStateOf } from './wire-frames.ts';

export interface SnapshotOptions {
  readonly connect: ConnectOptions;
  /** The catalog's present, beside the snapshot. */
  readonly query: Query;
  /** The beginning of the temporary slot's name. */
  readonly slot: string;
  readonly versionNumber: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted: the sessions are dropped, whatever they do. */
  readonly signal: AbortSignal;
}

/**
 * The database as it is for transactions that begin at S: exported by a temporary slot, which gives S its place in the stream, and shared by several
 * sessions, each of which reads one table at a time (P5).
 */
export interface DatabaseSnapshot {
  /** S: the snapshot sees exactly the transactions with a lower commitTs. */
  readonly consistentPoint: bigint;
  /** Its time on the server's clock, microseconds since 1970 UTC. */
  readonly timeUs: bigint;
  readonly readers: readonly SnapshotReader[];
  /** Ends its sessions when they have done what they were asked. Idempotent. */
  close(): Promise<void>;
  /** Drops them at once. */
  destroy(): void;
}

/** @param readerCount sessions that read, at least one. */
export async function openSnapshotAt(options: SnapshotOptions, readerCount: number): Promise<DatabaseSnapshot> {
  const sessions: WireConnection[] = [];
  const close = async () => {
    options.signal.removeEventListener('abort', destroy);
    await Promise.all(sessions.map((session) => session.close()));
  };
  const destroy = () => {
    options.signal.removeEventListener('abort', destroy);
    for (const session of sessions) session.destroy();
  };
  options.signal.addEventListener('abort', destroy, { once: true });
  try {
    const exporter = await connectSession(options.connect, true);
    sessions.push(exporter);
    const name = `${options.slot.slice(0, 40)}_snapshot_${exporter.processId}`;
    const slot = await createSlot({ ...options, replicate: (sql) => exporter.query(sql) }, name, 'snapshot');
    if (slot.snapshot === null) throw new MillraceError('MR_WIRE_MALFORMED', { reason: 'the server exported no snapshot' });
    const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ${quoteLiteral(slot.snapshot)}; SET LOCAL row_security = off`;
    const readers: SnapshotReader[] = [];
    for (let i = 0; i < readerCount; i++) {
      const session = await connectSession(options.connect);
      sessions.push(session);
      await session.query(begin);
      readers.push(new SnapshotReader(session, options));
    }
    const [row] = await sessions[1]!.query('SELECT (extract(epoch FROM now()) * 1000000)::int8 AS time_us');
    return { consistentPoint: slot.consistentPoint, timeUs: BigInt(textOf(row, 'time_us')), readers, close, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** One session under the snapshot. */
export class SnapshotReader {
  readonly #session: WireConnection;
  readonly #options: SnapshotOptions;

  constructor(session: WireConnection, options: SnapshotOptions) {
    this.#session = session;
    this.#options = options;
  }

  /** The tables as the snapshot sees them. */
  tables(oids: readonly number[]): Promise<CatalogTable[]> {
    return readTables((sql) => this.#session.query(sql), oidsIn(oids));
  }

  /**
   * Locks the table against schema changes, and says whether it is still what the snapshot sees. COPY reads it with its present definition, and a
   * TRUNCATE or a rewrite since then would show it empty: such a table needs another snapshot.
   */
  async lock(table: CatalogTable): Promise<boolean> {
    try {
      await this.#session.query(`SAVEPOINT locking; LOCK TABLE ${qualified(table)} IN ACCESS SHARE MODE`);
    } catch (error) {
      await this.#session.query('ROLLBACK TO SAVEPOINT locking');
      if (sqlStateOf(error) === UNDEFINED_TABLE || sqlStateOf(error) === UNDEFINED_SCHEMA) return false;
      throw permission(error, this.#options.connect.user, table);
    }
    const [present] = await readTables(this.#options.query, oidsIn([table.oid]));
    return present !== undefined && definitionOf(present) === definitionOf(table);
  }

  /** Lets schema changes of the table pass that `lock` held up. */
  async unlock(): Promise<void> {
    await this.#session.query('ROLLBACK TO SAVEPOINT locking; RELEASE SAVEPOINT locking');
  }

  /** The rows, as insert images over bytes of their own, about 1 MiB a block. `table` may be another version than the catalog's, of the same columns. */
  async *rows(
    catalog: CatalogTable,
    published: PublishedTable,
    table: Table,
    commitTs: bigint,
    commitTimeUs: bigint,
  ): AsyncGenerator<RowBlock> {
    const text = new CopyTextReader(table.columns.length);
    // Small tables need little; a larger one doubles it up to a block's.
    const writer = new ByteWriter(BLOCK_ROOM / 16);
    const builder = new RowBlockBuilder(4096);
    builder.beginTransaction(commitTs, commitTimeUs);
    let ordinal = 0;
    const append = (bytes: Buffer, from: number, to: number) => {
      builder.append(OP_INSERT, text.appendRow(bytes, from, to, writer), ordinal++);
    };
    const copy = this.#session.copyOut(copySql(catalog, published), append);
    try {
      for await (const _rows of copy) {
        if (writer.length >= BLOCK_BYTES) yield builder.build(table, writer.give(Buffer.allocUnsafeSlow(BLOCK_ROOM)));
      }
    } catch (error) {
      throw permission(error, this.#options.connect.user, catalog);
    }
    if (builder.rowCount > 0) yield builder.build(table, writer.take());
  }
}

const BLOCK_BYTES = 1024 * 1024;
/** A read brings more rows than one. */
const BLOCK_ROOM = BLOCK_BYTES + BLOCK_BYTES / 4;
const UNDEFINED_TABLE = '42P01';
const UNDEFINED_SCHEMA = '3F000';
const INSUFFICIENT_PRIVILEGE = '42501';

/** What COPY reads: row filter and column list as the publication has them (P4), in the order of the stream's tuples. */
export function copySql(table: CatalogTable, { columns, rowFilter }: Pick<PublishedTable, 'columns' | 'rowFilter'>): string {
  const names = new Set(columns);
  const published = table.columns.filter(({ isDropped, name }) => !isDropped && names.has(name));
  const list = published.map(({ name }) => quoteIdentifier(name)).join(', ');
  // COPY of the table itself is the fastest; it takes neither conditions, nor generated columns, nor a partitioned table.
  const isPlain = table.kind === 'r' && rowFilter === null && list !== '' && published.every(({ generated }) => generated === '');
  if (isPlain) return `COPY ${qualified(table)} (${list}) TO STDOUT`;
  const from = `${table.kind === 'p' ? '' : 'ONLY '}${qualified(table)}`;
  return `COPY (SELECT ${list} FROM ${from}${rowFilter === null ? '' : ` WHERE ${rowFilter}`}) TO STDOUT`;
}

/** What must not differ between the snapshot and the moment of the copy. */
function definitionOf(table: CatalogTable): string {
  const columns = table.columns.map(({ attnum, name, isDropped, typeOid, typeModifier }) => [
    attnum,
    name,
    isDropped,
    typeOid,
    typeModifier,
  ]);
  return JSON.stringify([
    table.schema,
    table.name,
    table.snapshotFileNode,
    columns,
    table.partitions.map(({ oid, snapshotFileNode }) => [oid, snapshotFileNode]),
  ]);
}

function permission(error: unknown, user: string, table: CatalogTable): unknown {
  if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) return error;
  const reason = isMillraceError(error) ? String(error.details['reason']) : '';
  return new MillraceError('MR_SOURCE_PERMISSION', { user, what: `read table ${displayName(table)}`, reason }, error);
}
