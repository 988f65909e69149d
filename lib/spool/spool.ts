import { isMillraceError, MillraceError, reasonOf } from '../errors.ts';
import type { Context } from '../flow/index.ts';
import { crc32Combine, crc32OfPieces } from '../formats/checksum.ts';
import type { Disk, DiskLock } from '../stores/disk.ts';
import { nodeDisk } from '../stores/node-disk.ts';
import { EMPTY_LEVEL, type SpoolInput, type SpoolLevel, type SpoolOutput, type SpoolTier, spoolStep } from './budget.ts';
import { Entry, type SpoolEntry, type SpoolMessage } from './entry.ts';
import type { SpoolLimits } from './limits.ts';
import { Line } from './line.ts';
import { Pressure } from './pressure.ts';
import { readEntries, type SpoolChunk } from './read-entries.ts';
import { type Place, SegmentFiles } from './segment-files.ts';
import { takeSpoolFolder } from './spool-folder.ts';
import { WriteQueue } from './write-queue.ts';

export interface SpoolParts {
  /** An absolute path, of this spool alone (`spoolFolder`). */
  readonly folder: string;
  readonly limits: SpoolLimits;
  /** The gauge has the accounting bytes of what is accepted; it is pressed while acks are held or an entry waits for the disk (`Pressure`). */
  readonly context: Pick<Context, 'clock' | 'logger' | 'gauge'>;
  /** Hears once that an entry could not be written: what came is un-acked and still in memory, and nothing more is taken. */
  readonly onFailure: (error: MillraceError) => void;
  /** Gets the pieces of values back when the spool does not need them in memory any more. Default: they are left to the garbage collector. */
  readonly recycle?: (pieces: readonly Buffer[]) => void;
  readonly observer?: SpoolObserver;
  /** Default: this machine's. */
  readonly disk?: Disk;
  /**
   * When the folder is taken and emptied: as the spool opens, or when the first entry goes to disk; until then the disk is not touched, and a folder that cannot be
   * had is a failure only then. Default `open`.
   */
  readonly takeFolder?: 'open' | 'spill';
}

/** Hears what histograms are made of (spec storage-sink §8). */
export interface SpoolObserver {
  /** Bytes that one read brought from the disk. */
  loaded?(bytes: number): void;
  /** How long an entry waited for the disk, whatever became of it. */
  waited?(ms: number): void;
}

/** A spool in numbers. */
export interface SpoolStatus extends SpoolLevel {
  /** Enqueue acks that are held. */
  readonly heldAcks: number;
  /** Entries that wait for the disk. */
  readonly waiting: number;
  /** Files now, and ever begun. */
  readonly segments: number;
  readonly rotations: number;
}

/**
 * Holds encoded rows until they are durable: in memory up to a bound, beyond it on disk up to a quota (spec storage-sink §2). A buffer of one process and no log:
 * after a crash nothing of it is read, the source sends again.
 *
 * Nothing that comes is refused and nobody waits in a promise: `enqueue` gives the entry at once, so order is the caller's. What is regulated is the *enqueue
 * ack*: it runs when the entry is accepted (in memory, or written to disk) and the level allows; held acks run in order of acceptance. An entry that finds
 * no room on disk waits in memory, un-acked, in line, and can be read, flushed and let go as any other. While acks are held or entries wait, the gauge is pressed,
 * so that whoever gathers entries lets go of them. What waits, and what is on its way to disk, is bounded by what the source has in flight un-acked.
 *
 * A disk that is full (ENOSPC) is a disk without room; any other error of a write ends the spool (`onFailure`).
 */
export class Spool {
  readonly #parts: SpoolParts;
  /** Null until the folder is taken. */
  #lock: DiskLock | null = null;
  readonly #files: SegmentFiles;
  readonly #held = new Line<Entry>(({ isFlushed }) => !isFlushed);
  #waiting = waitingLine();
  readonly #writes: WriteQueue;
  readonly #pressure: Pressure;
  #level: SpoolLevel = EMPTY_LEVEL;
  /** Whether the last write found the disk full. */
  #isFull = false;
  #failure: MillraceError | null = null;
  #closing: Promise<void> | null = null;

