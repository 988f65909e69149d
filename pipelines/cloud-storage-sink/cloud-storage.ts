import { connect, filter, merge, Observable, type OperatorFunction, Subject } from 'rxjs';
import { type Delivery, type DmlEvent, type DrainMarker, isBlockEvent } from '../../lib/events/index.ts';
import { type Clock, systemClock } from '../../lib/flow/index.ts';
import { canalJson } from '../../lib/formats/canal-json.ts';
import { csv } from '../../lib/formats/csv.ts';
import type { RowEncoder } from '../../lib/formats/encoder.ts';
import { redactUrl } from '../../lib/redact.ts';
import type { FlushReport, OpenSink, Sink, SinkContext } from '../../lib/runtime/sink.ts';
import { Spool, type SpoolLimits, spoolFolder, spoolLimits } from '../../lib/spool/index.ts';
import { checkStoreUri, type Disk, openStore } from '../../lib/stores/index.ts';
import { drainMarkers, encodeOrdered, type Flush, flushBy, shardBy, splitKeyUpdates, trackProgress } from '../../operators/index.ts';
import { CleanUp } from './clean-up/clean-up-job.ts';
import { Drafts } from './files/drafts.ts';
import type { FlushQueue } from './files/flush-queue.ts';
import { writeFiles } from './files/write-files.ts';
import { measureDrains, meterCheckpoint, meterSpool } from './metrics.ts';
import { type CloudStorageOptions, parseOptions, type SinkSettings } from './options.ts';
import { Epoch } from './root/epoch.ts';
import { FencedStore } from './root/fenced-store.ts';
import { targetFormatOf } from './root/target-identity.ts';
import { TargetRoot } from './root/target-root.ts';
import { dropPublished } from './rows/drop-published.ts';
import { type EncodedRows, eventEncoder } from './rows/encoded-rows.ts';
import { SegmentPool } from './rows/segment-pool.ts';
import { type SpooledRows, spoolRows } from './rows/spool-rows.ts';
import { writableEvents } from './rows/writable-events.ts';
import { pathOptionsOf, type Target } from './target.ts';

/**
 * Writes changes to files on an object store, in the layout of TiCDC's cloud storage sink: row files, an index file that publishes them, schema
 * files, and a checkpoint (`metadata`).
 *
 * Rows are acked when their data file and index file are durable, so a crash loses nothing; it can write rows again, which readers recognise by their
 * positions. What is held in memory is bounded by `spool-memory` and what the source has in flight; what a slow store leaves beyond that waits on disk, in the
 * spool, up to `spool-disk-quota`.
 *
 * @throws MR_INVALID_OPTION, MR_UNKNOWN_OPTION, MR_INVALID_URI at once; the store's errors (MR_STORE_UNWRITABLE, …) when the run opens it.
 */
export function cloudStorage(options: CloudStorageOptions): Sink {
  return composeSink(options, SINK_OPERATORS);
}

/** @internal The operators of the sink. What stands here can be replaced: so tests show that they notice a broken one. */
export const SINK_OPERATORS = {
  dropPublished,
  splitKeyUpdates,
  trackProgress,
  drainMarkers,
  shardBy,
  encodeOrdered,
  spoolRows,
  flushBy,
  writeFiles,
};

/** @internal What stands in for parts of the machine, and for bounds that no option has. */
export interface SinkMachine {
  /** Where the spool is. */
  readonly disk?: Disk;
  readonly limits?: Partial<SpoolLimits>;
  /** `DraftParts.bytesMin`. */
  readonly draftBytesMin?: number;
}

