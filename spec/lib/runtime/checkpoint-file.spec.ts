import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { CheckpointStore } from '../../../lib/runtime/checkpoint.ts';
import { fileCheckpoint, readFileCheckpoint } from '../../../lib/runtime/checkpoint-file.ts';

let folder: string;
let opened: CheckpointStore[];
beforeEach(async () => {
  opened = [];
  folder = await mkdtemp(join(tmpdir(), 'millrace-state-'));
});
afterEach(async () => {
  for (const store of opened) await store.close?.();
  await rm(folder, { recursive: true });
});

function open(): CheckpointStore {
  const store = fileCheckpoint(folder);
  opened.push(store);
  return store;
}

const file = () => join(folder, 'p.checkpoint.json');
const saved = { checkpointTs: 9007199254740993n, sourceState: { slot: 'orders' } };

describe('fileCheckpoint', () => {
  it('writes a file that a person can read, with every digit', async () => {
    await open().save('p', saved);
    expect(await readFile(file(), 'utf8')).toMatch(
      /^\{\n {2}"version": 1,\n {2}"pipeline": "p",\n {2}"checkpointTs": 9007199254740993,\n {2}"sourceState": \{\n {4}"slot": "orders"\n {2}\},\n {2}"checksum": "[0-9a-f]{64}"\n\}\n$/,
    );
  });

  it.each([
    ['is empty', () => ''],
    ['ends in the middle', (text: string) => text.slice(0, text.length / 2)],
    ['is full of zeros, as after a power loss', (text: string) => '\0'.repeat(text.length)],
    ['has another digit', (text: string) => text.replace('9007199254740993', '9007199254740992')],
    ['has a checkpoint of null', (text: string) => text.replace('9007199254740993', 'null')],
    ['lost its checksum', (text: string) => text.replace(/,\s+"checksum": "[0-9a-f]+"/, '')],
    ['is no object', () => '[]'],
    ['is of a later release', (text: string) => text.replace('"version": 1', '"version": 2')],
  ])('I6: a file that %s is an error that names it, never a new start', async (_, damage) => {
    const store = open();
    await store.save('p', saved);
    await writeFile(file(), damage(await readFile(file(), 'utf8')));
    const failure = store.load('p');
    await expect(failure).rejects.toMatchObject({ code: 'MR_CHECKPOINT_CORRUPT', details: expect.objectContaining({ path: file() }) });
    await expect(failure).rejects.toMatchObject({ remedy: expect.stringContaining('Restore') });
  });

  it('refuses the file of another pipeline that was copied over', async () => {
    const store = open();
    await store.save('other', saved);
    await writeFile(file(), await readFile(join(folder, 'other.checkpoint.json')));
    await expect(store.load('p')).rejects.toMatchObject({ code: 'MR_CHECKPOINT_CORRUPT', message: expect.stringContaining('other') });
  });

  it('is read by others as it stands, whoever has locked it; nothing is made for them', async () => {
    expect(await readFileCheckpoint(folder, 'p')).toBeNull();
    expect(await readFileCheckpoint(join(folder, 'nowhere'), 'p')).toBeNull();
    expect(await readdir(folder)).toEqual([]);
    await open().save('p', saved);
    await writeFile(`${file()}.tmp`, '{"version": 1, "pipel');
    const before = await readdir(folder);
    expect(await readFileCheckpoint(folder, 'p')).toEqual(saved);
    expect(await readdir(folder)).toEqual(before);
    await writeFile(file(), '{}');
    await expect(readFileCheckpoint(folder, 'p')).rejects.toMatchObject({ code: 'MR_CHECKPOINT_CORRUPT' });
  });

  it('does not read what a killed process had not finished', async () => {
    const store = open();
    await store.save('p', saved);
    await writeFile(`${file()}.tmp`, '{"version": 1, "pipel');
    expect(await store.load('p')).toEqual(saved);
    await store.save('p', { ...saved, checkpointTs: 9007199254740994n });
    expect(await store.load('p')).toEqual({ ...saved, checkpointTs: 9007199254740994n });
  });

  it('says where the state cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    const store = fileCheckpoint(join(folder, 'file', 'state'));
    await expect(store.load('p')).rejects.toMatchObject({
      code: 'MR_CHECKPOINT_UNWRITABLE',
      message: expect.stringContaining('file/state'),
    });
    await expect(store.save('p', saved)).rejects.toMatchObject({ code: 'MR_CHECKPOINT_UNWRITABLE' });
    await store.close?.();
  });

  it('a save that failed does not stop the next one', async () => {
    const store = open();
    await store.save('p', saved);
    await rm(folder, { recursive: true });
    await writeFile(folder, '');
    await expect(store.save('p', saved)).rejects.toMatchObject({ code: 'MR_CHECKPOINT_UNWRITABLE' });
    await rm(folder);
    await expect(fileCheckpoint(folder).load('p')).resolves.toBeNull();
    await store.save('p', saved);
    expect(await store.load('p')).toEqual(saved);
  });
});

