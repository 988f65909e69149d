import { isMillraceError, MillraceError, reasonOf } from '../../lib/errors.ts';
import { Ring } from '../../lib/flow/index.ts';
import type { Place, Segment } from '../../lib/spool/segment-files.ts';
import { SpoolLog } from '../../lib/spool/spool-log.ts';
import { nodeDisk } from '../../lib/stores/node-disk.ts';
import { type Entry, entryOf } from './entry.ts';
import type { Intake, IntakeParts, Offer } from './intake.ts';
import type { RecorderLimits } from './options.ts';
import { acceptedRecord, readRecord, settledRecords } from './spill-records.ts';
import { SpillReplay } from './spill-replay.ts';

type SpillLimits = NonNullable<RecorderLimits['spill']>;

export interface OpenedSpill {
  readonly intake: Intake;
  /** The highest number in the log; 0 when it is empty. */
  readonly lastSeq: bigint;
  /** Events that are to be delivered again. */
  readonly replayed: number;
}

/**
 * Policy `spill`: an accepted event is written to the spool's files before it is delivered, so that it survives a crash (G8), and what the memory has no room for
 * stands only there. They are a log, since nobody sends events again, and hold what is settled too; so a start delivers again what is not, in order, before what
 * is new. A file is needed while it holds an event that is not settled.
 *
 * An event is written behind the call of `record`, with all that came meanwhile, in one write and one sync. While the disk fails, events pass by the log as long as
 * nothing older stands in it, since a target that works is worth more than a log that does not; those do not survive a crash, and `safe` waits for them.
 */
export class SpillIntake implements Intake {
  readonly #parts: IntakeParts;
  readonly #limits: SpillLimits;
  readonly #log: SpoolLog;
  readonly #replay: SpillReplay;
  /** Accepted and not written. */
  readonly #entering = new Ring<Entry>();
  #enteringBytes = 0;
  #writing: readonly Entry[] = [];
  /** Written, or past the log, and in memory. */
  readonly #ready = new Ring<Entry>();
  /** Those and what was shifted and is not settled. */
  #held = 0;
  #heldBytes = 0;
  /** Of those in memory: the file that an entry stands in; or that it stands in none. */
  readonly #segments = new Map<Entry, Segment>();
  readonly #unlogged = new Set<Entry>();
  /** In the log and not in memory, from `#cursor` on. */
  #onDisk = 0;
  #cursor: Place | null = null;
  #lastRead = -1n;
  #settledSeqs: bigint[] = [];
  /** The number of the last that was taken. */
  #newest = -1n;
  #isWriting = false;
  #isReading = false;
  #isClosed = false;
  /** While the disk is left alone after a failure. */
  #cancelWriteRetry: (() => void) | null = null;
  #cancelReadRetry: (() => void) | null = null;
  #waiters: { readonly seq: bigint; readonly resolve: (isSafe: boolean) => void }[] = [];
  #idle: (() => void)[] = [];

  private constructor(limits: SpillLimits, parts: IntakeParts, log: SpoolLog, replay: SpillReplay) {
    this.#limits = limits;
    this.#parts = parts;
    this.#log = log;
    this.#replay = replay;
    this.#onDisk = replay.settle((segment, settled) => log.release(segment, settled));
  }

  /** Takes the folder and reads what is there. @throws MR_STATE_LOCKED, MR_EVENT_SPILL_UNUSABLE */
  static async open(limits: SpillLimits, parts: IntakeParts): Promise<OpenedSpill> {
    const { folder, segmentBytes, syncs, disk } = limits;
    const replay = new SpillReplay();
    try {
      const log = await SpoolLog.open({
        folder,
        segmentBytes,
        syncs,
        disk: disk ?? nodeDisk,
        logger: parts.context.logger,
        onRecord: (record, segment) => replay.found(readRecord(record), segment),
      });
      const intake = new SpillIntake(limits, parts, log, replay);
      const replayed = intake.pending;
      intake.#read();
      return { intake, lastSeq: replay.lastSeq, replayed };
    } catch (error) {
      if (isMillraceError(error)) throw error;
      throw new MillraceError('MR_EVENT_SPILL_UNUSABLE', { folder, reason: reasonOf(error) }, error);
    }
  }

  get events(): number {
    return this.#entering.length + this.#writing.length + this.#held;
  }

  get bytes(): number {
    return this.#enteringBytes + this.#heldBytes;
  }

  get pending(): number {
    return this.events + this.#onDisk;
  }

  get first(): Entry | undefined {
    return this.#ready.peek() ?? this.#writing[0] ?? this.#entering.peek();
  }

  get diskBytes(): number {
    return this.#log.bytes;
  }

