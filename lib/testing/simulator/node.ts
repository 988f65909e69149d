import { reasonOf } from '../../errors.ts';
import type { Clock } from '../../flow/index.ts';
import { checkFaults, checkRange, type NodeFaults, type Range } from './faults.ts';
import type { Ground } from './ground.ts';
import { type Host, Incarnation, type SimProcess } from './incarnation.ts';

export interface SimNodeOptions {
  /** How wrong its clock is, in ms. Default 0. */
  readonly skewMs?: number;
  /** After a crash or kill it starts again by itself after so long, in ms. Default: only by `restart`. */
  readonly restartAfterMs?: Range;
  readonly faults?: NodeFaults;
}

/** What a node loses its hold of when it goes down: a disk. */
export interface Device {
  /** The power failed. */
  crash(): void;
  /** The process is gone; the machine goes on. */
  kill(): void;
}

/** A node's program: begins anew with each start, with the process of that start. What it does through `process` ends with it. */
export type Program = (process: SimProcess) => Promise<void> | void;

/**
 * A machine with one process, which runs a program. A crash or kill ends it where it stands: its memory is lost, what it awaits never comes, its timers are
 * gone, and whatever it still calls through its clock or its ports does nothing.
 */
export class SimNode {
  readonly name: string;
  readonly #sim: Ground;
  readonly #restartAfterMs: Range | null;
  readonly #faults: NodeFaults;
  readonly #devices: Device[] = [];
  #skewMs: number;
  #generation = 1;
  #life: Incarnation;
  #program: Program | null = null;
  #onExit: ((error: unknown) => void) | null = null;
  #calls = 0;
  #fatalCall: FatalCall | null = null;
  #isAbandoned = false;