describe('fileCheckpoint: one process at a time', () => {
  it('refuses a second holder, in this process too, and names the first', async () => {
    await open().load('p');
    await expect(open().load('p')).rejects.toMatchObject({
      code: 'MR_STATE_LOCKED',
      message: expect.stringContaining(`process ${process.pid} on host ${hostname()}`),
    });
    await expect(open().save('p', saved)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
  });

  it('lets different pipelines share a folder', async () => {
    await open().load('p');
    expect(await open().load('q')).toBeNull();
  });

  it('gives the state away when it is closed, one pipeline or all', async () => {
    const first = open();
    await first.load('p');
    await first.load('q');
    await first.close?.('p');
    expect(await open().load('p')).toBeNull();
    await expect(open().load('q')).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
    await first.close?.();
    expect(await open().load('q')).toBeNull();
  });

  it('of many at the same instant one gets it, whether the last holder closed or died', async () => {
    for (let round = 0; round < 5; round++) {
      const stores = Array.from({ length: 6 }, open);
      const results = await Promise.allSettled(stores.map((store) => store.load('p')));
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const store of stores) await store.close?.();
      const holder = await holdInChild();
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
    expect((await readdir(folder)).filter((name) => name.includes('.lock.'))).toHaveLength(1);
  });

  it('refuses while another process lives, takes over when it was killed, and finds what it saved', async () => {
    const holder = await holdInChild();
    await expect(open().load('p')).rejects.toMatchObject({
      code: 'MR_STATE_LOCKED',
      details: expect.objectContaining({ pid: holder.pid }),
    });
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    expect(await open().load('p')).toEqual({ checkpointTs: BigInt(holder.pid!), sourceState: null });
  });

  it('gets the state from a process that closed it', async () => {
    const holder = await holdInChild();
    holder.stdin?.end();
    expect(await once(holder, 'exit')).toEqual([0, null]);
    expect(await open().load('p')).toEqual({ checkpointTs: BigInt(holder.pid!), sourceState: null });
  });

  it('is not held by a process that merely has the number of a dead one', async () => {
    const [lock] = await locksOf(open());
    const { started } = JSON.parse(await readFile(join(folder, lock!), 'utf8')) as { started: string };
    await writeFile(join(folder, 'p.lock.7'), JSON.stringify({ pid: process.pid, host: hostname(), started: `${started}0` }));
    expect(await open().load('p')).toBeNull();
  });

  it('is held on another host until somebody says that it is not: the error names the file', async () => {
    await writeFile(join(folder, 'p.lock.7'), JSON.stringify({ pid: 1, host: 'elsewhere', started: '' }));
    await expect(open().load('p')).rejects.toMatchObject({
      code: 'MR_STATE_LOCKED',
      message: expect.stringMatching(/host elsewhere.*delete .*p\.lock\.7/),
    });
    await rm(join(folder, 'p.lock.7'));
    expect(await open().load('p')).toBeNull();
  });
});

/** The names of the lock files once `store` holds the state, which it then gives away. */
async function locksOf(store: CheckpointStore): Promise<string[]> {
  await store.load('p');
  const names = (await readdir(folder)).filter((name) => name.includes('.lock.'));
  return names;
}

async function holdInChild(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'spec/support/hold-checkpoint.ts', folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => {
      throw new Error('the holder ended early');
    }),
  ]);
  return child;
}
