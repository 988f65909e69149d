/**
 * The bytes of a stream that a reader has not done with, as one piece: the chunk that came last and the row under way. Readers remember how far they looked, so
 * that a row is looked at once however many chunks it spans.
 *
 * A chunk behind which nothing is left over is not copied; readers do not change `bytes`.
 */
export class RowSplitter {
  bytes: Buffer = EMPTY;
  /** What is left of a chunk is kept here: the chunk is its producer's again. */
  #own: Buffer = EMPTY;
  #from = 0;
  #to = 0;

  /** Adds a chunk behind what is left. */
  push(chunk: Uint8Array): void {
    const left = this.#to - this.#from;
    if (left === 0) {
      this.bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      this.#from = 0;
      this.#to = chunk.length;
      return;
    }
    if (this.bytes !== this.#own || this.#to + chunk.length > this.#own.length) this.#keep(chunk.length);
    this.#own.set(chunk, this.#to);
    this.#to += chunk.length;
  }

  /** Where the row under way begins. */
  get from(): number {
    return this.#from;
  }

  /** Where the bytes end. */
  get to(): number {
    return this.#to;
  }

  /** Everything before `at` is done with. */
  advance(at: number): void {
    this.#from = at;
    if (at < this.#to && this.bytes !== this.#own) this.#keep(0);
  }

  /** Moves what is left to the beginning of a buffer that has room for `more`. */
  #keep(more: number): void {
    const left = this.#to - this.#from;
    const needed = left + more;
    const target = needed > this.#own.length ? Buffer.allocUnsafeSlow(Math.max(needed, this.#own.length * 2)) : this.#own;
    this.bytes.copy(target, 0, this.#from, this.#to);
    this.#own = target;
    this.bytes = target;
    this.#from = 0;
    this.#to = left;
  }
}

const EMPTY = Buffer.alloc(0);
