import { BehaviorSubject, type Observable } from 'rxjs';
import { type AckedEvent, type Delivery, firstPosition, isAckedEvent, type ResolvedEvent } from '../events/index.ts';

/**
 * How far everything has come: the checkpoint is the earliest unflushed commitTs − 1, but never beyond the resolved-ts (dispatchers advance
 * apart: a table that joins late has rows far ahead of the others). So it rests on transaction boundaries (I2), never passes an un-acked
 * event (I1), moves for filtered ones (I7) and never goes back.
 */
export class Progress {
  readonly #pending = new MinHeap();
  readonly #checkpoint: BehaviorSubject<bigint>;
  readonly #commitTimes: { commitTs: bigint; commitTimeUs: bigint }[] = [];
  #pendingEvents = 0;
  #resolvedTs: bigint;
  #checkpointTimeUs = 0n;

  /** `startTs`: everything up to it is durable already. */
  constructor(startTs = 0n) {
    this.#resolvedTs = startTs;
    this.#checkpoint = new BehaviorSubject(startTs);
  }

  /** Everything up to this commitTs is durable. */
  get checkpointTs(): bigint {
    return this.#checkpoint.value;
  }

  /** The checkpoint now and whenever it moves. */
  get checkpoint$(): Observable<bigint> {
    return this.#checkpoint;
  }

  /** The source has emitted everything up to this commitTs. */
  get resolvedTs(): bigint {
    return this.#resolvedTs;
  }

  /** Commit time of the newest transaction at or before the checkpoint, microseconds since 1970 UTC; 0 when unknown. */
  get checkpointTimeUs(): bigint {
    return this.#checkpointTimeUs;
  }

  /** Events registered and not flushed. */
  get pendingEvents(): number {
    return this.#pendingEvents;
  }

  /**
   * Hooks the acks of a delivery that arrives at the sink, all of it before any of it moves on: a flush of its first event must not expose a checkpoint
   * behind its second. The delivery's own ack follows: enqueued when every event is, flushed when every event is, at once when none
   * arrived.
   */
  register({ events, ack }: Delivery): void {
    // The hooks below hold the delivery's ack alone: rows are let go as soon as they are encoded.
    let unqueued = 0;
    let unflushed = 0;
    let resolved: ResolvedEvent | null = null;
    for (const event of events) {
      if (event.type === 'resolved') resolved = event;
      if (!isAckedEvent(event)) continue;
      unqueued++;
      unflushed++;
      const remove = this.#add(event);
      event.ack.addPostEnqueue(() => {
        if (--unqueued === 0) ack.postEnqueue();
      });
      event.ack.addPostFlushFront(() => {
        if (!remove()) return;
        if (--unflushed === 0) ack.postFlush();
      });
    }
    if (resolved !== null) this.#resolve(resolved);
    if (unflushed === 0) ack.postFlush();
  }

  #add(event: AckedEvent): () => boolean {
    const entry = { commitTs: firstPosition(event).commitTs, flushed: false };
    this.#pending.push(entry);
    this.#pendingEvents++;
    return () => {
      if (entry.flushed) return false;
      entry.flushed = true;
      this.#pendingEvents--;
      this.#advance();
      return true;
    };
  }

  #resolve({ commitTs, commitTimeUs }: ResolvedEvent): void {
    if (commitTs <= this.#resolvedTs) return;
    this.#resolvedTs = commitTs;
    if (commitTimeUs > 0n) {
      if (this.#commitTimes.length === COMMIT_TIMES_MAX) this.#commitTimes.pop();
      this.#commitTimes.push({ commitTs, commitTimeUs });
    }
    this.#advance();
  }

  #advance(): void {
    const earliest = this.#pending.earliest();
    const checkpointTs = earliest === null || earliest > this.#resolvedTs ? this.#resolvedTs : earliest - 1n;
    if (checkpointTs <= this.#checkpoint.value) return;
    let passed = 0;
    while (passed < this.#commitTimes.length && this.#commitTimes[passed]!.commitTs <= checkpointTs) passed++;
    if (passed > 0) this.#checkpointTimeUs = this.#commitTimes[passed - 1]!.commitTimeUs;
    this.#commitTimes.splice(0, passed);
    this.#checkpoint.next(checkpointTs);
  }
}

/** Commit times remembered between the checkpoint and the resolved-ts; beyond it the newest replaces its neighbour. */
const COMMIT_TIMES_MAX = 1024;

interface PendingEntry {
  readonly commitTs: bigint;
  flushed: boolean;
}

/** Unflushed events by commitTs. A flushed one is only marked; it leaves when it surfaces. */
class MinHeap {
  readonly #heap: PendingEntry[] = [];

  push(entry: PendingEntry): void {
    const heap = this.#heap;
    let child = heap.push(entry) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.commitTs <= entry.commitTs) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = entry;
  }

  earliest(): bigint | null {
    while (this.#heap.length > 0 && this.#heap[0]!.flushed) this.#pop();
    return this.#heap[0]?.commitTs ?? null;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let parent = 0;
    for (;;) {
      let child = parent * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.commitTs < heap[child]!.commitTs) child++;
      if (heap[child]!.commitTs >= last.commitTs) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = last;
  }
}
