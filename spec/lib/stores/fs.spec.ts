import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { DiskFiles } from '../../../lib/stores/disk.ts';
import { DurableFile, writeDurably } from '../../../lib/stores/durable-file.ts';
import { FsDraft } from '../../../lib/stores/fs-draft.ts';
import { openFsStore } from '../../../lib/stores/index.ts';
import { nodeFiles } from '../../../lib/stores/node-files.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-fs-'));
});
afterEach(() => rm(root, { recursive: true }));

const temporaries = () => join(root, '.millrace-tmp');

describe('openFsStore', () => {
  it('leaves nothing beside the objects when it is closed', async () => {
    const store = await openFsStore(root);
    await store.put('metadata', [Buffer.from('{}')]);
    await store.putIfAbsent('metadata', [Buffer.from('{}')]);
    await store.putIfAbsent('other', [Buffer.from('{}')]);
    await store.close();
    expect((await readdir(root)).sort()).toEqual(['metadata', 'other']);
  });

  it('writes on when another process has tidied the folder of temporaries away', async () => {
    const store = await openFsStore(root);
    await rm(temporaries(), { recursive: true });
    await store.put('a', [Buffer.from('1')]);
    expect(await readFile(join(root, 'a'), 'utf8')).toBe('1');
    await store.close();
  });

  it('shows no reader a file that is being written, nor one that a killed writer left', async () => {
    const store = await openFsStore(root);
    await writeFile(join(temporaries(), 'left.tmp'), 'half');
    for await (const { key } of store.list('')) throw new Error(`lists ${key}`);
    await store.close();
  });

  it('removes what dead processes left, and only that', async () => {
    const store = await openFsStore(root);
    const probe = openFsStore(root);
    await probe;
    const [mine] = await namesMadeBy(store);
    const [, host, pid, instance] = /^(\w+)-(\d+)-(\w+)-/.exec(mine!)!;
    const { pid: dead } = await deadProcess();
    const names = {
      [`${host}-${dead}-00000000-1.tmp`]: false,
      [`${host}-${pid}-${instance}-999.tmp`]: true,
      [`${host}-${pid}-00000000-1.tmp`]: false,
      [`${host}-${process.ppid}-00000000-1.tmp`]: true,
      '00000000-1-00000000-1.tmp': true,
      '00000000-1-00000000-2.tmp': false,
    };
    for (const name of Object.keys(names)) await writeFile(join(temporaries(), name), '');
    await utimes(join(temporaries(), '00000000-1-00000000-2.tmp'), 0, 0);
    await (await openFsStore(root)).close();
    expect((await readdir(temporaries())).sort()).toEqual(
      Object.keys(names)
        .filter((name) => names[name])
        .sort(),
    );
  });

  it('takes a target that it cannot make for unwritable, naming the path', async () => {
    await writeFile(join(root, 'file'), '');
    const failure = openFsStore(join(root, 'file', 'lake'));
    await expect(failure).rejects.toMatchObject({
      code: 'MR_STORE_UNWRITABLE',
      details: expect.objectContaining({ path: join(root, 'file', 'lake') }),
    });
  });

  it('says that it may not write, where the rights are missing', async () => {
    const lake = join(root, 'lake');
    await mkdir(lake);
    await chmod(lake, 0o555);
    await chmod(root, 0o755);
    // Rights do not bind root, so as root it is another user who tries.
    const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const { stdout } = await run(
      process.execPath,
      ['-e', `try { fs.writeFileSync(${JSON.stringify(join(lake, 'x'))}, '') } catch ({ code }) { console.log(code) }`],
      user,
    );
    expect(stdout.trim()).toBe('EACCES');
    if (process.getuid?.() !== 0) await expect(openFsStore(lake)).rejects.toMatchObject({ code: 'MR_STORE_UNWRITABLE' });
    await chmod(lake, 0o755);
  });

  it('says that the room is used up, leaves no part of the object behind, and goes on with what fits', async () => {
    // A limit on the size of files, because a full disk cannot be had without rights: the last write comes back short, the next one fails.
    const script = `ulimit -f 2048; exec ${process.execPath} --import tsx spec/support/fill-store.ts ${pathToFileURL(root).href}`;
    const { stdout } = await run('bash', ['-c', script], { env: { ...process.env, NODE_OPTIONS: '' } });
    const { failure, large } = JSON.parse(stdout) as { failure: string; large: boolean };
    expect(failure).toContain('MR_STORE_FULL');
    expect(large).toBe(false);
    expect(await readdir(join(root, 't'))).toEqual(['small']);
    expect(await readdir(root)).toEqual(['t']);
  });

  it('for reading makes nothing, and says when there is nothing', async () => {
    await expect(openFsStore(join(root, 'no'), undefined, 'read')).rejects.toMatchObject({ code: 'MR_STORE_NOT_FOUND' });
    await writeFile(join(root, 'file'), '');
    await expect(openFsStore(join(root, 'file'), undefined, 'read')).rejects.toMatchObject({ code: 'MR_STORE_NOT_FOUND' });
    const store = await openFsStore(root, undefined, 'read');
    expect((await store.get('file'))?.length).toBe(0);
    await store.close();
    expect(await readdir(root)).toEqual(['file']);
  });

  it('lists no symbolic links, because they could lead out of the store or in a circle', async () => {
    await symlink(root, join(root, 'circle'));
    await writeFile(join(root, 'file'), '1');
    const store = await openFsStore(root, undefined, 'read');
    const keys = [];
    for await (const { key } of store.list('')) keys.push(key);
    expect(keys).toEqual(['file']);
  });
});

