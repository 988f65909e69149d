import { MillraceError } from '../errors.ts';
import { readBlob } from './blob.ts';
import type { Entry } from './entry.ts';
import type { Place } from './segment-files.ts';

/** What some entries hold, in their order: the keys of those that have one, and the pieces of their values, joined without a gap. */
export interface SpoolChunk {
  readonly keys: readonly Buffer[];
  readonly values: readonly Buffer[];
}

/**
 * The content of entries, in order, chunk by chunk: what is in memory as it is, what is on disk in reads of several entries at once, each checked.
 *
 * @throws MR_SPOOL_CORRUPT
 */
export async function* readEntries(
  entries: readonly Entry[],
  load: (place: Place, length: number) => Promise<Buffer>,
): AsyncGenerator<SpoolChunk, void, undefined> {
  for (let from = 0; from < entries.length; ) {
    const first = entries[from]!;
    if (first.state === 'consumed' || first.state === 'moved') throw new RangeError('an entry of a spool was read after it was let go');
    const keys: Buffer[] = [];
    const values: Buffer[] = [];
    if (first.content !== null) from = takeFromMemory(entries, from, keys, values);
    else {
      const to = endOfRun(entries, from);
      const last = entries[to - 1]!;
      const start = first.place!.offset;
      const run = await load(first.place!, last.place!.offset + last.bytes - start);
      for (; from < to; from++) {
        const entry = entries[from]!;
        const offset = entry.place!.offset;
        const content = readBlob(run.subarray(offset - start, offset - start + entry.bytes), entry.bytes, entry.checksum);
        if (typeof content === 'string')
          throw new MillraceError('MR_SPOOL_CORRUPT', { path: entry.place!.segment.path, offset, length: entry.bytes, reason: content });
        if (content.key !== null) keys.push(content.key);
        values.push(content.value);
      }
    }
    yield { keys, values };
  }
}

/** At most this much is read at once, or kept in memory that is on its way to the disk, unless one entry has more. */
const READ_BYTES = 1024 * 1024;

function takeFromMemory(entries: readonly Entry[], from: number, keys: Buffer[], values: Buffer[]): number {
  let bytes = 0;
  let to = from;
  for (; to < entries.length; to++) {
    const entry = entries[to]!;
    bytes += entry.bytes;
    if (entry.content === null || (to > from && bytes > READ_BYTES)) break;
    entry.isPinned = true;
    const { key, value } = entry.content;
    if (key !== null) keys.push(key);
    for (const piece of value) values.push(piece);
  }
  return to;
}

/** Where the entries end that stand behind each other in one file, from `from` on. */
function endOfRun(entries: readonly Entry[], from: number): number {
  const { segment, offset } = entries[from]!.place!;
  let end = offset + entries[from]!.bytes;
  let to = from + 1;
  for (; to < entries.length; to++) {
    const { content, place, bytes } = entries[to]!;
    if (content !== null || place?.segment !== segment || place.offset !== end || end + bytes - offset > READ_BYTES) break;
    end += bytes;
  }
  return to;
}
