import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CLI, type CliResult } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { filesBelow, Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, IDENTICAL } from '../support/refusals.ts';

const exec = promisify(execFile);

/** A place of 3 MiB that can grow: a file system of its own where this process may mount one; else null. */
async function smallDisk(path: string): Promise<{ grow(): Promise<void>; remove(): Promise<void> } | null> {
  await mkdir(path, { recursive: true });
  try {
    await exec('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', path]);
  } catch {
    return null;
  }
  return {
    grow: async () => void (await exec('mount', ['-o', 'remount,size=64m', path])),
    remove: async () => void (await exec('umount', [path])),
  };
}

/** The command line where no file may be larger than 2 MiB, or a number of 512 bytes: what a full quota or disk does to a write, without rights to make one. */
async function limited(args: readonly string[], blocks = 4096): Promise<CliResult> {
  const script = `ulimit -f ${blocks}; exec "$0" "$@"`;
  const child = spawn('sh', ['-c', script, process.execPath, '--import', import.meta.resolve('tsx'), '--no-warnings', CLI, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (chunk: Buffer) => void (output[name] += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, ...output };
}

describe('no room left', () => {
  let server: TestPostgres;
  let dir: string;
  const commands = new CliServer();
  const { cli } = commands;
  const undo: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-full-'));
  });

  afterAll(async () => {
    await Promise.all([server.stop(), commands.close()]);
    for (const action of undo) await action();
    await rm(dir, { recursive: true, force: true });
  });

  /** More than 4 MiB of rows, in one file. */
  const fill = (pipeline: Pipeline) => pipeline.sql(`INSERT INTO users SELECT i, repeat('x', 1000) FROM generate_series(1000, 5000) i`);

  it('at the target, while it streams: ends with the path and the remedy, shows no reader half a file, and goes on when there is room', async () => {
    const pipeline = await Pipeline.create(server, 'target', dir, cli);
    const disk = await smallDisk(join(dir, 'disk'));
    if (disk !== null) undo.push(disk.remove);
    const target = pathToFileURL(disk === null ? pipeline.out : join(dir, 'disk', 'out')).href;
    const args = pipeline.catchUp({ '--to': target });
    await pipeline.succeeds(args);
    await fill(pipeline);
    expectError(await (disk === null ? limited(args) : cli(args)), 'MR_SINK_WRITE_FAILED', ['MR_STORE_FULL', 'public/users', 'Make room']);
    expect((await cli(['read', '--to', target, '--table', 'public.users'])).stdout.trim().split('\n')).toHaveLength(50);
    await disk?.grow();
    await pipeline.succeeds(args);
    expect(await pipeline.verdicts(target)).toEqual(IDENTICAL);
  }, 60_000);

  it('for a file, in the snapshot: ends with the path and the remedy, shows no reader the table, and takes it again when there is room', async () => {
    const pipeline = await Pipeline.create(server, 'snapshot', dir, cli);
    await fill(pipeline);
    expectError(await limited(pipeline.catchUp()), 'MR_SINK_WRITE_FAILED', ['MR_STORE_FULL', 'public/users', 'Make room']);
    expect((await cli(['read', '--to', pipeline.target])).stdout).toBe('');
    await pipeline.succeeds(pipeline.catchUp());
    expect(await pipeline.verdicts()).toEqual(IDENTICAL);
    expect(Object.keys(await filesBelow(pipeline.out)).filter((path) => path.includes('.millrace-tmp'))).toEqual([]);
  }, 60_000);

  it('for the state: ends with the folder and the remedy, and goes on when there is room', async () => {
    const disk = await smallDisk(join(dir, 'small'));
    const state = join(dir, 'small', 'state');
    const pipeline = await Pipeline.captured(server, 'state', dir, cli);
    await mkdir(state, { recursive: true });
    if (disk !== null) undo.push(disk.remove);
    await copyFile(pipeline.checkpointFile, join(state, 'state.checkpoint.json'));
    const args = pipeline.catchUp({ '--state': state });
    if (disk !== null) await writeFile(join(dir, 'small', 'filler'), Buffer.alloc(4 * 1024 * 1024)).catch(() => {});
    // Without a disk of its own the limit is what no file may hold at all.
    expectError(await (disk === null ? limited(args, 0) : cli(args)), 'MR_CHECKPOINT_UNWRITABLE', [state, 'with room left']);
    await rm(join(dir, 'small', 'filler'), { force: true });
    await pipeline.succeeds(args);
    expect(await pipeline.verdicts()).toEqual(IDENTICAL);
  }, 60_000);
});
