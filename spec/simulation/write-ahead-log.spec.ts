import { describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../lib/errors.ts';
import { simulate } from '../../lib/testing/index.ts';
import { type LogBug, writeAheadLog } from './write-ahead-log.ts';

/** The first seed up to `max` that finds something, and what. */
async function hunt(bug: LogBug, max: number): Promise<{ seed: number; invariant: unknown } | null> {
  for (let seed = 1; seed <= max; seed++) {
    try {
      await simulate({ seed, world: (sim) => writeAheadLog(sim, bug) });
    } catch (error) {
      if (!isMillraceError(error, 'MR_SIMULATION_FAILED')) throw error;
      return { seed, invariant: error.details['invariant'] };
    }
  }
  return null;
}

describe('the simulator on a small write-ahead log', () => {
  it('passes 300 seeds', async () => {
    for (let seed = 1; seed <= 300; seed++) await simulate({ seed, world: (sim) => writeAheadLog(sim) });
  });

  it.each<[LogBug, string]>([
    ['ack before sync', 'nothing acknowledged is lost'],
    ['name not synced', 'nothing acknowledged is lost'],
    ['torn tail kept', 'nothing acknowledged is lost'],
    ['no checksum', 'the log holds what was written'],
  ])('finds the bug "%s" within 100 seeds', async (bug, invariant) => {
    expect(await hunt(bug, 100)).toMatchObject({ invariant });
  });
});
