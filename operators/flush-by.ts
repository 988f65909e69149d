import { Observable } from 'rxjs';
import { ALL_DISPATCHERS, type DispatcherId, type DrainMarker } from '../lib/events/index.ts';
import { type Clock, link, type Operator, operator, requireNumber } from '../lib/flow/index.ts';
import type { FlushReason } from '../lib/runtime/sink.ts';

/** What can be gathered: an item of a dispatcher, with its size in bytes. */
export interface Batchable {
  readonly type?: string;
  readonly dispatcher: DispatcherId;
  readonly bytes: number;
}

export interface FlushByOptions<T> {
  /** Items of one key are gathered in one batch; a key is of one table version. */
  readonly key: (item: T) => string;
  /** Milliseconds from the first item of a batch until it is emitted. */
  readonly intervalMs: number;
  /** Since when an item waits, in ms of the clock, where it waited elsewhere before; never less than of the item before. Default: since it came. */
  readonly since?: (item: T) => number;
  /** A batch is emitted when it reaches this many bytes; it may exceed them by one item. */
  readonly bytes: number;
  /** … or this many items. Default: no bound. */
  readonly count?: number;
  /** Everything is emitted when the context's gauge rises above this many bytes, a batch at once when one item has more. Default: no bound. */
  readonly quota?: number;
  /** Whether an item's batch is emitted at once. Default: when the item has more bytes than `quota`. */
  readonly isOversized?: (item: T) => boolean;
  /** Hears of a batch that has grown, and may grow more: its items so far, in the array that is emitted when it is due, and their bytes. */
  readonly onGrown?: (items: readonly T[], bytes: number) => void;
}

/** Items of one key, in order. */
export interface Flush<T> {
  readonly key: string;
  readonly events: T[];
  readonly bytes: number;
  readonly reason: FlushReason;
}

/**
 * Gathers items by key and emits each key's batch when it is large enough, or old enough, or has to go.
 *
 * In plain words: rows become files, neither too small nor too late.
 *
 * ![flushBy](../docs/operators/flush-by.svg)
 *
 * | reason | when | what |
 * |---|---|---|
 * | `size` | the batch has reached `bytes` or `count` | that batch |
 * | `interval` | its first item has waited for `intervalMs` | that batch |
 * | `barrier` | a drain marker | what its dispatcher has (everything, for a marker of all), then the marker itself |
 * | `quota` | the context's gauge has risen above `quota`, or is pressed by whoever fills it | everything, here and in the other shards of the run; once for each rise |
 * | `oversized` | one item is larger than `quota`, or `isOversized` | its batch |
 * | `close` | the source ends or fails | everything, then the end or the error |
 *
 * Nothing is lost on completion or error (spec storage-sink §1). Unsubscribing drops what is pending, un-acked. Order holds inside a key; batches of
 * different keys are emitted in the order in which they were begun. There is one timer, however many keys, and none while nothing is pending. What is
 * pending is bounded by `quota`, and by the watermark before it.
 *
 * @example
 * ```ts
 * import { dispatcherOfTable } from 'millrace';
 * import { flushBy } from 'millrace/operators';
 * import { from } from 'rxjs';
 *
 * const dispatcher = dispatcherOfTable('example', 1);
 * const rows = [30, 50, 20].map((bytes) => ({ dispatcher, bytes }));
 *
 * from(rows)
 *   .pipe(flushBy({ key: (row) => row.dispatcher, intervalMs: 5_000, bytes: 64 }))
 *   .subscribe((flush) => {
 *     if ('key' in flush) console.log(`${flush.bytes} bytes by ${flush.reason}`);
 *   });
 * // → 80 bytes by size
 * // → 20 bytes by close
 * ```
 *
 * @returns an operator. Bounds that are no positive whole numbers are MR_INVALID_OPTION, at once.
 * @see watermarkBackpressure, which fills the gauge; drainMarkers, which makes the markers.
 */
