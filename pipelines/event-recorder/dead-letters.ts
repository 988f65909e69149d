import { dirname, isAbsolute } from 'node:path';
import { MillraceError } from '../../lib/errors.ts';
import type { Disk, DiskFile } from '../../lib/stores/disk.ts';
import { makeFolderDurably } from '../../lib/stores/durable-file.ts';
import { nodeDisk } from '../../lib/stores/node-disk.ts';
import { parseBytes } from '../../lib/units.ts';
import type { RecordedEvent } from './event.ts';
import { encodeEvent } from './event-codec.ts';

/** Events that were given up, and why. */
export interface DeadLetters {
  readonly events: readonly RecordedEvent[];
  readonly reason: 'rejected' | 'exhausted';
  /** The handler's error, in words. */
  readonly error: string;
  /** When, in ms since 1970 UTC. */
  readonly atMs: number;
}

/** A port: where dead letters are kept for somebody to look at. */
export interface DeadLetterStore {
  readonly name: string;
  /** Resolves when they are kept. */
  write(letters: DeadLetters): Promise<void>;
  /** Called once, after the last `write`. */
  close?(): Promise<void>;
}

export interface DeadLetterFileOptions {
  /** Bytes that the file may have; beyond, letters are refused. Default 256MiB. */
  readonly quota?: string | number;
  /** Default: this machine's. */
  readonly disk?: Disk;
}

/**
 * Dead letters as JSON lines in one file, each call synced: `{"reason","error","at","event":{…}}`. A line that a crash cut short stands alone on its line; whoever
 * reads it goes on with the next.
 *
 * @param path absolute; its folder is made.
 * @throws MR_INVALID_OPTION; in `write` what the disk says, and MR_EVENT_DEAD_LETTERS_FULL.
 */
export function deadLetterFile(path: string, { quota = '256MiB', disk = nodeDisk }: DeadLetterFileOptions = {}): DeadLetterStore {
  if (!isAbsolute(path))
    throw new MillraceError('MR_INVALID_OPTION', { option: 'path', value: JSON.stringify(path), bound: 'an absolute path' });
  const quotaBytes = parseBytes(quota, 'quota', { min: 1 });
  let opened: { file: DiskFile; bytes: number } | null = null;
  const open = async () => {
    await makeFolderDurably(dirname(path), disk);
    const bytes = (await disk.stat(path))?.size ?? 0;
    const file = await disk.open(path, 'a');
    await disk.syncFolder(dirname(path));
    // Behind what a crash may have cut short.
    if (bytes > 0) await file.write([NEW_LINE]);
    return { file, bytes: bytes + 1 };
  };
  return {
    name: 'deadLetterFile',
    async write({ events, reason, error, atMs }) {
      opened ??= await open();
      const at = new Date(atMs).toISOString();
      const head = Buffer.from(JSON.stringify({ reason, error, at }).slice(0, -1));
      const pieces = events.flatMap((event) => [head, EVENT, encodeEvent(event), END]);
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
      if (opened.bytes + bytes > quotaBytes) throw new MillraceError('MR_EVENT_DEAD_LETTERS_FULL', { path, quota: quotaBytes });
      try {
        await opened.file.write(pieces);
        await opened.file.sync();
      } catch (error) {
        // What stands there now is not known: the next call looks.
        await opened.file.close().catch(() => {});
        opened = null;
        throw error;
      }
      opened.bytes += bytes;
    },
    async close() {
      await opened?.file.close();
      opened = null;
    },
  };
}

const NEW_LINE = Buffer.from('\n');
const EVENT = Buffer.from(',"event":');
const END = Buffer.from('}\n');
