import { connect, filter, merge, Observable, type OperatorFunction, Subject } from 'rxjs';
import {
  type BlockEvent,
  type Delivery,
  type DispatcherId,
  type DmlEvent,
  type DrainMarker,
  drainMarker,
  isBlockEvent,
  isDataEvent,
  tableOf,
} from '../../lib/events/index.ts';
import type { Clock } from '../../lib/flow/index.ts';
import { canalJson } from '../../lib/formats/canal-json.ts';
import { csv } from '../../lib/formats/csv.ts';
import type { RowEncoder } from '../../lib/formats/encoder.ts';
import { redactUrl } from '../../lib/redact.ts';
import type { FlushReport, OpenSink, Sink, SinkContext } from '../../lib/runtime/sink.ts';
import { checkStoreUri, openStore } from '../../lib/stores/index.ts';
import {
  drainMarkers,
  encodeOrdered,
  type Flush,
  flushBy,
  shardBy,
  splitKeyUpdates,
  trackProgress,
  watermarkBackpressure,
} from '../../operators/index.ts';
import { type EncodedRows, eventEncoder } from './encoded-rows.ts';
import { FencedStore } from './fenced-store.ts';
import type { FlushQueue } from './flush-queue.ts';
import { measureDrains } from './metrics.ts';
import { type CloudStorageOptions, parseOptions, type SinkSettings } from './options.ts';
import { SegmentPool } from './segment-pool.ts';
import { pathOptionsOf, type Target } from './target.ts';
import { targetFormatOf } from './target-identity.ts';
import { TargetRoot } from './target-root.ts';
import { writeFiles } from './write-files.ts';

/**
 * Writes changes to files on an object store, in the layout of TiCDC's cloud storage sink: row files, an index file that publishes them, schema
 * files, and a checkpoint (`metadata`).
 *
 * Rows are acked when their data file and index file are durable, so a crash loses nothing; it can write rows again, which readers recognise by their
 * positions. What is held in memory is bounded by `memory-quota` and what the source has in flight.
 *
 * @throws MR_INVALID_OPTION, MR_UNKNOWN_OPTION, MR_INVALID_URI at once; the store's errors (MR_STORE_UNWRITABLE, …) when the run opens it.
 */
export function cloudStorage(options: CloudStorageOptions): Sink {
  return composeSink(options, SINK_OPERATORS);
}

/** @internal The operators of the sink. What stands here can be replaced: so tests show that they notice a broken one. */
export const SINK_OPERATORS = {
  splitKeyUpdates,
  trackProgress,
  drainMarkers,
  shardBy,
  encodeOrdered,
  watermarkBackpressure,
  flushBy,
  writeFiles,
};