  constructor(sim: Ground, name: string, { skewMs = 0, restartAfterMs, faults = {} }: SimNodeOptions) {
    checkFaults(faults);
    if (restartAfterMs !== undefined) checkRange('restartAfterMs', restartAfterMs);
    this.#sim = sim;
    this.name = name;
    this.#skewMs = skewMs;
    this.#faults = faults;
    const mayGoDown = faults.crashEveryMs !== undefined || faults.killEveryMs !== undefined;
    this.#restartAfterMs = restartAfterMs ?? (mayGoDown ? (faults.downMs ?? DOWN_MS) : null);
    this.#life = this.#begin();
    this.#repeat(faults.crashEveryMs, () => this.crash());
    this.#repeat(faults.killEveryMs, () => this.kill());
    this.#repeat(faults.pauseEveryMs, () => this.pause(sim.within(faults.pauseMs ?? PAUSE_MS)));
    sim.onCalm(() => this.#life.resume());
  }

  get isUp(): boolean {
    return this.#life.isUp;
  }

  /** Counts its starts, from 1. */
  get generation(): number {
    return this.#generation;
  }

  /** The clock of the process that runs now, and of it only: after the next crash it wakes nobody. A program takes its own, `process.clock`. */
  get clock(): Clock {
    return this.#life.clock;
  }

  get skewMs(): number {
    return this.#skewMs;
  }

  /** Sets the clock, also while the program runs. */
  set skewMs(ms: number) {
    this.#skewMs = ms;
  }

  /** How many calls left through its ports so far, over all starts. */
  get calls(): number {
    return this.#calls;
  }

  /**
   * Starts `program` now, and again at each restart.
   *
   * @param onExit called with null when it has ended by itself, or with its error. Default: an error fails the simulation.
   */
  run(program: Program, onExit?: (error: unknown) => void): void {
    this.#program = program;
    this.#onExit = onExit ?? null;
    if (this.isUp) this.#start();
  }

  /** The power fails: its disks lose what is not synced. */
  crash(): void {
    this.#stop('crashes', (device) => device.crash());
  }

  /** The process is killed: its disks keep what it wrote. */
  kill(): void {
    this.#stop('is killed', (device) => device.kill());
  }

  /** Starts its program again, with nothing but its disks. Does nothing while it is up. */
  restart(): void {
    if (this.isUp || this.#isAbandoned) return;
    this.#generation++;
    this.#life = this.#begin();
    this.#sim.note(this.name, `starts, generation ${this.#generation}`);
    if (this.#program !== null) this.#start();
  }

  /** The process stands still: its timers and answers wait until it is over. */
  pause(ms: number): void {
    if (!this.isUp) return;
    this.#sim.noteFault(this.name, `pauses for ${ms} ms`);
    this.#life.pause(ms);
  }

  /**
   * Goes down at its `at`-th call through a port (counted as `calls` does, from 1), before or after the effect of that call.
   *
   * @param isExact whether `after` is at the answer of that call alone, however late; else at the first answer of that call or a later one. Of calls that answer at once,
   * without a promise, those count whose answer carries `PORT`.
   */
  crashAtCall(at: number, when: 'before' | 'after', how: 'crash' | 'kill' = 'crash', isExact = false): void {
    this.#fatalCall = { at, when, how, isExact };
  }

  /**
   * `target` as this process may use it: an object whose methods answer with promises or async iterables. After a crash no call reaches it and no answer comes
   * back; during a pause answers wait. What it answers with is wrapped too if it carries `PORT`, as a `SimDisk`'s open files do.
   */
  port<T extends object>(target: T): T {
    return this.#life.port(target);
  }

  /** `fn` as an event handler of this process: runs as its timers do, later while it is paused, never after a crash. */
  guard<A extends unknown[]>(fn: (...args: A) => void): (...args: A) => void {
    return this.#life.guard(fn);
  }

  /** Calls `device` when it goes down. */
  attach(device: Device): void {
    this.#devices.push(device);
  }

  /** The simulation is over: nothing of it happens any more. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#life.end();
  }

  #begin(): Incarnation {
    const { skewMs } = this.#faults;
    if (skewMs !== undefined && !this.#sim.isCalm) this.#skewMs = this.#sim.between(-skewMs, skewMs);
    const host: Host = {
      name: this.name,
      clock: this.#sim.clock,
      skewMs: () => this.#skewMs,
      stallMs: () => (this.#sim.fault(this.#faults.stall) ? this.#sim.within(this.#faults.stallMs ?? STALL_MS) : 0),
      leaves: (what) => (this.#isFatal(what, 'before', ++this.#calls) ? null : this.#calls),
      isAnswered: (what, call) => !this.#isFatal(what, 'after', call),
    };
    return new Incarnation(host, this.#generation);
  }

  #start(): void {
    const life = this.#life;
    const exited = (error: unknown) => {
      if (!life.isUp) return;
      if (error !== null) this.#sim.note(this.name, `its program failed: ${reasonOf(error)}`);
      if (this.#onExit !== null) this.#onExit(error);
      else if (error !== null) this.#sim.fail(`the program of ${this.name} does not fail`, reasonOf(error), error);
    };
    const program = this.#program!;
    (async () => await program(life))().then(() => exited(null), exited);
  }

  #stop(what: string, tell: (device: Device) => void): void {
    if (!this.isUp) return;
    this.#sim.noteFault(this.name, what);
    this.#life.end();
    for (const device of this.#devices) tell(device);
    if (this.#restartAfterMs !== null) this.#sim.clock.after(this.#sim.within(this.#restartAfterMs), () => this.restart());
  }

  #isFatal(what: string, when: 'before' | 'after', call: number): boolean {
    const fatal = this.#fatalCall;
    if (fatal === null || fatal.when !== when || (fatal.isExact ? call !== fatal.at : call < fatal.at)) return false;
    this.#fatalCall = null;
    this.#sim.note(this.name, `goes down ${when} its call ${call}, ${what}`);
    this[fatal.how]();
    return true;
  }

  /** Does `fn` about every `everyMs`, until it is calm. */
  #repeat(everyMs: number | undefined, fn: () => void): void {
    if (everyMs === undefined) return;
    const next = () => {
      this.#sim.clock.after(this.#sim.within([Math.ceil(everyMs / 2), Math.ceil(everyMs * 1.5)]), () => {
        if (this.#sim.isCalm || this.#isAbandoned) return;
        fn();
        next();
      });
    };
    next();
  }
}

interface FatalCall {
  readonly at: number;
  readonly when: 'before' | 'after';
  readonly how: 'crash' | 'kill';
  readonly isExact: boolean;
}

const DOWN_MS: Range = [0, 2000];
const PAUSE_MS: Range = [1000, 30_000];
const STALL_MS: Range = [1, 200];
