import { isMillraceError, MillraceError } from '../../errors.ts';
import { Delivery, resolvedEvent } from '../../events/index.ts';
import type { JsonValue } from '../../formats/json.ts';
import type { OpenSource, Source, SourceContext, SourceStatus } from '../source.ts';
import { CapturedTables } from './captured-tables.ts';
import { identifySystem, oidsIn, readCommittedPosition, readPublishedTables, readTables, readWalEnd, readWalPosition } from './catalog.ts';
import { type ConnectOptions, ControlConnection, connectSession } from './connection.ts';
import { ddlMessagePrefix } from './ddl-message.ts';
import { recordLoss } from './loss-events.ts';
import { POSTGRES_METRICS } from './metrics.ts';
import { type PostgresOptions, type PostgresSettings, postgresSettings } from './options.ts';
import { checkSameSource, joinPublished, type Prepared, prepare, takeAgain } from './preflight.ts';
import { displayNames } from './publication.ts';
import { provokeMark } from './slot.ts';
import { shareSlotSql } from './slot-lock.ts';
import { abandon, clearedTable, takeSnapshots } from './snapshot.ts';
import { openSnapshotAt } from './snapshot-reader.ts';
import { hasUnfinishedSnapshot, needsSnapshot, stateFromJson, stateToJson } from './state.ts';
import { openStream, type PostgresStream } from './stream.ts';
import { Watch } from './watch.ts';
import type { ServerNotice } from './wire-frames.ts';

/**
 * Changes of a PostgreSQL database: the rows that are there, then everything that happens to them.
 *
 * In plain words: a consistent copy of each table first, and from exactly there on every insert, update, delete and TRUNCATE, in commit order, over restarts and
 * lost connections.
 *
 * It needs `wal_level = logical`, a role with REPLICATION and SELECT, and for each table a primary key or another replica identity. The first start creates
 * the publication (unless there is one) and the replication slot; `teardown` removes them. A slot makes the server keep WAL while nobody reads.
 *
 * @throws MR_INVALID_OPTION, MR_UNKNOWN_OPTION at once; what is wrong with the server is an error of `open`.
 */
export function postgres(options: PostgresOptions): Source {
  const settings = postgresSettings(options);
  return Object.freeze({
    name: 'postgres',
    options: Object.freeze(settings.plain),
    open: (context: SourceContext) => openPostgres(settings, context),
  });
}

async function openPostgres(settings: PostgresSettings, context: SourceContext): Promise<OpenSource> {
  const { clock, logger, events, signal, checkpointTs, targetIdentity } = context;
  const { config, address, database, user } = settings;
  const connect: ConnectOptions = { config, address, database, user, clock, applicationName: `millrace ${context.pipeline}`.slice(0, 63) };
  const control = new ControlConnection(connect, false, shareSlotSql(settings.slot));
  const replication = new ControlConnection(connect, true);
  const abort = () => {
    control.close();
    replication.close();
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    const stored = stateFromJson(context.state);
    const save = (state: Prepared['state']) => context.saveState(stateToJson(state));
    const sides = { query: control.query, replicate: replication.query };
    const prepared = await prepare({ settings, clock, logger, events, signal, stored, checkpointTs, targetIdentity, save, ...sides });
    const source = new PostgresRun(settings, context, prepared, connect, control);
    await source.start();
    return source;
  } catch (error) {
    recordLoss(events, settings, error);
    await control.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
    await replication.close();
  }
}

/** One run: the snapshots that are due, then the stream, with a watch over the catalog beside it. */
class PostgresRun implements OpenSource {
  readonly identity: JsonValue;
  readonly hasOrdinals = true;
  readonly deliveries: AsyncIterable<Delivery>;
  headTs = 0n;
  readonly #settings: PostgresSettings;
  readonly #context: SourceContext;
  readonly #prepared: Prepared;
  readonly #connect: ConnectOptions;
  readonly #control: ControlConnection;
  readonly #captured: CapturedTables;
  readonly #rows = new Map<string, number>();
  /** oids of tables whose last snapshot is emitted, though that of others may be due. */
  readonly #copied = new Set<number>();
  readonly #ended = new AbortController();
  #watch: Watch | null = null;
  #stream: PostgresStream | null = null;
  #phase: SourceStatus['phase'] = 'snapshot';
  #resolvedTs: bigint;
  #checkpointTs: bigint | null;
  #isJoining = false;
  #failure: { readonly error: unknown } | null = null;
  #wake: (nothing: null) => void = () => {};

