import type { SchedulerLike } from 'rxjs';
import { type Clock, sleepWith } from '../../flow/index.ts';
import { schedulerOf } from '../virtual-clock.ts';
import type { Ground } from './ground.ts';

/** What an incarnation asks of its node. */
export interface Host {
  /** How wrong its clock is now, in ms. */
  skewMs(): number;
  /** How long its event loop is busy before the next thing runs, in ms; 0: not. */
  stallMs(): number;
  /** Called for each call that leaves through a port: `before` its effect and `after` it. True: the node is down now. */
  called(what: string, when: 'before' | 'after'): boolean;
}

/**
 * One life of a node's process, from a start to a crash. Whatever comes in from outside, timers and answers, passes through `deliver`: behind the crash
 * nothing does, and during a pause it waits, in order.
 */
export class Incarnation {
  readonly clock: Clock;
  readonly #sim: Ground;
  readonly #host: Host;
  #isAlive = true;
  /** Until when nothing runs. */
  #untilMs = 0;
  #isHeld = false;
  /** What waits for the end of a pause, in order. */
  #waiting: (() => void)[] = [];
  #next = 0;

  constructor(sim: Ground, host: Host) {
    this.#sim = sim;
    this.#host = host;
    this.clock = new NodeClock(sim, this, host);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  end(): void {
    this.#isAlive = false;
    this.#waiting = [];
  }

  /** Nothing runs for `ms` from now on, or for longer if it stands still already. */
  pause(ms: number): void {
    this.#untilMs = Math.max(this.#untilMs, this.#sim.clock.now() + ms);
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#sim.clock.after(this.#untilMs - this.#sim.clock.now(), () => this.#wake());
  }

  /** Ends a pause now. */
  resume(): void {
    this.#untilMs = this.#sim.clock.now();
    if (this.#isHeld) this.#wake();
  }

  /** Runs `fn` as the event loop would: now, when it is free again, or never. */
  deliver(fn: () => void): void {
    if (!this.#isAlive) return;
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

  /** See `SimNode.port`. */
  port<T extends object>(target: T): T {
    return portOf(target, this, this.#host);
  }

  #wake(): void {
    if (!this.#isAlive || !this.#isHeld) return;
    const leftMs = this.#untilMs - this.#sim.clock.now();
    if (leftMs > 0) {
      this.#sim.clock.after(leftMs, () => this.#wake());
      return;
    }
    this.#isHeld = false;
    this.#runNext();
  }

  /** One thing a step, as an event loop does: its promises run before the next. */
  #runNext(): void {
    if (!this.#isAlive || this.#isHeld) return;
    const fn = this.#waiting[this.#next];
    if (fn === undefined) {
      this.#waiting = [];
      this.#next = 0;
      return;
    }
    this.#next++;
    fn();
    this.#sim.clock.after(0, () => this.#runNext());
  }
}

class NodeClock implements Clock {
  readonly scheduler: SchedulerLike;
  readonly random: () => number;

  constructor(
    readonly sim: Ground,
    readonly life: Incarnation,
    readonly host: Host,
  ) {
    this.scheduler = schedulerOf(this);
    this.random = () => sim.random();
  }

  now(): number {
    return this.sim.clock.now() + this.host.skewMs();
  }

  after(delayMs: number, fn: () => void): () => void {
    if (!this.life.isAlive) return () => {};
    // It can be cancelled while it waits for the end of a pause, too.
    const held: { fn: (() => void) | null } = { fn };
    const cancel = this.sim.clock.after(delayMs, () => this.life.deliver(() => held.fn?.()));
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
    return sleepWith((ms, fn) => this.after(ms, fn), delayMs, signal);
  }
}

/** Whoever carries it is wrapped too when a port's method answers with it: an open file, for one. */
export const PORT: unique symbol = Symbol('port');

function portOf<T extends object>(target: T, life: Incarnation, host: Host): T {
  const methods = new Map<PropertyKey, unknown>();
  // Not of the target itself: of a frozen one a proxy has to answer with the very methods that are there.
  return new Proxy(Object.create(target) as T, {
    get(_, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const method = (...args: unknown[]): unknown => {
        if (!life.isAlive) return never();
        const what = String(name);
        if (host.called(what, 'before')) return never();
        return guarded(Reflect.apply(value, target, args), what, life, host);
      };
      methods.set(name, method);
      return method;
    },
  });
}

/** An answer as this life may see it. */
function guarded(answer: unknown, what: string, life: Incarnation, host: Host): unknown {
  if (typeof answer !== 'object' || answer === null) return answer;
  if (isThenable(answer)) {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => {
          if (life.isAlive && !host.called(what, 'after')) life.deliver(() => resolve(guarded(value, what, life, host)));
        },
        (error) => {
          if (life.isAlive && !host.called(what, 'after')) life.deliver(() => reject(error));
        },
      );
    });
  }
  if (PORT in answer) return portOf(answer, life, host);
  if (Symbol.asyncIterator in answer) return iterationOf(answer as AsyncIterable<unknown>, what, life, host);
  return answer;
}

function iterationOf(source: AsyncIterable<unknown>, what: string, life: Incarnation, host: Host): AsyncIterableIterator<unknown> {
  const iterator = source[Symbol.asyncIterator]();
  const gate = (call: (() => Promise<IteratorResult<unknown>>) | undefined, otherwise: IteratorResult<unknown>) => {
    if (!life.isAlive) return never();
    if (call === undefined) return Promise.resolve(otherwise);
    return guarded(call(), what, life, host) as Promise<IteratorResult<unknown>>;
  };
  return {
    next: () => gate(() => iterator.next(), { done: true, value: undefined }),
    return: (value) => gate(iterator.return && (() => iterator.return!(value)), { done: true, value }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function isThenable(value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function';
}

/** What whoever is gone waits for. */
function never(): Promise<never> {
  return new Promise(() => {});
}
