import { type ChildProcess, fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMillraceError, reasonOf } from '../../lib/errors.ts';
import { type SimulationResult, simulate } from '../../lib/testing/index.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

/** Some seeds of a scenario, one after another. */
export interface Batch {
  readonly scenario: string;
  readonly from: number;
  readonly count: number;
  /** How often all of them run, one round after another. A seed must give the same trace each time. */
  readonly rounds: number;
}

export interface BatchResult {
  readonly from: number;
  /** Seeds that passed; all of the batch unless one failed. */
  readonly passed: number;
  readonly steps: number;
  /** Over all traces, in whatever order they ran. */
  readonly hash: bigint;
  /** Of this process, collector and compiler included, for each seed that passed: the least of its rounds. */
  readonly cpuMs: readonly number[];
  readonly failure: SeedFailure | null;
}

export interface SeedFailure {
  readonly seed: number;
  /** With timeline and replay command. */
  readonly message: string;
}

/** How a seed is replayed from a shell. */
export function replayCommand(scenario: string, seed: number): string {
  return `npm run simulate -- --scenario ${scenario} --seed ${seed}`;
}

export function runSeed(name: string, seed: number, scenarios = SCENARIOS): Promise<SimulationResult> {
  const { world, maxSteps, maxMs }: Scenario = scenarios[name]!;
  const limits = { ...(maxSteps === undefined ? {} : { maxSteps }), ...(maxMs === undefined ? {} : { maxMs }) };
  return simulate({ seed, world, replay: replayCommand(name, seed), ...limits });
}

/** Runs the seeds of a batch until one fails, or gives another trace than before. */
export async function runBatch({ scenario, from, count, rounds }: Batch, scenarios = SCENARIOS): Promise<BatchResult> {
  const ran: { readonly steps: number; readonly hash: string; readonly cpuMs: number }[] = [];
  const end = (passed: number, failure: SeedFailure | null): BatchResult => {
    const passes = ran.slice(0, passed);
    return {
      from,
      passed,
      steps: passes.reduce((sum, { steps }) => sum + steps, 0),
      hash: passes.reduce((all, { hash }) => all ^ BigInt(`0x${hash}`), 0n),
      cpuMs: passes.map(({ cpuMs }) => cpuMs),
      failure,
    };
  };
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < count; i++) {
      const seed = from + i;
      try {
        const before = process.cpuUsage();
        const { steps, hash } = await runSeed(scenario, seed, scenarios);
        const { user, system } = process.cpuUsage(before);
        const cpuMs = (user + system) / 1000;
        const known = ran[i];
        if (known !== undefined && known.hash !== hash) {
          throw new Error(`its trace hash was ${known.hash}, and is ${hash} in round ${round + 1}: something does not come from the seed`);
        }
        ran[i] = { steps, hash, cpuMs: Math.min(cpuMs, known?.cpuMs ?? cpuMs) };
      } catch (error) {
        // What is no finding of the simulation is a fault of the scenario: its stack is of use.
        const message = isMillraceError(error, 'MR_SIMULATION_FAILED') ? error.message : `seed ${seed}: ${stackOf(error)}`;
        return end(i, { seed, message });
      }
    }
  }
  return end(count, null);
}

export interface Campaign {
  readonly scenario: string;
  readonly from: number;
  readonly count: number;
  /** Processes. With 1 it runs in this one. */
  readonly jobs: number;
  /** Default 1. */
  readonly rounds?: number;
  /** Other processes know `SCENARIOS` only. */
  readonly scenarios?: typeof SCENARIOS;
  readonly onProgress: (passed: number) => void;
}

export interface CampaignResult {
  readonly passed: number;
  readonly steps: number;
  /** 16 hex digits over the traces of all seeds. */
  readonly hash: string;
  /** Of the seeds that passed, ascending. */
  readonly cpuMs: readonly number[];
  /** That of the lowest seed of those that were found. */
  readonly failure: SeedFailure | null;
}

/** Runs all seeds, in `jobs` processes, and stops at the first that fails. */
export async function runCampaign({ scenario, from, count, jobs, rounds = 1, scenarios, onProgress }: Campaign): Promise<CampaignResult> {
  let next = from;
  let passed = 0;
  let steps = 0;
  let hash = 0n;
  const cpuMs: number[] = [];
  const failures: SeedFailure[] = [];
  const size = Math.max(1, Math.min(BATCH_SEEDS, Math.ceil(count / jobs)));
  const work = async (run: (batch: Batch) => Promise<BatchResult>) => {
    while (next < from + count && failures.length === 0) {
      const batch = { scenario, from: next, count: Math.min(size, from + count - next), rounds };
      next += batch.count;
      const result = await run(batch);
      passed += result.passed;
      steps += result.steps;
      hash ^= result.hash;
      cpuMs.push(...result.cpuMs);
      if (result.failure !== null) failures.push(result.failure);
      onProgress(passed);
    }
  };
  if (jobs === 1) await work((batch) => runBatch(batch, scenarios));
  else {
    const workers = Array.from({ length: jobs }, () => new Worker());
    try {
      await Promise.all(workers.map((worker) => work((batch) => worker.run(batch))));
    } finally {
      for (const worker of workers) worker.stop();
    }
  }
  cpuMs.sort((a, b) => a - b);
  const [failure = null] = failures.sort((a, b) => a.seed - b.seed);
  return { passed, steps, hash: hash.toString(16).padStart(16, '0'), cpuMs, failure };
}

const BATCH_SEEDS = 20;

/** Compiled as this file is, or not. */
const WORKER = fileURLToPath(new URL(`./worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url));

/** A process of its own that runs batches. */
class Worker {
  readonly #child: ChildProcess = fork(WORKER, { serialization: 'advanced' });

  run(batch: Batch): Promise<BatchResult> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null) => reject(new Error(`the process that ran seeds ${batch.from} and on ended with ${code}`));
      this.#child.once('exit', gone);
      this.#child.once('message', (result) => {
        this.#child.off('exit', gone);
        resolve(result as BatchResult);
      });
      this.#child.send(batch);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : reasonOf(error);
}
