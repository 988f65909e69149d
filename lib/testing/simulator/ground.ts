import type { VirtualClock } from '../virtual-clock.ts';
import type { Range } from './faults.ts';

/** What a node stands on: the part of a `Simulation` that it needs. */
export interface Ground {
  readonly clock: VirtualClock;
  readonly isCalm: boolean;
  random(): number;
  fault(p: number | undefined): boolean;
  between(min: number, max: number): number;
  within(range: Range): number;
  note(who: string, what: string): void;
  noteFault(who: string, what: string): void;
  fail(name: string, reason: string, cause?: unknown): void;
  onCalm(fn: () => void): void;
}
