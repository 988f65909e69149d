import { IdleKeys } from '../../../operators/index.ts';

/**
 * Forgets what is kept by key once it has not been used for 24 hours (spec storage-sink §10). It is looked for when something is used, at most every 10 minutes,
 * and costs a step for each key that goes: however many others there are, they cost nothing, and there is no timer.
 */
export class IdleSweep {
  readonly #keys: IdleKeys;
  readonly #evict: (key: string) => void;
  #sweptMs = Number.NEGATIVE_INFINITY;

  /** What is kept by a key must be harmless to forget, and made anew where it is asked for; `isBusy`: not at this moment. */
  constructor(evict: (key: string) => void, isBusy?: (key: string) => boolean) {
    this.#keys = new IdleKeys(IDLE_MS, isBusy);
    this.#evict = evict;
  }

  /** The key is used now. */
  touch(key: string, nowMs: number): void {
    this.#keys.touch(key, nowMs);
    if (nowMs - this.#sweptMs < SWEEP_INTERVAL_MS) return;
    this.#sweptMs = nowMs;
    for (const { key: idle } of this.#keys.sweep(nowMs)) this.#evict(idle);
  }
}

const MINUTE_MS = 60_000;
const IDLE_MS = 24 * 60 * MINUTE_MS;
const SWEEP_INTERVAL_MS = 10 * MINUTE_MS;
