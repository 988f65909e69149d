import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { isMillraceError, MillraceError, reasonOf } from '../errors.ts';
import { escapeName } from '../formats/storage-layout/index.ts';
import type { Disk, DiskLock } from '../stores/disk.ts';
import { makeFolderDurably } from '../stores/durable-file.ts';
import { isSegmentName } from './segment-files.ts';

/**
 * The folder of a pipeline's spool: below `baseDir`, or `millrace-spool` in the system's folder for temporary files. Names are encoded, so none leaves it.
 *
 * @throws MR_INVALID_OPTION when `baseDir` is not absolute.
 */
export function spoolFolder(pipeline: string, baseDir = ''): string {
  if (baseDir !== '' && !isAbsolute(baseDir)) {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'spool-base-dir', value: JSON.stringify(baseDir), bound: 'an absolute path' });
  }
  return join(baseDir === '' ? join(tmpdir(), 'millrace-spool') : baseDir, escapeName(pipeline));
}

/**
 * Makes the folder, or removes what an earlier run left there: nothing of it is ever read. Held by one process until `release`, which removes it again.
 *
 * Only files that a spool makes are removed, here and then: a folder that was named by mistake loses nothing. The lock stands beside the folder.
 *
 * @throws MR_STATE_LOCKED while another spool lives there; MR_SPOOL_UNUSABLE
 */
export async function takeSpoolFolder(folder: string, disk: Disk): Promise<DiskLock> {
  const lock = await guarded(folder, async () => {
    await makeFolderDurably(dirname(folder), disk);
    return disk.lock(dirname(folder), basename(folder));
  });
  try {
    await guarded(folder, async () => {
      await disk.makeFolder(folder);
      await clean(folder, disk);
    });
  } catch (error) {
    await lock.release();
    throw error;
  }
  let released: Promise<void> | null = null;
  return {
    release: () => {
      released ??= give(folder, disk, lock);
      return released;
    },
  };
}

async function give(folder: string, disk: Disk, lock: DiskLock): Promise<void> {
  try {
    if (await clean(folder, disk)) await disk.removeTree(folder);
  } finally {
    await lock.release();
  }
}

/** Whether nothing is left. */
async function clean(folder: string, disk: Disk): Promise<boolean> {
  let isEmpty = true;
  for (const { name, isFolder } of await disk.list(folder)) {
    if (!isFolder && isSegmentName(name)) await disk.remove(join(folder, name));
    else isEmpty = false;
  }
  return isEmpty;
}

async function guarded<T>(folder: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (isMillraceError(error)) throw error;
    throw new MillraceError('MR_SPOOL_UNUSABLE', { folder, reason: reasonOf(error) }, error);
  }
}
