import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { isMillraceError, MillraceError, reasonOf } from '../errors.ts';
import { crc32Of } from '../formats/checksum.ts';
import { escapeName } from '../formats/storage-layout/index.ts';
import type { Disk, DiskLock } from '../stores/disk.ts';
import { makeFolderDurably } from '../stores/durable-file.ts';
import { isSegmentName } from './segment-files.ts';

/**
 * The folder of a pipeline's spool: the pipeline's name below `baseDir`; without one, below `millrace-spool-UID` in the system's folder for temporary files,
 * with a checksum of `target` behind the name: there, neither users nor pipelines of one name that write elsewhere meet. Names are encoded, so none leaves the folder.
 *
 * @throws MR_INVALID_OPTION when `baseDir` is not absolute.
 */
export function spoolFolder(pipeline: string, baseDir = '', target = ''): string {
  if (baseDir !== '' && !isAbsolute(baseDir)) {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'spool-base-dir', value: JSON.stringify(baseDir), bound: 'an absolute path' });
  }
  if (baseDir !== '') return join(baseDir, escapeName(pipeline));
  const checksum = target === '' ? '' : `-${crc32Of(Buffer.from(target)).toString(16).padStart(8, '0')}`;
  return join(tmpdir(), `millrace-spool-${process.getuid?.() ?? -1}`, `${escapeName(pipeline)}${checksum}`);
}

/**
 * Makes the folder, or removes what an earlier run left there: nothing of it is ever read. Held by one process until `release`, which removes it again.
 *
 * Only files that a spool makes are removed, here and then: a folder that was named by mistake loses nothing.
 *
 * @throws MR_STATE_LOCKED while another spool lives there; MR_SPOOL_UNUSABLE
 */
export async function takeSpoolFolder(folder: string, disk: Disk): Promise<DiskLock> {
  try {
    const lock = await takeFolder(folder, disk, () => clean(folder, disk));
    let released: Promise<void> | null = null;
    return {
      release: () => {
        released ??= give(folder, disk, lock);
        return released;
      },
    };
  } catch (error) {
    if (isMillraceError(error)) throw error;
    throw new MillraceError('MR_SPOOL_UNUSABLE', { folder, reason: reasonOf(error) }, error);
  }
}

/**
 * Makes the folder and takes it for this process, until `release`: before `enter`, and not if that fails. The lock stands beside the folder.
 *
 * @throws MR_STATE_LOCKED while another spool lives there; what the disk says
 */
export async function takeFolder(folder: string, disk: Disk, enter: () => Promise<unknown>): Promise<DiskLock> {
  await makeFolderDurably(dirname(folder), disk);
  const lock = await disk.lock(dirname(folder), basename(folder));
  try {
    // The rows of a database are nobody else's business.
    await disk.makeFolder(folder, 'private');
    await enter();
    return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
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
