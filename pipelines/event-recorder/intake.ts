import { Subject } from 'rxjs';
import { TwoStageAck } from '../../lib/events/index.ts';
import { type Context, Gauge, Ring } from '../../lib/flow/index.ts';
import type { Entry } from './entry.ts';
import { type Arrival, arrivals } from './operators.ts';
import type { RecorderLimits } from './options.ts';

/** What became of an entry that was offered: taken, at once or with a promise that resolves when there is room again; or not. */
export type Offer = 'taken' | Promise<void> | 'overflow' | 'tooLarge';

/** Where accepted events wait for their delivery, within bounds of count and bytes. */
export interface Intake {
  /** In memory, with those that were shifted and are not settled; and their bytes. */
  readonly events: number;
  readonly bytes: number;
  /** All that were taken and are neither settled nor dropped. */
  readonly pending: number;
  /** The oldest that can be shifted; it stays. */
  readonly first: Entry | undefined;
  /** Bytes on disk. */
  readonly diskBytes: number;
  /** Whether one could be taken, by count: asked before an event is copied. */
  readonly hasRoom: boolean;
  offer(entry: Entry): Offer;
  /** Takes an entry whatever the bounds say. */
  force(entry: Entry): void;
  /** The oldest, on its way from now on. */
  shift(): Entry | undefined;
  /** Those shifted are settled: their room is free. */
  settled(entries: readonly Entry[]): void;
  /** Resolves with true when all that is pending now is safe: settled, or on disk; with false when it was closed before that. */
  safe(): Promise<boolean>;
  /** Nothing more is offered. `onLost` hears of what is lost with it, of what was shifted (`underway`) and of what was not, once that is pending no more. */
  close(underway: readonly Entry[], onLost: (entries: readonly Entry[]) => void): Promise<void>;
}

export interface IntakeParts {
  readonly limits: RecorderLimits;
  readonly context: Context;
  /** Hears that something can be shifted. */
  readonly onReady: () => void;
  /** Hears what gave way to a newer one. */
  readonly onDropped: (entry: Entry) => void;
  /** Hears how many the disk has lost. */
  readonly onVanished: (count: number) => void;
}

/** In memory only: the policies `dropNewest`, `dropOldest` and `block`. */
export class MemoryIntake implements Intake {
  readonly diskBytes = 0;
  readonly #parts: IntakeParts;
  readonly #queue = new Ring<Entry>();
  readonly #blocking: Blocking | null;
  #newest = -1n;
  /** With those that were shifted and are not settled. */
  #events = 0;
  #bytes = 0;
  /** Without them. */
  #queuedBytes = 0;
  /** For each that waits: how many of those up to a number are not settled. */
  #waiters: { readonly seq: bigint; left: number; readonly resolve: (isSafe: boolean) => void }[] = [];

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#blocking = parts.limits.overflow === 'block' ? new Blocking(parts, (entry) => this.#push(entry)) : null;
  }

  get events(): number {
    return this.#events;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get pending(): number {
    return this.#events;
  }

  get first(): Entry | undefined {
    return this.#queue.peek();
  }

  get hasRoom(): boolean {
    const { overflow, queueEvents } = this.#parts.limits;
    return overflow === 'dropOldest' || this.#events < queueEvents * this.#times;
  }

  offer(entry: Entry): Offer {
    const { overflow, queueBytes } = this.#parts.limits;
    if (entry.bytes > queueBytes) return 'tooLarge';
    if (overflow === 'dropOldest') this.#makeRoom(entry.bytes);
    if (!this.#fits(entry.bytes)) return 'overflow';
    if (this.#blocking !== null) return this.#blocking.offer(entry);
    this.#push(entry);
    return 'taken';
  }

  force(entry: Entry): void {
    this.#blocking?.add(entry);
    this.#push(entry);
  }

  shift(): Entry | undefined {
    const entry = this.#queue.shift();
    this.#queuedBytes -= entry?.bytes ?? 0;
    return entry;
  }

  settled(entries: readonly Entry[]): void {
    for (const entry of entries) this.#release(entry);
    this.#blocking?.release(entries);
  }

  safe(): Promise<boolean> {
    // Nothing is safe in memory but what is settled.
    if (this.#events === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#waiters.push({ seq: this.#newest, left: this.#events, resolve });
    });
  }

  async close(underway: readonly Entry[], onLost: (entries: readonly Entry[]) => void): Promise<void> {
    const lost = [...underway];
    for (let entry = this.shift(); entry !== undefined; entry = this.shift()) lost.push(entry);
    if (lost.length > 0) for (const { resolve } of this.#waiters) resolve(false);
    this.#waiters = [];
    this.settled(lost);
    onLost(lost);
  }

  /** How often the bounds: a producer that does not wait for its promises may hold them once more. */
  get #times(): number {
    return this.#blocking === null ? 1 : 2;
  }

  #fits(bytes: number): boolean {
    const { queueEvents, queueBytes } = this.#parts.limits;
    return this.#events < queueEvents * this.#times && this.#bytes + bytes <= queueBytes * this.#times;
  }

  #makeRoom(bytes: number): void {
    const { queueEvents, queueBytes } = this.#parts.limits;
    // What is on its way stays: it may be there already. Where it alone leaves no room, nothing is dropped in vain.
    if (this.#events - this.#queue.length >= queueEvents || this.#bytes - this.#queuedBytes + bytes > queueBytes) return;
    while (!this.#fits(bytes)) {
      const oldest = this.shift();
      if (oldest === undefined) return;
      this.#release(oldest);
      this.#parts.onDropped(oldest);
    }
  }

  #push(entry: Entry): void {
    this.#newest = entry.event.seq;
    this.#events++;
    this.#bytes += entry.bytes;
    this.#queuedBytes += entry.bytes;
    this.#queue.push(entry);
    this.#parts.onReady();
  }

  #release({ bytes, event }: Entry): void {
    this.#events--;
    this.#bytes -= bytes;
    if (this.#waiters.length === 0) return;
    for (const waiter of this.#waiters) if (event.seq <= waiter.seq && --waiter.left === 0) waiter.resolve(true);
    this.#waiters = this.#waiters.filter(({ left }) => left > 0);
  }
}

class Blocking {
  readonly #gauge = new Gauge();
  readonly #arrivals = new Subject<Arrival>();
  readonly #eventBytes: number;

  constructor({ limits, context }: IntakeParts, push: (entry: Entry) => void) {
    const { queueEvents, queueBytes } = limits;
    // An event counts for at least its share, so that one mark bounds both.
    this.#eventBytes = queueBytes / queueEvents;
    this.#arrivals.pipe(arrivals(limits).withContext({ ...context, gauge: this.#gauge })).subscribe((arrival) => {
      if ('entry' in arrival) push(arrival.entry);
    });
  }

  offer(entry: Entry): Promise<void> {
    const ack = new TwoStageAck();
    return new Promise((resolve) => {
      ack.addPostEnqueue(resolve);
      this.#arrivals.next({ bytes: this.#weight(entry), ack, entry });
    });
  }

  add(entry: Entry): void {
    this.#gauge.add(this.#weight(entry));
  }

  release(entries: readonly Entry[]): void {
    this.#gauge.release(entries.reduce((sum, entry) => sum + this.#weight(entry), 0));
  }

  #weight({ bytes }: Entry): number {
    return Math.max(bytes, this.#eventBytes);
  }
}
