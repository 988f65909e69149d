import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { runCommandLine } from '../../bin/command-line.ts';
import { dmlEvent, RowBlockWriter } from '../../lib/events/index.ts';
import { openStore } from '../../lib/stores/index.ts';
import { cleanUp } from '../../pipelines/cloud-storage-sink/clean-up/clean-up.ts';
import { NOTHING_CLEANED } from '../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';
import { startCli } from '../support/cli.ts';
import { runSink, type Transaction, table } from '../support/sink-world.ts';

const users = table('users', 1n, ['id'], ['id']);

function insert(commitTs: bigint): Transaction {
  const rows = () => new RowBlockWriter(users).beginTransaction(commitTs).insert({ id: String(commitTs) });
  return { commitTs, events: () => [dmlEvent(rows().build())] };
}

describe('millrace read', () => {
  let dir: string;
  let uri: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'millrace-read-'));
    uri = pathToFileURL(join(dir, 'out')).href;
  });

  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** Captures transactions up to `commitTs`, from `checkpointTs` on. */
  async function capture(commitTs: bigint, checkpointTs = 0n): Promise<void> {
    const store = await openStore(uri);
    const history = Array.from({ length: Number(commitTs) }, (_, i) => insert(BigInt(i + 1)));
    expect((await runSink(store, history, {}, { checkpointTs })).error).toBeNull();
    await store.close();
  }

  async function read(...args: string[]): Promise<{ code: number; ids: string[]; stderr: string }> {
    const texts = { stdout: '', stderr: '' };
    const collect = (name: 'stdout' | 'stderr') =>
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          texts[name] += chunk.toString();
          done();
        },
      });
    const code = await runCommandLine(['read', '--to', uri, ...args], { stdout: collect('stdout'), stderr: collect('stderr') });
    return { code, ids: idsIn(texts.stdout), stderr: texts.stderr };
  }

  it('--cursor: prints once what is new since the last call, and remembers that', async () => {
    const cursor = join(dir, 'state', 'read.cursor');
    await capture(2n);
    expect(await read('--cursor', cursor)).toMatchObject({ code: 0, ids: ['1', '2'] });
    expect(await read('--cursor', cursor)).toMatchObject({ code: 0, ids: [] });
    await capture(3n, 2n);
    expect(await read('--cursor', cursor, '--table', 'public.users')).toMatchObject({ code: 0, ids: ['3'] });
    expect(await read()).toMatchObject({ code: 0, ids: ['1', '2', '3'] });
    expect(JSON.parse(await readFile(cursor, 'utf8'))).toMatchObject({ v: 1, checkpointTs: '3' });
  });

  it('--cursor: one that is none is refused, and stays as it is', async () => {
    const cursor = join(dir, 'read.cursor');
    await capture(1n);
    await writeFile(cursor, 'my notes');
    expect(await read('--cursor', cursor)).toMatchObject({ code: 1, ids: [], stderr: expect.stringContaining('MR_CURSOR_MALFORMED') });
    expect(await readFile(cursor, 'utf8')).toBe('my notes');
    expect(await read('--cursor', '')).toMatchObject({ code: 2, stderr: expect.stringContaining('MR_INVALID_OPTION') });
    expect(await read('--cursor', dir)).toMatchObject({ code: 2, stderr: expect.stringContaining('MR_INVALID_OPTION') });
  });

  it('says so when clean-up has removed older changes, and refuses a cursor that has not come so far', async () => {
    const cursor = join(dir, 'read.cursor');
    await capture(2n);
    expect(await read('--cursor', cursor)).toMatchObject({ code: 0, ids: ['1', '2'] });
    await capture(4n, 2n);
    const store = await openStore(uri);
    const job = { store, mark: NOTHING_CLEANED, before: '9999-01-01', publishedTs: 4n, isStopped: () => false, onKept: () => {} };
    expect(await cleanUp(job)).toMatchObject({ directories: 1 });
    await store.close();
    expect(await read('--cursor', cursor)).toMatchObject({ code: 1, ids: [], stderr: expect.stringContaining('MR_HISTORY_REMOVED') });
    const { code, stderr } = await read();
    expect([code, stderr]).toEqual([0, expect.stringMatching(/"removedUpTo":"4\/0".*what is printed begins behind them/)]);
  });

  it('--interval has a bound', async () => {
    await capture(1n);
    expect(await read('--follow', '--interval', '1ms')).toMatchObject({ code: 2, stderr: expect.stringContaining('MR_INVALID_OPTION') });
  });

  it('--follow: prints what comes until SIGINT, exits 0, and its cursor is behind what it printed', async () => {
    const cursor = join(dir, 'read.cursor');
    await capture(1n);
    const { child, result } = startCli(['read', '--to', uri, '--follow', '--interval', '100ms', '--cursor', cursor]);
    let printed = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    const seen = async (id: string) => {
      while (!idsIn(printed).includes(id)) await once(child.stdout!, 'data');
    };
    await seen('1');
    await capture(2n, 1n);
    await seen('2');
    child.kill('SIGINT');
    const { code, stdout, stderr } = await result;
    expect({ code, ids: idsIn(stdout), stderr }).toEqual({ code: 0, ids: ['1', '2'], stderr: '' });
    await capture(3n, 2n);
    expect(await read('--cursor', cursor)).toMatchObject({ code: 0, ids: ['3'] });
  }, 60_000);
});

function idsIn(stdout: string): string[] {
  return stdout
    .slice(0, stdout.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { data: { id: string } }).data.id);
}
