import { Observable } from 'rxjs';
import { link, type Operator, operator, requireNumber } from '../lib/flow/index.ts';

export interface EvictIdleOptions<T> {
  /** What state is kept by. */
  readonly key: (item: T) => string;
  /** Milliseconds without an item after which a key is evicted. */
  readonly ttlMs: number;
  /** Whether a key is still needed when its time is over, because something of it is under way: its time begins anew. Default: never. */
  readonly isBusy?: (key: string) => boolean;
}

/** No item of this key has come for its time: whoever keeps something by it lets go. */
export interface Evicted {
  readonly type: 'evicted';
  readonly key: string;
  /** Milliseconds since its last item. */
  readonly idleMs: number;
}

/**
 * Tells which keys have had no item for a while, so that what is kept by key is not kept for ever.
 *
 * In plain words: thousands of tables come and go; what nobody asks for any more is forgotten.
 *
 * ![evictIdle](../docs/operators/evict-idle.svg)
 *
 * Items pass. Before an item, an `Evicted` is emitted for each key whose last item is `ttlMs` old or older, the longest idle first, that of the item itself
 * included: it begins anew. The sweep is lazy: it costs a step for each evicted key and there is no timer, so nothing is evicted while nothing comes, and
 * nothing grows then either. A key that is busy is asked about again a `ttlMs` later. When the source ends, what is known of the keys is dropped without a word.
 *
 * @example
 * ```ts
 * import { clockOf, createContext } from 'millrace';
 * import { evictIdle } from 'millrace/operators';
 * import { Subject, VirtualTimeScheduler } from 'rxjs';
 *
 * let nowMs = 0;
 * const clock = { ...clockOf(new VirtualTimeScheduler()), now: () => nowMs };
 * const items = new Subject<{ table: string }>();
 * items.pipe(evictIdle<{ table: string }>({ key: ({ table }) => table, ttlMs: 60_000 }).withContext(createContext({ clock }))).subscribe((item) => {
 *   console.log('key' in item ? `forget ${item.key}` : item.table);
 * });
 *
 * items.next({ table: 'a' });
 * // → a
 * nowMs = 60_000;
 * items.next({ table: 'b' });
 * // → forget a
 * // → b
 * ```
 *
 * @returns an operator. `ttlMs` that is no positive whole number is MR_INVALID_OPTION, at once.
 * @see IdleKeys, the same for whoever keeps state outside of a stream.
 */
export function evictIdle<T extends object>({ key, ttlMs, isBusy }: EvictIdleOptions<T>): Operator<T, T | Evicted> {
  requireNumber('ttlMs', ttlMs, 1);
  return operator('evictIdle', { ttlMs }, ({ clock }) => (source) => {
    return new Observable<T | Evicted>((subscriber) => {
      const keys = new IdleKeys(ttlMs, isBusy);
      link(source, subscriber, {
        next: (item) => {
          const nowMs = clock.now();
          for (const evicted of keys.sweep(nowMs)) subscriber.next(evicted);
          keys.touch(key(item), nowMs);
          subscriber.next(item);
        },
      });
    });
  });
}

/** When each key was last used, and which ones are idle. All keys wait equally long, so they stand in the order in which they become idle. */
export class IdleKeys {
  readonly #ttlMs: number;
  readonly #isBusy: (key: string) => boolean;
  /** From the least recently touched to the most. */
  readonly #keys = new Map<string, { usedMs: number; touchedMs: number }>();
  /** Time never goes back here, whatever the wall clock does: else a key that is due could stand behind one that is not. */
  #nowMs = Number.NEGATIVE_INFINITY;

  constructor(ttlMs: number, isBusy: (key: string) => boolean = () => false) {
    this.#ttlMs = requireNumber('ttlMs', ttlMs, 1);
    this.#isBusy = isBusy;
  }

  /** How many keys are known. */
  get size(): number {
    return this.#keys.size;
  }

  /** The key is used now. */
  touch(key: string, nowMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    this.#keys.delete(key);
    this.#keys.set(key, { usedMs: this.#nowMs, touchedMs: this.#nowMs });
  }

  /** The key is not needed any more. */
  forget(key: string): void {
    this.#keys.delete(key);
  }

  /** Forgets the keys that are idle by now and not busy, the longest idle first. */
  sweep(nowMs: number): Evicted[] {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    const evicted: Evicted[] = [];
    for (const [key, state] of this.#keys) {
      if (state.touchedMs + this.#ttlMs > this.#nowMs) break;
      this.#keys.delete(key);
      if (this.#isBusy(key)) {
        // Behind the others: it is looked at again when its time is over once more.
        state.touchedMs = this.#nowMs;
        this.#keys.set(key, state);
      } else evicted.push({ type: 'evicted', key, idleMs: this.#nowMs - state.usedMs });
    }
    return evicted;
  }
}
