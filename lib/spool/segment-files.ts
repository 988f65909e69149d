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
  /** Ascends from file to file. */
  readonly id: number;
  readonly path: string;
  /** Of a log, which may have many, open only while it is written; who reads opens it anew. */
  readonly file: DiskFile;
  /** Bytes that are good. */
  size: number;
  refs: number;
}

export interface SegmentFilesParts {
  readonly disk: DiskFiles;
  readonly folder: string;
  readonly capacityBytes: number;
  readonly logger: Logger;
  /** Makes the folder ready before its first file is made. Default: it is. */
  readonly prepare?: () => Promise<void>;
  /** Hears of each file that is gone, with the bytes that were written to it. */
  readonly onRemoved: (bytes: number) => void;
  /** The end of what is survived by what is needed: of the process, or of the machine too. Default `nothing`: they are a buffer and no log. */
  readonly outlives?: 'nothing' | 'process' | 'machine';
}

/**
 * The files of a spool (spec storage-sink §2.7), numbered from 1, written one after another, each up to its capacity.
 *
 * Of a buffer, `segment-000001.log` and on: a file goes when none of its entries is needed any more and nothing is added to it. Nothing is synced: after a crash
 * none of it is read.
 *
 * Of a log, `log-000001.log` and on, so that a spool which is given its folder by mistake does not empty it: `recover` brings back what is there, what is needed is
 * synced where it is to outlive the machine, and files go the oldest first, because a later one may tell what became of an earlier one. The newest stays: it tells
 * how far the log has come.
 */
export class SegmentFiles {
  readonly #parts: SegmentFilesParts;
  readonly #isLog: boolean;
  readonly #syncs: boolean;
  /** From the oldest on. */
  readonly #segments = new Set<Segment>();
  #removing: Promise<unknown> = Promise.resolve();
  #removingBytes = 0;
  #active: Segment | null = null;
  /** Of a log: the last with something that was needed. */
  #newest: Segment | null = null;
  #lastId = 0;

  constructor(parts: SegmentFilesParts) {
    this.#parts = parts;
    this.#isLog = (parts.outlives ?? 'nothing') !== 'nothing';
    this.#syncs = parts.outlives === 'machine';
  }

