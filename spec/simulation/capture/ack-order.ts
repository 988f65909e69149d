/** The acks of one event that was written. */
export interface AckEntry {
  readonly index: number;
  /** Rows: a block event is only acked when it is flushed. */
  readonly isRows: boolean;
  isEnqueued: boolean;
  isFlushed: boolean;
}

/** The events of one run in the order in which they were written, and whether their enqueue acks keep to it (I4). */
export class AckOrder {
  readonly #entries: AckEntry[] = [];
  /** All before are enqueued, or wait for their flush alone. */
  #head = 0;

  add(isRows: boolean): AckEntry {
    const entry = { index: this.#entries.length, isRows, isEnqueued: false, isFlushed: false };
    this.#entries.push(entry);
    return entry;
  }

  /** Whether it was its turn. A flush enqueues whatever it flushes. */
  enqueued(entry: AckEntry): boolean {
    entry.isEnqueued = true;
    const entries = this.#entries;
    while (this.#head < entries.length && (entries[this.#head]!.isEnqueued || !entries[this.#head]!.isRows)) this.#head++;
    return entry.isFlushed || !entry.isRows || this.#head > entry.index;
  }
}
