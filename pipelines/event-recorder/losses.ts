import type { EventInput } from './event.ts';
import type { DropReason, RefusalReason } from './outcome.ts';

/** Why an event never reached the target, as a loss summary tells it. */
export type LossReason = Exclude<RefusalReason, 'filtered' | 'empty'> | DropReason;

/** How many were lost for one reason, and between when: ms since 1970 UTC. */
export interface Loss {
  readonly count: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** What was lost since the last summary. */
export type LossTally = ReadonlyMap<LossReason, Loss>;

/** The type of the event that tells what was lost; it is recorded whatever `eventTypes` says. */
export const EVENTS_LOST = 'events_lost';

/** Gathers losses until somebody takes them. */
export class Losses {
  #tally = new Map<LossReason, Loss>();

  get isEmpty(): boolean {
    return this.#tally.size === 0;
  }

  add(reason: LossReason, count: number, fromMs: number, toMs: number): void {
    const known = this.#tally.get(reason);
    if (known === undefined) this.#tally.set(reason, { count, fromMs, toMs });
    else {
      this.#tally.set(reason, {
        count: known.count + count,
        fromMs: Math.min(known.fromMs, fromMs),
        toMs: Math.max(known.toMs, toMs),
      });
    }
  }

  take(): LossTally {
    const tally = this.#tally;
    this.#tally = new Map();
    return tally;
  }

  /** A summary was itself lost: what it told is to be told by the next. */
  giveBack(tally: LossTally): void {
    for (const [reason, { count, fromMs, toMs }] of tally) this.add(reason, count, fromMs, toMs);
  }
}

/** The event: `{ n, from, to, reasons: [{ reason, n, from, to }] }`. */
export function lossEvent(tally: LossTally, table: string): EventInput {
  const told = ({ count, fromMs, toMs }: Loss) => ({ n: count, from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() });
  const all = [...tally.values()].reduce((sum, loss) => ({
    count: sum.count + loss.count,
    fromMs: Math.min(sum.fromMs, loss.fromMs),
    toMs: Math.max(sum.toMs, loss.toMs),
  }));
  return {
    type: EVENTS_LOST,
    table,
    payload: {
      ...told(all),
      reasons: [...tally].sort(([a], [b]) => (a < b ? -1 : 1)).map(([reason, loss]) => ({ reason, ...told(loss) })),
    },
  };
}
