import { catchError, concat, concatMap, defer, EMPTY, from, map, Observable, of, type Subscriber, type Subscription, tap } from 'rxjs';
import { reasonOf } from '../../lib/errors.ts';
import { scrubText } from '../../lib/redact.ts';
import type { Flush, TypeGroup } from '../../operators/index.ts';
import { isSameSchema } from './column-schema.ts';
import type { Entry } from './entry.ts';
import { EventRejectedError } from './event.ts';
import { FailedCall, HandlerCalls, type HandlerCallsParts, type Settlement } from './handler-calls.ts';
import { attempts, batches, groups } from './operators.ts';

export interface DeliveryParts extends HandlerCallsParts {
  readonly intake: {
    shift(): Entry | undefined;
    /** Whether nothing is pending but what was shifted, so many. */
    isDrained(underway: number): boolean;
  };
  readonly onSettled: (settlement: Settlement) => void;
}

/**
 * Takes events from the intake and brings them to the handler: batch by batch, type by type, one call at a time (C5.7). Nothing is taken while a batch is on its
 * way, so that what comes meanwhile stays in the intake, where its bounds hold, and goes as one batch afterwards (W6, W8). Each group is settled by itself (W2).
 */
export class EventDelivery {
  readonly #parts: DeliveryParts;
  readonly #calls: HandlerCalls;
  /** Taken from the intake and not settled, the oldest first. */
  readonly #underway = new Set<Entry>();
  #subscription: Subscription | null = null;
  #subscriber: Subscriber<Entry> | null = null;
  /** Of the batch on its way, how many are not settled. */
  #inBatch = 0;
  #isScheduled = false;
  #isFinishing = false;
  #finished = () => {};

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    this.#calls = new HandlerCalls(parts);
    this.#start();
  }

  get inFlight(): number {
    return this.#inBatch;
  }

  get oldest(): Entry | undefined {
    return this.#underway.values().next().value;
  }

  get retries(): number {
    return this.#calls.retries;
  }

  get failures(): number {
    return this.#calls.failures;
  }

  /** There is something in the intake. Never runs the handler within the call: whoever records pays for nothing (G3). */
  wake(): void {
    if (this.#isScheduled || this.#inBatch > 0) return;
    this.#isScheduled = true;
    Promise.resolve().then(() => {
      this.#isScheduled = false;
      this.#take();
    });
  }

  /** Delivers what is pending, without lingering, and resolves when all of it is settled; nothing more may come. */
  finish(): Promise<void> {
    return new Promise((resolve) => {
      this.#finished = resolve;
      this.#isFinishing = true;
      this.wake();
    });
  }

  /** Ends at once: waits are cut short, the call that runs is aborted and waited for as long as the grace says. Gives what is not settled. */
  async stop(): Promise<readonly Entry[]> {
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    const settlement = await this.#calls.stop();
    if (settlement !== null) this.#settle(settlement);
    return [...this.#underway];
  }

  /** Nothing more comes. */
  close(): Promise<void> {
    return this.#calls.close();
  }

  #start(): void {
    const { limits, context } = this.#parts;
    const taken = new Observable<Entry>((subscriber) => {
      this.#subscriber = subscriber;
    });
    // What RxJS buffers here is one batch at most: the intake is not asked while one is on its way.
    const settlements = taken.pipe(
      batches(limits).withContext(context),
      tap((batch) => {
        this.#inBatch += (batch as Flush<Entry>).events.length;
      }),
      groups().withContext(context),
      concatMap((group) => this.#deliverGroup(group as TypeGroup<Entry>)),
    );
    this.#subscription = settlements.subscribe({
      next: (settlement) => this.#settle(settlement),
      error: (error: unknown) => this.#recover(error),
      complete: () => this.#finished(),
    });
  }

  /** A defect must not end the recorder silently (W10): what was on its way is lost and counted, the rest goes on. */
  #recover(error: unknown): void {
    const { limits, context } = this.#parts;
    context.logger.error({ recorder: limits.name, reason: scrubText(reasonOf(error)) }, 'the delivery of events failed and begins anew');
    this.#inBatch = 0;
    const entries = [...this.#underway];
    this.#start();
    if (entries.length > 0) this.#settle({ entries, fate: 'failed', isKept: false });
    this.wake();
  }

  #take(): void {
    const { intake } = this.#parts;
    // A batch that is complete is on its way before the next event is asked for.
    while (this.#inBatch === 0 && this.#subscription !== null) {
      const entry = intake.shift();
      if (entry === undefined) break;
      this.#underway.add(entry);
      this.#subscriber?.next(entry);
    }
    if (this.#isFinishing && this.#inBatch === 0 && intake.isDrained(this.#underway.size)) this.#subscriber?.complete();
  }

  #settle(settlement: Settlement): void {
    for (const entry of settlement.entries) this.#underway.delete(entry);
    this.#inBatch = Math.max(0, this.#inBatch - settlement.entries.length);
    this.#parts.onSettled(settlement);
    this.wake();
  }

  #deliverGroup({ events }: TypeGroup<Entry>): Observable<Settlement> {
    // Several runs where a producer changes its extra columns: their order holds, and no call sees two schemas.
    return concat(...runsOf(events).map((run) => defer(() => this.#deliver(run))));
  }

  /** @param failingSinceMs since when they fail, in a larger group; the deadline of their retries runs from there. */
  #deliver(entries: readonly Entry[], failingSinceMs: number | null = null): Observable<Settlement> {
    const { limits, context } = this.#parts;
    const { clock } = context;
    let attempt = 0;
    let sinceMs = failingSinceMs;
    const failed = () => {
      sinceMs ??= clock.now();
    };
    return defer(() => from(this.#calls.deliver(entries, ++attempt))).pipe(
      map((): Settlement => ({ entries, fate: 'delivered', isKept: false })),
      tap({ error: failed }),
      attempts(limits, failingSinceMs).withContext(context),
      catchError((error) => this.#giveUp(entries, error, sinceMs)),
    );
  }

  /** The last retry failed, or the target refuses: of several of which one may be to blame, halves find out which (W5). */
  #giveUp(entries: readonly Entry[], failure: unknown, sinceMs: number | null): Observable<Settlement> {
    // A defect of ours is nothing that the events could be blamed for.
    if (!(failure instanceof FailedCall)) throw failure;
    const { reason: error, mayPass } = failure;
    if (mayPass) return this.#bury(entries, 'exhausted', error);
    const named = new Set(error instanceof EventRejectedError ? (error.eventIds ?? []) : []);
    const bad = entries.length === 1 ? entries : entries.filter(({ event }) => named.has(event.id));
    if (bad.length > 0) {
      const rest = entries.filter((entry) => !bad.includes(entry));
      return concat(this.#bury(bad, 'rejected', error), rest.length === 0 ? EMPTY : defer(() => this.#deliver(rest, sinceMs)));
    }
    const half = entries.length >> 1;
    return concat(
      defer(() => this.#deliver(entries.slice(0, half), sinceMs)),
      defer(() => this.#deliver(entries.slice(half), sinceMs)),
    );
  }

  #bury(entries: readonly Entry[], fate: 'rejected' | 'exhausted', error: unknown): Observable<Settlement> {
    if (fate === 'exhausted' && this.#parts.limits.whenExhausted !== 'deadLetter') return of({ entries, fate, isKept: false });
    return defer(() => this.#calls.bury(entries, fate, error)).pipe(map((isKept) => ({ entries, fate, isKept })));
  }
}

/** Neighbours of one schema together. */
function runsOf(entries: readonly Entry[]): (readonly Entry[])[] {
  const runs: Entry[][] = [];
  for (const entry of entries) {
    const run = runs.at(-1);
    if (run !== undefined && isSameSchema(run[0]!.event.extraSchema, entry.event.extraSchema)) run.push(entry);
    else runs.push([entry]);
  }
  return runs;
}
