import type { Clock } from '../../lib/flow/index.ts';
import type { EventStamp } from './accept-event.ts';

/**
 * Number, identity and time of events, given at accept (W3).
 *
 * Numbers ascend from the time of the start, in ms shifted by 16 bits, so that they ascend over restarts too where the clock was not set back; an identity is a number behind what no other process
 * has drawn. Times are those of the clock, which counts ms; events of one ms are one ns apart, so that an order by time is that of accepting while the clock is not set back.
 */
export class Stamps implements EventStamp {
  readonly #prefix: string;
  #seq: bigint;
  #ms = Number.NEGATIVE_INFINITY;
  #ns = 0n;

  constructor(clock: Clock) {
    const nowMs = Math.max(0, Math.floor(clock.now()));
    const drawn = () => Math.floor(clock.random() * 2 ** 48).toString(36);
    this.#prefix = `${nowMs.toString(36)}-${drawn()}${drawn()}-`;
    this.#seq = BigInt(nowMs) << 16n;
  }

  /** Numbers are above this one. */
  startBehind(seq: bigint): void {
    if (seq > this.#seq) this.#seq = seq;
  }

  /** The stamp of the next event: that of whichever is taken first, for reading one may run code that records another. */
  next(nowMs: number): EventStamp {
    if (nowMs !== this.#ms) {
      this.#ms = nowMs;
      this.#ns = BigInt(Math.floor(nowMs * 1000)) * 1000n;
    }
    return this;
  }

  get id(): string {
    return this.#prefix + this.seq.toString(36);
  }

  get seq(): bigint {
    return this.#seq + 1n;
  }

  get timestampNs(): bigint {
    return this.#ns;
  }

  take(): void {
    this.#seq++;
    this.#ns++;
  }
}
