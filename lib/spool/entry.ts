import type { TwoStageAck } from '../events/index.ts';
import { blobBytes } from './blob.ts';
import { BYTES_KEPT_PER_ENTRY } from './limits.ts';
import type { Place } from './segment-files.ts';

/** What is given to a spool: bytes, which belong to it from then on, and their acks. */
export interface SpoolMessage {
  /** What goes along with the value and comes back beside it, the positions of the rows; or null. */
  readonly key: Buffer | null;
  /** The encoded rows, in pieces. */
  readonly value: readonly Buffer[];
  /** The length of `value` in all. */
  readonly valueBytes: number;
  /** CRC-32 of `value` in all, where it is known already: nobody looks at the bytes for it then. */
  readonly valueChecksum?: number;
  readonly rows: number;
  readonly ack: TwoStageAck;
  /** Bytes that the owner keeps in memory for this one, wherever its own are, until it is let go. Default 0. */
  readonly keptBytes?: number;
}

/**
 * Where the bytes of an entry are. `memory`: in the memory tier; `waiting`: not accepted yet, because the disk has no room, and in memory; `queued`, `writing`:
 * counted as on disk, and in memory until they are there; `disk`; `moved`: out of the spool, in its owner's keeping; `consumed`: let go.
 */
export type SpoolEntryState = 'memory' | 'waiting' | 'queued' | 'writing' | 'disk' | 'moved' | 'consumed';

/** What a spool holds of one message, from `enqueue` until it is let go. */
export interface SpoolEntry {
  readonly state: SpoolEntryState;
  /** Accounting bytes (spec storage-sink §2.3). */
  readonly bytes: number;
  readonly valueBytes: number;
  readonly rows: number;
  /** No disk quota would ever hold it and the memory tier had no room: it is in memory all the same, and should go at once. */
  readonly isOversized: boolean;
  /** Its rows are durable, or stale and discarded: the flush ack runs, once, then the entry is let go. Nothing is loaded. */
  flushed(): void;
  /** Lets the entry go without a flush ack; an enqueue ack that is held stays in line. Idempotent. */
  release(): void;
}

/** @internal An entry as its spool sees it. */
export class Entry implements SpoolEntry {
  readonly bytes: number;
  readonly valueBytes: number;
  readonly rows: number;
  readonly ack: TwoStageAck;
  /** Of how many entries it counts as (`SpoolLevel`). */
  readonly count: number;
  state: SpoolEntryState = 'waiting';
  /** Null when its bytes are not in memory. */
  content: { readonly key: Buffer | null; readonly value: readonly Buffer[] } | null;
  /** Where its bytes are on disk, once they are. */
  place: Place | null = null;
  checksum = 0;
  /** Of its value alone; null while nobody has made it. */
  valueChecksum: number | null;
  isOversized = false;
  /** Whether its content was read, and so is in use until the entry is let go. */
  isPinned = false;
  /** Whether its enqueue ack is held. */
  isHeld = false;
  isFlushed = false;
  waitingSinceMs = 0;
  /** Of `Pressure`, while it is accepted. */
  round = 0;
  readonly #letGo: (entry: Entry) => void;

  constructor({ key, value, valueBytes, valueChecksum, rows, ack, keptBytes = 0 }: SpoolMessage, letGo: (entry: Entry) => void) {
    this.bytes = blobBytes(key?.length ?? 0, valueBytes);
    this.valueBytes = valueBytes;
    this.valueChecksum = valueChecksum ?? null;
    this.rows = rows;
    this.ack = ack;
    this.count = 1 + Math.trunc(keptBytes / BYTES_KEPT_PER_ENTRY);
    this.content = { key, value };
    this.#letGo = letGo;
  }

  flushed(): void {
    this.ackFlush();
    this.release();
  }

  /** The first half of `flushed`. */
  ackFlush(): void {
    if (this.state === 'consumed') return;
    this.isFlushed = true;
    this.ack.postFlush();
  }

  release(): void {
    if (this.state !== 'consumed') this.#letGo(this);
  }
}
