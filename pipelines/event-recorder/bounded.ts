import type { Clock } from '../../lib/flow/index.ts';

export interface BoundedParts {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** How long a call is waited for whose signal was aborted. */
  readonly graceMs: number;
  /** Ends the call before its time. */
  readonly stop: AbortSignal;
  /** Why it failed, when its time was over. */
  readonly late: () => Error;
}

/**
 * Makes a call that may throw, or never settle. When its time is over its signal is aborted; what it does within the grace still counts, so that a call that
 * succeeds late is no failure, and the next one does not run beside it.
 */
export function bounded<T>(call: (signal: AbortSignal) => Promise<T>, { clock, timeoutMs, graceMs, stop, late }: BoundedParts): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = new AbortController();
    let reason: unknown = null;
    let isOver = false;
    const end = (why: unknown) => {
      if (abort.signal.aborted || isOver) return;
      reason = why;
      cancel();
      cancel = clock.after(graceMs, () => settle(() => reject(why)));
      abort.abort(why);
    };
    const stopped = () => end(stop.reason);
    const settle = (act: () => void) => {
      if (isOver) return;
      isOver = true;
      cancel();
      stop.removeEventListener('abort', stopped);
      act();
    };
    let cancel = clock.after(timeoutMs, () => end(late()));
    stop.addEventListener('abort', stopped, { once: true });
    (async () => call(abort.signal))().then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(reason ?? error)),
    );
    if (stop.aborted) stopped();
  });
}