export function flushBy<T extends Batchable>(options: FlushByOptions<T>): Operator<T | DrainMarker, Flush<T> | DrainMarker> {
  const { key: _key, since: _since, isOversized: _isOversized, onGrown: _onGrown, ...plain } = options;
  for (const [option, value] of Object.entries(plain)) if (value !== undefined) requireNumber(option, value, 1);
  return operator('flushBy', plain, ({ clock, gauge }) => (source) => {
    return new Observable<Flush<T> | DrainMarker>((subscriber) => {
      const { quota = Number.POSITIVE_INFINITY } = options;
      const batches = new Batches<T>(options, clock, (flush) => subscriber.next(flush));
      let isOverQuota = false;
      subscriber.add(() => batches.stop());
      subscriber.add(
        gauge.onPressure(() => {
          isOverQuota = true;
          batches.flush('quota');
        }),
      );
      subscriber.add(
        gauge.onRelease(() => {
          if (gauge.level <= quota) isOverQuota = false;
        }),
      );
      const add = (item: T) => {
        batches.add(item);
        if (!isOverQuota && gauge.level > quota && item.bytes <= quota) gauge.press();
      };
      link(source, subscriber, {
        next: (item) => {
          if (!isMarker<T>(item)) return add(item);
          batches.flush('barrier', item.dispatcher);
          subscriber.next(item);
        },
        error: (error: unknown) => {
          batches.flush('close');
          subscriber.error(error);
        },
        complete: () => {
          batches.flush('close');
          subscriber.complete();
        },
      });
    });
  });
}

function isMarker<T extends Batchable>(item: T | DrainMarker): item is DrainMarker {
  return 'type' in item && item.type === 'marker';
}

interface Batch<T> {
  readonly key: string;
  readonly dueAtMs: number;
  readonly dispatchers: Set<DispatcherId>;
  readonly events: T[];
  bytes: number;
}

/** What is pending, in the order in which the batches were begun: since all wait equally long, the first is the next one due. */
class Batches<T extends Batchable> {
  readonly #options: FlushByOptions<T>;
  readonly #clock: Clock;
  readonly #emit: (flush: Flush<T>) => void;
  readonly #pending = new Map<string, Batch<T>>();
  #cancelTimer: (() => void) | null = null;

  constructor(options: FlushByOptions<T>, clock: Clock, emit: (flush: Flush<T>) => void) {
    this.#options = options;
    this.#clock = clock;
    this.#emit = emit;
  }

  add(item: T): void {
    const { key, bytes, count = Number.POSITIVE_INFINITY, quota = Number.POSITIVE_INFINITY, isOversized, onGrown } = this.#options;
    const name = key(item);
    const batch = this.#pending.get(name) ?? this.#begin(name, item);
    batch.events.push(item);
    batch.bytes += item.bytes;
    batch.dispatchers.add(item.dispatcher);
    if (isOversized === undefined ? item.bytes > quota : isOversized(item)) this.#flush(batch, 'oversized');
    else if (batch.bytes >= bytes || batch.events.length >= count) this.#flush(batch, 'size');
    else onGrown?.(batch.events, batch.bytes);
  }

  /** Emits everything pending, or what `dispatcher` has. */
  flush(reason: FlushReason, dispatcher: DispatcherId = ALL_DISPATCHERS): void {
    for (const batch of [...this.#pending.values()]) {
      if (dispatcher === ALL_DISPATCHERS || batch.dispatchers.has(dispatcher)) this.#flush(batch, reason);
    }
  }

  stop(): void {
    this.#pending.clear();
    this.#disarm();
  }

  #begin(key: string, first: T): Batch<T> {
    const sinceMs = this.#options.since?.(first) ?? this.#clock.now();
    const batch: Batch<T> = { key, dueAtMs: sinceMs + this.#options.intervalMs, dispatchers: new Set(), events: [], bytes: 0 };
    this.#pending.set(key, batch);
    this.#arm(this.#clock.now());
    return batch;
  }

  #flush(batch: Batch<T>, reason: FlushReason): void {
    // An emission may have flushed it meanwhile: downstream can cause items and markers to arrive.
    if (this.#pending.get(batch.key) !== batch) return;
    this.#pending.delete(batch.key);
    if (this.#pending.size === 0) this.#disarm();
    this.#emit({ key: batch.key, events: batch.events, bytes: batch.bytes, reason });
  }

  #arm(nowMs: number): void {
    if (this.#cancelTimer !== null) return;
    const [next] = this.#pending.values();
    if (next === undefined) return;
    // At most one interval, also when the wall clock was set back.
    const delayMs = Math.min(Math.max(0, next.dueAtMs - nowMs), this.#options.intervalMs);
    this.#cancelTimer = this.#clock.after(delayMs, () => this.#flushDue(next.dueAtMs));
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #flushDue(dueAtMs: number): void {
    this.#cancelTimer = null;
    const nowMs = Math.max(this.#clock.now(), dueAtMs);
    for (const batch of [...this.#pending.values()]) {
      if (batch.dueAtMs > nowMs) break;
      this.#flush(batch, 'interval');
    }
    this.#arm(nowMs);
  }
}
