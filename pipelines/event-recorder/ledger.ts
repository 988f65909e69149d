import type { Context, Counter } from '../../lib/flow/index.ts';
import type { Entry } from './entry.ts';
import { EVENTS_LOST, Losses, type LossReason } from './losses.ts';
import { RECORDER_METRICS } from './metrics.ts';
import { DROPS, type DropReason, REFUSALS, type RefusalReason, type Tally } from './outcome.ts';

export interface LedgerParts {
  readonly name: string;
  readonly context: Pick<Context, 'clock' | 'logger' | 'metrics'>;
  readonly lossLogMs: number;
  /** Hears that there is a loss to be told. */
  readonly onLoss: () => void;
}

/** Counts what becomes of events, each exactly once, and tells losses: in the log at most so often (C5.35), and to whoever writes summaries. */
export class Ledger {
  readonly losses = new Losses();
  readonly #parts: LedgerParts;
  readonly #accepted: Counter;
  readonly #delivered: Counter;
  readonly #deadLettered: Counter;
  readonly #refused: Readonly<Record<RefusalReason, Counter>>;
  readonly #dropped: Readonly<Record<DropReason, Counter>>;
  /** These count this recorder alone: metrics may be shared by two that follow one another. */
  readonly #tally = { recorded: 0, replayed: 0, accepted: 0, delivered: 0, deadLettered: 0 };
  readonly #refusals = zeroes(REFUSALS);
  readonly #drops = zeroes(DROPS);
  #loggedMs = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(parts: LedgerParts) {
    const { metrics } = parts.context;
    const recorder = parts.name;
    this.#parts = parts;
    this.#accepted = metrics.counter(RECORDER_METRICS.accepted, { recorder });
    this.#delivered = metrics.counter(RECORDER_METRICS.delivered, { recorder });
    this.#deadLettered = metrics.counter(RECORDER_METRICS.deadLettered, { recorder });
    this.#refused = byReason(REFUSALS, (reason) => metrics.counter(RECORDER_METRICS.refused, { recorder, reason }));
    this.#dropped = byReason(DROPS, (reason) => metrics.counter(RECORDER_METRICS.dropped, { recorder, reason }));
  }

  accepted(): void {
    this.#tally.recorded++;
    this.#tally.accepted++;
    this.#accepted.add(1);
  }

  replayed(count: number): void {
    this.#tally.replayed += count;
    this.#tally.accepted += count;
    this.#accepted.add(count);
  }

  refused(reason: RefusalReason, nowMs: number): void {
    this.#tally.recorded++;
    this.#refusals[reason]++;
    this.#refused[reason].add(1);
    if (reason !== 'filtered' && reason !== 'empty') this.#lost(reason, 1, nowMs, nowMs, nowMs, false);
  }

  delivered(count: number): void {
    this.#tally.delivered += count;
    this.#delivered.add(count);
  }

  /** @param isKept whether they are dead letters. */
  dropped(entries: readonly Entry[], reason: DropReason, isKept = false): void {
    this.#drops[reason] += entries.length;
    this.#dropped[reason].add(entries.length);
    if (isKept) {
      this.#tally.deadLettered += entries.length;
      this.#deadLettered.add(entries.length);
    }
    const nowMs = this.#parts.context.clock.now();
    let count = 0;
    let [fromMs, toMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const { event, acceptedMs } of entries) {
      // A summary is no loss of its own (W14); what it told is told by the next.
      if (event.type === EVENTS_LOST) continue;
      count++;
      fromMs = Math.min(fromMs, acceptedMs);
      toMs = Math.max(toMs, acceptedMs);
    }
    if (count > 0) this.#lost(reason, count, fromMs, toMs, nowMs, isKept);
  }

  /** Events in the spill that the disk has lost. */
  vanished(count: number): void {
    this.#drops.failed += count;
    this.#dropped.failed.add(count);
    const nowMs = this.#parts.context.clock.now();
    this.#lost('failed', count, nowMs, nowMs, nowMs, false);
  }

  /** @param pending counted by whoever holds them: that it adds up is not assumed here. */
  tally(pending: number): Tally {
    return { ...this.#tally, pending, dropped: { ...this.#drops }, refused: { ...this.#refusals } };
  }

  /** Logs what has not been told for want of time. */
  close(): void {
    if (this.#unlogged > 0) this.#log('later', {});
  }

  #lost(reason: LossReason, count: number, fromMs: number, toMs: number, nowMs: number, isKept: boolean): void {
    this.losses.add(reason, count, fromMs, toMs);
    this.#unlogged += count;
    if (nowMs - this.#loggedMs >= this.#parts.lossLogMs || nowMs < this.#loggedMs) {
      this.#loggedMs = nowMs;
      this.#log(reason, isKept ? { deadLettered: count } : {});
    }
    this.#parts.onLoss();
  }

  #log(reason: string, more: object): void {
    const { name, context } = this.#parts;
    context.logger.warn({ recorder: name, reason, events: this.#unlogged, ...more }, 'events were lost');
    this.#unlogged = 0;
  }
}

function zeroes<Reason extends string>(reasons: readonly Reason[]): Record<Reason, number> {
  return byReason(reasons, () => 0);
}

function byReason<Reason extends string, Value>(reasons: readonly Reason[], make: (reason: Reason) => Value): Record<Reason, Value> {
  return Object.fromEntries(reasons.map((reason) => [reason, make(reason)])) as Record<Reason, Value>;
}
