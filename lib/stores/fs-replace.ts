import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../flow/index.ts';
import { contentVersion } from './content-version.ts';
import { removeFile } from './node-files.ts';
import type { ObjectVersion } from './object-store.ts';
import { systemCode } from './system-code.ts';

/** What a conditional replacement works with. */
export interface Replacement {
  /** The file to be replaced. */
  readonly path: string;
  readonly key: string;
  readonly expected: ObjectVersion;
  /** The folder of temporaries, on the same file system. */
  readonly temporaries: string;
  readonly clock: Clock;
  /** A name among the temporaries that nobody else has or had. */
  temporary(): string;
  /** Whether the process that made this name is known to be dead. */
  isGone(temporary: string): boolean;
  /** Writes the new content durably to a file of this path. */
  write(path: string): Promise<void>;
  /** Brings a file to its place: makes the folder above where it is missing, and the name durable behind it. */
  place(action: (path: string) => Promise<void>): Promise<void>;
}

/**
 * Replaces a file if its content is of the version `expected`, atomically over processes: at most one of several that expect the same wins.
 *
 * No rename is conditional, so there is a lock: a folder that holds the new content. It is taken by renaming a folder of one's own to it, which fails while the lock
 * holds something; the new file is renamed out of it to its place, which gives it back in the same step. A holder that died, or has not gone on for a while, is
 * robbed: the lock is renamed away with what it holds. So when it goes on after all, however late, what it would rename is not there, and nothing happens.
 *
 * @returns whether it was replaced.
 */
export async function replaceIf(replacement: Replacement): Promise<boolean> {
  const { path, key, expected, temporaries } = replacement;
  const lock = join(temporaries, `lock-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`);
  for (;;) {
    const token = replacement.temporary();
    await take(replacement, lock, token);
    const held = join(lock, token);
    let isHeld = true;
    try {
      if ((await versionAt(path)) !== expected) return false;
      await replacement.place(async (target) => {
        await rename(held, target);
        isHeld = false;
      });
      return true;
    } catch (error) {
      // Robbed, unless the folder of the target is what is missing.
      if (systemCode(error) !== 'ENOENT' || (await isThere(held))) throw error;
    } finally {
      if (isHeld) await removeFile(held).catch(() => {});
      // One that is another's by now holds something, and stays.
      await rmdir(lock).catch(() => {});
    }
  }
}

/** Makes the lock ours, the new content in it. */
async function take(replacement: Replacement, lock: string, token: string): Promise<void> {
  const { temporaries, clock } = replacement;
  const mine = join(temporaries, token);
  await mkdir(mine, { recursive: true });
  try {
    await replacement.write(join(mine, token));
    let holder: string | null = null;
    let waitedMs = 0;
    while (!(await renameFolder(mine, lock))) {
      const present = await holderOf(lock);
      waitedMs = present === holder ? waitedMs + WAIT_MS : 0;
      holder = present;
      const isGone = holder !== null && replacement.isGone(holder);
      if (isGone || waitedMs >= PATIENCE_MS) await rob(lock, join(temporaries, replacement.temporary()));
      else await clock.sleep(WAIT_MS);
    }
  } catch (error) {
    await rm(mine, { recursive: true, force: true });
    throw error;
  }
}

/** False while something is in the folder `to`. */
async function renameFolder(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    const code = systemCode(error);
    // Windows replaces no folder, whatever is in it.
    if (MEANS_HELD.has(code) || (code === 'EPERM' && (await holderOf(to)) !== null)) return false;
    throw error;
  }
}

async function holderOf(lock: string): Promise<string | null> {
  const [name] = await readdir(lock).catch(() => []);
  return name ?? null;
}

async function rob(lock: string, to: string): Promise<void> {
  await renameFolder(lock, to);
  await rm(to, { recursive: true, force: true });
}

async function versionAt(path: string): Promise<ObjectVersion | null> {
  try {
    return contentVersion(await readFile(path));
  } catch (error) {
    if (MEANS_ABSENT.has(systemCode(error))) return null;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await versionAt(path)) !== null;
}

const MEANS_ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR']);
const MEANS_HELD: ReadonlySet<string> = new Set(['ENOTEMPTY', 'EEXIST']);
const WAIT_MS = 5;
/** A replacement takes three renames and an fsync; its content is written before. */
const PATIENCE_MS = 5000;
