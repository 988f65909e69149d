/**
 * Buffers of one size, used again and again: the first touch of fresh memory costs more than to write it, and memory that is left to the garbage collector is
 * still there long after its last use.
 *
 * A segment has one owner, from `take` to `release`. What is never released is left to the garbage collector when the pool is.
 */
export class SegmentPool {
  readonly #freeBytesMax: number;
  readonly #free: Buffer[] = [];
  readonly #lent = new Map<ArrayBufferLike, Buffer>();
  /** In use at once, at most, since there was none the last time. */
  #lentMax = 0;

  /** `freeBytesMax`: bytes that are kept for later while others are in use; whenever there are none, what was not needed since the last time is let go. */
  constructor(freeBytesMax: number) {
    this.#freeBytesMax = freeBytesMax;
  }

  /** `SEGMENT_BYTES` bytes with anything in them. */
  take(): Buffer {
    const segment = this.#free.pop() ?? Buffer.allocUnsafeSlow(SEGMENT_BYTES);
    this.#lent.set(segment.buffer, segment);
    this.#lentMax = Math.max(this.#lentMax, this.#lent.size);
    return segment;
  }

  /** Takes back the segments among these buffers, or views of them; the others are none of its business. */
  release(buffers: readonly Buffer[]): void {
    for (const { buffer } of buffers) {
      const segment = this.#lent.get(buffer);
      if (segment === undefined) continue;
      this.#lent.delete(buffer);
      this.#free.push(segment);
    }
    let kept = Math.floor(this.#freeBytesMax / SEGMENT_BYTES);
    // Whoever encodes always holds one.
    if (this.#lent.size <= 1) {
      kept = Math.min(kept, this.#lentMax);
      this.#lentMax = 0;
    }
    this.#free.length = Math.min(this.#free.length, kept);
  }
}

export const SEGMENT_BYTES = 256 * 1024;
