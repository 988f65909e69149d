import { MillraceError } from '../../errors.ts';
import { Delivery, ddlEvent, dmlEvent, tableName } from '../../events/index.ts';
import { type Clock, elapsedMs, type Logger, noSystemEvents, type SystemEvents } from '../../flow/index.ts';
import type { CapturedTables } from './captured-tables.ts';
import type { CatalogTable, PublishedTable } from './catalog.ts';
import { displayName } from './publication.ts';
import { ACTION_FIRST, ACTION_TRUNCATE, tableOf, truncateQuery, versionFromCatalog } from './schema-history.ts';
import type { DatabaseSnapshot, SnapshotReader } from './snapshot-reader.ts';
import type { TableState } from './state.ts';
import { fateOf, type StreamNames } from './stream-fate.ts';

export interface SnapshotRun extends StreamNames {
  readonly captured: CapturedTables;
  /** A snapshot of the database now, with that many readers. */
  open(readerCount: number): Promise<DatabaseSnapshot>;
  published(): Promise<PublishedTable[]>;
  /** Stores the state: durable when it resolves. */
  save(): Promise<void>;
  /** All rows of a table are emitted. */
  onCopied?(oid: number): void;
  readonly connections: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
  readonly signal: AbortSignal;
}

/**
 * Copies tables, several at a time, from snapshots that have a place in the stream (P5).
 *
 * In a round all tables that need it share the snapshot at S. Before anything of it is emitted, the state holds for each: `snapshotVersion` S − 1, its columns
 * as of S, `dropBefore` S. Then come, per table, a DDL event (version S − 1, `startsEmpty`, `abandons`) and the rows at S − 1; the stream waits meanwhile,
 * and drops the table's rows below S afterwards. A table whose definition changed between S and its turn takes part in another round, and so
 * do those that a lost connection cut off.
 *
 * Where a kill may fall:
 * - before the state is stored: nothing was emitted; the next start takes a snapshot.
 * - between that and the checkpoint S − 1: the rows may be incomplete. No resolved mark at S − 1 was emitted before the last row of the snapshot was, so a
 *   checkpoint below `snapshotVersion` says so: the next start, before it streams, puts the version on `abandoned` and takes a new snapshot,
 *   whose DDL event makes the sink remove what is there of the old one.
 * - from the checkpoint S − 1 on: complete (I5). The checkpoint itself is the record of it, so no kill can come between.
 */
export async function* takeSnapshots(run: SnapshotRun, oids: readonly number[]): AsyncGenerator<Delivery, void, undefined> {
  const { captured, signal, clock, logger } = run;
  let pending = [...oids];
  let failures = 0;
  let rounds = 0;
  while (pending.length > 0 && !signal.aborted) {
    const done = new Set<number>();
    try {
      yield* takeRound(run, pending, done);
      failures = 0;
      rounds++;
    } catch (error) {
      if (signal.aborted) return;
      if (fateOf(error, run).kind !== 'retry') throw error;
      const delayMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** failures++);
      logger.warn({ delayMs, reason: (error as Error).message }, 'the snapshot broke off');
      await clock.sleep(delayMs, signal);
    }
    pending = pending.filter((oid) => !done.has(oid) && captured.stateOf(oid)?.status !== 'left');
    if (pending.length === 0) break;
    for (const oid of pending) abandon(captured.stateOf(oid)!);
    if (rounds >= ROUNDS_MAX) throw new MillraceError('MR_SNAPSHOT_UNSTABLE', { tables: namesOf(captured, pending), attempts: rounds });
    logger.warn({ tables: namesOf(captured, pending) }, 'the snapshot of some tables is taken again');
  }
}

/** The snapshot that was begun last is void: its version is to be removed, and those that the stream has begun on it since. */
export function abandon(state: TableState): void {
  const version = state.snapshotVersion;
  state.wantsSnapshot = true;
  if (version === null) return;
  const later = state.history.map((entry) => entry.version).filter((other) => other > version);
  state.abandoned = [...new Set([...state.abandoned, version, ...later])];
  state.snapshotVersion = null;
  state.history = state.history.filter((entry) => entry.version < version);
}

/** Clears, at readers, a table that was dropped before its snapshot was complete: nothing can be copied any more. */
export function clearedTable(captured: CapturedTables, state: TableState): Delivery | null {
  const version = state.history.find((entry) => entry.version === state.snapshotVersion);
  if (version === undefined) return null;
  const table = tableOf(captured.dispatcherOf(state.oid), state.oid, version);
  const abandons = [...new Set([...state.abandoned, version.version])];
  const event = { query: truncateQuery(version), action: ACTION_TRUNCATE, startsEmpty: true, abandons };
  return new Delivery([ddlEvent({ position: { commitTs: version.version, ordinal: 0 }, commitTimeUs: 0n, table, ...event })]);
}

