import { describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../lib/errors.ts';
import { simulate } from '../../../lib/testing/index.ts';
import type { RecorderStatus } from '../../../pipelines/index.ts';
import { RECORDER_MUTANTS, type RecorderMutant } from './mutants.ts';
import { HONEST, recorder } from './recorder.ts';

const BATCH = 75;
const TIMEOUT_MS = 120_000;
const replay = (seed: number) => `npm run simulate -- --scenario event-recorder --seed ${seed}`;

describe('an event recorder under every fault', () => {
  const seen = new Map<string, number>();
  const note = ({ dropped, refused, replayed, delivered, deadLettered, retries }: RecorderStatus, duplicates: number) => {
    const counts = { ...dropped, refused: refused.overflow, replayed, delivered, deadLettered, retries, duplicates };
    for (const [what, count] of Object.entries(counts)) seen.set(what, (seen.get(what) ?? 0) + count);
  };

  it.each(Array.from({ length: 2 }, (_, batch) => [1 + batch * BATCH, (batch + 1) * BATCH]))(
    'C5.33, G1–G8: accounts for every event at each step, whatever fails, hangs or crashes: seeds %i to %i',
    async (first, last) => {
      for (let seed = first; seed <= last; seed++)
        await simulate({ seed, replay: replay(seed), world: (sim) => recorder(sim, HONEST, note) });
    },
    TIMEOUT_MS,
  );

  it('meets what it is about: events come again after crashes, are dropped, refused and buried', () => {
    const often = ['replayed', 'delivered', 'deadLettered', 'retries', 'exhausted', 'rejected', 'overflow', 'closed', 'refused'];
    expect(often.filter((what) => (seen.get(what) ?? 0) < 50)).toEqual([]);
    expect(seen.get('failed')).toBe(0);
    // G7: a settlement that a crash made forgotten is the exception.
    expect(seen.get('duplicates')! / seen.get('delivered')!).toBeLessThan(0.02);
  });

  it('does the same for the same seed', async () => {
    const hash = async () => (await simulate({ seed: 3, world: (sim) => recorder(sim) })).hash;
    expect(await hash()).toBe(await hash());
  });
});

/** The first seed at which a mutant is noticed, and by which rule. */
async function noticed(mutant: RecorderMutant): Promise<{ seed: number; rule: string } | null> {
  const restore = mutant.patch?.() ?? (() => {});
  try {
    for (let seed = 1; seed <= mutant.seeds; seed++) {
      try {
        await simulate({ seed, world: (sim) => recorder(sim, { ...HONEST, ...mutant.parts }) });
      } catch (error) {
        if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
        return { seed, rule: String(error.details['invariant']) };
      }
    }
    return null;
  } finally {
    restore();
  }
}

describe('an event recorder with a broken part is noticed', () => {
  it.each(RECORDER_MUTANTS.map((mutant) => [mutant.name, mutant.seeds, mutant] as const))(
    '%s: within %i seeds, by the rule that it breaks',
    async (_name, _seeds, mutant) => {
      const found = await noticed(mutant);
      expect(mutant.breaks).toContain(found?.rule.split(':')[0]);
      // It is the part that does it, not the policy that it needs.
      await simulate({ seed: found!.seed, world: (sim) => recorder(sim, { ...HONEST, overflow: mutant.parts?.overflow ?? null }) });
    },
    TIMEOUT_MS,
  );

  it('is one of at least ten, each under a name of its own', () => {
    expect(new Set(RECORDER_MUTANTS.map(({ name }) => name)).size).toBe(RECORDER_MUTANTS.length);
    expect(RECORDER_MUTANTS.length).toBeGreaterThanOrEqual(10);
  });
});
