import type { SchedulerLike } from 'rxjs';
import { type Clock, sleepWith } from '../../flow/index.ts';
import type { VirtualClock } from '../virtual-clock.ts';
import { schedulerOf } from '../virtual-clock.ts';

/** One life of a node's process, as its program has it: whatever the program does through it ends with this life, whoever goes on calling it. */
export interface SimProcess {
  /** The node's. */
  readonly name: string;
  /** Which start of its node it is, from 1. */
  readonly generation: number;
  /** False for ever once it has crashed. */
  readonly isUp: boolean;
  /** As `SimNode.clock`. */
  readonly clock: Clock;
  /** As `SimNode.port`. */
  readonly port: <T extends object>(target: T) => T;
  /** As `SimNode.guard`. */
  readonly guard: <A extends unknown[]>(fn: (...args: A) => void) => (...args: A) => void;
}

/** What an incarnation asks of its node. */
export interface Host {
  readonly name: string;
  readonly clock: VirtualClock;
  /** How wrong its clock is now, in ms. */
  skewMs(): number;
  /** How long its event loop is busy before the next thing runs, in ms; 0: not. */
  stallMs(): number;
  /** A call leaves through a port: its number, or null when the node has gone down instead. */
  leaves(what: string): number | null;
  /** That call is answered; false: the node has gone down instead. */
  isAnswered(what: string, call: number): boolean;
}

/**
 * One life of a process, from a start to a crash. Whatever comes in from outside, timers and answers, passes through `deliver`: behind the crash
 * nothing does, and during a pause it waits, in order.
 */
