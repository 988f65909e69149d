import { tap } from 'rxjs';
import { isMillraceError } from '../../lib/errors.ts';
import type { DdlEvent, Delivery, TruncateEvent } from '../../lib/events/index.ts';
import {
  type Clock,
  COMPONENT_METRICS,
  type Context,
  type Counter,
  exponentialBuckets,
  type Histogram,
  type MetricDefinition,
  type Metrics,
} from '../../lib/flow/index.ts';
import type { FlushReason, FlushReport } from '../../lib/runtime/sink.ts';
import type { SpoolObserver, SpoolStatus } from '../../lib/spool/index.ts';
import type { Flush } from '../../operators/index.ts';
import type { SpooledRows } from './rows/spool-rows.ts';

/** Names, kinds and bounds of spec storage-sink §8. */
export const SINK_METRICS = {
  flushBytes: histogram('flush_bytes', 'Bytes of one data file.', exponentialBuckets(1024, 2, 20)),
  flushDuration: histogram(
    'flush_duration_seconds',
    'How long writing one data file took, with its sidecar and its index file.',
    exponentialBuckets(0.001, 2, 15),
  ),
  ddlFlushDmlDuration: histogram(
    'ddl_flush_dml_duration_seconds',
    'How long a schema change, a TRUNCATE or a syncpoint waited until the rows before it were durable.',
    exponentialBuckets(0.001, 2, 16),
  ),
  workerBusy: {
    ...counter('worker_busy_ratio', 'Seconds in which this place for writing was busy; its rate is the ratio.'),
    labels: ['id'],
  } as MetricDefinition<'id'>,
  flushTotal: { ...counter('flush_total', 'Data files written, by what made them due.'), labels: ['reason'] } as MetricDefinition<'reason'>,
} as const;

/** What spec storage-sink §8 calls generic, as far as no other metric says it. */
export const GENERIC_SINK_METRICS = {
  batchRows: { ...generic('histogram', 'sink_batch_row_count', 'Rows of one data file.'), buckets: exponentialBuckets(1, 2, 21) },
  executionErrors: {
    ...generic(
      'counter',
      'sink_execution_error_total',
      'Writes that failed, by what was written: rows (`dml`), a change of a schema (`ddl`), `metadata` (`checkpoint`). Each ends the run.',
    ),
    labels: ['event_type'],
  } as MetricDefinition<'event_type'>,
  ddlDuration: {
    ...generic(
      'histogram',
      'sink_ddl_exec_duration_seconds',
      'How long writing the schema file of a change took, by the type of the change; `_count` is how many there were.',
    ),
    labels: ['type'],
    buckets: exponentialBuckets(0.001, 2, 16),
  } as MetricDefinition<'type'>,
  checkpointDuration: {
    ...generic(
      'histogram',
      'sink_checkpoint_ts_message_duration_seconds',
      'How long writing the checkpoint at the target (`metadata`) took; `_count` is how often it was written.',
    ),
    buckets: exponentialBuckets(0.001, 2, 16),
  },
} as const;

/** Those of the spool. */
export const SPOOL_METRICS = {
  memoryBytes: gauge('spool_memory_bytes', 'Bytes of entries in memory, as the quota counts them.'),
  diskBytes: gauge(
    'spool_disk_bytes',
    'Bytes of entries that are not in memory: on disk, or written to the target already and not due there.',
  ),
  pendingPostEnqueue: gauge('pending_post_enqueue', 'Enqueue acks that are held, so that the source is not woken.'),
  diskQuotaWait: histogram(
    'spool_disk_quota_wait_duration_seconds',
    'How long an entry waited for room on the disk.',
    exponentialBuckets(0.001, 2, 16),
  ),
  diskQuotaWaiters: gauge('spool_disk_quota_waiters', 'Entries that wait for room on the disk.'),
  loadBytes: histogram('load_bytes', 'Bytes that one read brought back from the disk.', exponentialBuckets(1024, 2, 20)),
  rotateTotal: counter('rotate_total', 'Files of the spool begun.'),
  segmentCount: gauge('spool_segment_count', 'Files of the spool.'),
} as const;

