import { filter, Subject, Subscription } from 'rxjs';
import {
  type ChangeEvent,
  type Column,
  Delivery,
  defineTable,
  dispatcherOfTable,
  resolvedEvent,
  type Table,
} from '../../lib/events/index.ts';
import { type Clock, type Context, createContext, noSystemEvents, Progress, pump, type SystemEvents } from '../../lib/flow/index.ts';
import type { FlushReport, OpenSink } from '../../lib/runtime/sink.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { composeSink, SINK_OPERATORS, type SinkMachine } from '../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { type CloudStorageOptions, cloudStorage } from '../../pipelines/index.ts';

export function column(name: string, index: number, parts: Partial<Column> = {}): Column {
  const defaults = { type: 'text', typeModifier: -1, nullable: true, isPrimaryKey: false, isIdentity: false, defaultText: null };
  return { name, wireIndex: index, columnId: index + 1, ...defaults, ...parts };
}

/** A table of columns, those in `keys` being its primary key; without keys its replica identity is full. */
export function table(
  name: string,
  version: bigint,
  columns: readonly (string | Column)[],
  keys: readonly string[] = [],
  parts: Partial<Table> = {},
): Table {
  const tableId = [...name].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7) % 1_000_000;
  const names = { sourceSchema: 'public', sourceName: name, schema: 'public', name };
  return defineTable({
    dispatcher: dispatcherOfTable('world', tableId),
    ...names,
    tableId,
    version,
    columns: columns.map((given, index) => {
      const made = typeof given === 'string' ? column(given, index) : { ...given, wireIndex: index };
      return keys.includes(made.name)
        ? { ...made, isPrimaryKey: true, isIdentity: true, nullable: false }
        : { ...made, isIdentity: keys.length === 0 };
    }),
    replicaIdentity: keys.length === 0 ? 'full' : 'default',
    ...parts,
  });
}

/** One transaction of a source: its events are made anew for each run, because acks are. Block events go in deliveries of their own. */
export interface Transaction {
  readonly commitTs: bigint;
  readonly events: () => readonly ChangeEvent[];
}

/** What a source would send after `checkpointTs`: each event a delivery, then what resolves the transaction. */
export function deliveriesOf(history: readonly Transaction[], checkpointTs: bigint): Delivery[] {
  return history
    .filter(({ commitTs }) => commitTs > checkpointTs)
    .flatMap(({ commitTs, events }) => [
      ...events().map((event) => new Delivery([event], bytesOf(event))),
      new Delivery([resolvedEvent(commitTs)]),
    ]);
}

function bytesOf(event: ChangeEvent): number {
  return event.type === 'dml' ? event.rows.retainedBytes : 0;
}

/** What a run of the sink leaves behind beside the store. */
export interface SinkRun {
  readonly reports: FlushReport[];
  /** The newest checkpoint, stored as a run does before it publishes it. */
  checkpointTs: bigint;
  /** The error that ended it; null when it came to its end. */
  error: unknown;
}

/** Runs deliveries through the sink as a run does: one block event at a time, each checkpoint saved and then published. */
export async function runSink(
  store: ObjectStore,
  history: readonly Transaction[],
  options: Partial<CloudStorageOptions> = {},
  {
    checkpointTs = 0n,
    clock,
    hasOrdinals = false,
    events = noSystemEvents,
  }: { checkpointTs?: bigint; clock?: Clock; hasOrdinals?: boolean; events?: SystemEvents } = {},
): Promise<SinkRun> {
  const progress = new Progress(checkpointTs);
  const context = createContext({ progress, events, ...(clock && { clock }) });
  const run: SinkRun = { reports: [], checkpointTs, error: null };
  let sink: OpenSink | null = null;
  try {
    sink = await cloudStorage({ store, protocol: 'canal-json', flushInterval: '10m', ...options }).open({ pipeline: 'world', context });
    await sink.claim({ source: 'world' }, { hasOrdinals });
    await writeAll(sink, deliveriesOf(history, checkpointTs), run, context);
    await sink.publishCheckpoint(progress.checkpointTs, true);
  } catch (error) {
    run.error = error;
  } finally {
    run.checkpointTs = progress.checkpointTs;
    await sink?.close();
  }
  return run;
}

async function writeAll(sink: OpenSink, deliveries: readonly Delivery[], run: SinkRun, { progress }: Context): Promise<void> {
  const running = new Subscription();
  try {
    await new Promise<void>((resolve, reject) => {
      const publish = (checkpointTs: bigint) => sink.publishCheckpoint(checkpointTs, false).catch(reject);
      running.add(progress.checkpoint$.pipe(filter((checkpointTs) => checkpointTs > 0n)).subscribe(publish));
      running.add(
        sink.write(pump(pulled(deliveries))).subscribe({ next: (report) => run.reports.push(report), error: reject, complete: resolve }),
      );
    });
  } finally {
    running.unsubscribe();
  }
}

/** What is there already, as a source that is pulled. */
export async function* pulled<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

/** Lets everything that is ready run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

/** A sink that is open and written to by hand. */
export interface OpenWorld {
  readonly sink: OpenSink;
  readonly context: Context;
  readonly reports: FlushReport[];
  /** What ended the writing: `null` while it goes on, `complete`, or the error. */
  end: unknown;
  /** Sends the events as one delivery. */
  send(...events: ChangeEvent[]): Delivery;
  deliver(delivery: Delivery): void;
  complete(): Promise<void>;
  close(): Promise<void>;
}

export async function openWorld(
  store: ObjectStore,
  options: Partial<CloudStorageOptions> = {},
  clock?: Clock,
  machine: SinkMachine = {},
  events: SystemEvents = noSystemEvents,
): Promise<OpenWorld> {
  const context = createContext({ events, ...(clock && { clock }) });
  const all = { store, protocol: 'canal-json', dateSeparator: 'none', ...options };
  const sink = await composeSink(all, SINK_OPERATORS, machine).open({ pipeline: 'world', context });
  await sink.claim({ source: 'world' });
  const deliveries = new Subject<Delivery>();
  const reports: FlushReport[] = [];
  const writing = sink.write(deliveries).subscribe({
    next: (report) => reports.push(report),
    error: (error: unknown) => {
      world.end = error;
    },
    complete: () => {
      world.end = 'complete';
    },
  });
  const world: OpenWorld = {
    sink,
    context,
    reports,
    end: null,
    send: (...events) => {
      const delivery = new Delivery(
        events,
        events.reduce((bytes, event) => bytes + bytesOf(event), 0),
      );
      deliveries.next(delivery);
      return delivery;
    },
    deliver: (delivery) => deliveries.next(delivery),
    complete: async () => {
      deliveries.complete();
      await settle();
    },
    close: async () => {
      writing.unsubscribe();
      await sink.close();
    },
  };
  return world;
}
