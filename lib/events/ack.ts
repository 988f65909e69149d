/**
 * The two acknowledgements of an event (spec storage-sink §3).
 *
 * *Enqueued* means that the sink has accepted the event within its bounds; it wakes the source. *Flushed* means that the event is durable at
 * the target; it moves progress. Flushed implies enqueued, never the reverse.
 */
export class TwoStageAck {
  #enqueue: (() => void)[] = [];
  #flush: (() => void)[] = [];
  #enqueued = false;

  /** Runs `fn` at the enqueue ack. */
  addPostEnqueue(fn: () => void): void {
    this.#enqueue.push(fn);
  }

  /** Runs `fn` at the flush ack, after those added before. */
  addPostFlush(fn: () => void): void {
    this.#flush.push(fn);
  }

  /** Runs `fn` at the flush ack, before all others: progress moves first, so that they see the current checkpoint. */
  addPostFlushFront(fn: () => void): void {
    this.#flush.unshift(fn);
  }

  /** Runs the enqueue functions, at most once in the life of the event. */
  postEnqueue(): void {
    if (this.#enqueued) return;
    this.#enqueued = true;
    const fns = this.#enqueue;
    this.#enqueue = [];
    for (const fn of fns) fn();
  }

  /** Runs the flush functions, then `postEnqueue` for whoever has not heard it. A second call runs the flush functions again. */
  postFlush(): void {
    for (const fn of this.#flush) fn();
    this.postEnqueue();
  }

  /** Takes the functions off, as an ack of its own with the same rules; this one keeps none. A queue then holds no event, only its ack. */
  detach(): TwoStageAck {
    const detached = new TwoStageAck();
    detached.#enqueue = this.#enqueue;
    detached.#flush = this.#flush;
    detached.#enqueued = this.#enqueued;
    this.#enqueue = [];
    this.#flush = [];
    return detached;
  }
}
