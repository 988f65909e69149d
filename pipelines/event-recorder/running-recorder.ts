import { BehaviorSubject, type Observable } from 'rxjs';
import { reasonOf } from '../../lib/errors.ts';
import type { Context, Logger } from '../../lib/flow/index.ts';
import { scrubText } from '../../lib/redact.ts';
import { acceptEvent } from './accept-event.ts';
import { EventDelivery } from './delivery.ts';
import { entryOf } from './entry.ts';
import type { EventInput, EventTarget, RecordedEvent } from './event.ts';
import type { Settlement } from './handler-calls.ts';
import { type Intake, type IntakeParts, MemoryIntake } from './intake.ts';
import { Ledger } from './ledger.ts';
import { LossSummary } from './loss-summary.ts';
import { RECORDER_METRICS } from './metrics.ts';
import type { OverflowPolicy, RecorderLimits } from './options.ts';
import {
  type AcceptedOutcome,
  type CloseReport,
  type DropReason,
  type Outcome,
  REFUSALS,
  type RecorderHealth,
  type RecorderStatus,
  type RefusalReason,
  type RefusedOutcome,
} from './outcome.ts';
import { SpillIntake } from './spill-intake.ts';
import { Stamps } from './stamps.ts';

/** What `record` gives: with policy `block` a promise that resolves when there is room again. */
export type RecordResult<Policy extends OverflowPolicy> = Policy extends 'block' ? Promise<Outcome> : Outcome;

/** A recorder that runs. */
export interface EventRecorder<Policy extends OverflowPolicy = OverflowPolicy> extends EventTarget, AsyncDisposable {
  /** Takes an event, or says why not. Never throws, and never calls the handler (G3). The event is as it is now, whatever happens to its parts later (G4). */
  record(event: EventInput): RecordResult<Policy>;
  /** Whether events of this type are recorded at all. */
  wants(type: string): boolean;
  status(): RecorderStatus;
  /** The status now, and whenever events were settled, a call of the handler ended, or the recorder closed; completes then. */
  readonly status$: Observable<RecorderStatus>;
  /**
   * Resolves with true when whatever is accepted by now would survive a crash of this process: it is settled, or with policy `spill` on disk. With false when
   * the recorder was closed before, and some of it given up.
   */
  safe(): Promise<boolean>;
  /**
   * Takes nothing more, delivers what is pending, and resolves with what became of everything (G6): in time, or at the deadline with the rest given up, with
   * policy `spill` left on disk. A call of the handler that runs then is aborted and waited for as long as `abortGrace` says; its own `close` may take as long as a
   * call. Again: the same promise.
   *
   * @param deadlineMs default 10 000; 0 gives up at once.
   */
  close(deadlineMs?: number): Promise<CloseReport>;
}

/** @internal */
export async function openRecorder<Policy extends OverflowPolicy>(
  limits: RecorderLimits,
  context: Context,
  signal: AbortSignal | null,
): Promise<EventRecorder<Policy>> {
  const stamps = new Stamps(context.clock);
  const recorder = new RunningRecorder(limits, { ...context, logger: harmless(context.logger) }, stamps);
  await recorder.start(signal);
  return recorder as EventRecorder<OverflowPolicy> as EventRecorder<Policy>;
}

class RunningRecorder implements EventRecorder {
  readonly #limits: RecorderLimits;
  readonly #context: Context;
  readonly #stamps: Stamps;
  readonly #types: ReadonlySet<string> | null;
  readonly #ledger: Ledger;
  readonly #summary: LossSummary;
  readonly #delivery: EventDelivery;
  readonly #status$: BehaviorSubject<RecorderStatus>;
  #intake: Intake;
  #failuresInARow = 0;
  #lastError: string | null = null;
  #closing: Promise<CloseReport> | null = null;
  #isClosed = false;
  #giveUp: (reason: DropReason) => void = () => {};
  #forgetSignal = () => {};

