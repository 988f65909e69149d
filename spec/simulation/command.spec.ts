import { describe, expect, it } from '@jest/globals';
import { simulateCommand } from './command.ts';
import type { Scenario } from './scenarios.ts';
import { writeAheadLog } from './write-ahead-log.ts';

let runs = 0;
const scenarios: Record<string, Scenario> = {
  moody: { about: 'Each run is another.', world: async (sim) => sim.note('world', `run ${++runs}`) },
  good: { about: 'A log.', world: (sim) => writeAheadLog(sim) },
  bad: { about: 'A log with a bug.', world: (sim) => writeAheadLog(sim, 'no checksum') },
  broken: {
    about: 'It goes on for ever.',
    maxSteps: 7,
    world: async (sim) => {
      for (;;) await sim.sleep(1);
    },
  },
};

async function run(...args: string[]) {
  let [stdout, stderr] = ['', ''];
  const code = await simulateCommand(args, {
    scenarios,
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
  });
  return { code, stdout, stderr };
}

describe('the simulate command', () => {
  it('stops at the first seed that fails, and its replay is the very same', async () => {
    const found = await run('--scenario', 'bad', '--seeds', '100', '--jobs', '1');
    expect(found.code).toBe(1);
    const [, seed] = /Replay it with `npm run simulate -- --scenario bad --seed (\d+)`/.exec(found.stdout) ?? [];
    expect(found.stdout).toContain(`bad: MR_SIMULATION_FAILED: seed ${seed}: "the log holds what was written" does not hold at`);
    expect(found.stdout).toContain('log-disk  write /data/log');
    expect(found.stderr).toContain(`bad: ${Number(seed) - 1} seeds pass`);
    const replayed = await run('--scenario', 'bad', '--seed', String(seed));
    expect(replayed).toEqual({ code: 1, stdout: found.stdout, stderr: '' });
  });

  it('gives the timeline of a seed that passes', async () => {
    const { code, stdout } = await run('--scenario', 'good', '--seed', '5');
    expect(code).toBe(0);
    expect(stdout).toMatch(/log-disk {2}write[\s\S]*good: seed 5 passes: \d+ steps, \d+ virtual ms, trace hash \w{16}\n$/);
  });

  it('says what a seed costs, apart from what it found', async () => {
    const { code, stdout, stderr } = await run('--scenario', 'good', '--seeds', '3');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^good: seeds 1 to 3 pass: \d+ steps, hash over all traces \w{16}\n$/);
    expect(stderr).toMatch(/^good: \d+\.\d ms of CPU a seed in the median, \d+\.\d at best$/m);
  });

  it('runs seeds several times and finds the same', async () => {
    const once = await run('--scenario', 'good', '--seeds', '30');
    const thrice = await run('--scenario', 'good', '--seeds', '30', '--rounds', '3');
    expect(thrice).toMatchObject({ code: 0, stdout: once.stdout });
  });

  it('tells of a seed whose second run is another', async () => {
    const { code, stdout } = await run('--scenario', 'moody', '--seeds', '2', '--rounds', '2');
    expect(code).toBe(1);
    expect(stdout).toMatch(/seed 1: Error: its trace hash was \w{16}, and is \w{16} in round 2: something does not come from the seed/);
  });

  it("keeps a scenario's own limits", async () => {
    expect(await run('--scenario', 'broken', '--seeds', '3')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('it has not, in 7 steps'),
    });
  });

  it.each([
    ['no scenario', [], '--scenario is missing'],
    ['an unknown scenario', ['--scenario', 'x'], 'there is no scenario x'],
    ['a count that is none', ['--scenario', 'good', '--seeds', '1.5'], '--seeds is 1.5; it must be an integer from 1 up to 4294967295'],
    ['no seeds', ['--scenario', 'good', '--seeds', '0'], '--seeds is 0'],
    ['no rounds', ['--scenario', 'good', '--rounds', '0'], '--rounds is 0'],
    ['an unknown option', ['--speed', '9'], "Unknown option '--speed'"],
  ])('ends with 2 for %s, and says how it is used', async (_, args, reason) => {
    const { code, stdout, stderr } = await run(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(reason);
    expect(stderr).toMatch(/Usage: npm run simulate[\s\S]*good\n {6}A log\./);
  });
});
