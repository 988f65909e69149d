import { type SchedulerAction, type SchedulerLike, Subscription } from 'rxjs';
import { MillraceError } from '../errors.ts';
import { type Clock, requireNumber, sleepWith } from '../flow/index.ts';
import { seededRandom } from './random.ts';

/**
 * A clock whose time passes only when it is told to, promises and `setImmediate` included: between two instants everything that is ready runs to its end.
 *
 * Time begins at 0. What is due at the same instant runs in the order in which it was asked for. Nothing of it is real, so the same calls give the same run.
 */
export class VirtualClock implements Clock {
  readonly scheduler: SchedulerLike;
  readonly random: () => number;
  readonly #timers = new TimerHeap();
  #nowMs = 0;
  /** How many timers have run at this instant. */
  #ranNow = 0;
  /** Calls of `advance` and `settle` under way: until they are done, `until` moves nothing on. */
  #driving = 0;
  readonly #ends: (() => void)[] = [];

  /** @param seed of `random`. */
  constructor(seed = 1) {
    this.random = seededRandom(seed);
    this.scheduler = schedulerOf(this);
  }

  now(): number {
    return this.#nowMs;
  }

  /**
   * What is asked for after an infinite time never comes, and nothing waits for it; a time below 0 is 0.
   *
   * @throws MR_INVALID_OPTION when `delayMs` is no number.
   */
  after(delayMs: number, fn: () => void): () => void {
    if (Number.isNaN(delayMs)) throw new MillraceError('MR_INVALID_OPTION', { option: 'delayMs', value: 'NaN', bound: 'a number of ms' });
    if (delayMs === Number.POSITIVE_INFINITY) return () => {};
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: 0, fn };
    this.#timers.push(timer);
    return () => {
      timer.fn = null;
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepWith((ms, fn) => this.after(ms, fn), delayMs, signal);
  }

  /** When the next timer is due; null when none waits. */
  get nextMs(): number | null {
    return this.#timers.peek()?.atMs ?? null;
  }

  /** Runs the next timer at its time, and nothing else; false when none waits. What it sets off with promises runs in `settle`. */
  step(): boolean {
    const timer = this.#timers.pop();
    if (timer === null) return false;
    this.#ranNow = timer.atMs === this.#nowMs ? this.#ranNow + 1 : 0;
    this.#nowMs = timer.atMs;
    timer.fn?.();
    return true;
  }

  /** Lets everything that is ready run to its end, promises and `setImmediate` included; time stands still. */
  settle(): Promise<void> {
    return this.#drive(everyTurn);
  }

