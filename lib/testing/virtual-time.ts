import { isMillraceError, MillraceError } from '../errors.ts';
import { type Context, createContext } from '../flow/index.ts';
import { RealTimerGuard } from './real-timer-guard.ts';
import { VirtualClock } from './virtual-clock.ts';

/** What a test in virtual time has at hand. */
export interface VirtualTime {
  /** Begins at 0. `await clock.sleep(ms)` and `await clock.advance(ms)` let time pass; so does awaiting whatever waits on this clock. */
  readonly clock: VirtualClock;
  /** A context on that clock, for operators and sinks that are tested without a pipeline. */
  readonly context: Context;
}

export interface VirtualTimeOptions {
  /** Of the clock's `random`. Default 1. */
  readonly seed?: number;
  /** The most virtual time that the test may take. Default one hour. */
  readonly maxMs?: number;
}

/**
 * Runs an asynchronous test in virtual time: whatever waits on the clock waits no time at all, and everything happens in the same order each time.
 *
 * In plain words: a flush interval of an hour costs nothing, and a promise works as anywhere else.
 *
 * ```ts
 * import { virtualTime } from 'millrace/testing';
 *
 * const tookMs = await virtualTime(async ({ clock }) => {
 *   await clock.sleep(3_500_000);
 *   return clock.now();
 * });
 * console.log(tookMs); // → 3500000
 * ```
 *
 * While it runs, `setTimeout`, `setInterval` and `AbortSignal.timeout` refuse: they would wait for real time. They are given back afterwards, also after
 * a failure. `Date.now` is left alone. Tests that share a process run one after another.
 *
 * @returns what `body` gives.
 * @throws MR_REAL_TIMER when a real timer was asked for, also where the error was caught on its way; MR_VIRTUAL_TIME_STALLED when `body` waits for something
 * that is not on the clock, or for longer than `maxMs`; MR_VIRTUAL_TIME_NESTED; the failure of a `testPipeline` that nobody has heard of.
 */
export async function virtualTime<T>(
  body: (time: VirtualTime) => Promise<T> | T,
  { seed = 1, maxMs = HOUR_MS }: VirtualTimeOptions = {},
): Promise<T> {
  const clock = new VirtualClock(seed);
  const guard = RealTimerGuard.install(() => clock.now());
  try {
    const test = Promise.resolve({ clock, context: createContext({ clock }) }).then(body);
    const result = await clock.until(Promise.race([test, guard.failed]), maxMs);
    guard.check();
    clock.end();
    return result;
  } catch (error) {
    guard.check();
    if (!isMillraceError(error, 'MR_VIRTUAL_TIME_STALLED')) throw error;
    // A run that has failed is why what the test waits for does not come.
    clock.end();
    const outside = guard.waitingOutside();
    if (outside.length === 0) throw error;
    const reason = `${error.details['reason']}, and outside of it wait ${outside.join(', ')}`;
    throw new MillraceError('MR_VIRTUAL_TIME_STALLED', { ...error.details, reason });
  } finally {
    guard.restore();
  }
}

const HOUR_MS = 3_600_000;
