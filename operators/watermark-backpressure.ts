import { Observable } from 'rxjs';
import { MillraceError } from '../lib/errors.ts';
import type { DrainMarker, TwoStageAck } from '../lib/events/index.ts';
import { link, type Operator, operator, Ring, requireNumber } from '../lib/flow/index.ts';

export interface WatermarkOptions {
  /** Bytes above which enqueue acks are held. */
  readonly high: number;
  /** Bytes at or below which they run; less than `high`. */
  readonly low: number;
}

/** What can be held back: an item with its size in bytes and its acks. */
export interface Weighed {
  readonly type?: string;
  readonly bytes: number;
  readonly ack: TwoStageAck;
}

/**
 * Accepts items within a bound: acks their enqueueing, and stops doing so while too much is unflushed.
 *
 * In plain words: nothing is refused, but above the high mark the source is not woken, so it sends no more.
 *
 * ![watermarkBackpressure](../docs/operators/watermark-backpressure.svg)
 *
 * Items pass at once and are added to the context's gauge; whoever makes them durable releases them there. Above `high` the item's enqueue ack is held;
 * when a release brings the level to `low` or below, all held acks run, oldest first. Sticky between: once holding, every later ack is held too (I4), also
 * below `high` (spec storage-sink §2.5). A flush ack of a held item still wakes its own source (§3). What is held is an ack for each unflushed item, so
 * `high` and what the pump has in flight bound it. Drain markers pass untouched.
 *
 * @example
 * ```ts
 * import { createContext, TwoStageAck } from 'millrace';
 * import { watermarkBackpressure } from 'millrace/operators';
 * import { concat, NEVER } from 'rxjs';
 *
 * const context = createContext();
 * const items = ['a', 'b'].map((name) => {
 *   const ack = new TwoStageAck();
 *   ack.addPostEnqueue(() => console.log(`${name} is accepted`)); // wakes the source
 *   return { name, bytes: 60, ack };
 * });
 *
 * concat(items, NEVER)
 *   .pipe(watermarkBackpressure({ high: 100, low: 50 }).withContext(context))
 *   .subscribe();
 * // → a is accepted
 * context.gauge.release(70); // 50 bytes are left
 * // → b is accepted
 * ```
 *
 * @returns an operator. `high` and `low` out of bounds are MR_INVALID_OPTION, at once.
 */
export function watermarkBackpressure<T extends Weighed>({ high, low }: WatermarkOptions): Operator<T | DrainMarker, T | DrainMarker> {
  requireNumber('high', high, 1);
  requireNumber('low', low, 0);
  if (low >= high) throw new MillraceError('MR_INVALID_OPTION', { option: 'low', value: low, bound: `below high, which is ${high}` });
  return operator('watermarkBackpressure', { high, low }, ({ gauge }) => (source) => {
    return new Observable<T | DrainMarker>((subscriber) => {
      const held = new Ring<TwoStageAck>();
      let isHolding = false;
      subscriber.add(
        gauge.onRelease(() => {
          if (!isHolding || gauge.level > low) return;
          isHolding = false;
          for (let left = held.length; left > 0; left--) held.shift()?.postEnqueue();
        }),
      );
      link(source, subscriber, {
        next: (item) => {
          if (isMarker(item)) return subscriber.next(item);
          gauge.add(item.bytes);
          if (gauge.level > high) isHolding = true;
          const isHeld = isHolding;
          if (isHeld) held.push(item.ack);
          subscriber.next(item);
          if (!isHeld) item.ack.postEnqueue();
        },
      });
    });
  });
}

function isMarker<T extends Weighed>(item: T | DrainMarker): item is DrainMarker {
  return 'type' in item && item.type === 'marker';
}
