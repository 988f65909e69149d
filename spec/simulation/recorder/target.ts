import type { Simulation } from '../../../lib/testing/index.ts';
import {
  type DeadLetterStore,
  type EventGroup,
  type EventHandler,
  EventRejectedError,
  type RecordedEvent,
} from '../../../pipelines/index.ts';

/** What a producer recorded: the payload says which event it is. */
export interface Told {
  readonly n: number;
  /** The target refuses it for good. */
  readonly isPoison: boolean;
}

/** What goes wrong at the target, chances from 0 to 1 for each call. */
export interface TargetFaults {
  readonly fails: number;
  readonly throws: number;
  readonly hangs: number;
  /** It has taken the events, and says that it has not. */
  readonly failsAfter: number;
  readonly slow: number;
}

/** A target of events outside of the process: it outlives its crashes, and judges every call. */
export class Target implements EventHandler, DeadLetterStore {
  readonly name = 'target';
  /** By id, as it was first seen: every later call must bring the same. */
  readonly #seen = new Map<string, RecordedEvent>();
  /** What `record` was given, by id. */
  readonly told = new Map<string, string>();
  readonly taken = new Set<string>();
  /** Of them, those that the recorder that lives now has brought. */
  takenNow = new Set<string>();
  /** Of the process that lives now: those of calls that succeeded within their time. */
  #answered = new Set<string>();
  readonly buried = new Set<string>();
  readonly #lastSeqs = new Map<string, bigint>();
  #life = 0;
  #running = 0;
  readonly #firsts = new Set<string>();
  isClosed = false;
  /** Events that were taken and told so, and come again in another life of the process. */
  duplicates = 0;
  readonly #everAnswered = new Set<string>();

  constructor(
    readonly sim: Simulation,
    readonly faults: TargetFaults,
    readonly batchEvents: number,
    readonly keepsOrderOverLives: boolean,
  ) {}

  /** Another process calls from now on. */
  begin(): void {
    this.#life++;
    this.#running = 0;
    this.isClosed = false;
    this.takenNow = new Set();
    this.#answered = new Set();
    this.#firsts.clear();
    if (!this.keepsOrderOverLives) this.#lastSeqs.clear();
  }

  /** Late and failing as its calls are: what waits for it may be given up meanwhile. */
  async open(): Promise<void> {
    const { sim, faults } = this;
    if (sim.fault(faults.slow)) await sim.sleep(sim.between(500, 3000));
    if (sim.fault(faults.throws)) throw new Error('not open');
  }

  async deliver(group: EventGroup, { signal }: { signal: AbortSignal }): Promise<void> {
    const { sim, faults } = this;
    const life = this.#life;
    this.#judge(group);
    sim.note('target', `is told ${group.type} ${group.events.map(({ seq }) => seq & 0xffffn).join(' ')}`);
    if (sim.fault(faults.throws)) throw new Error('thrown');
    const isRunning = this.#runs(signal);
    try {
      if (sim.fault(faults.hangs)) await this.#hang(signal);
      await sim.sleep(sim.fault(faults.slow) ? sim.between(500, 3000) : sim.between(0, 40));
      if (sim.fault(faults.fails)) throw new Error('target is down');
      const poison = group.events.filter(({ payload }) => isPoison(payload)).map(({ id }) => id);
      if (poison.length > 0) {
        const eventIds = sim.chance(0.5) ? poison : null;
        throw new EventRejectedError('bad value', { handler: this.name, table: group.table, type: group.type, eventIds });
      }
      for (const { id } of group.events) this.taken.add(id);
      if (life === this.#life) for (const { id } of group.events) this.takenNow.add(id);
      if (sim.fault(faults.failsAfter)) throw new Error('connection reset');
      // Nobody hears of a success behind a crash.
      if (!signal.aborted && life === this.#life) {
        for (const { id } of group.events) {
          this.#answered.add(id);
          this.#everAnswered.add(id);
        }
      }
    } finally {
      isRunning.end();
    }
  }

  async write({ events }: { readonly events: readonly RecordedEvent[] }): Promise<void> {
    for (const { id } of events) this.buried.add(id);
    await this.sim.sleep(this.sim.between(0, 5));
    if (this.sim.fault(this.faults.fails)) throw new Error('no room for dead letters');
  }

  #judge({ table, type, events }: EventGroup): void {
    const { sim } = this;
    const fail = (rule: string, reason: string) => sim.fail(rule, reason);
    if (this.isClosed) fail('G6: no call after close', `a call of ${events.length} events`);
    if (this.#running > 0) fail('C5.7: one call at a time', `${this.#running} run already`);
    if (events.length === 0 || events.length > this.batchEvents) fail('a batch has 1 to N events', `${events.length}`);
    const key = `${table}/${type}`;
    let last = -1n;
    for (const event of events) {
      if (event.table !== table || event.type !== type) fail('a group is of one table and type', `${event.table}/${event.type} in ${key}`);
      if (event.seq <= last) fail('G2: order inside a type', `${event.seq} after ${last}`);
      last = event.seq;
      if (this.#answered.has(event.id)) fail('G7: no duplicate of a call that succeeded', event.id);
      if (this.#everAnswered.delete(event.id)) this.duplicates++;
      const before = this.#seen.get(event.id);
      if (before === undefined) this.#seen.set(event.id, event);
      else if (before.timestampNs !== event.timestampNs || before.seq !== event.seq || before.payload !== event.payload) {
        fail('W3: an event is the same in every call', event.id);
      }
      const told = this.told.get(event.id);
      if (told !== undefined && told !== event.payload) fail('G4: an event is as it was at record', `${event.payload}, not ${told}`);
      // A first delivery comes behind all first deliveries before it.
      if (!this.#firsts.has(event.id)) {
        this.#firsts.add(event.id);
        const lastFirst = this.#lastSeqs.get(key) ?? -1n;
        // A dead letter of a call that never came here, because the target did not open, can come once more where the disk does not know of it.
        if (before === undefined && event.seq <= lastFirst && !this.buried.has(event.id))
          fail('G2: order inside a type', `${event.seq} for the first time, after ${lastFirst}`);
        if (event.seq > lastFirst) this.#lastSeqs.set(key, event.seq);
      }
    }
  }

  #runs(signal: AbortSignal): { end: () => void } {
    let isRunning = true;
    const life = this.#life;
    this.#running++;
    const end = () => {
      if (!isRunning || life !== this.#life) return;
      isRunning = false;
      this.#running--;
    };
    // A call that was told to stop and does not is not the recorder's fault; it has waited for its grace.
    signal.addEventListener('abort', end, { once: true });
    return { end };
  }

  #hang(signal: AbortSignal): Promise<void> {
    const minds = this.sim.chance(0.5);
    return new Promise((resolve, reject) => {
      if (minds) signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      else if (this.sim.chance(0.5)) signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

export function isPoison(payload: string): boolean {
  return payload.includes('"isPoison":true');
}