async function* takeRound(run: SnapshotRun, oids: readonly number[], done: Set<number>): AsyncGenerator<Delivery, void, undefined> {
  const { logger } = run;
  const snapshot = await run.open(Math.min(run.connections, oids.length));
  try {
    const tables = await begin(run, snapshot, oids);
    const names = tables.map(({ catalog }) => displayName(catalog));
    logger.info({ tables: names, at: snapshot.consistentPoint }, 'copying tables');
    const queue = tables.values();
    yield* merge(snapshot.readers.map((reader) => copyTables(run, snapshot, reader, queue, done)));
    await snapshot.close();
  } finally {
    snapshot.destroy();
  }
}

interface BegunTable {
  readonly state: TableState;
  readonly catalog: CatalogTable;
  readonly published: PublishedTable;
}

/** Puts the versions of this snapshot in force and stores that. Tables that are gone, or not published any more, are left. */
async function begin(
  { captured, published, save }: SnapshotRun,
  snapshot: DatabaseSnapshot,
  oids: readonly number[],
): Promise<BegunTable[]> {
  const version = snapshot.consistentPoint - 1n;
  const catalogs = new Map((await snapshot.readers[0]!.tables(oids)).map((table) => [table.oid, table]));
  const publishedByOid = new Map((await published()).map((table) => [table.oid, table]));
  const begun: BegunTable[] = [];
  for (const oid of oids) {
    const state = captured.stateOf(oid)!;
    const catalog = catalogs.get(oid);
    const publishedTable = publishedByOid.get(oid);
    if (catalog === undefined || publishedTable === undefined) {
      state.status = 'left';
      continue;
    }
    state.status = 'captured';
    state.entry = publishedTable.entry;
    state.wantsSnapshot = false;
    state.snapshotVersion = version;
    state.dropBefore = snapshot.consistentPoint;
    captured.begin(oid, versionFromCatalog(catalog, publishedTable.columns, version));
    captured.beganFrom(oid, catalog, snapshot.consistentPoint);
    begun.push({ state, catalog, published: publishedTable });
  }
  await save();
  return begun;
}

/** One reader's share: the next table of the queue, until there is none. */
async function* copyTables(
  { captured, onCopied, clock, events = noSystemEvents }: SnapshotRun,
  { consistentPoint, timeUs }: DatabaseSnapshot,
  reader: SnapshotReader,
  queue: Iterator<BegunTable>,
  done: Set<number>,
): AsyncGenerator<Delivery, void, undefined> {
  const commitTs = consistentPoint - 1n;
  for (let next = queue.next(); next.done !== true; next = queue.next()) {
    const { state, catalog, published } = next.value;
    if (!(await reader.lock(catalog))) continue;
    const table = captured.lookup(state.oid).table;
    if (table === null) continue;
    const statement = state.hasPast ? { query: truncateQuery(state), action: ACTION_TRUNCATE } : { query: '', action: ACTION_FIRST };
    const event = { position: { commitTs, ordinal: 0 }, commitTimeUs: timeUs, table, ...statement };
    const begun = { table: tableName(table), version: table.version };
    const startedMs = clock.now();
    let count = 0;
    events.record('table_snapshot_started', () => begun);
    const copying = events.slow('snapshot_table', () => ({ table: begun.table }));
    try {
      yield new Delivery([ddlEvent({ startsEmpty: true, abandons: [...state.abandoned], ...event })]);
      for await (const rows of reader.rows(catalog, published, table, commitTs, timeUs)) {
        count += rows.rowCount;
        yield new Delivery([dmlEvent(rows)], rows.retainedBytes);
      }
      await reader.unlock();
    } catch (error) {
      copying.end({ error });
      throw error;
    } finally {
      copying.end();
    }
    done.add(state.oid);
    onCopied?.(state.oid);
    events.record('table_snapshot_completed', () => ({ ...begun, rows: count, duration_ms: elapsedMs(clock, startedMs) }));
  }
}

/** What comes first from any of them; each is asked for one ahead. */
async function* merge<T>(sources: readonly AsyncGenerator<T, void, undefined>[]): AsyncGenerator<T, void, undefined> {
  const pending = new Map<
    AsyncGenerator<T, void, undefined>,
    Promise<{ source: AsyncGenerator<T, void, undefined>; result: IteratorResult<T, void> }>
  >();
  const pull = (source: AsyncGenerator<T, void, undefined>) => {
    const next = source.next().then((result) => ({ source, result }));
    // It may fail while nobody waits for it; whoever waits next hears of it.
    next.catch(() => {});
    pending.set(source, next);
  };
  for (const source of sources) pull(source);
  while (pending.size > 0) {
    const { source, result } = await Promise.race(pending.values());
    if (result.done === true) {
      pending.delete(source);
    } else {
      pull(source);
      yield result.value;
    }
  }
}

function namesOf(captured: CapturedTables, oids: readonly number[]): string {
  return oids.map((oid) => displayName(captured.stateOf(oid)!)).join(', ');
}

const ROUNDS_MAX = 20;
const RETRY_BASE_MS = 500;
const RETRY_CAP_MS = 10_000;
