import { Delivery, type DispatcherId, dispatcherOfTable, resolvedEvent } from '../../../events/index.ts';
import type { Clock } from '../../../flow/index.ts';
import type { JsonValue } from '../../../formats/json.ts';
import { CapturedTables } from '../../../sources/postgres/captured-tables.ts';
import { type CatalogTable, identifySystem } from '../../../sources/postgres/catalog.ts';
import { abandon, takeSnapshots } from '../../../sources/postgres/snapshot.ts';
import { needsSnapshot, newTableState, type PostgresState, stateFromJson, stateToJson } from '../../../sources/postgres/state.ts';
import { openStream, type PostgresStream, type StreamOptions } from '../../../sources/postgres/stream.ts';
import type { OpenSource, Source, SourceContext, SourceStatus } from '../../../sources/source.ts';
import type { SimServer } from './server.ts';
import { openSimSnapshot } from './snapshot-at.ts';

export interface SimPostgresOptions {
  readonly server: SimServer;
  /** Default `millrace`. */
  readonly slot?: string;
  /** Default `initial`: rows that are there already are copied first (P5). */
  readonly snapshot?: 'initial' | 'never';
  /** Sessions that copy at the same time. Default 1. */
  readonly snapshotConnections?: number;
  /** As `StreamOptions`. */
  readonly maxDeliveryBytes?: number;
  readonly statusIntervalMs?: number;
  /** What a mutant replaces. */
  readonly parts?: Partial<SimPostgresParts>;
}

/** The real parts that the simulated source is made of. */
export interface SimPostgresParts {
  openStream(options: StreamOptions): PostgresStream;
  needsSnapshot: typeof needsSnapshot;
}

/** The `postgres` source over a simulated server. */
export interface SimPostgresSource extends Source {
  /** By oid: S of the table's snapshot that was begun last; empty without snapshots. */
  readonly snapshots: ReadonlyMap<number, bigint>;
  /** What was confirmed, over all runs, in order. */
  readonly confirmed: readonly bigint[];
  /** The dispatcher of a table in a pipeline. */
  dispatcherOf(pipeline: string, oid: number): DispatcherId;
}

/**
 * A source over the real stream, wire connection, decoder, schema history and table snapshots of `postgres`, against a simulated server.
 *
 * In plain words: a database that loses its connection whenever it hurts most, for tests of a whole pipeline in virtual time.
 *
 * It stands in for `postgres`, whose preflight and catalog watch it leaves out: the publication is there and holds every published table. Its state and its
 * rules are those of the real one: the slot after its intent (P5), completion of a snapshot by the checkpoint (I5), the schema history before the rows that
 * use it (P7). What it awaits, it awaits on the clock of its context: when that drops its timers, as a crashed node's does, nothing of it happens any more.
 */
export function simPostgres(options: SimPostgresOptions): SimPostgresSource {
  const { slot = 'millrace', snapshot = 'initial' } = options;
  const snapshots = new Map<number, bigint>();
  const confirmed: bigint[] = [];
  return {
    name: 'postgres',
    options: { slot, snapshot },
    snapshots,
    confirmed,
    dispatcherOf: dispatcherOfTable,
    open: (context) => open(new SimPostgresRun(options, context, snapshots, confirmed)),
  };
}

async function open(run: SimPostgresRun): Promise<OpenSource> {
  await run.start();
  return run;
}

class SimPostgresRun implements OpenSource {
  readonly deliveries: AsyncIterable<Delivery>;
  readonly hasOrdinals = true;
  headTs = 0n;
  readonly #server: SimServer;
  readonly #options: SimPostgresOptions;
  readonly #slot: string;
  readonly #context: SourceContext;
  readonly #clock: Clock;
  readonly #needsSnapshot: typeof needsSnapshot;
  readonly #snapshots: Map<number, bigint>;
  readonly #confirmed: bigint[];
  readonly #ended = new AbortController();
  #state: PostgresState;
  #captured!: CapturedTables;
  #stream: PostgresStream | null = null;
  #phase: SourceStatus['phase'] = 'snapshot';
  #checkpointTs: bigint | null;
  #resolvedTs: bigint;