  private constructor(parts: SpoolParts) {
    const { folder, limits, context, disk = nodeDisk } = parts;
    this.#parts = parts;
    this.#files = new SegmentFiles({
      disk,
      folder,
      capacityBytes: limits.segmentBytes,
      logger: context.logger,
      prepare: () => this.#takeFolder(disk),
      onRemoved: (bytes) => this.#onRemoved(bytes),
    });
    this.#writes = new WriteQueue({
      files: this.#files,
      onWritten: (entries) => this.#onWritten(entries),
      onNoRoom: (entries) => this.#onNoRoom(entries),
      onFailure: (error) => this.#fail(error),
    });
    this.#pressure = new Pressure(() => context.gauge.press());
  }

  /**
   * Takes the folder for this process and empties it, unless that is left for later (`takeFolder`).
   *
   * @throws MR_STATE_LOCKED while another spool lives there; MR_SPOOL_UNUSABLE
   */
  static async open(parts: SpoolParts): Promise<Spool> {
    const spool = new Spool(parts);
    if (parts.takeFolder !== 'spill') await spool.#takeFolder(parts.disk ?? nodeDisk);
    return spool;
  }

  get status(): SpoolStatus {
    return {
      ...this.#level,
      heldAcks: this.#held.size,
      waiting: this.#waiting.size,
      segments: this.#files.count,
      rotations: this.#files.rotations,
    };
  }

  /**
   * Takes a message in.
   *
   * @param pass is given the entry before its ack runs, so that what a woken source sends cannot come past it.
   * @throws MR_SPOOL_CLOSED; the error that `onFailure` heard. The message is untouched then.
   */
  enqueue(message: SpoolMessage, pass?: (entry: SpoolEntry) => void): SpoolEntry {
    if (this.#closing !== null) throw this.#closedError();
    if (this.#failure !== null) throw this.#failure;
    const entry = new Entry(message, this.#letGo);
    const othersWait = this.#waiting.size > 0;
    const output = this.#step({ type: 'enqueue', bytes: entry.bytes, count: entry.count, isBehind: othersWait });
    if (output === 'wait') this.#wait(entry);
    else this.#take(entry, output);
    pass?.(entry);
    if (output === 'wait') {
      if (entry.state === 'waiting' && !othersWait) this.#needRoom();
    } else if (entry.state === 'memory') this.#accept(entry);
    if (this.#level.isPaused) this.#pressure.need();
    this.#writes.start();
    return entry;
  }

  /**
   * The content of entries of this spool in their order, lazily, in chunks of about 1 MiB where it is on disk. Buffers are good until their entry is let go.
   *
   * @throws MR_SPOOL_CORRUPT, MR_SPOOL_FAILED, MR_SPOOL_CLOSED
   */
  read(entries: readonly SpoolEntry[]): AsyncGenerator<SpoolChunk, void, undefined> {
    return readEntries(entries as readonly Entry[], (place, length) => this.#load(place, length));
  }

  /**
   * The values of these, joined without a gap, where all of them are in memory and stay there; else null, and `read` brings them. Good until their entries are let
   * go. What is on its way to the disk is not kept for it: it would be in memory beyond the bound for as long as a file takes.
   */
  held(entries: readonly SpoolEntry[]): readonly Buffer[] | null {
    const pieces: Buffer[] = [];
    for (const entry of entries as readonly Entry[]) {
      if (entry.content === null || (entry.state !== 'memory' && entry.state !== 'waiting')) return null;
      for (const piece of entry.content.value) pieces.push(piece);
    }
    for (const entry of entries as readonly Entry[]) entry.isPinned = true;
    return pieces;
  }

  /**
   * The values of these are kept elsewhere by now, at the owner's risk: they take neither memory nor files any more, and cannot be read again. Of those that are on their way
   * to the disk, or wait, nothing is dropped.
   */
  moved(entries: readonly SpoolEntry[]): void {
    if (this.#isOver) return;
    for (const entry of entries as readonly Entry[]) {
      if (entry.state === 'memory') {
        entry.valueChecksum ??= crc32OfPieces(entry.content!.value);
        this.#step({ type: 'move', bytes: entry.bytes });
        this.#forget(entry);
      } else if (entry.state === 'disk') {
        this.#files.release(entry.place!.segment);
        this.#forget(entry);
      } else {
        // Nobody reads it any more while it is on its way.
        entry.isPinned = false;
        continue;
      }
      entry.state = 'moved';
    }
    this.#admit();
    if (this.#level.isPaused) this.#pressure.need();
  }

  /** CRC-32 of the values of these, joined without a gap, behind what gave `before`. Nothing is loaded. */
  checksumOf(entries: readonly SpoolEntry[], before = 0): number {
    let checksum = before;
    for (const { content, valueChecksum, valueBytes } of entries as readonly Entry[]) {
      checksum = valueChecksum === null ? crc32OfPieces(content!.value, checksum) : crc32Combine(checksum, valueChecksum, valueBytes);
    }
    return checksum;
  }

  /** The rows of these are durable, or stale and discarded: their flush acks run in order, then they are let go. Nothing is loaded. */
  flushed(entries: readonly SpoolEntry[]): void {
    for (const entry of entries as readonly Entry[]) entry.ackFlush();
    for (const entry of entries) entry.release();
  }

  /**
   * Drops acks that are held, fails what reads from the disk, removes the files and gives the folder free. Entries can still be flushed. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close().catch((error: unknown) => {
      const { folder, context } = this.#parts;
      context.logger.warn({ folder, reason: reasonOf(error) }, 'the folder of the spool could not be removed; the next start empties it');
    });
    return this.#closing;
  }

  /** Closed, or failed: no enqueue ack runs any more. */
  get #isOver(): boolean {
    return this.#closing !== null || this.#failure !== null;
  }

  #step(input: SpoolInput): SpoolOutput {
    const { level, output } = spoolStep(this.#parts.limits, this.#level, input);
    this.#level = level;
    return output;
  }

  #take(entry: Entry, output: SpoolOutput): void {
    this.#parts.context.gauge.add(entry.bytes);
    entry.round = this.#pressure.enter();
    entry.isOversized = output === 'oversized';
    if (output === 'disk') this.#writes.push(entry);
    else entry.state = 'memory';
  }

  #wait(entry: Entry): void {
    entry.state = 'waiting';
    entry.waitingSinceMs = this.#parts.context.clock.now();
    this.#waiting.push(entry);
  }

  /** A file that nobody needs makes room, or else whoever gathers lets go. */
  #needRoom(): void {
    if (!this.#files.makeRoom()) this.#pressure.need();
  }

  #accept(entry: Entry): void {
    if (this.#isOver) return;
    if (this.#level.isPaused) {
      entry.isHeld = true;
      this.#held.push(entry);
    } else entry.ack.postEnqueue();
  }

  /** Entries that waited go where there is room by now, in order. */
  #admit(): void {
    if (this.#isOver) return;
    for (let entry = this.#waiting.first(); entry !== null; entry = this.#waiting.first()) {
      const output = this.#step({ type: 'enqueue', bytes: entry.bytes, count: entry.count, isBehind: false });
      if (output === 'wait') {
        this.#needRoom();
        break;
      }
      this.#waiting.shift();
      this.#observeWait(entry);
      this.#take(entry, output);
      if (entry.state === 'memory') this.#accept(entry);
    }
    this.#writes.start();
  }

  readonly #letGo = (entry: Entry): void => {
    const { state } = entry;
    entry.state = 'consumed';
    if (this.#closing !== null) return;
    // The flush ack has run it.
    if (entry.isHeld && entry.isFlushed) this.#held.leave();
    if (state === 'waiting') {
      this.#waiting.leave();
      this.#observeWait(entry);
    } else if (state === 'queued') {
      this.#writes.leave();
      this.#step({ type: 'free', bytes: entry.bytes });
    } else if (state === 'disk') this.#files.release(entry.place!.segment);
    // What is being written is still needed for that.
    if (state !== 'writing') this.#forget(entry);
    if (state !== 'waiting' && this.#release(entry, state === 'memory' ? 'memory' : 'disk')) this.#resume();
    this.#admit();
    if (this.#level.isPaused && !this.#isOver) this.#pressure.need();
  };

  /** Whether held acks are to run. */
  #release(entry: Entry, tier: SpoolTier): boolean {
    this.#pressure.leave(entry.round);
    const output = this.#step({ type: 'release', tier, bytes: entry.bytes, count: entry.count });
    this.#parts.context.gauge.release(entry.bytes);
    return output === 'resume';
  }

  #resume(): void {
    const due: Entry[] = [];
    for (let entry = this.#held.shift(); entry !== null; entry = this.#held.shift()) {
      entry.isHeld = false;
      due.push(entry);
    }
    for (const { ack } of due) if (!this.#isOver) ack.postEnqueue();
  }

  #forget(entry: Entry): void {
    const { content } = entry;
    entry.content = null;
    if (content !== null) this.#parts.recycle?.(content.value);
  }

  #onRemoved(bytes: number): void {
    this.#step({ type: 'free', bytes });
    // Not for an empty one, begun on a full disk: that would be tried again and again.
    if (bytes > 0) this.#admit();
  }

  #onWritten(group: readonly Entry[]): void {
    this.#isFull = false;
    for (const entry of group) {
      const isGone = entry.state === 'consumed';
      if (isGone) this.#files.release(entry.place!.segment);
      else entry.state = 'disk';
      if (isGone || !entry.isPinned) this.#forget(entry);
    }
    for (const entry of group) if (entry.state === 'disk') this.#accept(entry);
  }

  /** The disk is full: what was to be written waits, before those that wait already. */
  #onNoRoom(entries: readonly Entry[]): void {
    this.#warnFull();
    const later = this.#waiting;
    this.#waiting = waitingLine();
    let isResumed = false;
    for (const entry of entries) {
      this.#step({ type: 'free', bytes: entry.bytes });
      if (entry.state === 'consumed') this.#forget(entry);
      else {
        this.#wait(entry);
        if (this.#release(entry, 'disk')) isResumed = true;
      }
    }
    for (let entry = later.shift(); entry !== null; entry = later.shift()) this.#waiting.push(entry);
    if (isResumed) this.#resume();
    if (this.#waiting.size > 0) this.#needRoom();
  }

  /** Once, until a write succeeds. */
  #warnFull(): void {
    if (this.#isFull) return;
    this.#isFull = true;
    const { context, folder } = this.#parts;
    context.logger.warn({ folder }, 'the disk of the spool is full: the source is held until rows are durable at the target');
  }

  #observeWait(entry: Entry): void {
    this.#parts.observer?.waited?.(this.#parts.context.clock.now() - entry.waitingSinceMs);
  }

  async #load(place: Place, length: number): Promise<Buffer> {
    if (this.#closing !== null) throw this.#closedError();
    try {
      const loaded = await this.#files.read(place, length);
      this.#parts.observer?.loaded?.(loaded.length);
      return loaded;
    } catch (error) {
      if (this.#closing !== null) throw this.#closedError();
      throw new MillraceError('MR_SPOOL_FAILED', { what: 'read', path: place.segment.path, reason: reasonOf(error) }, error);
    }
  }

  #fail(cause: unknown): void {
    if (this.#isOver) return;
    const { folder, onFailure } = this.#parts;
    this.#failure = isMillraceError(cause)
      ? cause
      : new MillraceError('MR_SPOOL_FAILED', { what: 'write to', path: folder, reason: reasonOf(cause) }, cause);
    onFailure(this.#failure);
  }

  async #close(): Promise<void> {
    this.#held.clear();
    for (let entry = this.#waiting.shift(); entry !== null; entry = this.#waiting.shift()) this.#observeWait(entry);
    try {
      await this.#writes.stop();
      await this.#files.close();
    } finally {
      await this.#lock?.release();
    }
  }

  async #takeFolder(disk: Disk): Promise<void> {
    this.#lock ??= await takeSpoolFolder(this.#parts.folder, disk);
  }

  #closedError(): MillraceError {
    return new MillraceError('MR_SPOOL_CLOSED', { folder: this.#parts.folder });
  }
}

function waitingLine(): Line<Entry> {
  return new Line(({ state }) => state === 'waiting');
}
