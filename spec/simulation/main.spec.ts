import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { runSeed } from './campaign.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ['--import', 'tsx', '--no-warnings', MAIN, ...args], (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe('npm run simulate', () => {
  it('replays a seed in another process with the very same trace', async () => {
    const { hash, steps } = await runSeed('write-ahead-log', 7);
    const { code, stdout } = await run('--scenario', 'write-ahead-log', '--seed', '7');
    expect(code).toBe(0);
    expect(stdout).toContain(`seed 7 passes: ${steps} steps`);
    expect(stdout).toContain(`trace hash ${hash}`);
  });

  it('finds the same in one process as in several', async () => {
    const withJobs = (jobs: string) => run('--scenario', 'write-ahead-log', '--seeds', '45', '--from', '10', '--jobs', jobs);
    const [alone, together] = [await withJobs('1'), await withJobs('2')];
    expect(alone).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^write-ahead-log: seeds 10 to 54 pass: \d+ steps, hash over all traces \w{16}\n$/),
    });
    expect(together.stdout).toBe(alone.stdout);
  });

  it('ends with the exit code of the command', async () => {
    expect(await run('--scenario', 'x')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^there is no scenario x\n\nUsage: /),
    });
  });
});