/** @internal The sink, made of these operators. */
export function composeSink(options: CloudStorageOptions, operators: typeof SINK_OPERATORS, machine: SinkMachine = {}): Sink {
  const { settings, storeUri, notes, plain } = parseOptions(options);
  encoderOf(settings, () => 0);
  if (storeUri !== null) checkStoreUri(storeUri);
  const uri = redactUrl(storeUri ?? options.store!.uri);
  return Object.freeze({
    name: 'cloudStorage',
    options: Object.freeze({ uri, ...plain }),
    open: async ({ pipeline, context }: SinkContext): Promise<OpenSink> => {
      for (const note of notes) context.logger.warn({ sink: 'cloudStorage' }, note);
      const store = new FencedStore(options.store ?? (await openStore(storeUri!, context.clock)), pipeline);
      const ownsStore = options.store === undefined;
      const encoder = encoderOf(settings, () => context.clock.now());
      const segments = new SegmentPool(settings.spoolMemoryBytes);
      const failure = new Subject<never>();
      const { spoolMemoryBytes: memoryBytes, spoolDiskQuotaBytes: diskQuotaBytes, spoolBaseDir } = settings;
      // Where time is not real, or the store came from outside, it may all be a test in memory, which has no business with a real disk before it must.
      const isReal = ownsStore && context.clock === systemClock;
      let spool: Spool | null = null;
      const observer = meterSpool(context.metrics, () => spool?.status ?? null);
      try {
        spool = await Spool.open({
          folder: spoolFolder(pipeline, spoolBaseDir, uri),
          limits: { ...spoolLimits({ diskQuotaBytes, memoryBytes }), ...machine.limits },
          context,
          onFailure: (error) => failure.error(error),
          recycle: (pieces) => segments.release(pieces),
          observer,
          ...(machine.disk !== undefined && { disk: machine.disk }),
          takeFolder: isReal || machine.disk !== undefined ? 'open' : 'spill',
        });
      } catch (error) {
        if (ownsStore) await store.close();
        throw error;
      }
      const epoch = new Epoch({ store, clock: context.clock, events: context.events, isShared: settings.enableTableAcrossNodes });
      const target = {
        store,
        settings,
        paths: pathOptionsOf(settings),
        encoder,
        context,
        segments,
        spool,
        drafts: new Drafts({
          store,
          spool,
          encoder,
          filesMax: Math.min(2 * settings.workerCount, DRAFTS_MAX),
          ...(machine.draftBytesMin !== undefined && { bytesMin: machine.draftBytesMin }),
        }),
        epoch,
        seen: new Map<string, number>(),
        cleanUp: new CleanUp({ store, settings, context, epoch }),
      };
      const sink = new CloudStorage(target, operators, failure, ownsStore);
      try {
        await sink.openRoot();
      } catch (error) {
        await sink.close();
        throw error;
      }
      return sink;
    },
  });
}

class CloudStorage implements OpenSink {
  readonly #target: Target & { readonly store: FencedStore };
  readonly #operators: typeof SINK_OPERATORS;
  readonly #ownsStore: boolean;
  readonly #failure: Subject<never>;
  readonly #queues: FlushQueue[] = [];
  #root!: TargetRoot;
  /** Whether what the source sends again can be told from what is published. */
  #mayHaveReplay = false;

  constructor(
    target: Target & { readonly store: FencedStore },
    operators: typeof SINK_OPERATORS,
    failure: Subject<never>,
    ownsStore: boolean,
  ) {
    this.#target = target;
    this.#operators = operators;
    this.#failure = failure;
    this.#ownsStore = ownsStore;
  }

  async openRoot(): Promise<void> {
    const { store, settings, context, epoch } = this.#target;
    const onFailure = (error: unknown) => this.#failure.error(error);
    const format = targetFormatOf(settings);
    this.#root = await TargetRoot.open({ store, clock: context.clock, format, epoch, onFailure, measured: meterCheckpoint(context) });
  }

  get identity() {
    return this.#root.identity;
  }

