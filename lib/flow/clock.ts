import { asyncScheduler, type SchedulerLike } from 'rxjs';

/** Time, passed in: everything that waits asks a clock, so that tests can run on a virtual one. */
export interface Clock {
  readonly scheduler: SchedulerLike;
  /** Milliseconds since 1970 UTC; virtual time starts at 0. */
  now(): number;
  /** Calls `fn` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, fn: () => void): () => void;
  /** Resolves after `delayMs`, or at once when `signal` is aborted. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export function clockOf(scheduler: SchedulerLike): Clock {
  const after = (delayMs: number, fn: () => void) => {
    const action = scheduler.schedule(fn, delayMs);
    return () => action.unsubscribe();
  };
  return {
    scheduler,
    now: () => scheduler.now(),
    after,
    sleep: (delayMs, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const done = () => {
          cancel();
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const cancel = after(delayMs, done);
        signal?.addEventListener('abort', done, { once: true });
      }),
  };
}

/** The one clock that is real: wall time and Node's timers. */
export const systemClock: Clock = clockOf(asyncScheduler);

/** The one source of randomness that is real: numbers in [0, 1). Whatever uses it takes it as an option, so that tests can pass their own. */
export const systemRandom: () => number = Math.random;
