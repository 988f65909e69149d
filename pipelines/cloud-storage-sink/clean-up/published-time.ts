/** What `Progress` says of the checkpoint of a run. */
interface CheckpointTime {
  readonly checkpointTs: bigint;
  readonly checkpointTimeUs: bigint;
}

/**
 * When the last published checkpoint was committed: upstream's `physical(checkpointTs)`, for positions that have no clock in them (architecture §2).
 *
 * It keeps one checkpoint that waits to be published and the time of one that has been. So the answer is that of a checkpoint at or before the published one, an
 * earlier time perhaps, never a later one, and it never goes back.
 */
export class PublishedTime {
  #waiting: CheckpointTime | null = null;
  #timeUs = 0n;

  /** Hears how far the run has come and what of it is published. */
  note({ checkpointTs, checkpointTimeUs }: CheckpointTime, publishedTs: bigint | null): void {
    this.#settle(publishedTs);
    if (this.#waiting === null && checkpointTimeUs > this.#timeUs) this.#waiting = { checkpointTs, checkpointTimeUs };
    this.#settle(publishedTs);
  }

  /** Milliseconds since 1970 UTC; null as long as it is unknown. */
  get ms(): number | null {
    return this.#timeUs === 0n ? null : Number(this.#timeUs / 1000n);
  }

  #settle(publishedTs: bigint | null): void {
    if (this.#waiting === null || publishedTs === null || this.#waiting.checkpointTs > publishedTs) return;
    this.#timeUs = this.#waiting.checkpointTimeUs;
    this.#waiting = null;
  }
}
