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

  /** `freeBytesMax`: bytes that are kept for later while others are in use; with none in use a little is kept. */
  constructor(freeBytesMax: number) {
    this.#freeBytesMax = freeBytesMax;
  }

  /** `SEGMENT_BYTES` bytes with anything in them. */
  take(): Buffer {
    const segment = this.#free.pop() ?? Buffer.allocUnsafeSlow(SEGMENT_BYTES);
    this.#lent.set(segment.buffer, segment);
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
    // Whoever encodes always holds one.
    const keptBytes = this.#lent.size <= 1 ? IDLE_BYTES : this.#freeBytesMax;
    this.#free.length = Math.min(this.#free.length, Math.floor(keptBytes / SEGMENT_BYTES));
  }
}

export const SEGMENT_BYTES = 256 * 1024;
const IDLE_BYTES = 4 * 1024 * 1024;