export class Incarnation implements SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #clock: VirtualClock;
  readonly #host: Host;
  #isUp = true;
  /** Until when nothing runs. */
  #untilMs = 0;
  #isHeld = false;
  /** What waits for the end of a pause, in order. */
  #waiting: (() => void)[] = [];
  #next = 0;

  constructor(
    host: Host,
    readonly generation = 1,
  ) {
    this.name = host.name;
    this.#clock = host.clock;
    this.#host = host;
    this.clock = new ProcessClock(this, host);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  end(): void {
    this.#isUp = false;
    this.#waiting = [];
  }

  readonly port = <T extends object>(target: T): T => portOf(target, this, this.#host);

  readonly guard =
    <A extends unknown[]>(fn: (...args: A) => void) =>
    (...args: A): void =>
      this.deliver(() => fn(...args));

  /** Nothing runs for `ms` from now on, or for longer if it stands still already. */
  pause(ms: number): void {
    this.#untilMs = Math.max(this.#untilMs, this.#clock.now() + ms);
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#clock.after(this.#untilMs - this.#clock.now(), () => this.#wake());
  }

  /** Ends a pause now. */
  resume(): void {
    this.#untilMs = this.#clock.now();
    if (this.#isHeld) this.#wake();
  }

  /** Runs `fn` as the event loop would: now, when it is free again, or never. */
  deliver(fn: () => void): void {
    if (!this.#isUp) return;
    if (this.#isHeld || this.#next < this.#waiting.length) {
      this.#waiting.push(fn);
      return;
    }
    const stallMs = this.#host.stallMs();
    if (stallMs > 0) {
      this.#waiting.push(fn);
      this.pause(stallMs);
    } else fn();
  }

  #wake(): void {
    if (!this.#isUp || !this.#isHeld) return;
    const leftMs = this.#untilMs - this.#clock.now();
    if (leftMs > 0) {
      this.#clock.after(leftMs, () => this.#wake());
      return;
    }
    this.#isHeld = false;
    this.#runNext();
  }

  /** One thing a step, as an event loop does: its promises run before the next. */
  #runNext(): void {
    if (!this.#isUp || this.#isHeld) return;
    const fn = this.#waiting[this.#next];
    if (fn === undefined) {
      this.#waiting = [];
      this.#next = 0;
      return;
    }
    this.#next++;
    fn();
    this.#clock.after(0, () => this.#runNext());
  }
}

class ProcessClock implements Clock {
  readonly scheduler: SchedulerLike = schedulerOf(this);
  readonly random: () => number;
  readonly #life: Incarnation;
  readonly #host: Host;

  constructor(life: Incarnation, host: Host) {
    this.#life = life;
    this.#host = host;
    this.random = host.clock.random;
  }

  now(): number {
    return this.#host.clock.now() + this.#host.skewMs();
  }

  after(delayMs: number, fn: () => void): () => void {
    if (!this.#life.isUp) return () => {};
    // It can be cancelled while it waits for the end of a pause, too.
    const held: { fn: (() => void) | null } = { fn };
    const cancel = this.#host.clock.after(delayMs, () => this.#life.deliver(() => held.fn?.()));
    return () => {
      held.fn = null;
      cancel();
    };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    if (signal === undefined) {
      return new Promise((resolve) => {
        this.after(delayMs, resolve);
      });
    }
    if (!this.#life.isUp) return never();
    return sleepWith((ms, fn) => this.after(ms, fn), delayMs, signal);
  }
}

/** Whoever carries it is wrapped too when a port's method answers with it: an open file, for one. */
export const PORT: unique symbol = Symbol('port');

function portOf<T extends object>(target: T, life: Incarnation, host: Host): T {
  const methods = new Map<PropertyKey, unknown>();
  // Not of the target itself: of a frozen one a proxy has to answer with the very methods that are there. Nor of an heir of it: what becomes a prototype is given a
  // hidden class of its own, and V8 keeps it and all that it knows, a whole world, until it collects its old space.
  return new Proxy(Object.create(Object.getPrototypeOf(target)) as T, {
    has: (_, name) => Reflect.has(target, name),
    get(_, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const method = (...args: unknown[]): unknown => {
        if (!life.isUp) return never();
        const what = String(name);
        const call = host.leaves(what);
        if (call === null) return never();
        const answer: unknown = Reflect.apply(value, target, args);
        // One that is there at once: whoever goes down behind the call has it, and can do nothing with it.
        if (isPort(answer)) host.isAnswered(what, call);
        return guarded(answer, { what, call }, life, host);
      };
      methods.set(name, method);
      return method;
    },
  });
}

/** An answer as this life may see it. */
function guarded(answer: unknown, to: Call, life: Incarnation, host: Host): unknown {
  if (typeof answer !== 'object' || answer === null) return answer;
  if (isThenable(answer)) {
    const isHeard = () => life.isUp && host.isAnswered(to.what, to.call);
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => {
          if (isHeard()) life.deliver(() => resolve(guarded(value, to, life, host)));
        },
        (error) => {
          if (isHeard()) life.deliver(() => reject(error));
        },
      );
    });
  }
  if (isPort(answer)) return portOf(answer, life, host);
  if (Symbol.asyncIterator in answer) return iterationOf(answer as AsyncIterable<unknown>, to, life, host);
  return answer;
}

interface Call {
  readonly what: string;
  readonly call: number;
}

function iterationOf(source: AsyncIterable<unknown>, to: Call, life: Incarnation, host: Host): AsyncIterableIterator<unknown> {
  const iterator = source[Symbol.asyncIterator]();
  const gate = (call: (() => Promise<IteratorResult<unknown>>) | undefined, otherwise: IteratorResult<unknown>) => {
    if (!life.isUp) return never();
    if (call === undefined) return Promise.resolve(otherwise);
    return guarded(call(), to, life, host) as Promise<IteratorResult<unknown>>;
  };
  return {
    next: () => gate(() => iterator.next(), { done: true, value: undefined }),
    return: (value) => gate(iterator.return && (() => iterator.return!(value)), { done: true, value }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function isPort(value: unknown): value is object {
  return typeof value === 'object' && value !== null && PORT in value;
}

function isThenable(value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function';
}

/** What whoever is gone waits for. */
function never(): Promise<never> {
  return new Promise(() => {});
}
