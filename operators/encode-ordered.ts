import { Observable } from 'rxjs';
import { link, type Operator, operator, Ring, requireNumber } from '../lib/flow/index.ts';

export interface EncodeOptions<T, R> {
  /** How many items may be started and not yet emitted: 1 … 1024. */
  readonly concurrency: number;
  /** Called once for each item, in order. A result that is no promise costs none. */
  readonly encode: (item: T) => R | Promise<R>;
}

/**
 * Encodes items in parallel and emits the results in the order of the items.
 *
 * In plain words: many hands, one queue.
 *
 * ![encodeOrdered](../docs/operators/encode-ordered.svg)
 *
 * At most `concurrency` items are started and not yet emitted; the others wait un-started, bounded by what stands before (the pump's bytes in flight). An item
 * that fails fails the stream in its turn, when everything before it is out. An error of the source ends it at once. Promises of an unsubscribed stream are
 * left to themselves; nothing more is started.
 *
 * @example
 * ```ts
 * import { encodeOrdered } from 'millrace/operators';
 * import { from } from 'rxjs';
 *
 * const encode = async (text: string) => Buffer.from(text).toString('base64');
 *
 * await from(['one', 'two', 'three'])
 *   .pipe(encodeOrdered({ concurrency: 2, encode }))
 *   .forEach((line) => console.log(line)); // in the order of the texts, whichever is ready first
 * // → b25l
 * // → dHdv
 * // → dGhyZWU=
 * ```
 *
 * @returns an operator. A concurrency out of bounds is MR_INVALID_OPTION, at once.
 */
export function encodeOrdered<T, R>({ concurrency, encode }: EncodeOptions<T, R>): Operator<T, R> {
  requireNumber('concurrency', concurrency, 1, 1024);
  return operator('encodeOrdered', { concurrency }, () => (source) => {
    return new Observable((subscriber) => {
      const waiting = new Ring<T>();
      const started = new Ring<Slot>();
      let isSourceDone = false;
      let isRunning = false;
      const run = () => {
        // An emission can make an item arrive: the outermost call goes on with it.
        if (isRunning) return;
        isRunning = true;
        while (!subscriber.closed && (emitNext() || startNext()));
        isRunning = false;
        if (isSourceDone && started.length === 0 && waiting.length === 0) subscriber.complete();
      };
      const emitNext = () => {
        const slot = started.peek();
        if (slot === undefined || slot.state === 'running') return false;
        started.shift();
        if (slot.state === 'done') subscriber.next(slot.value as R);
        else subscriber.error(slot.value);
        return true;
      };
      const startNext = () => {
        if (waiting.length === 0 || started.length >= concurrency) return false;
        started.push(start(encode, waiting.shift() as T, run));
        return true;
      };
      subscriber.add(() => {
        waiting.clear();
        started.clear();
      });
      link(source, subscriber, {
        next: (item) => {
          waiting.push(item);
          run();
        },
        complete: () => {
          isSourceDone = true;
          run();
        },
      });
    });
  });
}

/** An item that was started; `value` is its result, or what it failed with. */
interface Slot {
  state: 'running' | 'done' | 'failed';
  value: unknown;
}

function start<T, R>(encode: (item: T) => R | Promise<R>, item: T, onSettled: () => void): Slot {
  const slot: Slot = { state: 'running', value: undefined };
  const settle = (state: 'done' | 'failed', value: unknown) => {
    slot.state = state;
    slot.value = value;
  };
  try {
    const result = encode(item);
    if (!isPromise(result)) settle('done', result);
    else {
      result.then(
        (value) => {
          settle('done', value);
          onSettled();
        },
        (error: unknown) => {
          settle('failed', error);
          onSettled();
        },
      );
    }
  } catch (error) {
    settle('failed', error);
  }
  return slot;
}

function isPromise<R>(result: R | Promise<R>): result is Promise<R> {
  return typeof result === 'object' && result !== null && 'then' in result && typeof result.then === 'function';
}
