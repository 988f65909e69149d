import { Observable } from 'rxjs';
import { MillraceError } from '../lib/errors.ts';
import { link, type Operator, operator, requireNumber } from '../lib/flow/index.ts';

export interface RetryOptions {
  /** Milliseconds before the first retry. Default 100. */
  readonly base?: number;
  /** By how much each delay exceeds the one before, at least 1. Default 2. */
  readonly factor?: number;
  /** Milliseconds that no delay exceeds, at least `base`. Default 30 000. */
  readonly cap?: number;
  /** Failures in a row after which it gives up. Default: never. */
  readonly retries?: number;
  /** Milliseconds from the first failure in a row behind which no retry begins: it gives up instead, at once. Default: none. */
  readonly deadline?: number;
  /** When that first failure was, in ms of the clock, where it came before; until there is a value. Default null: it is the first that this one hears of. */
  readonly failingSinceMs?: number | null;
  /** `full`: a random part of the delay, so that many do not retry at once. Default false. */
  readonly jitter?: false | 'full';
  /** Whether an error is worth a retry; asked once about each but the last. What it throws takes the place of the error. Default: every one is. */
  readonly retryable?: (error: unknown) => boolean;
}

/**
 * Subscribes again when the source fails, after a delay that grows.
 *
 * In plain words: try again, but ever less eagerly.
 *
 * ![retryBackoff](../docs/operators/retry-backoff.svg)
 *
 * The n-th retry in a row (from 0) waits for `base · factor^n` milliseconds, at most `cap`. A value starts the count anew. What was emitted before a failure
 * stays emitted: a source that begins anew repeats it, and `dedupeCommitTs` is for that. After `retries` failures in a row, where the
 * next retry would begin behind the `deadline`, and for an error that is not retryable, the error passes on as it is.
 *
 * @example
 * ```ts
 * import { retryBackoff } from 'millrace/operators';
 * import { defer, lastValueFrom, of } from 'rxjs';
 *
 * let attempts = 0;
 * const flaky = defer(() => {
 *   if (++attempts < 3) throw new Error('not yet');
 *   return of(`attempt ${attempts}`);
 * });
 *
 * console.log(await lastValueFrom(flaky.pipe(retryBackoff({ base: 10, retries: 5, jitter: 'full' }))));
 * // → attempt 3
 * ```
 *
 * @returns an operator. Options out of bounds are MR_INVALID_OPTION, at once.
 */
export function retryBackoff<T>({
  base = 100,
  factor = 2,
  cap = 30_000,
  retries = Number.POSITIVE_INFINITY,
  deadline = Number.POSITIVE_INFINITY,
  failingSinceMs = null,
  jitter = false,
  retryable = () => true,
}: RetryOptions = {}): Operator<T, T> {
  requireNumber('base', base, 1);
  requireNumber('factor', factor, 1, Number.MAX_SAFE_INTEGER, true);
  requireNumber('cap', cap, base);
  requireNumber('retries', retries, 0, Number.POSITIVE_INFINITY);
  requireNumber('deadline', deadline, 0, Number.POSITIVE_INFINITY);
  if (failingSinceMs !== null) requireNumber('failingSinceMs', failingSinceMs, 0, Number.MAX_SAFE_INTEGER, true);
  if (typeof retryable !== 'function')
    throw new MillraceError('MR_INVALID_OPTION', {
      option: 'retryable',
      value: String(retryable),
      bound: 'a function that says whether an error is worth a retry',
    });
  if (jitter !== false && jitter !== 'full')
    throw new MillraceError('MR_INVALID_OPTION', { option: 'jitter', value: String(jitter), bound: 'false or full' });
  return operator('retryBackoff', { base, factor, cap, retries, deadline, jitter }, ({ clock }) => (source) => {
    return new Observable((subscriber) => {
      let failures = 0;
      let firstFailureMs = failingSinceMs;
      let cancelTimer = () => {};
      const attempt = () =>
        link(source, subscriber, {
          next: (value) => {
            failures = 0;
            firstFailureMs = null;
            subscriber.next(value);
          },
          error: (error) => {
            if (failures >= retries || !retryable(error)) return subscriber.error(error);
            const nowMs = clock.now();
            firstFailureMs ??= nowMs;
            const fullMs = Math.min(cap, base * factor ** failures);
            const delayMs = jitter === 'full' ? fullMs * clock.random() : fullMs;
            if (nowMs + delayMs - firstFailureMs > deadline) return subscriber.error(error);
            failures++;
            cancelTimer = clock.after(delayMs, attempt);
          },
        });
      subscriber.add(() => cancelTimer());
      attempt();
    });
  });
}
