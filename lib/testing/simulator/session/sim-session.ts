import { map } from 'rxjs';
import { type ChangeEvent, Delivery, type DispatcherId, isBlockEvent, resolvedEvent } from '../../../events/index.ts';
import { type Clock, operator, type Sessions, type Stage } from '../../../flow/index.ts';
import type { OpenSource, Source, SourceContext } from '../../../sources/source.ts';
import type { Ground } from '../ground.ts';
import type { SimEventService } from './event-service.ts';
import { SessionChannel, type SimSessionFaults } from './session-channel.ts';

export interface SimSessionOptions {
  readonly service: SimEventService;
  /** Default: the clock's of the run. */
  readonly random?: () => number;
  readonly faults?: SimSessionFaults;
  /** The simulation it stands in: its trace is told what goes wrong, and when it is calm nothing does any more. Default none. */
  readonly sim?: Ground;
  /** So many events at most stand in a delivery. Default 8. */
  readonly maxEvents?: number;
  /** How often the service says again how far it has come, in ms. Default 200. */
  readonly resolveEveryMs?: number;
}

/** A source of the collector kind, with the sessions that its stages ask. */
export interface SimSessionSource extends Source {
  /** The epochs of the collector, for `filterEpoch` and `checkSequence`. */
  readonly sessions: Sessions;
  /** `dispatcher: reason` of the resets that were asked for, in order, over all runs. */
  readonly resets: readonly string[];
  /** `stage` with these sessions in its context, whatever the run's are. */
  bind(stage: Stage): Stage;
  /** Puts one mark of all dispatchers where theirs have moved on together: progress knows no other. Stands behind `checkSequence`. */
  mergeMarks(): Stage;
  /** Nothing goes wrong any more. */
  calm(): void;
}

/**
 * A source that hears of changes from an event service, dispatcher by dispatcher, over a channel that loses and repeats messages.
 *
 * In plain words: what an event collector gets, for tests of the stages that put it in order.
 *
 * Each reset begins a new epoch from the checkpoint on, while events of the old one are still in flight. Events need, in this order: `filterEpoch`,
 * `checkSequence`, `dedupeCommitTs({ ordinals: false })`, `mergeMarks`, of which the first two are to be bound. The service numbers the changes of a
 * table at one commitTs over all its transactions, the same on every replay: what dedupe passes on again stands at the place where it stood.
 */
export function simSession(options: SimSessionOptions): SimSessionSource {
  const { service } = options;
  const epochs = new Map<DispatcherId, bigint>();
  const resets: string[] = [];
  let faults = options.faults ?? {};
  let current: SimSessionRun | null = null;
  const begin = (dispatcher: DispatcherId) => {
    epochs.set(dispatcher, (epochs.get(dispatcher) ?? 0n) + 1n);
    current?.reset(dispatcher, epochs.get(dispatcher)!);
  };
  const calm = () => {
    faults = {};
  };
  options.sim?.onCalm(calm);
  const sessions: Sessions = {
    epochOf: (dispatcher) => epochs.get(dispatcher) ?? 0n,
    requestReset: (dispatcher, reason) => {
      resets.push(`${dispatcher}: ${reason}`);
      begin(dispatcher);
    },
  };
  return {
    name: 'simSession',
    options: {},
    sessions,
    resets,
    bind: (stage) => operator(stage.operatorName, stage.options, (context) => stage.withContext({ ...context, sessions }), [stage]),
    mergeMarks: () => mergeMarks(service.tables.length),
    calm,
    open: async (context) => {
      current?.abandon();
      current = new SimSessionRun(options, context, () => faults);
      current.register();
      for (const { dispatcher } of service.tables) begin(dispatcher);
      return current;
    },
  };
}

