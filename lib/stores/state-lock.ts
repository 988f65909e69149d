import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { MillraceError } from '../errors.ts';
import { type JsonValue, parseJson, stringifyJson } from '../formats/json.ts';
import type { DiskLock } from './disk.ts';
import { replaceDurably, writeDurably } from './durable-file.ts';
import { systemCode } from './system-code.ts';

/**
 * Takes the lock `name` in a folder for this process. Throws MR_STATE_LOCKED while another holder lives; a holder that was killed is recognised
 * on its own host by process number and start time, on another host never.
 *
 * Lock files are numbered, and the highest number is the lock. It is taken by making the next number, which only one of several can; it is never
 * deleted but by the holder of a higher one, so a number is not made twice by somebody whose look at the folder is old.
 */
export async function lockState(folder: string, name: string): Promise<DiskLock> {
  for (;;) {
    const newest = Math.max(0, ...(await numbersIn(folder, name)));
    const path = (number: number) => join(folder, `${name}.lock.${number}`);
    if (newest > 0) await refuseWhileHeld(folder, path(newest));
    const mine = newest + 1;
    if (!(await make(path(mine)))) continue;
    const numbers = await numbersIn(folder, name);
    if (numbers.some((number) => number > mine)) {
      await rm(path(mine), { force: true });
      continue;
    }
    for (const number of numbers) if (number < mine) await rm(path(number), { force: true });
    let isReleased = false;
    return {
      release: async () => {
        if (isReleased) return;
        isReleased = true;
        await replaceDurably(path(mine), `${path(mine)}.tmp`, [Buffer.from(`${stringifyJson({ released: true })}\n`)]);
      },
    };
  }
}

async function numbersIn(folder: string, name: string): Promise<number[]> {
  const start = `${name}.lock.`;
  return (await readdir(folder))
    .filter((file) => file.startsWith(start) && /^\d+$/.test(file.slice(start.length)))
    .map((file) => Number(file.slice(start.length)));
}

async function refuseWhileHeld(folder: string, lock: string): Promise<void> {
  const holder = await readHolder(lock);
  if (holder === null) return;
  if (holder.host !== hostname() || (await isRunning(holder))) {
    throw new MillraceError('MR_STATE_LOCKED', { path: folder, lock, pid: holder.pid, host: holder.host });
  }
}

/** Makes the lock file, whole at once; false when another was faster. */
async function make(path: string): Promise<boolean> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const holder = { pid: process.pid, started: await startOf(process.pid), host: hostname() };
  await writeDurably(temporary, [Buffer.from(`${stringifyJson(holder)}\n`)], 'wx');
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** As `startOf` gives it. */
  readonly started: string;
}

/** Null when it was released, or superseded in this moment. */
async function readHolder(path: string): Promise<Holder | null> {
  let content: JsonValue;
  try {
    content = parseJson(await readFile(path, 'utf8'));
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) return null;
  const { pid, host, started } = content as { readonly [key: string]: JsonValue | undefined };
  return typeof pid === 'number' && typeof host === 'string' && typeof started === 'string' ? { pid, host, started } : null;
}

async function isRunning({ pid, started }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return false;
  }
  // The number of a killed process is given to another one sooner or later.
  return (await startOf(pid)) === started;
}

/** What tells a process from an earlier one of the same number: boot and start time where the system shows them, otherwise an empty string. */
async function startOf(pid: number): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1');
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The fields are counted from behind the name, which is in parentheses and may hold anything; the start time is the 22nd of all.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie writes nothing any more.
    return state === 'Z' ? '' : `${boot.trim()}/${fields[18]}`;
  } catch {
    return '';
  }
}