  constructor(options: SimPostgresOptions, context: SourceContext, snapshots: Map<number, bigint>, confirmed: bigint[]) {
    this.#server = options.server;
    this.#options = options;
    this.#slot = options.slot ?? 'millrace';
    this.#context = context;
    this.#clock = context.clock;
    this.#needsSnapshot = options.parts?.needsSnapshot ?? needsSnapshot;
    this.#snapshots = snapshots;
    this.#confirmed = confirmed;
    this.#state = stateFromJson(context.state) ?? this.#newState();
    this.#checkpointTs = context.checkpointTs;
    this.#resolvedTs = context.checkpointTs ?? -1n;
    this.deliveries = this.#run();
    const stop = () => this.#end();
    context.signal.addEventListener('abort', stop, { once: true });
    if (context.signal.aborted) stop();
  }

  get identity(): JsonValue {
    const { systemIdentifier, timeline, database, slot, publication, publicationOid } = this.#state;
    return { source: 'postgres', systemIdentifier, timeline, database, slot, publication, publicationOid };
  }

  /** The slot, after its intent was stored; then what is known of the tables. */
  async start(): Promise<void> {
    const { database } = this.#server;
    if (this.#state.consistentPoint === null) {
      await this.#save();
      const slot = this.#server.slots.get(this.#slot) ?? this.#server.slots.create(this.#slot);
      this.#state.consistentPoint = slot.consistentPoint;
      this.#state.tables = [...database.tables.values()]
        .filter(({ isPublished }) => isPublished)
        .map(({ oid, schema, name }) => newTableState({ oid, schema, name, entry: oid }, this.#options.snapshot !== 'never', false));
      await this.#save();
    }
    this.#captured = new CapturedTables(
      {
        pipeline: this.#context.pipeline,
        state: this.#state,
        save: () => this.#save(),
        look: (oid) => this.#look(oid),
        onUnknown: () => {},
        logger: this.#context.logger,
        events: this.#context.events,
      },
      this.#checkpointTs ?? -1n,
    );
    this.headTs = database.walEnd - 1n;
    const before = database.walEnd;
    const catalogs = await this.#catalogs(this.#state.tables.map(({ oid }) => oid));
    for (const catalog of catalogs) {
      const table = this.#captured.stateOf(catalog.oid)!;
      if (this.#needsSnapshot(table, this.#checkpointTs)) abandon(table);
      else if (table.status === 'captured') this.#captured.compare(table.oid, catalog, { before, after: database.walEnd });
    }
    this.#markComplete();
    await this.#save();
  }

  confirm(checkpointTs: bigint): void {
    this.#confirmed.push(checkpointTs);
    this.#checkpointTs = checkpointTs;
    this.#markComplete();
    this.#stream?.confirm(checkpointTs);
  }

  status(): SourceStatus {
    const stream = this.#stream?.status();
    const tables = new Map(
      this.#state.tables.map((table) => [
        `${table.schema}.${table.name}`,
        { snapshotRows: 0, snapshotDone: !this.#needsSnapshot(table, this.#resolvedTs), stopped: table.status === 'stopped' },
      ]),
    );
    const phase = this.#phase === 'streaming' && stream !== undefined ? stream.phase : this.#phase;
    return { phase, sourceTs: stream !== undefined && stream.sourceTs > this.headTs ? stream.sourceTs : this.headTs, tables };
  }

  async close(): Promise<void> {
    this.#phase = 'closed';
    this.#end();
    await this.#stream?.close();
  }

  async *#run(): AsyncGenerator<Delivery, void, undefined> {
    const isFirst = this.#checkpointTs === null;
    const due = this.#state.tables.filter((table) => table.status !== 'left' && this.#needsSnapshot(table, this.#checkpointTs));
    if (due.length > 0) yield* this.#snapshot(due.map(({ oid }) => oid));
    if (this.#ended.signal.aborted) return;
    this.#phase = 'streaming';
    if (isFirst) yield this.#observed(new Delivery([resolvedEvent(this.#beginning() - 1n)]));
    this.#stream = this.#openStream();
    if (this.#checkpointTs !== null) this.#stream.confirm(this.#checkpointTs);
    for await (const delivery of this.#stream.deliveries) {
      const observed = this.#observed(delivery);
      if (observed.events.length > 0) yield observed;
    }
  }

  #snapshot(oids: readonly number[]): AsyncIterable<Delivery> {
    const server = this.#server;
    const { logger } = this.#context;
    const clock = this.#clock;
    const slot = this.#slot;
    const common = { clock, logger, signal: this.#ended.signal, slot };
    return takeSnapshots(
      {
        ...common,
        publication: slot,
        captured: this.#captured,
        connections: this.#options.snapshotConnections ?? 1,
        open: async (readers) => openSimSnapshot({ ...common, server }, readers),
        published: async () =>
          [...server.database.tables.values()].map(({ oid, schema, name, shape }) => {
            return { oid, schema, name, entry: oid, columns: shape.columns.map((column) => column.name), rowFilter: null };
          }),
        save: () => this.#save(),
      },
      oids,
    );
  }

  #openStream(): PostgresStream {
    const { clock, logger, metrics, checkpointTs } = this.#context;
    const { maxDeliveryBytes, statusIntervalMs, parts } = this.#options;
    return (parts?.openStream ?? openStream)({
      slot: this.#slot,
      publication: this.#slot,
      connect: () => this.#server.connect(clock),
      onConnected: async (connection) => {
        await identifySystem((sql) => connection.query(sql));
        this.#captured.reconnected();
      },
      resolver: this.#captured,
      fromTs: checkpointTs ?? this.#state.consistentPoint! - 1n,
      ...{ clock, logger, metrics, signal: this.#ended.signal },
      ...(maxDeliveryBytes === undefined ? {} : { maxDeliveryBytes }),
      ...(statusIntervalMs === undefined ? {} : { statusIntervalMs }),
    });
  }

  /** Everything before is there of every table: the earliest snapshot, or where the slot began. */
  #beginning(): bigint {
    let earliest: bigint | null = null;
    for (const { dropBefore } of this.#state.tables) {
      if (dropBefore > 0n && (earliest === null || dropBefore < earliest)) earliest = dropBefore;
    }
    return earliest ?? this.#state.consistentPoint!;
  }

  /** Resolved marks below what is resolved already are taken out: after a snapshot the stream begins before it. */
  #observed(delivery: Delivery): Delivery {
    const events = delivery.events.filter((event) => event.type !== 'resolved' || event.commitTs > this.#resolvedTs);
    for (const event of events) if (event.type === 'resolved') this.#resolvedTs = event.commitTs;
    if (this.#captured.resolved(this.#resolvedTs)) this.#save().catch(() => this.#end());
    return events.length === delivery.events.length ? delivery : delivery.with(events);
  }

  /** With a reason: without one each call makes an exception, with the stack of where it was. */
  #end(): void {
    this.#ended.abort('ended');
  }

  #markComplete(): void {
    for (const table of this.#state.tables) {
      if (table.snapshotVersion === null || this.#needsSnapshot(table, this.#checkpointTs)) continue;
      table.hasPast = true;
      table.abandoned = [];
    }
  }

  async #look(oid: number): Promise<{ table: CatalogTable | null; before: bigint; after: bigint }> {
    const before = this.#server.database.walEnd;
    const [table] = await this.#catalogs([oid]);
    return { table: table ?? null, before, after: this.#server.database.walEnd };
  }

  #catalogs(oids: readonly number[]): Promise<CatalogTable[]> {
    return this.#server.catalogs(this.#clock, oids);
  }

  #save(): Promise<void> {
    for (const { oid, dropBefore } of this.#state.tables) if (dropBefore > 0n) this.#snapshots.set(oid, dropBefore);
    return this.#context.saveState(stateToJson(this.#state));
  }

  #newState(): PostgresState {
    const { systemIdentifier, name } = this.#server.database;
    const slot = this.#slot;
    return {
      systemIdentifier,
      timeline: 1,
      database: name,
      slot,
      publication: slot,
      publicationOid: 1,
      publishes: 'iudt',
      consistentPoint: null,
      tables: [],
    };
  }
}
