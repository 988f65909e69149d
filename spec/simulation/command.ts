import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMillraceError, reasonOf } from '../../lib/errors.ts';
import { timelineOf } from '../../lib/testing/index.ts';
import { runCampaign, runSeed } from './campaign.ts';
import type { Scenario } from './scenarios.ts';

export interface Surroundings {
  readonly scenarios: Readonly<Record<string, Scenario>>;
  readonly stdout: { write(text: string): void };
  readonly stderr: { write(text: string): void };
}

/**
 * `npm run simulate -- --scenario NAME [--seeds N] [--from N] [--seed N] [--rounds N]`: runs seeds of a scenario. Progress goes to stderr, the result to stdout.
 *
 * @returns the exit code: 0 when all seeds pass, 1 when one fails, 2 when the usage is wrong.
 */
export async function simulateCommand(args: readonly string[], surroundings: Surroundings): Promise<0 | 1 | 2> {
  const { scenarios, stderr } = surroundings;
  let options: Options;
  try {
    options = optionsOf(args, scenarios);
  } catch (error) {
    stderr.write(`${reasonOf(error)}\n\n${usageOf(scenarios)}`);
    return 2;
  }
  return options.seed === null ? campaign(options, surroundings) : replay(options.scenario, options.seed, surroundings);
}

function usageOf(scenarios: Surroundings['scenarios']): string {
  const known = Object.entries(scenarios).map(([name, { about }]) => `  ${name}\n      ${about}`);
  return `Usage: npm run simulate -- --scenario NAME [options]

  --seeds N   how many seeds (default 100)
  --from N    the first of them (default 1)
  --seed N    one seed only: replays it and prints its timeline
  --jobs N    processes (default: one for each core)
  --rounds N  runs each seed N times (default 1): its traces must be the same, and
              it costs what its cheapest run does, which least else disturbs

Scenarios:
${known.join('\n')}
`;
}

interface Options {
  readonly scenario: string;
  readonly seed: number | null;
  readonly seeds: number;
  readonly from: number;
  readonly jobs: number;
  readonly rounds: number;
}

function optionsOf(args: readonly string[], scenarios: Surroundings['scenarios']): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { scenario: text, seeds: text, seed: text, from: text, jobs: text, rounds: text },
  });
  const { scenario } = values;
  if (scenario === undefined) throw new Error('--scenario is missing');
  if (!Object.hasOwn(scenarios, scenario)) throw new Error(`there is no scenario ${scenario}`);
  const seeds = countOf('--seeds', values.seeds ?? '100', 1);
  return {
    scenario,
    seeds,
    seed: values.seed === undefined ? null : countOf('--seed', values.seed, 0),
    from: countOf('--from', values.from ?? '1', 0),
    jobs: values.jobs === undefined ? (seeds < FEW_SEEDS ? 1 : availableParallelism()) : countOf('--jobs', values.jobs, 1),
    rounds: countOf('--rounds', values.rounds ?? '1', 1),
  };
}

/** Another process costs more than it brings. */
const FEW_SEEDS = 200;

function countOf(option: string, text: string, min: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > 0xffff_ffff)
    throw new Error(`${option} is ${text}; it must be an integer from ${min} up to 4294967295`);
  return value;
}

async function replay(scenario: string, seed: number, { scenarios, stdout }: Surroundings): Promise<0 | 1> {
  try {
    const { hash, steps, virtualMs, trace } = await runSeed(scenario, seed, scenarios);
    stdout.write(
      `${timelineOf(trace, 200)}\n\n${scenario}: seed ${seed} passes: ${steps} steps, ${virtualMs} virtual ms, trace hash ${hash}\n`,
    );
    return 0;
  } catch (error) {
    if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
    stdout.write(`${scenario}: ${error.message}\n`);
    return 1;
  }
}

async function campaign({ scenario, seeds, from, jobs, rounds }: Options, { scenarios, stdout, stderr }: Surroundings): Promise<0 | 1> {
  const startMs = performance.now();
  let toldMs = startMs;
  const rate = (passed: number) => `${Math.round((passed / (performance.now() - startMs)) * 1000)} seeds/s`;
  const onProgress = (passed: number) => {
    if (performance.now() - toldMs < TELL_MS) return;
    toldMs = performance.now();
    stderr.write(`${scenario}: ${passed} of ${seeds} seeds, ${rate(passed)}\n`);
  };
  const { passed, steps, hash, cpuMs, failure } = await runCampaign({ scenario, from, count: seeds, jobs, rounds, scenarios, onProgress });
  stderr.write(`${scenario}: ${passed} seeds pass, ${rate(passed)}, ${jobs} processes\n`);
  const [best, median] = [cpuMs[0], cpuMs[cpuMs.length >> 1]];
  if (best !== undefined && median !== undefined) {
    stderr.write(`${scenario}: ${median.toFixed(1)} ms of CPU a seed in the median, ${best.toFixed(1)} at best\n`);
  }
  if (failure !== null) {
    stdout.write(`${scenario}: ${failure.message}\n`);
    return 1;
  }
  stdout.write(`${scenario}: seeds ${from} to ${from + seeds - 1} pass: ${steps} steps, hash over all traces ${hash}\n`);
  return 0;
}

const TELL_MS = 2000;
