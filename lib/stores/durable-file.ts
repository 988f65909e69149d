import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Creates (or with `w` replaces) a file of these pieces, fsynced. What was begun is removed when it fails.
 *
 * @param flags `wx` fails with EEXIST where there is a file already.
 */
export async function writeDurably(path: string, pieces: readonly Uint8Array[], flags: 'w' | 'wx'): Promise<void> {
  const file = await open(path, flags);
  try {
    await writeAll(file, pieces);
    await file.sync();
    await file.close();
  } catch (error) {
    // Both may fail on a broken file system; the first failure is the one to tell.
    await file.close().catch(() => {});
    await rm(path, { force: true }).catch(() => {});
    throw error;
  }
}

/** Replaces a file atomically: a reader, or a start after a crash, finds the old content or the new. `temporary` is in the same folder. */
export async function replaceDurably(path: string, temporary: string, pieces: readonly Uint8Array[]): Promise<void> {
  await writeDurably(temporary, pieces, 'w');
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** Makes a folder and the missing ones above it, each durable. */
export async function makeFolderDurably(path: string): Promise<void> {
  // Not by `recursive`: Node 20 tries for ever where a file system takes no folders and says ENOENT, as /proc does.
  try {
    if (!(await makeFolder(path))) return;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolderDurably(dirname(path));
    await makeFolder(path);
  }
  await syncFolder(dirname(path));
}

/** False when it is there already. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    const isThere = systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory();
    if (isThere) return false;
    throw error;
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  // Windows opens no folder, and keeps names durable without.
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The code of a system error (`ENOENT`); an empty string for anything else. */
export function systemCode(error: unknown): string {
  // Not by class: Node's own errors are of another realm than a test's.
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** One system call writes at most this much, so that a big object neither pins the thread pool nor meets the kernel's bound of 1024 pieces. */
const BATCH_PIECES = 512;
const BATCH_BYTES = 8 * 1024 * 1024;

async function writeAll(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let next = 0;
  let skip = 0;
  while (next < pieces.length) {
    const batch: Uint8Array[] = [];
    let bytes = 0;
    for (let i = next; i < pieces.length && batch.length < BATCH_PIECES && bytes < BATCH_BYTES; i++) {
      const piece = i === next ? pieces[i]!.subarray(skip) : pieces[i]!;
      batch.push(piece);
      bytes += piece.length;
    }
    const { bytesWritten } = bytes === 0 ? { bytesWritten: 0 } : await file.writev(batch);
    if (bytes > 0 && bytesWritten === 0) throw new Error('the file system wrote nothing and gave no reason');
    let left = bytesWritten;
    for (const piece of batch) {
      if (left < piece.length) {
        skip = (piece === batch[0] ? skip : 0) + left;
        break;
      }
      left -= piece.length;
      next++;
      skip = 0;
    }
  }
}
