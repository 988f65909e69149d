import { MillraceError, reasonOf } from '../../errors.ts';
import { VirtualClock } from '../virtual-clock.ts';
import type { Range } from './faults.ts';
import type { Ground } from './ground.ts';
import { SimNode, type SimNodeOptions } from './node.ts';
import { Trace } from './trace.ts';

/** False, or a sentence that says how, when it does not hold; true or null when it does. What it throws is a sentence too. */
export type InvariantCheck = () => boolean | string | null;

/** What a simulation found. */
export interface SimulationFailure {
  readonly invariant: string;
  readonly reason: string;
  readonly cause?: unknown;
}

/** One world: a clock, a generator, nodes, and what must hold. `simulate` runs it; conformance suites use one that stands still. */
export class Simulation implements Ground {
  readonly clock: VirtualClock;
  readonly trace = new Trace();
  readonly #invariants: { readonly name: string; readonly check: InvariantCheck }[] = [];
  readonly #expected = new Set<Expected>();
  readonly #nodes = new Map<string, SimNode>();
  readonly #calmed: (() => void)[] = [];
  #isCalm = false;
  #failure: SimulationFailure | null = null;

  constructor(readonly seed: number) {
    this.clock = new VirtualClock(seed);
  }

  /** A number from 0 up to 1: the one generator of this world. */
  random(): number {
    return this.clock.random();
  }

  /** True with probability `p`: for what the world does. Draws no lot for 0 and 1. */
  chance(p: number): boolean {
    return p > 0 && (p >= 1 || this.random() < p);
  }

  /** True with probability `p` until `calm`: for what goes wrong. Draws no lot for 0 and 1. */
  fault(p: number | undefined): boolean {
    return p !== undefined && !this.#isCalm && this.chance(p);
  }

  /** An integer, both ends included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.random() * (max - min + 1));
  }

  /** An integer of a range. */
  within([min, max]: Range): number {
    return min === max ? min : this.between(min, max);
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('pick of an empty list');
    return list[Math.floor(this.random() * list.length)]!;
  }

  /** Resolves after `ms` of virtual time. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(ms, resolve);
    });
  }

  /** The same elements in another order. */
  shuffled<T>(list: Iterable<T>): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.between(0, i);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }

  /** Goes into the trace and its hash: whatever two runs of a seed must agree on. */
  note(who: string, what: string): void {
    this.trace.add({ ms: this.clock.now(), who, what, isFault: false });
  }

  /** As `note`, for what went wrong. */
  noteFault(who: string, what: string): void {
    this.trace.add({ ms: this.clock.now(), who, what, isFault: true });
  }

  /** Checked after each step, from now on. */
  invariant(name: string, check: InvariantCheck): void {
    if (this.#invariants.some((known) => known.name === name)) throw new RangeError(`invariant "${name}" is there already`);
    this.#invariants.push({ name, check });
  }

  /** Makes a node; `run` starts its program. */
  node(name: string, options: SimNodeOptions = {}): SimNode {
    if (this.#nodes.has(name)) throw new RangeError(`node "${name}" is there already`);
    const node = new SimNode(this, name, options);
    this.#nodes.set(name, node);
    return node;
  }

  get isCalm(): boolean {
    return this.#isCalm;
  }

  /** From now on nothing goes wrong any more; what went wrong before ends: links heal, disks have room, paused nodes go on. */
  calm(): void {
    if (this.#isCalm) return;
    this.#isCalm = true;
    this.note('world', 'calm');
    for (const end of this.#calmed) end();
  }

  /** Calls `fn` at `calm`. */
  onCalm(fn: () => void): void {
    this.#calmed.push(fn);
  }

  /** Liveness: resolves once `predicate` holds, looked at after each step; the simulation fails when that takes longer than `withinMs`. */
  async eventually(name: string, predicate: () => boolean, withinMs: number): Promise<void> {
    if (predicate()) return;
    await new Promise<void>((resolve) => {
      const expected: Expected = { name, predicate, resolve, cancel: () => {} };
      expected.cancel = this.clock.after(withinMs, () => {
        this.#expected.delete(expected);
        if (predicate()) resolve();
        else this.fail(name, `it did not come within ${withinMs} ms`);
      });
      this.#expected.add(expected);
    });
  }

  /** Ends the simulation: `name` does not hold. The first failure counts. */
  fail(name: string, reason: string, cause?: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { invariant: name, reason, cause };
    this.noteFault('world', `"${name}" does not hold: ${reason}`);
  }

  get failure(): SimulationFailure | null {
    return this.#failure;
  }

  /** Looks at everything that must hold; true when somebody waited for what holds now. `simulate` calls it after each step. */
  check(): boolean {
    for (const { name, check } of this.#invariants) {
      try {
        const said = check();
        if (said === true || (said ?? null) === null) continue;
        // A promise: what it comes to would be known when other steps have run.
        this.fail(
          name,
          typeof said === 'string' ? said : said === false ? 'it is false' : 'it answers later: an invariant answers at once',
        );
      } catch (error) {
        this.fail(name, reasonOf(error), error);
      }
    }
    let hasCome = false;
    for (const expected of this.#expected) {
      try {
        if (!expected.predicate()) continue;
      } catch (error) {
        this.fail(expected.name, reasonOf(error), error);
        continue;
      }
      hasCome = true;
      this.#expected.delete(expected);
      expected.cancel();
      expected.resolve();
    }
    return hasCome;
  }

  /** Ends all nodes: nothing of this world happens any more. */
  close(): void {
    for (const node of this.#nodes.values()) node.abandon();
  }

  /** The failure as it is thrown. */
  error(failure: SimulationFailure, steps: number, timeline: string, replay: string): MillraceError {
    const { invariant, reason, cause } = failure;
    const details = { seed: this.seed, virtualMs: this.clock.now(), invariant, reason, steps, hash: this.trace.hash, timeline, replay };
    return new MillraceError('MR_SIMULATION_FAILED', details, cause);
  }
}

interface Expected {
  readonly name: string;
  readonly predicate: () => boolean;
  readonly resolve: () => void;
  cancel: () => void;
}
