import type { Clock } from '../flow/index.ts';

/** How a request that failed for a passing reason is repeated: after a random part ("full jitter") of base × 2^attempt, at most the cap. */
export interface RetryPolicy {
  readonly clock: Clock;
  /** Repetitions after the first attempt. */
  readonly retries: number;
  readonly baseMs: number;
  readonly capMs: number;
  /** Ends the waiting: the last failure is then thrown. */
  readonly signal: AbortSignal;
}

/** Runs `attempt` until it succeeds, fails for good, or has been repeated `retries` times; then throws its last failure. */
export async function retryTransient<T>(
  attempt: (attempts: number) => Promise<T>,
  isTransient: (error: unknown) => boolean,
  { clock, retries, baseMs, capMs, signal }: RetryPolicy,
): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt(attempts);
    } catch (error) {
      if (attempts > retries || signal.aborted || !isTransient(error)) throw error;
      await clock.sleep(Math.floor(clock.random() * (Math.min(capMs, baseMs * 2 ** (attempts - 1)) + 1)), signal);
      if (signal.aborted) throw error;
    }
  }
}