  constructor(settings: PostgresSettings, context: SourceContext, prepared: Prepared, connect: ConnectOptions, control: ControlConnection) {
    this.#settings = settings;
    this.#context = context;
    this.#prepared = prepared;
    this.#connect = connect;
    this.#control = control;
    const { systemIdentifier, timeline, database, slot, publication, publicationOid } = prepared.state;
    this.identity = { source: 'postgres', systemIdentifier, timeline, database, slot, publication, publicationOid };
    this.#checkpointTs = context.checkpointTs;
    this.#resolvedTs = context.checkpointTs ?? -1n;
    this.#captured = new CapturedTables(
      {
        pipeline: context.pipeline,
        state: prepared.state,
        save: () => this.#save(),
        look: (oid) => this.#look(oid),
        onUnknown: ({ namespace, name }) => {
          if (settings.isWanted(namespace, name)) this.#watch?.look();
        },
        logger: context.logger,
        events: context.events,
      },
      context.checkpointTs ?? -1n,
    );
    this.deliveries = this.#run();
    context.metrics.watch(POSTGRES_METRICS.walRetained, {}, () => this.#watch?.retainedBytes ?? null);
    context.metrics.watch(POSTGRES_METRICS.slotLag, {}, () => this.#slotLagBytes());
    context.signal.addEventListener('abort', () => this.#stop(), { once: true });
    if (context.signal.aborted) this.#stop();
  }

  /** What is due before the first delivery; stored when it resolves. */
  async start(): Promise<void> {
    const { state } = this.#prepared;
    const lsn = await readCommittedPosition(this.#control.query, this.#context.clock);
    this.headTs = lsn - 1n;
    const catalogs = await readTables(
      this.#control.query,
      oidsIn(state.tables.filter(({ status }) => status !== 'left').map(({ oid }) => oid)),
    );
    const look = { before: lsn, after: await readWalEnd(this.#control.query) };
    const present = new Set(catalogs.map(({ oid }) => oid));
    for (const table of state.tables) {
      // Dropped before its snapshot was complete: nothing can be copied any more.
      if (present.has(table.oid) || table.status === 'left') continue;
      if (needsSnapshot(table, this.#checkpointTs)) table.status = 'left';
      else if (table.droppedBefore === null) this.#captured.dropped(table.oid, look);
    }
    this.#tellUnfinished('was not finished; it is taken again');
    for (const catalog of catalogs) {
      const table = this.#captured.stateOf(catalog.oid)!;
      if (this.#settings.isResnapshot(catalog.schema, catalog.name)) takeAgain(table, this.#checkpointTs);
      else if (needsSnapshot(table, this.#checkpointTs)) abandon(table);
      else if (table.status === 'stopped') this.#captured.stop(table.oid, 'it was stopped before, and not taken again since');
      else this.#captured.compare(table.oid, catalog, look);
    }
    this.#markComplete();
    await this.#save();
    this.#watch = new Watch({
      settings: this.#settings,
      state,
      captured: this.#captured,
      query: this.#control.query,
      versionNumber: this.#prepared.server.versionNumber,
      clock: this.#context.clock,
      logger: this.#context.logger,
      save: () => this.#save(),
      onJoin: () => {
        this.#isJoining = true;
        this.#wake(null);
      },
      onFailure: (error) => this.#fail(error),
    });
  }

  confirm(checkpointTs: bigint): void {
    this.#checkpointTs = checkpointTs;
    this.#markComplete();
    // Texts can hold secrets: they do not stay in the state for longer than a replay may need them.
    if (this.#captured.confirmed(checkpointTs)) this.#save().catch((error: unknown) => this.#fail(error));
    this.#stream?.confirm(checkpointTs);
  }

  status(): SourceStatus {
    const stream = this.#stream?.status();
    const tables = new Map(
      this.#captured.states
        .filter(({ status }) => status !== 'left')
        .map((table) => {
          const name = `${table.schema}.${table.name}`;
          // All of it is emitted: whoever drains now makes it durable, and so complete.
          const snapshotDone = !needsSnapshot(table, this.#resolvedTs);
          const snapshotCopied = snapshotDone || this.#copied.has(table.oid);
          return [
            name,
            { snapshotRows: this.#rows.get(name) ?? 0, snapshotDone, snapshotCopied, stopped: table.status === 'stopped' },
          ] as const;
        }),
    );
    const phase = this.#phase === 'streaming' && stream !== undefined ? stream.phase : this.#phase;
    return { phase, sourceTs: stream !== undefined && stream.sourceTs > this.headTs ? stream.sourceTs : this.headTs, tables };
  }

  async close(): Promise<void> {
    if (this.#phase !== 'closed') this.#tellUnfinished('is not finished; the next start takes it again');
    this.#phase = 'closed';
    this.#stop();
    this.#watch?.close();
    await this.#stream?.close();
    await this.#control.close();
  }

  async *#run(): AsyncGenerator<Delivery, void, undefined> {
    const { state } = this.#prepared;
    const due = state.tables.filter((table) => table.status !== 'left' && needsSnapshot(table, this.#checkpointTs));
    for (const table of state.tables) {
      if (table.status !== 'left' || !needsSnapshot(table, this.#checkpointTs)) continue;
      const cleared = clearedTable(this.#captured, table);
      if (cleared !== null) yield cleared;
    }
    const isFirst = this.#checkpointTs === null;
    yield* this.#snapshot(due.map(({ oid }) => oid));
    if (this.#isStopped) return;
    this.#phase = 'streaming';
    if (isFirst) {
      // Below the earliest of the snapshots everything is there of every table; a later one's rows stand beyond that until the stream comes by.
      // Without a snapshot nothing older than the slot is due.
      const first = state.tables.reduce(
        (low, { dropBefore }) => (dropBefore > 0n && (low === 0n || dropBefore < low) ? dropBefore : low),
        0n,
      );
      yield this.#observed(new Delivery([resolvedEvent((first > 0n ? first : state.consistentPoint!) - 1n)]));
    }
    yield* this.#streamed();
  }

  async *#streamed(): AsyncGenerator<Delivery, void, undefined> {
    const stream = this.#openStream();
    this.#stream = stream;
    if (this.#checkpointTs !== null) stream.confirm(this.#checkpointTs);
    const iterator = stream.deliveries[Symbol.asyncIterator]();
    let next: Promise<IteratorResult<Delivery, void>> | null = null;
    while (!this.#isStopped) {
      if (this.#isJoining && next === null) {
        this.#isJoining = false;
        yield* this.#join();
        continue;
      }
      const wake = new Promise<null>((resolve) => {
        // No function of its own: one that is assigned to a property as it is written goes into V8's old space, and holds all that this round leads to there,
        // rows too.
        this.#wake = resolve;
      });
      // The stream decides about a row when it reads it: nothing may be under way while a snapshot gets its place.
      if (this.#isJoining) provokeMark(this.#control.query).catch(() => {});
      next ??= iterator.next();
      next.catch(() => {});
      const result: IteratorResult<Delivery, void> | null = await Promise.race([next, wake]);
      if (this.#failure !== null) throw this.#failure.error;
      if (result === null) continue;
      next = null;
      if (result.done === true) return;
      const delivery = this.#observed(result.value);
      if (delivery.events.length > 0) yield* this.#withSilentChanges(delivery);
    }
    if (this.#failure !== null) throw (this.#failure as { error: unknown }).error;
  }

  /** Schema changes that no row tells of stand before the resolved mark that passes them. */
  async *#withSilentChanges(delivery: Delivery): AsyncGenerator<Delivery, void, undefined> {
    const mark = delivery.events.find((event) => event.type === 'resolved');
    const changes = mark === undefined ? [] : await this.#captured.silentChanges(delivery, mark.commitTs, mark.commitTimeUs);
    if (mark === undefined || changes.length === 0) {
      yield delivery;
      return;
    }
    if (delivery.events.length > 1) yield delivery.with(delivery.events.filter((event) => event !== mark));
    for (const change of changes) yield new Delivery([change]);
    yield new Delivery([mark]);
  }

  #openStream(): PostgresStream {
    const { clock, logger, metrics, events } = this.#context;
    const { slot, publication } = this.#settings;
    const { state } = this.#prepared;
    return openStream({
      ...{ slot, publication },
      connect: () => this.#connectStream(),
      onConnected: async (connection) => {
        const system = await identifySystem((sql) => connection.query(sql));
        checkSameSource(state, { ...state, ...system });
        this.#captured.reconnected();
      },
      resolver: this.#captured,
      // Before the first checkpoint nothing was confirmed: the slot stands where it began, and what the snapshots hold is dropped table by table.
      fromTs: this.#context.checkpointTs ?? state.consistentPoint! - 1n,
      messagePrefix: this.#settings.ddlText ? ddlMessagePrefix(slot) : null,
      ...{ clock, logger, metrics, events },
      signal: this.#ended.signal,
    });
  }

  async #connectStream() {
    try {
      return await connectSession(this.#connect, true, (notice) => this.#onNotice(notice));
    } catch (error) {
      // A server without a free place may have one soon.
      throw isMillraceError(error, 'MR_SOURCE_FULL') ? error.cause : error;
    }
  }

  /** PostgreSQL 18 leaves out a publication that is not there, with a warning only (P4). */
  #onNotice({ message }: ServerNotice): void {
    if (!/skipped loading publication/.test(message)) return;
    throw new MillraceError('MR_PUBLICATION_GAP', { publication: this.#settings.publication, reason: message });
  }

  async *#snapshot(oids: readonly number[]): AsyncGenerator<Delivery, void, undefined> {
    if (oids.length === 0) return;
    const { clock, logger, events } = this.#context;
    const { slot, publication, snapshotConnections } = this.#settings;
    const { versionNumber } = this.#prepared.server;
    const common = { clock, logger, signal: this.#ended.signal };
    const before = this.#phase;
    this.#phase = 'snapshot';
    for (const oid of oids) this.#copied.delete(oid);
    const deliveries = takeSnapshots(
      {
        ...{ ...common, events, slot, publication },
        captured: this.#captured,
        connections: snapshotConnections,
        open: (readers) => openSnapshotAt({ ...common, connect: this.#connect, query: this.#control.query, slot, versionNumber }, readers),
        published: () => readPublishedTables(this.#control.query, publication, versionNumber),
        save: () => this.#save(),
        onCopied: (oid) => this.#copied.add(oid),
      },
      oids,
    );
    for await (const delivery of deliveries) {
      for (const event of delivery.events) {
        if (event.type !== 'dml') continue;
        const name = `${event.rows.table.sourceSchema}.${event.rows.table.sourceName}`;
        this.#rows.set(name, (this.#rows.get(name) ?? 0) + event.rows.rowCount);
      }
      yield delivery;
      if (this.#failure !== null) throw this.#failure.error;
    }
    if (this.#failure !== null) throw (this.#failure as { error: unknown }).error;
    if (this.#phase === 'snapshot') this.#phase = before;
  }

  /** Tables that were published meanwhile: their snapshot, while the stream waits (P5). */
  async *#join(): AsyncGenerator<Delivery, void, undefined> {
    const { state, server } = this.#prepared;
    const published = await readPublishedTables(this.#control.query, this.#settings.publication, server.versionNumber);
    const wanted = published.filter((table) => this.#settings.isWanted(table.schema, table.name));
    const before = state.tables.length;
    const joined = joinPublished(state, wanted, this.#settings, this.#checkpointTs, this.#context);
    this.#captured.adopt(state.tables.slice(before));
    await this.#save();
    yield* this.#snapshot(joined);
  }

  /** Positions are bytes of WAL. */
  #slotLagBytes(): number | null {
    const stream = this.#stream?.status();
    if (stream === undefined || stream.sourceTs === 0n) return null;
    return Math.max(0, Number(stream.sourceTs - stream.confirmedTs));
  }

  /** Resolved marks below what is resolved already are taken out: after a snapshot the stream begins before it. */
  #observed(delivery: Delivery): Delivery {
    const events = delivery.events.filter((event) => event.type !== 'resolved' || event.commitTs > this.#resolvedTs);
    for (const event of events) {
      if (event.type === 'resolved') this.#resolvedTs = event.commitTs;
    }
    if (this.#captured.resolved(this.#resolvedTs)) this.#save().catch((error: unknown) => this.#fail(error));
    return events.length === delivery.events.length ? delivery : delivery.with(events);
  }

  /** Snapshots up to the checkpoint are complete (I5): what was there of earlier attempts is gone. Tables that were dropped before it are done with. */
  #markComplete(): void {
    for (const table of this.#captured.states) {
      const { droppedBefore } = table;
      if (droppedBefore !== null && this.#checkpointTs !== null && this.#checkpointTs >= droppedBefore) table.status = 'left';
      if (table.status === 'left' || table.snapshotVersion === null || needsSnapshot(table, this.#checkpointTs)) continue;
      table.hasPast = true;
      table.abandoned = [];
    }
  }

  #tellUnfinished(what: string): void {
    const tables = this.#captured.states.filter((table) => hasUnfinishedSnapshot(table, this.#checkpointTs));
    if (tables.length > 0) this.#context.logger.warn({}, `the snapshot of ${displayNames(tables)} ${what}`);
  }

  async #look(oid: number) {
    const before = await readWalPosition(this.#control.query);
    const [table] = await readTables(this.#control.query, oidsIn([oid]));
    return { table: table ?? null, before, after: await readWalEnd(this.#control.query) };
  }

  #save(): Promise<void> {
    return this.#context.saveState(stateToJson(this.#prepared.state));
  }

  get #isStopped(): boolean {
    return this.#ended.signal.aborted;
  }

  #stop(): void {
    this.#ended.abort();
    this.#wake(null);
  }

  #fail(error: unknown): void {
    recordLoss(this.#context.events, this.#settings, error);
    this.#failure ??= { error };
    this.#ended.abort();
    this.#wake(null);
  }
}
