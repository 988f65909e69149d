import { dirname } from 'node:path';
import type { DiskFile, DiskFiles } from './disk.ts';
import { nodeFiles } from './node-files.ts';
import { systemCode } from './system-code.ts';

/**
 * Creates (or with `w` replaces) a file of these pieces, fsynced. What was begun is removed when it fails. Of a large one the disk gets the beginning while the rest is
 * still being written.
 *
 * @param flags `wx` fails with EEXIST where there is a file already.
 */
export async function writeDurably(
  path: string,
  pieces: readonly Uint8Array[] | AsyncIterable<readonly Uint8Array[]>,
  flags: 'w' | 'wx',
  disk: DiskFiles = nodeFiles,
): Promise<void> {
  const file = await disk.open(path, flags);
  try {
    await writeAndSync(file, Symbol.asyncIterator in pieces ? pieces : partsOf(pieces));
    await file.close();
  } catch (error) {
    // Both may fail on a broken file system; the first failure is the one to tell.
    await file.close().catch(() => {});
    await disk.remove(path).catch(() => {});
    throw error;
  }
}

async function writeAndSync(file: DiskFile, parts: AsyncIterable<readonly Uint8Array[]> | Iterable<readonly Uint8Array[]>): Promise<void> {
  /** Of a sync: the system tells it once, and the next sync succeeds. */
  const failures: unknown[] = [];
  let syncing: Promise<void> | null = null;
  const sync = async () => {
    await file.sync().catch((error: unknown) => failures.push(error));
    syncing = null;
  };
  try {
    let bytes = 0;
    for await (const part of parts) {
      if (bytes >= EARLY_BYTES && syncing === null) {
        bytes = 0;
        syncing = sync();
      }
      await file.write(part);
      for (const { length } of part) bytes += length;
    }
  } finally {
    await syncing;
  }
  await sync();
  if (failures.length > 0) throw failures[0];
}

const EARLY_BYTES = 16 * 1024 * 1024;

/** In parts of `EARLY_BYTES` and a piece at most. */
function* partsOf(pieces: readonly Uint8Array[]): Generator<readonly Uint8Array[]> {
  let part: Uint8Array[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    part.push(piece);
    bytes += piece.length;
    if (bytes < EARLY_BYTES) continue;
    yield part;
    part = [];
    bytes = 0;
  }
  if (part.length > 0) yield part;
}

/** Replaces a file atomically: a reader, or a start after a crash, finds the old content or the new. `temporary` is in the same folder. */
export async function replaceDurably(
  path: string,
  temporary: string,
  pieces: readonly Uint8Array[],
  disk: DiskFiles = nodeFiles,
): Promise<void> {
  await writeDurably(temporary, pieces, 'w', disk);
  await disk.rename(temporary, path);
  await disk.syncFolder(dirname(path));
}

/**
 * Makes a folder and the missing ones above it, each durable before the next.
 *
 * One that is there already may not be durable: whoever made it can have been killed before it was. Those above it are, when they were made by this.
 */
export async function makeFolderDurably(path: string, disk: DiskFiles = nodeFiles): Promise<void> {
  const above = dirname(path);
  if (above === path) return;
  const isThere = (await disk.stat(path))?.isFolder === true;
  if (!isThere) {
    await makeFolderDurably(above, disk);
    await disk.makeFolder(path);
  }
  try {
    await disk.syncFolder(above);
  } catch (error) {
    // Who may not even look into the folder above has not made this one.
    if (!isThere || !MEANS_DENIED.has(systemCode(error))) throw error;
  }
}

const MEANS_DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM']);
