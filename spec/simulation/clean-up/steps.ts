import { type SimulationResult, simulate } from '../../../lib/testing/index.ts';
import type { Step } from '../enumerated-steps.ts';
import { type CleanUpParts, type CleanUpPlan, cleanUp, HONEST } from './clean-up.ts';

export interface StepsRun {
  readonly result: SimulationResult;
  /** The numbers of the calls of clean-up, from its list of what there is to its last delete, of each run that removed something. */
  readonly calls: readonly number[];
}

/** One small sink, always the same, in which nothing goes wrong but this: the process goes down at `step`, if there is one. @throws MR_SIMULATION_FAILED */
export async function runStep(step: Step | null, parts: CleanUpParts = HONEST): Promise<StepsRun> {
  const spans: { from: number; to: number }[] = [];
  let number = () => 0;
  const counted: CleanUpParts = {
    ...parts,
    store: (store) => {
      const inner = parts.store(store);
      return new Proxy(inner, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name, target);
          if (typeof member !== 'function') return member;
          return (...args: unknown[]) => {
            if (name === 'list' && args[0] === '') spans.push({ from: number() + 1, to: 0 });
            const answer: unknown = Reflect.apply(member, target, args);
            if (name === 'delete') spans.at(-1)!.to = number();
            return answer;
          };
        },
      });
    },
  };
  const replay = step === null ? 'runStep(null)' : `runStep({ at: ${step.at}, when: '${step.when}', how: '${step.how}' })`;
  const result = await simulate({
    seed: 1,
    maxSteps: 20_000,
    replay,
    world: (sim) =>
      cleanUp(sim, PLAN, counted, (node) => {
        number = () => node.calls;
        if (step !== null) node.crashAtCall(step.at, step.when, step.how, true);
      }),
  });
  const calls = spans.filter(({ to }) => to > 0).flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  return { result, calls };
}

/** Two tables, one of them idle, the other truncated, over five days. */
const PLAN: CleanUpPlan = {
  days: 5,
  expirationDays: 1,
  isIdle: (day) => day % 3 !== 0,
  truncates: (day) => day === 1,
  storeLatencyMs: [1, 10],
  nodeFaults: {},
  skewMs: 0,
  storeFaults: {},
  checkpointFails: 0,
};
