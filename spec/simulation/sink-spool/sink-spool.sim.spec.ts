import { describe, expect, it } from '@jest/globals';
import { simulate, type Trace } from '../../../lib/testing/index.ts';
import { replayCommand } from '../campaign.ts';
import { capture } from '../capture/capture.ts';
import { HONEST } from '../capture/parts.ts';
import { RULES } from '../capture/rules.ts';
import { ALL_STEPS, failuresAt, type Step, told } from '../enumerated-steps.ts';
import { MUTANTS } from '../mutants.ts';
import { runStep } from './crash-steps.ts';
import { spoolPlanOf } from './spool-plan.ts';

const BATCH = 30;
const TIMEOUT_MS = 240_000;

describe('a capture whose rows wait on a disk', () => {
  it.each(Array.from({ length: 1 }, (_, batch) => [1 + batch * BATCH, (batch + 1) * BATCH]))(
    'I1–I10: loses nothing, repeats nothing to a reader and leaves nothing behind, whatever the disk does: seeds %i to %i',
    async (first, last) => {
      const met = { spilled: 0, readBack: 0, full: 0, slow: 0, failed: 0, corrupt: 0, crashed: 0 };
      for (let seed = first; seed <= last; seed++) {
        const { trace } = await simulate({
          seed,
          replay: replayCommand('sink-spool', seed),
          world: (sim) => capture(sim, HONEST, spoolPlanOf(sim)),
        });
        if (told(trace, 'spool', /^write /) > 0) met.spilled++;
        if (told(trace, 'spool', /^read .*log$/) > 0) met.readBack++;
        if (told(trace, 'spool', /ENOSPC/) > 0) met.full++;
        if (told(trace, 'spool', /slow$/) > 0) met.slow++;
        if (told(trace, 'spool', /EIO/) > 0) met.failed++;
        if (told(trace, 'spool', /is wrong$/) > 0) met.corrupt++;
        if (told(trace, 'node', /^(crashes|is killed)$/) > 0) met.crashed++;
      }
      // A seed that shows none of it shows nothing of the spool.
      expect(Object.entries(met).filter(([, seeds]) => seeds === 0)).toEqual([]);
      expect(met.readBack).toBeGreaterThan(BATCH / 2);
    },
    TIMEOUT_MS,
  );
});

/** One small run, and the process down at each of its calls: of the object store, the disk, the checkpoints. */
describe('a capture that goes down at each step of its I/O', () => {
  it('I8: is a run with rows on disk and in memory, a schema change, a TRUNCATE, two tables, and a restart with a replay', async () => {
    const { result, calls } = await runStep(null);
    const { trace } = result;
    const published = told(trace, 'store', /^putIf .*\.index /);
    expect(calls).toBeGreaterThan(150);
    expect(told(trace, 'node', /^is killed$/)).toBe(1);
    expect(told(trace, 'spool', /^write /)).toBeGreaterThan(10);
    expect(told(trace, 'spool', /^remove .*segment/)).toBeGreaterThan(10);
    expect(told(trace, 'store', /^put public\/users\/meta\/schema_.*\.json /)).toBeGreaterThanOrEqual(3);
    expect(told(trace, 'store', /^put public\/orders\/meta\/schema_.*\.json /)).toBe(1);
    // A file that no read of the disk came before was in memory.
    expect(told(trace, 'spool', /^read /)).toBeGreaterThan(5);
    expect(filesFromMemory(trace)).toBeGreaterThan(0);
    expect(published).toBeGreaterThan(5);
    const careless = MUTANTS.find(({ name }) => name === 'a replay is written again')!;
    await expect(runStep(null, { ...HONEST, ...careless.parts(HONEST) })).rejects.toMatchObject({ details: { invariant: RULES.once } });
  });

  // A killed process leaves what it wrote on its disk, a power failure some of it.
  it.each<[how: Step['how'], when: Step['when'], turn: number]>([
    ['kill', 'before', 0],
    ['crash', 'before', 1],
    ['crash', 'after', 0],
    ['kill', 'after', 1],
  ])(
    'I1, I8: exactly once for readers, no orphan, the folder of the spool gone: a %s %s the effect of a step',
    async (how, when, turn) => {
      const { calls } = await runStep(null);
      // Each step once before and once after its effect; or in all four ways.
      const steps = Array.from({ length: calls }, (_, i) => ({ at: i + 1, when, how })).filter(({ at }) => ALL_STEPS || at % 2 === turn);
      expect(await failuresAt(steps, runStep)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** Data files whose put follows another one, of the same table, with no read of the disk between them and what described them. */
function filesFromMemory(trace: Trace): number {
  const lines = trace.lines();
  return lines.filter(({ who, what }, at) => {
    const sidecar = /^putIf (.*)\/meta\/(CDC\d+)\.positions /.exec(what);
    if (who !== 'store' || sidecar === null) return false;
    const put = lines.findIndex((line, behind) => behind > at && line.what.startsWith(`putIfAbsent ${sidecar[1]}/${sidecar[2]}.`));
    return put > at && lines.slice(at, put).every((line) => line.who !== 'spool' || !line.what.startsWith('read '));
  }).length;
}