describe('writeDurably', () => {
  it('writes every piece once, however they are cut: many, empty, larger than one call takes', async () => {
    const sizes = [0, 1, 0, 9 * 1024 * 1024, 3, ...Array.from({ length: 1500 }, (_, i) => i % 5), 8 * 1024 * 1024, 0];
    const pieces = sizes.map((size, i) => Buffer.alloc(size, i % 251));
    await writeDurably(join(root, 'file'), pieces, 'wx');
    expect((await readFile(join(root, 'file'))).equals(Buffer.concat(pieces))).toBe(true);
  });

  const pieces = Array.from({ length: 6 }, () => Buffer.alloc(8 * MIB));
  async function* streamed() {
    for (const piece of pieces) yield [piece];
  }

  it.each([
    ['held', pieces, ['write 16', 'sync', 'write 16', 'write 16', 'synced', 'sync', 'synced', 'close']],
    [
      'streamed',
      streamed(),
      ['write 8', 'write 8', 'sync', 'write 8', 'write 8', 'synced', 'write 8', 'sync', 'write 8', 'synced', 'sync', 'synced', 'close'],
    ],
  ])(
    'sets the disk to work on a large body that is %s while the rest is written, and syncs all of it at the end',
    async (_, body, expected) => {
      const { disk, asked } = noting(0);
      await writeDurably(join(root, 'file'), body, 'wx', disk);
      expect(asked).toEqual(expected);
    },
  );

  it.each([1, 2])('fails when sync %d does, because the system tells a failure once', async (failing) => {
    const { disk, asked } = noting(failing);
    await expect(writeDurably(join(root, 'file'), pieces, 'wx', disk)).rejects.toThrow('EIO');
    expect(asked.slice(-2)).toEqual(['close', 'remove']);
  });

  it('closes no file that is being synced, when its body fails', async () => {
    const { disk, asked } = noting(0);
    async function* broken() {
      for (let piece = 0; piece < 3; piece++) yield [pieces[piece]!];
      throw new Error('no body');
    }
    await expect(writeDurably(join(root, 'file'), broken(), 'wx', disk)).rejects.toThrow('no body');
    expect(asked).toEqual(['write 8', 'write 8', 'sync', 'write 8', 'synced', 'close', 'remove']);
  });
});

