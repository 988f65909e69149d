/**
 * The bytes of a stream that a reader has not done with, as one piece: the chunk that came last and the row under way. Readers remember how far they looked, so
 * that a row is looked at once however many chunks it spans.
 */
export class RowSplitter {
  bytes = Buffer.alloc(0);
  #from = 0;
  #to = 0;

  /** Adds a chunk behind what is left. */
  push(chunk: Uint8Array): void {
    const left = this.#to - this.#from;
    const needed = left + chunk.length;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, this.#from, this.#to);
      this.bytes = grown;
    } else if (this.#to + chunk.length > this.bytes.length) {
      this.bytes.copyWithin(0, this.#from, this.#to);
    } else {
      this.bytes.set(chunk, this.#to);
      this.#to += chunk.length;
      return;
    }
    this.#from = 0;
    this.bytes.set(chunk, left);
    this.#to = needed;
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
    if (at === this.#to) {
      this.#from = 0;
      this.#to = 0;
    }
  }
}