  /**
   * Of a log: takes in what an earlier process left there, from the oldest on; nothing is added to that.
   *
   * @param read how many bytes of a file are good, and how many entries in it needed.
   */
  async recover(read: (content: Buffer, segment: Segment) => { readonly bytes: number; readonly needed: number }): Promise<void> {
    const { disk, folder, logger } = this.#parts;
    const found = (await disk.list(folder)).map(({ name }) => ({ id: Number(LOG_NAME.exec(name)?.[1] ?? 0), path: join(folder, name) }));
    for (const { id, path } of found.filter(({ id }) => id > 0).sort((a, b) => a.id - b.id)) {
      const segment: Segment = { id, path, file: await disk.open(path, 'a'), size: 0, refs: 0 };
      this.#segments.add(segment);
      this.#lastId = id;
      // What the end of the process alone left behind is not durable yet.
      if (this.#syncs) await segment.file.sync();
      const content = await disk.readFile(path);
      const { bytes, needed } = read(content, segment);
      segment.size = bytes;
      segment.refs = needed;
      if (bytes < content.length) {
        logger.warn(
          { path, offset: bytes, bytes: content.length - bytes },
          'the end of a log file is no record, as after a crash: it is left out',
        );
      }
      await segment.file.close();
      if (bytes === 0) this.#remove(segment);
      else if (needed > 0) this.#newest = segment;
    }
    if (this.#syncs) await disk.syncFolder(folder);
  }

  get count(): number {
    return this.#segments.size;
  }

  /** How many files were begun. */
  get rotations(): number {
    return this.#lastId;
  }

  /** From the oldest on; also while files come and go. */
  all(): Iterable<Segment> {
    return this.#segments;
  }

  /** Bytes that one `append` may bring, if its first blob has `firstBytes`: what is left of the active file, or a new one. */
  roomFor(firstBytes: number): number {
    const left = this.#active === null ? 0 : this.#parts.capacityBytes - this.#active.size;
    return firstBytes <= left ? left : Math.max(firstBytes, this.#parts.capacityBytes);
  }

  /**
   * Writes the blobs of `count` entries, `bytes` in all, and says where they begin; one call at a time. What is larger than a file's capacity has a file of its
   * own. After an error nothing of it is there. What nobody needs (`count` 0) is not worth a sync.
   */
  async append(pieces: readonly Buffer[], bytes: number, count: number): Promise<Place> {
    let segment = this.#active;
    if (segment === null || segment.size + bytes > this.#parts.capacityBytes) segment = await this.#rotate(count);
    else segment.refs += count;
    try {
      if (this.#syncs && segment.size === 0) await this.#parts.disk.syncFolder(this.#parts.folder);
      await segment.file.write(pieces);
      if (this.#syncs && count > 0) await segment.file.sync();
    } catch (error) {
      // A part may have been written: where the next blob would stand is not known.
      this.#seal();
      this.release(segment, count);
      if (this.#isLog) await segment.file.close();
      throw error;
    }
    const offset = segment.size;
    segment.size += bytes;
    if (this.#isLog && count > 0 && segment !== this.#newest) {
      this.#newest = segment;
      this.#removeInOrder();
    }
    return { segment, offset };
  }

  /** Not of a log. */
  read({ segment, offset }: Place, length: number): Promise<Buffer> {
    return segment.file.read(offset, length);
  }

  /** So many of its entries are not needed any more. */
  release(segment: Segment, count = 1): void {
    segment.refs -= count;
    if (segment.refs === 0 && segment !== this.#active) this.#drop(segment);
  }

  /** Gives up the active file if nobody needs it. Whether bytes are on their way out, so that `onRemoved` will hear of them. */
  makeRoom(): boolean {
    if (this.#active?.refs === 0) this.#seal();
    return this.#removingBytes > 0;
  }

  /** Closes all files. Those of a buffer are removed with their folder. */
  async close(): Promise<void> {
    await this.#removing;
    try {
      if (this.#syncs) await this.#active?.file.sync();
    } finally {
      this.#active = null;
      for (const { file } of this.#segments) await file.close();
      this.#segments.clear();
    }
  }

  /** Begins a file that is needed so many times from the outset: who makes room meanwhile must not take it for one that nobody needs. */
  async #rotate(refs: number): Promise<Segment> {
    const before = this.#active;
    if (this.#syncs) await before?.file.sync();
    this.#seal();
    if (this.#isLog) await before?.file.close();
    const { prepare, folder, disk } = this.#parts;
    await prepare?.();
    const id = this.#lastId + 1;
    const path = join(folder, `${this.#isLog ? 'log' : 'segment'}-${String(id).padStart(6, '0')}.log`);
    const file = await disk.open(path, 'wx');
    this.#lastId = id;
    const segment = { id, path, file, size: 0, refs };
    this.#active = segment;
    this.#segments.add(segment);
    return segment;
  }

  #seal(): void {
    const segment = this.#active;
    this.#active = null;
    if (segment?.refs === 0) this.#drop(segment);
  }

  #drop(segment: Segment): void {
    if (this.#isLog && segment.size > 0) this.#removeInOrder();
    else this.#remove(segment);
  }

  #remove(segment: Segment): void {
    if (!this.#segments.delete(segment)) return;
    this.#removingBytes += segment.size;
    const removal = this.#removeFile(segment).then(() => {
      this.#removingBytes -= segment.size;
      this.#parts.onRemoved(segment.size);
    });
    this.#removing = Promise.all([this.#removing, removal]);
  }

  /** Each is gone for good before the next goes. One that could not be removed keeps those behind it, until it is tried again. */
  #removeInOrder(): void {
    this.#removing = this.#removing.then(async () => {
      for (const segment of this.#segments) {
        if (segment.refs > 0 || segment === this.#newest || segment === this.#active) return;
        if (!(await this.#removeFile(segment))) return;
        this.#segments.delete(segment);
        this.#parts.onRemoved(segment.size);
      }
    });
  }

  async #removeFile({ path, file }: Segment): Promise<boolean> {
    const { disk, folder, logger } = this.#parts;
    try {
      await file.close();
      await disk.remove(path);
      if (this.#syncs) await disk.syncFolder(folder);
      return true;
    } catch (error) {
      logger.warn({ path, reason: reasonOf(error) }, 'a spool file that is not needed any more could not be removed');
      return false;
    }
  }
}

/** Whether a name is of a file of a buffer. */
export function isSegmentName(name: string): boolean {
  return /^segment-\d{6,}\.log$/.test(name);
}

const LOG_NAME = /^log-(\d{6,})\.log$/;
