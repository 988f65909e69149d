import { asyncScheduler, type SchedulerLike } from 'rxjs';

/** Time and chance, passed in: everything that waits or draws lots asks a clock, so that tests can run on a virtual one. */
export interface Clock {
  readonly scheduler: SchedulerLike;
  /** Milliseconds since 1970 UTC; virtual time starts at 0. */
  now(): number;
  /** Calls `fn` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, fn: () => void): () => void;
  /** Resolves after `delayMs`, or at once when `signal` is aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** A number from 0 up to 1. */
  random(): number;
}

/** A clock that waits with an RxJS scheduler. `random` gives numbers from 0 up to 1; default: the real ones. */
export function clockOf(scheduler: SchedulerLike, random: () => number = Math.random): Clock {
  const after = (delayMs: number, fn: () => void): (() => void) => {
    if (delayMs <= TIMER_MAX_MS) {
      const action = scheduler.schedule(fn, delayMs);
      return () => action.unsubscribe();
    }
    let cancel = after(TIMER_MAX_MS, () => {
      cancel = after(delayMs - TIMER_MAX_MS, fn);
    });
    return () => cancel();
  };
  return {
    scheduler,
    now: () => scheduler.now(),
    after,
    sleep: (delayMs, signal) => sleepWith(after, delayMs, signal),
    random,
  };
}

/** Whole milliseconds since then, none if the clock was set back. */
export function elapsedMs(clock: Pick<Clock, 'now'>, sinceMs: number): number {
  return Math.max(0, Math.round(clock.now() - sinceMs));
}

/** `Clock.sleep`, from `Clock.after`. */
export function sleepWith(after: Clock['after'], delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    // A scheduler may run it at once.
    let cancel = () => {};
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    signal?.addEventListener('abort', done, { once: true });
    cancel = after(delayMs, done);
  });
}

/** Node's timers count no further (24.8 days) and fire a longer delay at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The one clock that is real: wall time, Node's timers and true chance. */
export const systemClock: Clock = clockOf(asyncScheduler);
