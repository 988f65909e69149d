import { isMillraceError } from '../../lib/errors.ts';
import type { SimulationResult, Trace } from '../../lib/testing/index.ts';

/** One call that leaves the process, and how the process ends there: before the effect, or after it and before the answer. */
export interface Step {
  /** From 1. */
  readonly at: number;
  readonly when: 'before' | 'after';
  readonly how: 'kill' | 'crash';
}

/** Whether enumerated runs end at each step in every way (`MILLRACE_ALL_STEPS=1`), or in some. */
export const ALL_STEPS = process.env['MILLRACE_ALL_STEPS'] === '1';

/** How often the trace has a line of `who` that begins so. */
export function told(trace: Trace, who: string, what: RegExp): number {
  return trace.lines().filter((line) => line.who === who && what.test(line.what)).length;
}

/** What the simulation found, step by step: nothing, where all is well. Each run must have ended at its step, and nowhere else. */
export async function failuresAt(
  steps: Iterable<Step>,
  run: (step: Step) => Promise<{ readonly result: SimulationResult }>,
): Promise<string[]> {
  const failed: string[] = [];
  for (const step of steps) {
    try {
      const { result } = await run(step);
      const ends = told(result.trace, 'node', new RegExp(`^goes down ${step.when} its call ${step.at},`));
      if (ends !== 1) failed.push(`it went down ${ends} times ${step.when} call ${step.at}`);
    } catch (error) {
      if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
      failed.push(error.message);
    }
  }
  return failed;
}
