/** An event that waits for its flush. */
export interface PendingEntry {
  readonly commitTs: bigint;
  isFlushed: boolean;
}

/**
 * Unflushed events by commitTs, flushed in any order. A flushed one is only marked: it leaves when it surfaces, or when more than half are flushed, so that
 * one event that hangs does not keep all that were flushed behind it.
 */
export class PendingQueue {
  /** A binary heap, the earliest first. */
  #heap: PendingEntry[] = [];
  #pending = 0;

  /** Entries not flushed. */
  get pending(): number {
    return this.#pending;
  }

  /** Entries in memory: at most twice the pending ones, and a few. */
  get size(): number {
    return this.#heap.length;
  }

  push(commitTs: bigint): PendingEntry {
    const entry = { commitTs, isFlushed: false };
    const heap = this.#heap;
    let child = heap.push(entry) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.commitTs <= commitTs) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = entry;
    this.#pending++;
    return entry;
  }

  /** Whether the entry was pending until now. */
  flush(entry: PendingEntry): boolean {
    if (entry.isFlushed) return false;
    entry.isFlushed = true;
    this.#pending--;
    if (this.#heap.length > this.#pending * 2 + SLACK) this.#forgetFlushed();
    return true;
  }

  /** The commitTs of the earliest entry not flushed; null when there is none. */
  earliest(): bigint | null {
    while (this.#heap.length > 0 && this.#heap[0]!.isFlushed) this.#pop();
    return this.#heap[0]?.commitTs ?? null;
  }

  #forgetFlushed(): void {
    this.#heap = this.#heap.filter(({ isFlushed }) => !isFlushed);
    for (let parent = (this.#heap.length >> 1) - 1; parent >= 0; parent--) this.#sink(parent, this.#heap[parent]!);
  }

  #pop(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#sink(0, last);
  }

  /** Puts `entry` at `parent` or, while a child is earlier, below it. */
  #sink(parent: number, entry: PendingEntry): void {
    const heap = this.#heap;
    for (;;) {
      let child = parent * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.commitTs < heap[child]!.commitTs) child++;
      if (heap[child]!.commitTs >= entry.commitTs) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = entry;
  }
}

/** Flushed entries that are not worth a pass. */
const SLACK = 64;