class SimSessionRun implements OpenSource {
  readonly identity = { source: 'simSession' };
  readonly deliveries: AsyncIterable<Delivery>;
  readonly headTs: bigint;
  readonly #channel: SessionChannel;
  readonly #signal: AbortSignal;
  readonly #maxEvents: number;
  readonly #random: () => number;
  readonly #clock: Clock;
  readonly #service: SimEventService;
  readonly #everyMs: number;
  readonly #arrived: ChangeEvent[] = [];
  #checkpointTs: bigint;
  #wake = () => {};
  #cancel = () => {};
  #isClosed = false;

  constructor(
    { service, random, sim, maxEvents = 8, resolveEveryMs = 200 }: SimSessionOptions,
    context: SourceContext,
    faults: () => SimSessionFaults,
  ) {
    const { clock, signal, checkpointTs } = context;
    this.#service = service;
    this.#clock = clock;
    this.#random = random ?? (() => clock.random());
    this.#maxEvents = maxEvents;
    this.#everyMs = resolveEveryMs;
    this.#signal = signal;
    this.#checkpointTs = checkpointTs ?? service.beginningTs;
    this.headTs = service.resolvedTs;
    this.#channel = new SessionChannel({
      ...{ service, clock, random: this.#random, faults },
      tellFault: (what) => sim?.noteFault('session', what),
      onEvent: (event) => {
        this.#arrived.push(event);
        this.#wake();
      },
    });
    this.deliveries = this.#run();
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  register(): void {
    this.#channel.register();
    this.#repeat();
  }

  reset(dispatcher: DispatcherId, epoch: bigint): void {
    this.#channel.reset(dispatcher, epoch, this.#checkpointTs);
  }

  /** Whoever ran it is gone. */
  abandon(): void {
    this.#isClosed = true;
    this.#cancel();
    this.#channel.close();
  }

  confirm(checkpointTs: bigint): void {
    if (checkpointTs > this.#checkpointTs) this.#checkpointTs = checkpointTs;
  }

  status() {
    return { phase: this.#isClosed ? ('closed' as const) : ('streaming' as const), sourceTs: this.#service.resolvedTs, tables: new Map() };
  }

  async close(): Promise<void> {
    this.abandon();
    this.#wake();
  }

  async *#run(): AsyncGenerator<Delivery, void, undefined> {
    while (!this.#signal.aborted && !this.#isClosed) {
      const events = this.#take();
      if (events.length > 0) {
        yield new Delivery(
          events,
          events.reduce((bytes, event) => bytes + (event.type === 'dml' ? event.rows.retainedBytes : 0), 0),
        );
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Some of what has arrived; a block event alone. */
  #take(): ChangeEvent[] {
    const most = 1 + Math.floor(this.#random() * this.#maxEvents);
    const arrived = this.#arrived;
    if (arrived.length === 0) return [];
    let count = 1;
    if (!isBlockEvent(arrived[0]!)) while (count < Math.min(most, arrived.length) && !isBlockEvent(arrived[count]!)) count++;
    return arrived.splice(0, count);
  }

  /** Where the last resolved was lost, nothing else would tell. */
  #repeat(): void {
    this.#cancel = this.#clock.after(this.#everyMs, () => {
      this.#service.announce();
      this.#repeat();
    });
  }
}

function mergeMarks(dispatchers: number): Stage {
  return operator('mergeMarks', { dispatchers }, () => {
    const marks = new Map<DispatcherId, bigint>();
    let told = -1n;
    return map((delivery: Delivery) => {
      const events: ChangeEvent[] = [];
      for (const event of delivery.events) {
        if (event.type !== 'resolved') {
          events.push(event);
          continue;
        }
        if (event.commitTs > (marks.get(event.dispatcher) ?? -1n)) marks.set(event.dispatcher, event.commitTs);
      }
      if (marks.size < dispatchers) return delivery.with(events);
      let lowest: bigint | null = null;
      for (const ts of marks.values()) if (lowest === null || ts < lowest) lowest = ts;
      if (lowest !== null && lowest > told) {
        told = lowest;
        events.push(resolvedEvent(lowest));
      }
      return delivery.with(events);
    });
  });
}