  async claim(...[identity, { hasOrdinals = false } = {}]: Parameters<OpenSink['claim']>): Promise<void> {
    const isNew = await this.#root.claim(identity);
    this.#mayHaveReplay = hasOrdinals && !isNew;
    const { context, store, epoch, cleanUp } = this.#target;
    // What the run before removes until it is overtaken counts too.
    await cleanUp.open(this.#root);
    context.events.record('target_opened', () => ({ uri: redactUrl(store.uri), epoch: epoch.number, is_new: isNew }));
  }

  /** Architecture §2, "The life of a delivery": track → drain → encode → spool, which holds acks → gather → write. */
  write(deliveries: Observable<Delivery>): Observable<FlushReport> {
    const { settings, context } = this.#target;
    const { dropPublished, splitKeyUpdates, trackProgress, drainMarkers, writeFiles } = this.#operators;
    const track = (queue: FlushQueue) => this.#queues.push(queue);
    const items = deliveries.pipe(
      this.#mayHaveReplay ? dropPublished(this.#target, track).withContext(context) : (same) => same,
      settings.outputRawChangeEvent
        ? (same) => same
        : splitKeyUpdates({ keyless: hasOldImages(settings) ? 'keep' : 'split' }).withContext(context),
      trackProgress().withContext(context),
      drainMarkers().withContext(context),
      measureDrains(context),
      writableEvents(context.clock),
    );
    // A block event comes when its rows are durable, so it may pass by the stages that gather rows.
    const files = items.pipe(
      connect((shared) =>
        merge(
          shared.pipe(
            filter((event): event is DmlEvent | DrainMarker => !isBlockEvent(event)),
            gatherRows(this.#target, this.#operators),
          ),
          shared.pipe(filter(isBlockEvent)),
        ),
      ),
    );
    const reports = files.pipe(writeFiles(this.#target, track).withContext(context));
    return failWith(this.#failure, reports);
  }

  publishCheckpoint(checkpointTs: bigint, final: boolean): Promise<void> {
    this.#target.cleanUp.noteCheckpoint();
    return this.#root.publish(checkpointTs, final);
  }

  /**
   * Waits for files that had begun, so that none appears after it. What takes too long is not waited for: it can write nothing further, and what a store of this sink's
   * own has under way ends with it.
   */
  async close(): Promise<void> {
    const { store, spool, drafts, context, cleanUp } = this.#target;
    const patience = new AbortController();
    const cancel = context.clock.after(CLOSE_PATIENCE_MS, () => {
      store.shut();
      spool.close();
      patience.abort();
    });
    const inTime = (work: Promise<unknown> | undefined) => unlessAborted(patience.signal, work ?? Promise.resolve());
    const cleaned = cleanUp.close();
    for (const queue of this.#queues) queue.stop();
    const stopped = drafts.stop();
    await inTime(Promise.all(this.#queues.map((queue) => queue.idle())));
    await inTime(stopped);
    await inTime(drafts.close());
    await inTime(spool.close());
    await inTime(cleaned);
    store.shut();
    await inTime(this.#root?.close());
    cancel();
    if (this.#ownsStore) await store.close();
  }
}

/** Until `work` has ended, or `signal` is aborted. */
function unlessAborted(signal: AbortSignal, work: Promise<unknown>): Promise<unknown> {
  if (signal.aborted) return Promise.resolve();
  return Promise.race([work, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))]);
}

/** However many workers: each may have a file open. */
const DRAFTS_MAX = 64;
/** Less than a run waits for its parts to close. */
const CLOSE_PATIENCE_MS = 4000;

/** Rows encoded, in the spool's keeping and gathered into files to be; markers behind the rows before them. */
function gatherRows(
  { settings, encoder, context, segments, spool, drafts }: Target,
  { shardBy, encodeOrdered, spoolRows, flushBy }: typeof SINK_OPERATORS,
): OperatorFunction<DmlEvent | DrainMarker, Flush<SpooledRows> | DrainMarker> {
  // Encoders are synchronous, so one writer serves all shards.
  const encode = eventEncoder(encoder, segments);
  const shards = shardBy<DmlEvent | DrainMarker, EncodedRows | DrainMarker>(
    { shards: settings.workerCount, key: ({ dispatcher }) => dispatcher },
    () => encodeOrdered({ concurrency: 1, encode }),
  );
  const gather = flushBy<SpooledRows>({
    key: ({ table, dispatcher }) => `${dispatcher}/${table.version}`,
    intervalMs: settings.flushIntervalMs,
    bytes: settings.fileSizeBytes,
    isOversized: ({ entry }) => entry.isOversized,
    onGrown: (rows, bytes) => drafts.grown(rows, bytes),
  });
  return (source) => source.pipe(shards.withContext(context), spoolRows(spool).withContext(context), gather.withContext(context));
}

/** `source`, and the error of `failure` as soon as there is one. */
function failWith<T>(failure: Observable<never>, source: Observable<T>): Observable<T> {
  return new Observable((subscriber) => {
    subscriber.add(failure.subscribe({ error: (error: unknown) => subscriber.error(error) }));
    if (!subscriber.closed) subscriber.add(source.subscribe(subscriber));
  });
}

/** Whether a reader finds the row of an update by its old image where it has no key to go by. */
function hasOldImages({ protocol, csv: { outputOldValue } }: SinkSettings): boolean {
  return protocol !== 'csv' || outputOldValue;
}

function encoderOf(settings: SinkSettings, now: Clock['now']): RowEncoder {
  return settings.protocol === 'csv' ? csv({ ...settings.csv, terminator: settings.terminator }) : canalJson({ ...settings, now });
}
