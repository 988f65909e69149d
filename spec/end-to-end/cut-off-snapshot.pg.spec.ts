import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startCli } from '../support/cli.ts';
import { CliServer } from '../support/cli-server.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { expectError, IDENTICAL } from '../support/refusals.ts';

describe('a first snapshot that is in the middle of a large table', () => {
  let server: TestPostgres;
  let dir: string;
  const commands = new CliServer();
  const { cli } = commands;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-cut-'));
    server = await startPostgres();
  }, 60_000);

  afterAll(async () => {
    await Promise.all([server.stop(), commands.close()]);
    await rm(dir, { recursive: true, force: true });
  });

  /** The process of the capture stands still, for as long as the test wants, and the server sends into full buffers. */
  async function copying(name: string) {
    const pipeline = await Pipeline.create(server, name, dir, cli);
    await pipeline.sql(
      "CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, repeat('v', 1000) FROM generate_series(1, 60000) i",
    );
    const { child, result } = startCli(pipeline.catchUp());
    const isCopying = () =>
      pipeline.sql(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY %large%' AND wait_event = 'ClientWrite'",
      );
    while ((await isCopying()).length === 0) await sleep(5);
    child.kill('SIGSTOP');
    while ((await isCopying()).length === 0) await sleep(5);
    const teardown = () => cli(['teardown', '--from', pipeline.url, '--slot', name, '--publication', name]);
    return { pipeline, child, result, teardown };
  }

  it('keeps its slot: a teardown is refused meanwhile, and the capture comes to its end', async () => {
    const { pipeline, child, result, teardown } = await copying('in_use');
    expectError(await teardown(), 'MR_SLOT_ACTIVE', ['in_use', 'pg_terminate_backend']);
    child.kill('SIGCONT');
    expect((await result).code).toBe(0);
    expect(await pipeline.verdicts()).toEqual({ ...IDENTICAL, 'public.large': 'identical' });
    expect(await teardown()).toMatchObject({ code: 0, stdout: 'slot\tin_use\tdropped\npublication\tin_use\tdropped\n' });
  }, 60_000);

  it('holds nothing once it is killed: the server notices, and teardown works', async () => {
    const { child, result, teardown } = await copying('killed');
    child.kill('SIGKILL');
    expect((await result).code).toBeNull();
    let last = await teardown();
    for (; last.code !== 0; last = await teardown()) expectError(last, 'MR_SLOT_ACTIVE', ['killed']);
    expect(last.stdout).toBe('slot\tkilled\tdropped\npublication\tkilled\tdropped\n');
  }, 60_000);

  it('is stopped with a word about what is not finished, and so is the next start, which takes it again', async () => {
    const { pipeline, child, result } = await copying('stopped');
    child.kill('SIGINT');
    child.kill('SIGCONT');
    const stopped = await result;
    expect({ code: stopped.code, stderr: stopped.stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/the snapshot of [^"]*public\.large[^"]* is not finished; the next start takes it again/),
    });
    const { stderr } = await pipeline.succeeds(pipeline.catchUp());
    expect(stderr).toMatch(/the snapshot of [^"]*public\.large[^"]* was not finished; it is taken again/);
    expect(stderr).not.toContain('is not finished');
    expect(await pipeline.verdicts()).toEqual({ ...IDENTICAL, 'public.large': 'identical' });
    expect((await pipeline.succeeds(pipeline.catchUp())).stderr).not.toMatch(/not finished/);
  }, 60_000);
});
