import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import type { DiskFile, DiskFiles, DiskOpenFlags } from './disk.ts';
import { systemCode } from './system-code.ts';

/** The files of this machine's disk; `nodeDisk` has its locks too. */
export const nodeFiles: DiskFiles = {
  open: async (path, flags) => new NodeFile(await open(path, FLAGS[flags])),
  readFile: (path) => readFile(path),
  rename: (from, to) => rename(from, to),
  remove: removeFile,
  removeTree: (path) => rm(path, { force: true, recursive: true }),

  async stat(path) {
    try {
      const found = await stat(path);
      return { isFolder: found.isDirectory(), size: found.size, modifiedMs: found.mtimeMs };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw error;
    }
  },

  async list(folder) {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() })).sort((a, b) => (a.name < b.name ? -1 : 1));
  },

  async makeFolder(path, access) {
    // Not by `recursive`: Node 20 tries for ever where a file system takes no folders and says ENOENT, as /proc does.
    try {
      await mkdir(path, access === 'private' ? 0o700 : 0o777);
      return true;
    } catch (error) {
      const isThere = systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory();
      if (isThere) return false;
      throw error;
    }
  },

  async syncFolder(path) {
    // Windows opens no folder, and keeps names durable without.
    if (process.platform === 'win32') return;
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
};

/** Removes a file, if it is there: `rm` asks three times what it is. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

const FLAGS: Readonly<Record<DiskOpenFlags, string>> = { r: 'r', w: 'w+', wx: 'wx+', a: 'a+' };

class NodeFile implements DiskFile {
  readonly #file: FileHandle;
  #isClosed = false;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
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
      const { bytesWritten } = bytes === 0 ? { bytesWritten: 0 } : await this.#file.writev(batch);
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

  async read(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#file.read(buffer, filled, length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#file.close();
  }
}

/** One system call writes at most this much, so that a big object neither pins the thread pool nor meets the kernel's bound of 1024 pieces. */
const BATCH_PIECES = 512;
const BATCH_BYTES = 32 * 1024 * 1024;