/** What the writing end of the sink counts. */
export class WriteMeter {
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #flushBytes: Histogram;
  readonly #flushDuration: Histogram;
  readonly #batchRows: Histogram;
  readonly #failures: Readonly<Record<'dml' | 'ddl', Counter>>;
  readonly #flushes: Readonly<Record<FlushReason, Counter>>;
  readonly #discarded: { readonly events: Counter; readonly rows: Counter; readonly bytes: Counter };
  readonly #places: Place[] = [];

  constructor({ metrics, clock }: Pick<Context, 'metrics' | 'clock'>) {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#flushBytes = metrics.histogram(SINK_METRICS.flushBytes, {});
    this.#flushDuration = metrics.histogram(SINK_METRICS.flushDuration, {});
    this.#batchRows = metrics.histogram(GENERIC_SINK_METRICS.batchRows, {});
    this.#failures = { dml: failuresOf(metrics, 'dml'), ddl: failuresOf(metrics, 'ddl') };
    const flushes = (reason: FlushReason) => metrics.counter(SINK_METRICS.flushTotal, { reason });
    this.#flushes = {
      size: flushes('size'),
      interval: flushes('interval'),
      barrier: flushes('barrier'),
      quota: flushes('quota'),
      oversized: flushes('oversized'),
      close: flushes('close'),
    };
    const labels = { kind: 'sink', stage: 'cloudStorage' };
    this.#discarded = {
      events: metrics.counter(COMPONENT_METRICS.eventsDiscarded, labels),
      rows: metrics.counter(COMPONENT_METRICS.rowsDiscarded, labels),
      bytes: metrics.counter(COMPONENT_METRICS.bytesDiscarded, labels),
    };
  }

  /** Rows that are not to be written any more. */
  discarded({ events, bytes }: Flush<SpooledRows>): void {
    this.#discarded.events.add(events.length);
    this.#discarded.rows.add(events.reduce((sum, { rows }) => sum + rows, 0));
    this.#discarded.bytes.add(bytes);
  }

  /** A data file is durable, of whose writing data and index took this long. */
  wrote({ rows, bytes, reason }: FlushReport, durationMs: number): void {
    this.#batchRows.observe(rows);
    this.#flushBytes.observe(bytes);
    this.#flushDuration.observe(durationMs / 1000);
    this.#flushes[reason].add(1);
  }

  /** The schema file of a change is durable, the writing of which took this long. */
  wroteSchema(event: DdlEvent | TruncateEvent, durationMs: number): void {
    const type = event.type === 'truncate' ? 'truncate table' : (DDL_TYPES.get(event.action) ?? 'other');
    this.#metrics.histogram(GENERIC_SINK_METRICS.ddlDuration, { type }).observe(durationMs / 1000);
  }

  /** Writing such events failed, and ends the run. */
  failed(events: 'dml' | 'ddl'): void {
    this.#failures[events].add(1);
  }

  /** `job`, counted as work of the first place that is free. */
  async busy(job: () => Promise<void>): Promise<void> {
    const place = this.#places.find(({ sinceMs }) => sinceMs === null) ?? this.#newPlace();
    place.sinceMs = this.#clock.now();
    try {
      await job();
    } finally {
      place.busyMs += Math.max(0, this.#clock.now() - place.sinceMs);
      place.sinceMs = null;
    }
  }

  #newPlace(): Place {
    const place: Place = { busyMs: 0, sinceMs: null };
    const id = String(this.#places.push(place) - 1);
    this.#metrics.watch(SINK_METRICS.workerBusy, { id }, () => {
      const { busyMs, sinceMs } = place;
      return (busyMs + (sinceMs === null ? 0 : Math.max(0, this.#clock.now() - sinceMs))) / 1000;
    });
    return place;
  }
}

function failuresOf(metrics: Metrics, events: 'dml' | 'ddl' | 'checkpoint'): Counter {
  return metrics.counter(GENERIC_SINK_METRICS.executionErrors, { event_type: events });
}

/** Measures each write of the checkpoint at the target: `write` resolves to whether it wrote. */
export function meterCheckpoint({ metrics, clock }: Pick<Context, 'metrics' | 'clock'>): (write: () => Promise<boolean>) => Promise<void> {
  const durations = metrics.histogram(GENERIC_SINK_METRICS.checkpointDuration, {});
  const failures = failuresOf(metrics, 'checkpoint');
  return async (write) => {
    const startedMs = clock.now();
    try {
      if (await write()) durations.observe(Math.max(0, clock.now() - startedMs) / 1000);
    } catch (error) {
      // That the store is shut when the run has ended is none.
      if (!isMillraceError(error, 'MR_STOPPED')) failures.add(1);
      throw error;
    }
  };
}

/** Measures what a block event waits for: stands behind `drainMarkers`. */
export function measureDrains({ metrics, clock, events }: Pick<Context, 'metrics' | 'clock' | 'events'>) {
  const durations = metrics.histogram(SINK_METRICS.ddlFlushDmlDuration, {});
  return tap<Delivery>(({ events: [event] }) => {
    if (event?.type !== 'marker') return;
    const startedMs = clock.now();
    const draining = events.slow('drain', () => ({ dispatcher: event.dispatcher }));
    event.ack.addPostFlush(() => {
      durations.observe(Math.max(0, clock.now() - startedMs) / 1000);
      draining.end();
    });
  });
}

/**
 * Tells of a spool: `status` is asked when somebody looks. What it returns is given to the spool as its observer.
 *
 * @param status null as long as there is no spool.
 */
export function meterSpool(metrics: Metrics, status: () => SpoolStatus | null): Required<SpoolObserver> {
  const watch = (definition: MetricDefinition<never>, read: (status: SpoolStatus) => number) =>
    metrics.watch(definition, {}, () => {
      const now = status();
      return now === null ? null : read(now);
    });
  watch(SPOOL_METRICS.memoryBytes, ({ memoryBytes }) => memoryBytes);
  watch(SPOOL_METRICS.diskBytes, ({ diskBytes }) => diskBytes);
  watch(SPOOL_METRICS.pendingPostEnqueue, ({ heldAcks }) => heldAcks);
  watch(SPOOL_METRICS.diskQuotaWaiters, ({ waiting }) => waiting);
  watch(SPOOL_METRICS.rotateTotal, ({ rotations }) => rotations);
  watch(SPOOL_METRICS.segmentCount, ({ segments }) => segments);
  const loads = metrics.histogram(SPOOL_METRICS.loadBytes, {});
  const waits = metrics.histogram(SPOOL_METRICS.diskQuotaWait, {});
  return { loaded: (bytes) => loads.observe(bytes), waited: (ms) => waits.observe(ms / 1000) };
}

/** TiDB's names of the changes that schema files have codes for; those that a source here makes. */
const DDL_TYPES: ReadonlyMap<number, string> = new Map([
  [0, 'none'],
  [3, 'create table'],
  [4, 'drop table'],
  [5, 'add column'],
  [6, 'drop column'],
  [11, 'truncate table'],
  [12, 'modify column'],
  [14, 'rename table'],
]);

interface Place {
  busyMs: number;
  /** Since when it works; null while it does not. */
  sinceMs: number | null;
}

function histogram(name: string, help: string, buckets: readonly number[]): MetricDefinition<never> {
  return { name: `cloud_storage_${name}`, kind: 'histogram', labels: [], help, buckets };
}

function generic(kind: 'histogram' | 'counter', name: string, help: string): MetricDefinition<never> {
  return { name, kind, labels: [], help };
}

function gauge(name: string, help: string): MetricDefinition<never> {
  return { name: `cloud_storage_${name}`, kind: 'gauge', labels: [], help };
}

function counter(name: string, help: string): MetricDefinition<never> {
  return { name: `cloud_storage_${name}`, kind: 'counter', labels: [], help };
}