  get hasRoom(): boolean {
    return this.#entering.length + this.#writing.length < this.#parts.limits.queueEvents;
  }

  offer(entry: Entry): Offer {
    const { queueBytes } = this.#parts.limits;
    if (entry.bytes > queueBytes) return 'tooLarge';
    // The bytes of an event in memory are about those of its record.
    const bytes = this.#enteringBytes + entry.bytes;
    if (!this.hasRoom || bytes > queueBytes || this.#log.bytes + bytes > this.#limits.quotaBytes) return 'overflow';
    this.force(entry);
    return 'taken';
  }

  force(entry: Entry): void {
    this.#entering.push(entry);
    this.#enteringBytes += entry.bytes;
    this.#newest = entry.event.seq;
    this.#write();
  }

  shift(): Entry | undefined {
    return this.#ready.shift();
  }

  settled(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.#held--;
      this.#heldBytes -= entry.bytes;
      // Of one that passed by the log too: a part of a write that failed may be there.
      this.#settledSeqs.push(entry.event.seq);
      if (!this.#unlogged.delete(entry)) this.#log.release(this.#segments.get(entry)!);
      this.#segments.delete(entry);
    }
    this.#tellSafe();
    this.#write();
    this.#read();
  }

  safe(): Promise<boolean> {
    const seq = this.#newest;
    if (this.#isSafe(seq)) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#waiters.push({ seq, resolve });
    });
  }

