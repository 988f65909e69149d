import type { CaptureParts } from './capture/parts.ts';
import type { Plan } from './capture/plan.ts';
import type { Rule } from './capture/rules.ts';
import { BORDER_MUTANTS } from './mutants/borders.ts';
import { SINK_MUTANTS } from './mutants/sink.ts';
import { SOURCE_MUTANTS } from './mutants/source.ts';
import { SPOOL_MUTANTS } from './mutants/spool.ts';

/** A capture with one part replaced by a broken one: a bug that a peer had, or that is easily made. Production code knows nothing of it. */
export interface Mutant {
  readonly name: string;
  /** What goes wrong, and who had it where that is publicly known. */
  readonly hazard: string;
  /** The rules that may notice it first. */
  readonly breaks: readonly Rule[];
  /** It is noticed within so many seeds, from 1 on. */
  readonly seeds: number;
  /** What it needs to show at all, whatever the seed says. */
  readonly plan?: Partial<Plan>;
  /** The parts that it replaces. */
  parts(honest: CaptureParts): Partial<CaptureParts>;
}

export const MUTANTS: readonly Mutant[] = [...SINK_MUTANTS, ...SOURCE_MUTANTS, ...BORDER_MUTANTS, ...SPOOL_MUTANTS];
