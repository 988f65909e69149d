import { systemCode } from '../stores/system-code.ts';
import { packBlobs } from './blob.ts';
import type { Entry } from './entry.ts';
import { Line } from './line.ts';
import type { Place, SegmentFiles } from './segment-files.ts';

export interface WriteQueueParts {
  readonly files: SegmentFiles;
  /** These have their place on disk; some may have been let go meanwhile, and need it no more. */
  readonly onWritten: (entries: readonly Entry[]) => void;
  /** The disk is full: none of these is written, and the queue is empty. */
  readonly onNoRoom: (entries: readonly Entry[]) => void;
  /** The queue writes nothing any more. */
  readonly onFailure: (error: unknown) => void;
}

/** Writes entries to disk in order, as many at once as came while the write before was under way. */
export class WriteQueue {
  readonly #parts: WriteQueueParts;
  readonly #queue = new Line<Entry>(({ state }) => state === 'queued');
  #isWriting = false;
  #isOver = false;
  #writes: Promise<void> = Promise.resolve();

  constructor(parts: WriteQueueParts) {
    this.#parts = parts;
  }

  push(entry: Entry): void {
    entry.state = 'queued';
    this.#queue.push(entry);
  }

  /** An entry that was queued is not any more. */
  leave(): void {
    this.#queue.leave();
  }

  /** Writes what is queued, unless that goes on already. */
  start(): void {
    if (this.#isWriting || this.#isOver || this.#queue.size === 0) return;
    this.#isWriting = true;
    this.#writes = this.#writeAll();
  }

  /** Starts no further write, and resolves when the last one has ended. */
  stop(): Promise<void> {
    this.#isOver = true;
    this.#queue.clear();
    return this.#writes;
  }

  async #writeAll(): Promise<void> {
    try {
      for (let group = this.#nextGroup(); group.length > 0; group = this.#nextGroup()) await this.#write(group);
    } catch (error) {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#parts.onFailure(error);
    } finally {
      this.#isWriting = false;
    }
  }

  /** The next ones that fit in one file and one write. */
  #nextGroup(): Entry[] {
    const group: Entry[] = [];
    let bytes = 0;
    let room = 0;
    for (let entry = this.#queue.first(); entry !== null; entry = this.#queue.first()) {
      if (group.length === 0) room = Math.min(this.#parts.files.roomFor(entry.bytes), Math.max(entry.bytes, WRITE_BYTES));
      bytes += entry.bytes;
      if (bytes > room || group.length === WRITE_ENTRIES) break;
      group.push(entry);
      this.#queue.shift();
      entry.state = 'writing';
    }
    return group;
  }

  async #write(group: Entry[]): Promise<void> {
    const { pieces, checksums } = packBlobs(group);
    const bytes = group.reduce((sum, entry) => sum + entry.bytes, 0);
    let first: Place;
    try {
      first = await this.#parts.files.append(pieces, bytes, group.length);
    } catch (error) {
      if (this.#isOver || !NO_ROOM.has(systemCode(error))) throw error;
      for (let entry = this.#queue.shift(); entry !== null; entry = this.#queue.shift()) group.push(entry);
      this.#parts.onNoRoom(group);
      return;
    }
    if (this.#isOver) return;
    let { offset } = first;
    group.forEach((entry, index) => {
      entry.place = { segment: first.segment, offset };
      const { blob, value } = checksums[index]!;
      entry.checksum = blob;
      entry.valueChecksum = value;
      offset += entry.bytes;
    });
    this.#parts.onWritten(group);
  }
}

/** One write has at most so many bytes, unless one entry has more, and so many entries. */
const WRITE_BYTES = 4 * 1024 * 1024;
const WRITE_ENTRIES = 4096;
/** A full disk, and a quota of the system's that is used up. */
const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);
