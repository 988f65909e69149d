import type { Clock } from '../../lib/flow/index.ts';
import type { Entry } from './entry.ts';
import type { EventInput } from './event.ts';
import { type Losses, type LossTally, lossEvent } from './losses.ts';

export interface LossSummaryParts {
  /** Null: never. */
  readonly everyMs: number | null;
  readonly table: string;
  readonly clock: Clock;
  readonly losses: Losses;
  /** Takes the event whatever the filter and the bounds say. Gives its number. */
  readonly record: (event: EventInput) => bigint;
}

/** The one event that a recorder records of itself (W14): what was lost, once a period while something is. There is one at a time. */
export class LossSummary {
  readonly #parts: LossSummaryParts;
  /** Recorded and not settled. */
  #pending: { readonly seq: bigint; readonly tally: LossTally } | null = null;
  #cancelTimer: (() => void) | null = null;
  #isOver = false;

  constructor(parts: LossSummaryParts) {
    this.#parts = parts;
  }

  /** There is a loss to be told: when the period is over. */
  arm(): void {
    const { everyMs, clock } = this.#parts;
    if (everyMs === null || this.#isOver || this.#cancelTimer !== null || this.#pending !== null) return;
    this.#cancelTimer = clock.after(everyMs, () => {
      this.#cancelTimer = null;
      this.#tell();
    });
  }

  /** What a summary told that was itself lost is to be told by the next. */
  settled(entries: readonly Entry[], isDelivered: boolean): void {
    const pending = this.#pending;
    if (pending === null || !entries.some(({ event }) => event.seq === pending.seq)) return;
    this.#pending = null;
    const { losses } = this.#parts;
    if (!isDelivered) losses.giveBack(pending.tally);
    if (!losses.isEmpty) this.arm();
  }

  /** Tells at once what was not told yet, and no more after that. */
  end(): void {
    this.#isOver = true;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#tell();
  }

  #tell(): void {
    const { everyMs, table, losses, record } = this.#parts;
    if (everyMs === null || losses.isEmpty || this.#pending !== null) return;
    const tally = losses.take();
    this.#pending = { seq: record(lossEvent(tally, table)), tally };
  }
}