  /**
   * Moves time on by `ms`, running on the way whatever is due, promises and `setImmediate` included.
   *
   * @throws MR_VIRTUAL_TIME_STALLED when timers set each other without end and no time passes; MR_INVALID_OPTION for a time that is negative or endless.
   */
  advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    return this.#drive(async () => {
      requireNumber('ms', ms, 0, Number.MAX_SAFE_INTEGER, true);
      await everyTurn();
      for (let next = this.nextMs; next !== null && next <= untilMs; next = this.nextMs) {
        this.#move();
        await everyTurn();
      }
      this.#nowMs = untilMs;
    });
  }

  /**
   * Moves time on until `promise` has settled, and gives what it gives.
   *
   * @throws MR_VIRTUAL_TIME_STALLED when nothing waits on this clock and the promise is still open, `maxMs` (default one day) have passed, or timers set each
   * other without end and no time passes.
   */
  async until<T>(promise: Promise<T>, maxMs = DAY_MS): Promise<T> {
    let isOpen = true;
    const done = () => {
      isOpen = false;
    };
    promise.then(done, done);
    const lastMs = this.#nowMs + maxMs;
    await everyTurn();
    while (isOpen) {
      if (this.#driving > 0) {
        await everyTurn();
        continue;
      }
      const next = this.nextMs;
      if (next === null || next > lastMs) {
        throw this.#stalled(next === null ? 'nothing waits on the virtual clock' : `it was given ${maxMs} ms`);
      }
      this.#move();
      await everyTurn();
    }
    return promise;
  }

  /** @internal `check` throws at the end of the test what nobody has heard of. */
  atEnd(check: () => void): void {
    this.#ends.push(check);
  }

  /** @internal The test ends: whoever has something to say says it. */
  end(): void {
    for (const check of this.#ends) check();
  }

  #move(): void {
    this.step();
    if (this.#ranNow >= TIMERS_MAX) throw this.#stalled(`${TIMERS_MAX} timers have run at this instant, and set others of 0 ms`);
  }

  #stalled(reason: string): MillraceError {
    return new MillraceError('MR_VIRTUAL_TIME_STALLED', { nowMs: this.#nowMs, reason });
  }

  async #drive(passing: () => Promise<void>): Promise<void> {
    this.#driving++;
    try {
      await passing();
    } finally {
      // A turn later, so that whoever waited goes on before `until` does.
      turn(() => this.#driving--);
    }
  }
}

const DAY_MS = 86_400_000;
/** At one instant. */
const TIMERS_MAX = 20_000;
/** Of the event loop, at one instant: whoever asks for more waits for something else, such as real IO, and time goes on. */
const TURNS_MAX = 10_000;
/** Kept from the first: whoever fakes the global one later means others. */
const turn = setImmediate;
/** What virtual clocks have asked of the event loop and not had yet: two that wait for each other's turns would wait for ever. */
let turnsOfClocks = 0;

/** Until nobody asks for a turn of the event loop any more: a pump does, every so often. */
async function everyTurn(): Promise<void> {
  for (let turns = 0; turns < TURNS_MAX; turns++) {
    turnsOfClocks++;
    await new Promise<void>((resolve) =>
      turn(() => {
        turnsOfClocks--;
        process.nextTick(resolve);
      }),
    );
    if (process.getActiveResourcesInfo().filter((kind) => kind === 'Immediate').length <= turnsOfClocks) return;
  }
}

interface Timer {
  readonly atMs: number;
  order: number;
  /** Null when it was cancelled. */
  fn: (() => void) | null;
}

/** Timers by time, then by order of arrival. Cancelled ones leave when they surface. */
class TimerHeap {
  readonly #heap: Timer[] = [];
  #arrived = 0;

  push(timer: Timer): void {
    const heap = this.#heap;
    timer.order = this.#arrived++;
    let child = heap.push(timer) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (isBefore(heap[parent]!, timer)) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = timer;
  }

  peek(): Timer | null {
    while (this.#heap.length > 0 && this.#heap[0]!.fn === null) this.#remove();
    return this.#heap[0] ?? null;
  }

  pop(): Timer | null {
    return this.peek() === null ? null : this.#remove();
  }

  #remove(): Timer {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let parent = 0;
    for (;;) {
      let child = parent * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = last;
    return first;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}

/** @internal A clock as RxJS's operators want it. */
export function schedulerOf(clock: Clock): SchedulerLike {
  return {
    now: () => clock.now(),
    schedule: (work, delayMs, state) => new ClockAction(clock, work).schedule(state, delayMs),
  };
}

class ClockAction<T> extends Subscription implements SchedulerAction<T> {
  readonly #clock: Clock;
  readonly #work: (this: SchedulerAction<T>, state: T) => void;
  #cancel = () => {};

  constructor(clock: Clock, work: (this: SchedulerAction<T>, state: T) => void) {
    super(() => this.#cancel());
    this.#clock = clock;
    this.#work = work;
  }

  schedule(state?: T, delayMs = 0): Subscription {
    if (this.closed) return this;
    this.#cancel();
    const cancel = this.#clock.after(delayMs, () => {
      this.#work(state as T);
      // Unless the work has scheduled itself again.
      if (this.#cancel === cancel) this.unsubscribe();
    });
    this.#cancel = cancel;
    return this;
  }
}
