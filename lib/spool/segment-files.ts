import { join } from 'node:path';
import { reasonOf } from '../errors.ts';
import type { Logger } from '../flow/index.ts';
import type { DiskFile, DiskFiles } from '../stores/disk.ts';

/** Where a blob is. */
export interface Place {
  readonly segment: Segment;
  readonly offset: number;
}

/** One file, with how many entries still need it. */
export interface Segment {
  readonly path: string;
  readonly file: DiskFile;
  size: number;
  refs: number;
}

export interface SegmentFilesParts {
  readonly disk: DiskFiles;
  readonly folder: string;
  readonly capacityBytes: number;
  readonly logger: Logger;
  /** Makes the folder ready before its first file is made. */
  readonly prepare: () => Promise<void>;
  /** Hears of each file that is gone, with the bytes that were written to it. */
  readonly onRemoved: (bytes: number) => void;
}

/**
 * The files of a spool (spec storage-sink §2.7): `segment-000001.log` and on, written one after another, each up to its capacity. A file goes when none of its
 * entries is needed any more and nothing is added to it. Nothing is synced: after a crash none of it is read.
 */
export class SegmentFiles {
  readonly #parts: SegmentFilesParts;
  readonly #segments = new Set<Segment>();
  readonly #removals = new Set<Promise<void>>();
  #removingBytes = 0;
  #active: Segment | null = null;
  #lastId = 0;

  constructor(parts: SegmentFilesParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#segments.size;
  }

  /** How many files were begun. */
  get rotations(): number {
    return this.#lastId;
  }

  /** Bytes that one `append` may bring, if its first blob has `firstBytes`: what is left of the active file, or a new one. */
  roomFor(firstBytes: number): number {
    const left = this.#active === null ? 0 : this.#parts.capacityBytes - this.#active.size;
    return firstBytes <= left ? left : Math.max(firstBytes, this.#parts.capacityBytes);
  }

  /**
   * Writes the blobs of `count` entries, `bytes` in all, and says where they begin; one call at a time. What is larger than a file's capacity has a file of its
   * own. After an error nothing of it is there.
   */
  async append(pieces: readonly Buffer[], bytes: number, count: number): Promise<Place> {
    let segment = this.#active;
    if (segment === null || segment.size + bytes > this.#parts.capacityBytes) segment = await this.#rotate(count);
    else segment.refs += count;
    try {
      await segment.file.write(pieces);
    } catch (error) {
      // A part may have been written: where the next blob would stand is not known.
      this.#seal();
      for (let left = count; left > 0; left--) this.release(segment);
      throw error;
    }
    const offset = segment.size;
    segment.size += bytes;
    return { segment, offset };
  }

  read({ segment, offset }: Place, length: number): Promise<Buffer> {
    return segment.file.read(offset, length);
  }

  /** An entry is not needed any more. */
  release(segment: Segment): void {
    segment.refs--;
    if (segment.refs === 0 && segment !== this.#active) this.#remove(segment);
  }

  /** Gives up the active file if nobody needs it. Whether bytes are on their way out, so that `onRemoved` will hear of them. */
  makeRoom(): boolean {
    if (this.#active?.refs === 0) this.#seal();
    return this.#removingBytes > 0;
  }

  /** Closes all files; they are removed with their folder. */
  async close(): Promise<void> {
    this.#active = null;
    await Promise.all(this.#removals);
    for (const { file } of this.#segments) await file.close();
    this.#segments.clear();
  }

  /** Begins a file that is needed so many times from the outset: who makes room meanwhile must not take it for one that nobody needs. */
  async #rotate(refs: number): Promise<Segment> {
    this.#seal();
    await this.#parts.prepare();
    const path = join(this.#parts.folder, segmentName(this.#lastId + 1));
    const file = await this.#parts.disk.open(path, 'wx');
    this.#lastId++;
    const segment = { path, file, size: 0, refs };
    this.#active = segment;
    this.#segments.add(segment);
    return segment;
  }

  #seal(): void {
    const segment = this.#active;
    this.#active = null;
    if (segment?.refs === 0) this.#remove(segment);
  }

  #remove(segment: Segment): void {
    if (!this.#segments.delete(segment)) return;
    this.#removingBytes += segment.size;
    const removal = this.#removeFile(segment).then(() => {
      this.#removals.delete(removal);
      this.#removingBytes -= segment.size;
      this.#parts.onRemoved(segment.size);
    });
    this.#removals.add(removal);
  }

  async #removeFile({ path, file }: Segment): Promise<void> {
    try {
      await file.close();
      await this.#parts.disk.remove(path);
    } catch (error) {
      this.#parts.logger.warn({ path, reason: reasonOf(error) }, 'a spool file that is not needed any more could not be removed');
    }
  }
}

/** Whether a name is of a file of a spool. */
export function isSegmentName(name: string): boolean {
  return /^segment-\d{6,}\.log$/.test(name);
}

function segmentName(id: number): string {
  return `segment-${String(id).padStart(6, '0')}.log`;
}
