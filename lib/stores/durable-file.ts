import { dirname } from 'node:path';
import type { DiskFile, DiskFiles } from './disk.ts';
import { nodeFiles } from './node-files.ts';
import { systemCode } from './system-code.ts';

/**
 * A file that is being written, and durable once it is finished. Of a large one the disk gets the beginning while the rest still comes. One call at a time.
 */
export class DurableFile {
  readonly path: string;
  readonly #file: DiskFile;
  readonly #disk: DiskFiles;
  #bytesUnsynced = 0;
  #syncing: Promise<void> | null = null;
  /** Of a sync: the system tells it once, and the next sync succeeds. */
  readonly #failures: unknown[] = [];

  private constructor(path: string, file: DiskFile, disk: DiskFiles) {
    this.path = path;
    this.#file = file;
    this.#disk = disk;
  }

  /** @param flags `wx` fails with EEXIST where there is a file already; `w` replaces it. */
  static async create(path: string, flags: 'w' | 'wx', disk: DiskFiles = nodeFiles): Promise<DurableFile> {
    return new DurableFile(path, await disk.open(path, flags), disk);
  }

  /** Adds to its end. */
  async write(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#bytesUnsynced >= EARLY_BYTES && this.#syncing === null) {
      this.#bytesUnsynced = 0;
      this.#syncing = this.#sync();
    }
    await this.#file.write(pieces);
    for (const { length } of pieces) this.#bytesUnsynced += length;
  }

  /** Makes it durable and closes it. It is still there when that fails. */
  async finish(): Promise<void> {
    await this.#syncing;
    await this.#sync();
    if (this.#failures.length > 0) throw this.#failures[0];
    await this.#file.close();
  }

  /** Closes and removes it. Never fails: both may on a broken file system, and whoever gives a file up has a failure to tell already. */
  async abandon(): Promise<void> {
    await this.#syncing;
    await this.#file.close().catch(() => {});
    await this.#disk.remove(this.path).catch(() => {});
  }

  async #sync(): Promise<void> {
    await this.#file.sync().catch((error: unknown) => this.#failures.push(error));
    this.#syncing = null;
  }
}

/** What a file is made of: pieces that are there, or parts that are read one after another. */
export type FilePieces = readonly Uint8Array[] | AsyncIterable<readonly Uint8Array[]>;

/**
 * Creates (or with `w` replaces) a file of these pieces, fsynced. What was begun is removed when it fails.
 *
 * @param flags `wx` fails with EEXIST where there is a file already.
 */
export async function writeDurably(path: string, pieces: FilePieces, flags: 'w' | 'wx', disk: DiskFiles = nodeFiles): Promise<void> {
  await fill(await DurableFile.create(path, flags, disk), pieces);
}

/** Writes and finishes a file; abandons it when that fails. */
export async function fill(file: DurableFile, pieces: FilePieces): Promise<void> {
  try {
    for await (const part of Symbol.asyncIterator in pieces ? pieces : partsOf(pieces)) await file.write(part);
    await file.finish();
  } catch (error) {
    await file.abandon();
    throw error;
  }
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
