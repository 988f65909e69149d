import { describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../lib/errors.ts';
import { type SimulationResult, simulate } from '../../lib/testing/index.ts';
import { CALM } from './capture/calm.ts';
import { capture } from './capture/capture.ts';
import { HONEST } from './capture/parts.ts';
import { RULES } from './capture/rules.ts';
import { MUTANTS, type Mutant } from './mutants.ts';

const BATCH = 25;
const TIMEOUT_MS = 240_000;

function run(seed: number, mutant: Mutant | null = null, isHonest = false): Promise<SimulationResult> {
  const parts = mutant === null || isHonest ? HONEST : { ...HONEST, ...mutant.parts(HONEST) };
  const replay = mutant === null ? `npm run simulate -- --scenario capture --seed ${seed}` : `mutant "${mutant.name}", seed ${seed}`;
  return simulate({ seed, replay, world: (sim) => capture(sim, parts, mutant?.plan) });
}

/** The first seed at which a mutant is noticed, and by which rule. */
async function noticed(mutant: Mutant): Promise<{ seed: number; rule: string } | null> {
  for (let seed = 1; seed <= mutant.seeds; seed++) {
    try {
      await run(seed, mutant);
    } catch (error) {
      if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
      return { seed, rule: String(error.details['invariant']) };
    }
  }
  return null;
}

describe('a capture under every fault', () => {
  it.each(Array.from({ length: 3 }, (_, batch) => [1 + batch * BATCH, (batch + 1) * BATCH]))(
    'I1–I10: loses nothing, repeats nothing to a reader, and says nothing that is not so: seeds %i to %i',
    async (first, last) => {
      for (let seed = first; seed <= last; seed++) await run(seed);
    },
    TIMEOUT_MS,
  );

  it('I1–I10: comes in one run where nothing goes wrong', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { trace } = await simulate({ seed, world: (sim) => capture(sim, HONEST, CALM) });
      expect({ firstFault: trace.firstFault, ends: trace.lines().filter(({ who }) => who === 'supervisor') }).toEqual({
        firstFault: null,
        ends: [],
      });
    }
  });

  it('does the same for the same seed, whatever ran before', async () => {
    const hashes = async () => [(await run(7)).hash, (await run(8)).hash];
    const first = await hashes();
    expect(await hashes()).toEqual(first);
    expect(first[0]).not.toBe(first[1]);
  });
});

describe('a capture with a broken part is noticed', () => {
  it.each(MUTANTS.map((mutant) => [mutant.name, mutant.seeds, mutant] as const))(
    '%s: within %i seeds, by the rule that it breaks',
    async (_name, _seeds, mutant) => {
      const found = await noticed(mutant);
      expect(mutant.breaks.map((rule) => RULES[rule])).toContain(found?.rule);
      // It is the part that does it, not what the mutant asks of its world.
      await run(found!.seed, mutant, true);
    },
    TIMEOUT_MS,
  );

  it('is one of at least twenty, each under a name of its own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(20);
  });

  it('covers every invariant', () => {
    const broken = new Set(MUTANTS.flatMap(({ breaks }) => breaks.map((rule) => RULES[rule])));
    const numbers = [...broken].flatMap((rule) => /^I(\d+):/.exec(rule)?.[1] ?? []);
    expect(numbers.map(Number).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});
