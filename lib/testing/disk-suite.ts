import assert from 'node:assert/strict';
import type { Disk, DiskFile } from '../stores/disk.ts';
import { systemCode } from '../stores/system-code.ts';
import { globalRunner, type TestRunner } from './runner.ts';

export interface DiskFixture {
  readonly disk: Disk;
  /** A folder that is there, durable and empty. */
  readonly root: string;
  /** The power fails and comes back; only where it can. What was opened before is not used again. */
  crash?(): void;
  close(): Promise<void>;
}

/**
 * What every disk must do. `make` gives one with an empty folder for each test.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeDisk(name: string, make: () => Promise<DiskFixture>, runner: TestRunner = globalRunner()): void {
  const it = (title: string, body: (disk: Disk, at: (path: string) => string, fixture: DiskFixture) => Promise<void>) =>
    runner.it(title, async () => {
      const fixture = await make();
      try {
        await body(fixture.disk, (path) => `${fixture.root}/${path}`, fixture);
      } finally {
        await fixture.close();
      }
    });

  runner.describe(`disk: ${name}`, () => {
    it('gives back what was written, joined from its pieces', async (disk, at) => {
      const file = await disk.open(at('a'), 'wx');
      await file.write([bytes('one,'), bytes(''), bytes('two')]);
      await file.write([]);
      await file.write([bytes(',three')]);
      assert.equal(text(await file.read(4, 3)), 'two');
      assert.equal(text(await file.read(8, 100)), 'three');
      assert.equal((await file.read(100, 4)).length, 0);
      await file.close();
      await file.close();
      assert.equal(text(await disk.readFile(at('a'))), 'one,two,three');
      assert.deepEqual({ ...(await disk.stat(at('a'))), modifiedMs: 0 }, { isFolder: false, size: 13, modifiedMs: 0 });
    });

    it('opens as its flag says', async (disk, at) => {
      await refuses('ENOENT', disk.open(at('a'), 'r'));
      await writeWith(disk, at('a'), 'a', 'begun');
      await writeWith(disk, at('a'), 'a', ', gone on');
      assert.equal(text(await disk.readFile(at('a'))), 'begun, gone on');
      await refuses('EEXIST', disk.open(at('a'), 'wx'));
      await writeWith(disk, at('a'), 'w', 'anew');
      assert.equal(text(await disk.readFile(at('a'))), 'anew');
      await refuses('ENOENT', disk.open(at('folder/a'), 'w'));
    });

    it('reads and writes nothing through a file that is closed, nor writes where it was opened to read', async (disk, at) => {
      const file = await disk.open(at('a'), 'w');
      await file.close();
      await refuses('EBADF', file.write([bytes('x')]));
      const reader = await disk.open(at('a'), 'r');
      await refuses('EBADF', reader.write([bytes('x')]));
      await reader.close();
    });

    it('says that there is nothing', async (disk, at) => {
      assert.equal(await disk.stat(at('a')), null);
      await refuses('ENOENT', disk.readFile(at('a')));
      await refuses('ENOENT', disk.list(at('a')));
      await refuses('ENOENT', disk.rename(at('a'), at('b')));
      await disk.remove(at('a'));
      await disk.removeTree(at('a'));
    });

    it('makes a folder once, and not where the one above is missing', async (disk, at) => {
      await refuses('ENOENT', disk.makeFolder(at('f/g')));
      assert.equal(await disk.makeFolder(at('f')), true);
      assert.equal(await disk.makeFolder(at('f')), false);
      assert.equal(await disk.makeFolder(at('f/g')), true);
      assert.equal((await disk.stat(at('f')))?.isFolder, true);
      await writeWith(disk, at('a'), 'w', '');
      await refuses('EEXIST', disk.makeFolder(at('a')));
    });

    it('lists a folder by name, and not what is deeper', async (disk, at) => {
      await disk.makeFolder(at('f'));
      await writeWith(disk, at('f/inner'), 'w', '');
      for (const name of ['b', 'a.tmp', 'a']) await writeWith(disk, at(name), 'w', '');
      // Copied: Node's own arrays are of another realm than those of a test under jest.
      assert.deepEqual(
        [...(await disk.list(at('.')))],
        [
          { name: 'a', isFolder: false },
          { name: 'a.tmp', isFolder: false },
          { name: 'b', isFolder: false },
          { name: 'f', isFolder: true },
        ],
      );
    });

    it('replaces a file by renaming another', async (disk, at) => {
      await writeWith(disk, at('a'), 'w', 'old');
      await writeWith(disk, at('a.tmp'), 'w', 'new');
      await disk.rename(at('a.tmp'), at('a'));
      assert.equal(text(await disk.readFile(at('a'))), 'new');
      assert.equal(await disk.stat(at('a.tmp')), null);
    });

    it('lets who has a file open read on after it was removed', async (disk, at) => {
      await writeWith(disk, at('a'), 'w', 'still here');
      const file = await disk.open(at('a'), 'r');
      await disk.remove(at('a'));
      assert.equal(await disk.stat(at('a')), null);
      assert.equal(text(await file.read(0, 5)), 'still');
      await file.close();
    });

    it('removes a folder with all that is in it', async (disk, at) => {
      await disk.makeFolder(at('f'));
      await disk.makeFolder(at('f/g'));
      await writeWith(disk, at('f/g/a'), 'w', 'x');
      await disk.removeTree(at('f'));
      assert.equal((await disk.list(at('.'))).length, 0);
    });

    it('gives a lock to one holder, and to the next when it is released', async (disk, at) => {
      const lock = await disk.lock(at('.'), 'orders');
      await assert.rejects(disk.lock(at('.'), 'orders'), { code: 'MR_STATE_LOCKED' });
      const other = await disk.lock(at('.'), 'users');
      await lock.release();
      await lock.release();
      const next = await disk.lock(at('.'), 'orders');
      await assert.rejects(disk.lock(at('.'), 'orders'), { code: 'MR_STATE_LOCKED' });
      await next.release();
      await other.release();
    });

    it('I8: what was synced, name and content, is there after a crash, and nobody holds a lock', async (disk, at, { crash }) => {
      if (crash === undefined) return;
      await disk.makeFolder(at('f'));
      const file = await disk.open(at('f/a'), 'wx');
      await file.write([bytes('durable')]);
      await file.sync();
      await disk.syncFolder(at('f'));
      await disk.syncFolder(at('.'));
      await file.write([bytes(' and not')]);
      await disk.lock(at('f'), 'a');
      crash();
      assert.match(text(await disk.readFile(at('f/a'))), /^durable/);
      await (await disk.lock(at('f'), 'a')).release();
    });
  });
}

async function writeWith(disk: Disk, path: string, flags: 'w' | 'a', content: string): Promise<void> {
  const file: DiskFile = await disk.open(path, flags);
  await file.write([bytes(content)]);
  await file.sync();
  await file.close();
}

async function refuses(code: string, action: Promise<unknown>): Promise<void> {
  await assert.rejects(action, (error) => {
    assert.equal(systemCode(error), code);
    return true;
  });
}

function bytes(content: string): Buffer {
  return Buffer.from(content);
}

function text(content: Uint8Array): string {
  return Buffer.from(content).toString();
}