  async close(underway: readonly Entry[], onLost: (entries: readonly Entry[]) => void): Promise<void> {
    this.#isClosed = true;
    this.#cancelWriteRetry?.();
    this.#cancelReadRetry?.();
    await this.#quiet();
    // Once more, whatever the disk said before.
    await this.#writeSome();
    const lost: Entry[] = [];
    for (const entry of underway) this.#leave(entry, lost);
    for (let entry = this.#ready.shift(); entry !== undefined; entry = this.#ready.shift()) this.#leave(entry, lost);
    for (let entry = this.#entering.shift(); entry !== undefined; entry = this.#entering.shift()) lost.push(entry);
    this.#enteringBytes = 0;
    onLost(lost);
    for (const { resolve } of this.#waiters) resolve(lost.length === 0);
    this.#waiters = [];
    try {
      await this.#log.close();
    } catch (error) {
      this.#parts.context.logger.warn({ folder: this.#limits.folder, reason: reasonOf(error) }, 'the spill of events could not be closed');
    }
  }

  #leave(entry: Entry, lost: Entry[]): void {
    this.#held--;
    this.#heldBytes -= entry.bytes;
    if (this.#unlogged.delete(entry)) lost.push(entry);
    else this.#onDisk++;
  }

  #write(): void {
    if (this.#isWriting || this.#isClosed || this.#cancelWriteRetry !== null) return;
    if (this.#entering.length === 0 && this.#settledSeqs.length === 0) return;
    this.#isWriting = true;
    // Behind the call that records, with whatever comes along.
    Promise.resolve()
      .then(() => this.#writeSome())
      .then((isWritten) => {
        this.#isWriting = false;
        this.#toldIdle();
        if (this.#isClosed) return;
        if (isWritten) this.#write();
        else this.#pauseWriting();
      });
  }

  #pauseWriting(): void {
    this.#cancelWriteRetry = this.#parts.context.clock.after(RETRY_MS, () => {
      this.#cancelWriteRetry = null;
      this.#write();
    });
  }

  /** Everything that waits, up to a bound. Whether it is there; never fails. */
  async #writeSome(): Promise<boolean> {
    const batch: Entry[] = [];
    let bytes = 0;
    while (batch.length === 0 || bytes < WRITE_BYTES) {
      const entry = this.#entering.shift();
      if (entry === undefined) break;
      batch.push(entry);
      bytes += entry.bytes;
    }
    const settled = this.#settledSeqs;
    this.#settledSeqs = [];
    if (batch.length === 0 && settled.length === 0) return true;
    this.#writing = batch;
    try {
      const records = [...batch.map(({ event }) => acceptedRecord(event)), ...settledRecords(settled)];
      // Settlements alone are not worth a sync: a crash of the machine would make a few duplicates.
      const places = await this.#log.append(records, batch.length);
      this.#written(batch, places);
      return true;
    } catch (error) {
      this.#settledSeqs = [...settled, ...this.#settledSeqs];
      this.#notWritten(batch, error);
      return false;
    } finally {
      this.#tellSafe();
    }
  }

  #written(batch: readonly Entry[], places: readonly Place[]): void {
    this.#writing = [];
    batch.forEach((entry, index) => {
      this.#enteringBytes -= entry.bytes;
      const place = places[index]!;
      if (this.#onDisk === 0 && this.#hasRoomFor(entry)) this.#hold(entry, place.segment);
      else {
        if (this.#onDisk === 0) this.#cursor = place;
        this.#onDisk++;
      }
    });
    if (batch.length > 0 && this.#onDisk < batch.length) this.#parts.onReady();
    this.#read();
  }

  #notWritten(batch: readonly Entry[], error: unknown): void {
    const { folder } = this.#limits;
    this.#parts.context.logger.warn({ folder, events: batch.length, reason: reasonOf(error) }, 'events could not be written to the spill');
    this.#writing = [];
    const waiting: Entry[] = [];
    for (const entry of batch) {
      if (waiting.length === 0 && this.#onDisk === 0 && this.#hasRoomFor(entry)) {
        this.#enteringBytes -= entry.bytes;
        this.#hold(entry, null);
      } else waiting.push(entry);
    }
    if (waiting.length < batch.length) this.#parts.onReady();
    // In front of what has come meanwhile.
    for (let left = this.#entering.length; left > 0; left--) waiting.push(this.#entering.shift()!);
    for (const entry of waiting) this.#entering.push(entry);
  }

  #hasRoomFor({ bytes }: Entry): boolean {
    const { queueEvents, queueBytes } = this.#parts.limits;
    return this.#held < queueEvents && (this.#held === 0 || this.#heldBytes + bytes <= queueBytes);
  }

  #hold(entry: Entry, segment: Segment | null): void {
    if (segment === null) this.#unlogged.add(entry);
    else this.#segments.set(entry, segment);
    this.#held++;
    this.#heldBytes += entry.bytes;
    this.#lastRead = entry.event.seq;
    this.#ready.push(entry);
  }

  /** Fetches from disk what there is room for, once half of the memory is free. */
  #read(): void {
    if (this.#isReading || this.#isClosed || this.#cancelReadRetry !== null || this.#onDisk === 0) return;
    const { queueEvents, queueBytes } = this.#parts.limits;
    if (this.#held * 2 > queueEvents || this.#heldBytes * 2 > queueBytes) return;
    this.#isReading = true;
    this.#readSome().then((isRead) => {
      this.#isReading = false;
      this.#toldIdle();
      if (this.#isClosed) return;
      if (isRead) this.#read();
      else this.#pauseReading();
    });
  }

  #pauseReading(): void {
    this.#cancelReadRetry = this.#parts.context.clock.after(RETRY_MS, () => {
      this.#cancelReadRetry = null;
      this.#read();
    });
  }

  /** Whether to go on; never fails. */
  async #readSome(): Promise<boolean> {
    try {
      const found = await this.#log.read(this.#cursor, READ_BYTES);
      if (this.#isClosed) return true;
      if (found === null) this.#loseTheRest();
      else {
        this.#cursor = found.next;
        for (const entry of found.entries) {
          const record = readRecord(entry);
          if (record.kind !== 'accepted' || record.seq <= this.#lastRead || this.#replay.wasSettled(record.seq)) continue;
          const { clock } = this.#parts.context;
          const taken = entryOf(record.event(), clock.now());
          if (!this.#hasRoomFor(taken)) {
            this.#cursor = { segment: entry.segment, offset: entry.offset };
            break;
          }
          this.#onDisk--;
          this.#hold(taken, entry.segment);
        }
        this.#parts.onReady();
      }
      return true;
    } catch (error) {
      this.#parts.context.logger.warn({ folder: this.#limits.folder, reason: reasonOf(error) }, 'events could not be read from the spill');
      return false;
    }
  }

  /** The log ends before all that should be there has come: the disk lost it. */
  #loseTheRest(): void {
    const lost = this.#onDisk;
    this.#onDisk = 0;
    if (lost > 0) this.#parts.onVanished(lost);
  }

  #isSafe(seq: bigint): boolean {
    const first = this.#writing[0] ?? this.#entering.peek();
    if (first !== undefined && first.event.seq <= seq) return false;
    for (const { event } of this.#unlogged) if (event.seq <= seq) return false;
    return true;
  }

  #tellSafe(): void {
    if (this.#waiters.length === 0) return;
    const told = this.#waiters.filter(({ seq }) => this.#isSafe(seq));
    this.#waiters = this.#waiters.filter((waiter) => !told.includes(waiter));
    for (const { resolve } of told) resolve(true);
  }

  /** Resolves when no call of the disk is under way. */
  async #quiet(): Promise<void> {
    while (this.#isWriting || this.#isReading) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #toldIdle(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }
}

/** After a failure of the disk. */
const RETRY_MS = 1000;
const WRITE_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;