/** @internal The sink, made of these operators. */
export function composeSink(options: CloudStorageOptions, operators: typeof SINK_OPERATORS): Sink {
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
      const encoder = encoderOf(settings, () => context.clock.now());
      const segments = new SegmentPool(watermarksOf(settings).high);
      const sink = new CloudStorage(
        { store, settings, paths: pathOptionsOf(settings), encoder, context, segments },
        operators,
        options.store === undefined,
      );
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
  readonly #failure = new Subject<never>();
  readonly #queues: FlushQueue[] = [];
  #root!: TargetRoot;

  constructor(target: Target & { readonly store: FencedStore }, operators: typeof SINK_OPERATORS, ownsStore: boolean) {
    this.#target = target;
    this.#operators = operators;
    this.#ownsStore = ownsStore;
  }

  async openRoot(): Promise<void> {
    const { store, settings, context } = this.#target;
    const onFailure = (error: unknown) => this.#failure.error(error);
    this.#root = await TargetRoot.open({ store, clock: context.clock, format: targetFormatOf(settings), onFailure });
  }

  get identity() {
    return this.#root.identity;
  }

  claim(identity: Parameters<OpenSink['claim']>[0]): Promise<void> {
    return this.#root.claim(identity);
  }

  /** Architecture §2, "The life of a delivery": track → drain → encode → hold acks above the watermark → gather → write. */
  write(deliveries: Observable<Delivery>): Observable<FlushReport> {
    const { settings, context } = this.#target;
    const { splitKeyUpdates, trackProgress, drainMarkers, writeFiles } = this.#operators;
    const items = deliveries.pipe(
      settings.outputRawChangeEvent
        ? (same) => same
        : splitKeyUpdates({ keyless: hasOldImages(settings) ? 'keep' : 'split' }).withContext(context),
      trackProgress().withContext(context),
      drainMarkers().withContext(context),
      measureDrains(context),
      writableEvents(),
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
    const reports = files.pipe(
      writeFiles(this.#target, watermarksOf(settings).low, (queue) => this.#queues.push(queue)).withContext(context),
    );
    return failWith(this.#failure, reports);
  }

  publishCheckpoint(checkpointTs: bigint, final: boolean): Promise<void> {
    return this.#root.publish(checkpointTs, final);
  }

  /** Waits for files that had begun, so that none appears after it. One that takes too long is broken off: the run does not wait for ever. */
  async close(): Promise<void> {
    const { store, context } = this.#target;
    const cancel = context.clock.after(CLOSE_PATIENCE_MS, () => store.shut());
    for (const queue of this.#queues) {
      queue.stop();
      await queue.idle();
    }
    cancel();
    store.shut();
    await this.#root?.close();
    if (this.#ownsStore) await store.close();
  }
}

/** Less than a run waits for its parts to close. */
const CLOSE_PATIENCE_MS = 4000;

/** Rows encoded, accepted within the memory quota and gathered into files to be; markers behind the rows before them. */
function gatherRows(
  { settings, encoder, context, segments }: Target,
  { shardBy, encodeOrdered, watermarkBackpressure, flushBy }: typeof SINK_OPERATORS,
): OperatorFunction<DmlEvent | DrainMarker, Flush<EncodedRows> | DrainMarker> {
  const { high, low } = watermarksOf(settings);
  // Encoders are synchronous, so one writer serves all shards.
  const encode = eventEncoder(encoder, segments);
  const shards = shardBy<DmlEvent | DrainMarker, EncodedRows | DrainMarker>(
    { shards: settings.workerCount, key: ({ dispatcher }) => dispatcher },
    () => encodeOrdered({ concurrency: 1, encode }),
  );
  const gather = flushBy<EncodedRows>({
    key: ({ table, dispatcher }) => `${dispatcher}/${table.version}`,
    intervalMs: settings.flushIntervalMs,
    bytes: settings.fileSizeBytes,
    quota: high,
  });
  return (source) =>
    source.pipe(
      shards.withContext(context),
      watermarkBackpressure<EncodedRows>({ high, low }).withContext(context),
      gather.withContext(context),
    );
}

/**
 * What is written of each delivery, event by event: rows, markers and block events. Where a stage drops schema changes, a table's version changes between
 * two blocks of rows: a marker then does what the schema change would have done, so that no version is written before the rows of an earlier one.
 */
function writableEvents(): OperatorFunction<Delivery, DmlEvent | DrainMarker | BlockEvent> {
  return (source) =>
    new Observable((subscriber) => {
      const versions = new Map<DispatcherId, bigint>();
      return source.subscribe({
        next: ({ events }) => {
          for (const event of events) {
            if (isDataEvent(event)) {
              const { version } = tableOf(event);
              const before = versions.get(event.dispatcher);
              if (before !== version) versions.set(event.dispatcher, version);
              if (event.type === 'dml' && before !== undefined && before !== version) subscriber.next(drainMarker(event.dispatcher));
            }
            if (event.type === 'dml' || event.type === 'marker' || isBlockEvent(event)) subscriber.next(event);
          }
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
    });
}

/** `source`, and the error of `failure` as soon as there is one. */
function failWith<T>(failure: Observable<never>, source: Observable<T>): Observable<T> {
  return new Observable((subscriber) => {
    subscriber.add(failure.subscribe({ error: (error: unknown) => subscriber.error(error) }));
    if (!subscriber.closed) subscriber.add(source.subscribe(subscriber));
  });
}

/** Where enqueue acks are held, and where they run again (spec storage-sink §2.2). */
function watermarksOf({ memoryQuotaBytes }: SinkSettings): { high: number; low: number } {
  return { high: Math.floor(memoryQuotaBytes * 0.8), low: Math.floor(memoryQuotaBytes * 0.6) };
}

/** Whether a reader finds the row of an update by its old image where it has no key to go by. */
function hasOldImages({ protocol, csv: { outputOldValue } }: SinkSettings): boolean {
  return protocol !== 'csv' || outputOldValue;
}

function encoderOf(settings: SinkSettings, now: Clock['now']): RowEncoder {
  return settings.protocol === 'csv' ? csv({ ...settings.csv, terminator: settings.terminator }) : canalJson({ ...settings, now });
}
