import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openFsStore } from '../../../lib/stores/index.ts';
import { nodeFiles } from '../../../lib/stores/node-files.ts';

describe('putIf on a file system', () => {
  let root: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'millrace-replace-'));
  });

  afterEach(() => rm(root, { recursive: true }));

  const lockOf = (key: string) => join(root, '.millrace-tmp', `lock-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`);

  it('a lock whose holder stands still is taken away with what it would have put in place', async () => {
    const store = await openFsStore(root);
    const version = await store.putIf('a/k', [Buffer.from('old')], null);
    const held = join(lockOf('a/k'), '00000000-1-00000000-1.tmp');
    await mkdir(lockOf('a/k'), { recursive: true });
    await writeFile(held, 'late');
    expect(await store.putIf('a/k', [Buffer.from('new')], version)).not.toBeNull();
    expect(String(await store.get('a/k'))).toBe('new');
    // The holder, when it goes on, has nothing to rename.
    expect(await readdir(join(root, '.millrace-tmp'))).toEqual([]);
  });

  it('one that was refused, and one that went through, leave nothing behind', async () => {
    const store = await openFsStore(root);
    const version = await store.putIf('k', [Buffer.from('1')], null);
    expect(await store.putIf('k', [Buffer.from('2')], null)).toBeNull();
    expect(await store.putIf('k', [Buffer.from('3')], version)).not.toBeNull();
    expect(await readdir(join(root, '.millrace-tmp'))).toEqual([]);
  });

  it('a name that a killed writer left is made durable before anybody who writes relies on it', async () => {
    const store = await openFsStore(root);
    await store.put('a/b/k', [Buffer.from('1')]);
    const { syncFolder } = nodeFiles;
    const synced: string[] = [];
    Object.assign(nodeFiles, {
      syncFolder: (path: string) => {
        synced.push(path);
        return syncFolder(path);
      },
    });
    try {
      for (const look of [() => store.exists('a/b/k'), () => store.getVersioned('a/b/k'), () => store.putIfAbsent('a/b/k', [])]) {
        synced.length = 0;
        await look();
        expect(synced).toContain(join(root, 'a/b'));
      }
      synced.length = 0;
      await (await openFsStore(root, undefined, 'read')).exists('a/b/k');
      expect(synced).toEqual([]);
    } finally {
      Object.assign(nodeFiles, { syncFolder });
    }
  });
});
