import { BehaviorSubject, type Observable } from 'rxjs';
import { ALL_DISPATCHERS, type ChangeEvent, type Delivery, firstPosition, isAckedEvent, type ResolvedEvent } from '../events/index.ts';
import { PendingQueue } from './pending-queue.ts';

/**
 * How far everything has come: the checkpoint is the earliest unflushed commitTs − 1, but never beyond the resolved-ts (dispatchers advance
 * apart: a table that joins late has rows far ahead of the others). So it rests on transaction boundaries (I2), never passes an un-acked
 * event (I1), moves for filtered ones (I7) and never goes back.
 */
export class Progress {
  readonly #pending = new PendingQueue();
  readonly #checkpoint: BehaviorSubject<bigint>;
  readonly #commitTimes: { commitTs: bigint; commitTimeUs: bigint }[] = [];
  #resolvedTs: bigint;
  #checkpointTs: bigint;
  #checkpointTimeUs = 0n;
  #isAnnouncing = false;

  /** `startTs`: everything up to it is durable already. */
  constructor(startTs = 0n) {
    this.#resolvedTs = startTs;
    this.#checkpointTs = startTs;
    this.#checkpoint = new BehaviorSubject(startTs);
  }

  /** Everything up to this commitTs is durable. */
  get checkpointTs(): bigint {
    return this.#checkpointTs;
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
    return this.#pending.pending;
  }

  /**
   * Hooks the acks of a delivery that arrives at the sink, all of it before any of it moves on: a flush of its first event must not expose a checkpoint
   * behind its second. The delivery's own ack follows: enqueued when every event is, flushed when every event is, at once when none
   * arrived. Only a resolved mark of all dispatchers moves anything: where each has its own, `mergeResolved` makes theirs.
   */
  register({ events, ack }: Delivery): void {
    // The hooks below hold the delivery's ack alone: rows are let go as soon as they are encoded.
    let unqueued = 0;
    let unflushed = 0;
    let resolved: ResolvedEvent | null = null;
    const queued = () => {
      if (--unqueued === 0) ack.postEnqueue();
    };
    for (const event of events) {
      if (isMarkOfAll(event) && (resolved === null || event.commitTs > resolved.commitTs)) resolved = event;
      if (!isAckedEvent(event)) continue;
      unqueued++;
      unflushed++;
      const entry = this.#pending.push(firstPosition(event).commitTs);
      event.ack.addPostEnqueue(queued);
      event.ack.addPostFlushFront(() => {
        if (!this.#pending.flush(entry)) return;
        this.#advance();
        if (--unflushed === 0) ack.postFlush();
      });
    }
    if (resolved !== null) this.#resolve(resolved);
    if (unflushed === 0) ack.postFlush();
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
    if (checkpointTs <= this.#checkpointTs) return;
    this.#checkpointTs = checkpointTs;
    let passed = 0;
    while (passed < this.#commitTimes.length && this.#commitTimes[passed]!.commitTs <= checkpointTs) passed++;
    if (passed > 0) this.#checkpointTimeUs = this.#commitTimes[passed - 1]!.commitTimeUs;
    this.#commitTimes.splice(0, passed);
    this.#announce();
  }

  /** One announcement after another: what a listener sets off is told when all have heard what came before, or they would hear it go back. */
  #announce(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    while (this.#checkpoint.value < this.#checkpointTs) this.#checkpoint.next(this.#checkpointTs);
    this.#isAnnouncing = false;
  }
}

function isMarkOfAll(event: ChangeEvent): event is ResolvedEvent {
  return event.type === 'resolved' && event.dispatcher === ALL_DISPATCHERS;
}

/** Commit times remembered between the checkpoint and the resolved-ts; beyond it the newest replaces its neighbour. */
const COMMIT_TIMES_MAX = 1024;