describe('a draft on a file system', () => {
  it('has no file before there is something in it, one while it is written, and none behind its end', async () => {
    const store = await openFsStore(root);
    const [put, dropped, late] = [store.draft!()!, store.draft!()!, store.draft!()!];
    const files: number[] = [];
    const look = async () => files.push((await readdir(temporaries())).length);
    await look();
    for (const draft of [put, dropped, late]) await draft.write([Buffer.from('x')]);
    await look();
    await put.putIfAbsent('taken');
    await look();
    await dropped.discard();
    await look();
    expect(await late.putIfAbsent('taken')).toBe(false);
    await look();
    expect(files).toEqual([0, 3, 2, 1, 0]);
    await store.close();
  });

  it('is written when another process has tidied the folder of temporaries away', async () => {
    const store = await openFsStore(root);
    await rm(temporaries(), { recursive: true });
    const draft = store.draft!()!;
    await draft.write([Buffer.from('x')]);
    expect(await draft.putIfAbsent('a')).toBe(true);
    expect(String(await store.get('a'))).toBe('x');
    await store.close();
  });

  it('tells what went wrong when it is put, with the key', async () => {
    const folder = join(root, 'lake');
    const store = await openFsStore(folder);
    await rm(folder, { recursive: true });
    await writeFile(folder, 'a file');
    const draft = store.draft!()!;
    for (const text of ['x', 'y']) await draft.write([Buffer.from(text)]);
    await expect(draft.putIfAbsent('a')).rejects.toMatchObject({ code: 'MR_STORE_FAILED', details: { key: 'a' } });
    await draft.discard();
  });

  it('puts no empty file in its place when it is given up while the disk does not answer', async () => {
    let answer = () => {};
    const store = await openFsStore(root);
    const draft = new FsDraft(
      () => DurableFile.create(join(root, 'file'), 'wx'),
      async (_key, finish) => {
        await new Promise<void>((resolve) => (answer = resolve));
        await finish();
        return true;
      },
    );
    await draft.write([Buffer.from('x')]);
    const putting = draft.putIfAbsent('a');
    await draft.discard();
    answer();
    await expect(putting).rejects.toThrow('given up');
    await store.close();
    expect(await readdir(root)).toEqual([]);
  });

  it('gives its room back as soon as a write fails, and tells it when it is put', async () => {
    const asked: string[] = [];
    const disk: DiskFiles = {
      ...noting(0).disk,
      open: async () => ({
        write: async () => {
          throw new Error('ENOSPC');
        },
        read: async () => Buffer.alloc(0),
        sync: async () => {},
        close: async () => void asked.push('close'),
      }),
      remove: async () => void asked.push('remove'),
    };
    const draft = new FsDraft(
      () => DurableFile.create(join(root, 'file'), 'wx', disk),
      async (_key, finish) => (await finish()) === '',
    );
    await draft.write([Buffer.alloc(1)]);
    expect(asked).toEqual(['close', 'remove']);
    await expect(draft.putIfAbsent('a')).rejects.toThrow('ENOSPC');
  });

  it('leaves no file where it cannot be made durable', async () => {
    const { disk, asked } = noting(1);
    const draft = new FsDraft(
      () => DurableFile.create(join(root, 'file'), 'wx', disk),
      async (_key, finish) => (await finish()) === '',
    );
    await draft.write([Buffer.alloc(MIB)]);
    await expect(draft.putIfAbsent('a')).rejects.toThrow('EIO');
    expect(asked).toEqual(['write 1', 'sync', 'close', 'remove']);
  });
});

/** A disk that notes what one file is asked for; its syncs take until the write behind them, and the chosen one fails. */
function noting(failing: number) {
  const asked: string[] = [];
  let syncs = 0;
  const disk: DiskFiles = {
    ...nodeFiles,
    open: async () => ({
      write: async (pieces) => {
        await new Promise(setImmediate);
        asked.push(`write ${pieces.reduce((sum, { length }) => sum + length, 0) / MIB}`);
      },
      read: async () => Buffer.alloc(0),
      sync: async () => {
        asked.push('sync');
        if (++syncs === failing) throw new Error('EIO');
        for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
        asked.push('synced');
      },
      close: async () => void asked.push('close'),
    }),
    remove: async () => void asked.push('remove'),
  };
  return { disk, asked };
}

async function deadProcess(): Promise<{ pid: number }> {
  const { stdout } = await run(process.execPath, ['-p', 'process.pid']);
  return { pid: Number(stdout) };
}

/** The names of the temporaries in use while the store writes. */
async function namesMadeBy(store: { put(key: string, body: Uint8Array[]): Promise<void> }): Promise<string[]> {
  const writing = Promise.all(Array.from({ length: 20 }, (_, i) => store.put(`many/${i}`, [Buffer.alloc(256 * 1024)])));
  let names: string[] = [];
  while (names.length === 0) names = await readdir(temporaries());
  await writing;
  return names;
}