  constructor(limits: RecorderLimits, context: Context, stamps: Stamps) {
    this.#limits = limits;
    this.#context = context;
    this.#stamps = stamps;
    this.#types = limits.eventTypes === null ? null : new Set(limits.eventTypes);
    this.#ledger = new Ledger({ name: limits.name, context, lossLogMs: limits.lossLogMs, onLoss: () => this.#summary.arm() });
    const { losses } = this.#ledger;
    const { lossSummaryMs: everyMs, lossTable: table } = limits;
    this.#summary = new LossSummary({ everyMs, table, clock: context.clock, losses, record: (event) => this.#force(event) });
    this.#intake = new MemoryIntake(this.#intakeParts);
    this.#delivery = new EventDelivery({
      limits,
      context,
      intake: { shift: () => this.#intake.shift(), isDrained: (underway) => this.#intake.pending === underway },
      onSettled: (settlement) => this.#settled(settlement),
      onCalled: (failure) => this.#called(failure),
    });
    this.#status$ = new BehaviorSubject(this.status());
    this.#watch();
  }

  async start(signal: AbortSignal | null): Promise<void> {
    const { spill } = this.#limits;
    if (spill !== null) {
      const { intake, lastSeq, replayed } = await SpillIntake.open(spill, this.#intakeParts);
      this.#intake = intake;
      this.#stamps.startBehind(lastSeq);
      this.#ledger.replayed(replayed);
      this.#delivery.wake();
    }
    if (signal === null) return;
    const abort = () => this.#abort();
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    // A signal may outlive many recorders.
    this.#forgetSignal = () => signal.removeEventListener('abort', abort);
  }

  get status$(): Observable<RecorderStatus> {
    return this.#status$.asObservable();
  }

  wants(type: string): boolean {
    return this.#types === null || this.#types.has(type);
  }

  record(input: EventInput): Outcome | Promise<Outcome> {
    const outcome = this.#record(input);
    return this.#limits.overflow === 'block' ? Promise.resolve(outcome) : outcome;
  }

  status(): RecorderStatus {
    const intake = this.#intake;
    const oldest = this.#delivery.oldest ?? intake.first;
    return {
      ...this.#ledger.tally(intake.pending),
      health: this.#health,
      queueEvents: intake.events,
      queueBytes: intake.bytes,
      inFlight: this.#delivery.inFlight,
      oldestAgeMs: oldest === undefined ? null : Math.max(0, this.#context.clock.now() - oldest.acceptedMs),
      spillBytes: intake.diskBytes,
      failures: this.#delivery.failures,
      failuresInARow: this.#failuresInARow,
      retries: this.#delivery.retries,
      lastError: this.#lastError,
    };
  }

  safe(): Promise<boolean> {
    // In the end, what close has given up decides.
    return this.#closing === null ? this.#intake.safe() : this.#closing.then(({ dropped }) => dropped.closed + dropped.aborted === 0);
  }

  close(deadlineMs = CLOSE_DEADLINE_MS): Promise<CloseReport> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #intakeParts(): IntakeParts {
    return {
      limits: this.#limits,
      context: this.#context,
      onReady: () => this.#delivery.wake(),
      onDropped: (entry) => {
        this.#ledger.dropped([entry], 'overflow');
        this.#summary.settled([entry], false);
      },
      onVanished: (count) => this.#ledger.vanished(count),
    };
  }

  get #health(): RecorderHealth {
    if (this.#isClosed) return 'closed';
    if (this.#closing !== null) return 'closing';
    return this.#failuresInARow > 0 ? 'failing' : 'ok';
  }

  #record(input: EventInput): Outcome | Promise<Outcome> {
    const nowMs = this.#context.clock.now();
    if (this.#closing !== null) return this.#refuse('closed', nowMs);
    if (this.#types !== null && !this.#isWanted(input)) return this.#refuse('filtered', nowMs);
    if (!this.#intake.hasRoom) return this.#refuse('overflow', nowMs);
    let event: RecordedEvent;
    try {
      event = acceptEvent(input, this.#stamps.next(nowMs));
    } catch (error) {
      this.#ledger.refused('invalid', nowMs);
      return Object.freeze({ accepted: false, reason: 'invalid', error: error as Error });
    }
    if (event.extraRows.length === 0) return this.#refuse('empty', nowMs);
    const offer = this.#intake.offer(entryOf(event, nowMs));
    if (offer === 'overflow' || offer === 'tooLarge') return this.#refuse(offer, nowMs);
    this.#stamps.take();
    this.#ledger.accepted();
    const outcome: AcceptedOutcome = { accepted: true, id: event.id, seq: event.seq };
    return offer === 'taken' ? outcome : offer.then(() => outcome);
  }

  #refuse(reason: RefusalReason, nowMs: number): RefusedOutcome {
    this.#ledger.refused(reason, nowMs);
    return REFUSED[reason];
  }

  /** What cannot be read is wanted: `acceptEvent` says what is wrong with it. */
  #isWanted(input: EventInput): boolean {
    try {
      return typeof input.type !== 'string' || this.wants(input.type);
    } catch {
      return true;
    }
  }

  #settled({ entries, fate, isKept }: Settlement): void {
    this.#intake.settled(entries);
    if (fate === 'delivered') this.#ledger.delivered(entries.length);
    else this.#ledger.dropped(entries, fate, isKept);
    this.#summary.settled(entries, fate === 'delivered');
    this.#status$.next(this.status());
  }

  #called(failure: { readonly error: unknown } | null): void {
    const { logger } = this.#context;
    const recorder = this.#limits.name;
    if (failure === null) {
      if (this.#failuresInARow > 0) logger.info({ recorder, failures: this.#failuresInARow }, 'events are delivered again');
      this.#failuresInARow = 0;
      this.#lastError = null;
    } else {
      this.#lastError = scrubText(reasonOf(failure.error));
      if (this.#failuresInARow++ === 0) logger.warn({ recorder, reason: this.#lastError }, 'events could not be delivered');
    }
    this.#status$.next(this.status());
  }

  /** Takes an event of the recorder's own. */
  #force(input: EventInput): bigint {
    const nowMs = this.#context.clock.now();
    const event = acceptEvent(input, this.#stamps.next(nowMs));
    this.#stamps.take();
    this.#ledger.accepted();
    this.#intake.force(entryOf(event, nowMs));
    return event.seq;
  }

  async #close(deadlineMs: number): Promise<CloseReport> {
    const { clock } = this.#context;
    this.#summary.end();
    const givenUp = new Promise<DropReason>((resolve) => {
      this.#giveUp = resolve;
    });
    const cancelDeadline = deadlineMs > 0 ? clock.after(deadlineMs, () => this.#giveUp('closed')) : () => {};
    if (deadlineMs <= 0) this.#giveUp('closed');
    const reason = await Promise.race([givenUp, this.#delivery.finish().then(() => null)]);
    cancelDeadline();
    const underway = reason === null ? [] : await this.#delivery.stop();
    await this.#intake.close(underway, (lost) => this.#ledger.dropped(lost, reason ?? 'closed'));
    await this.#delivery.close();
    this.#ledger.close();
    this.#forgetSignal();
    this.#isClosed = true;
    this.#status$.next(this.status());
    this.#status$.complete();
    return { ...this.#ledger.tally(this.#intake.pending), isComplete: reason === null };
  }

  #abort(): void {
    void this.close();
    this.#giveUp('aborted');
  }

  #watch(): void {
    const { metrics } = this.#context;
    const labels = { recorder: this.#limits.name };
    const watch = (definition: (typeof RECORDER_METRICS)['pending'], read: () => number | null) => metrics.watch(definition, labels, read);
    watch(RECORDER_METRICS.pending, () => this.#intake.pending);
    watch(RECORDER_METRICS.queueEvents, () => this.#intake.events);
    watch(RECORDER_METRICS.queueBytes, () => this.#intake.bytes);
    watch(RECORDER_METRICS.inFlight, () => this.#delivery.inFlight);
    watch(RECORDER_METRICS.spillBytes, () => this.#intake.diskBytes);
    watch(RECORDER_METRICS.oldestAge, () => {
      const { oldestAgeMs } = this.status();
      return oldestAgeMs === null ? 0 : oldestAgeMs / 1000;
    });
  }
}

const CLOSE_DEADLINE_MS = 10_000;

/** A logger that throws must not reach producers (G3), nor make a call look as if it had failed. */
function harmless(logger: Logger): Logger {
  const guarded = (level: keyof Logger) => (details: object, message: string) => {
    try {
      logger[level](details, message);
    } catch {
      // There is nobody to tell.
    }
  };
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn'), error: guarded('error') };
}

const REFUSED = Object.fromEntries(REFUSALS.map((reason) => [reason, Object.freeze({ accepted: false, reason })])) as Record<
  RefusalReason,
  RefusedOutcome
>;
