/**
 * The bytes between the socket and the deliveries: read once into a chunk, parsed in place, given away with the rows that point into them.
 *
 * `bytes[0 … at)` is parsed and may be pinned by rows, `bytes[at … end)` is read and not parsed. Offsets into `bytes` hold until `take` or `reclaim`.
 */
export class Arena {
  bytes: Buffer;
  /** The first byte not parsed; the parser moves it. */
  at = 0;
  /** The end of what was read. */
  end = 0;
  readonly #chunkBytes: number;

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
    this.bytes = Buffer.allocUnsafeSlow(chunkBytes);
  }

  /** Bytes that may be appended before the chunk is full. */
  get room(): number {
    return this.bytes.length - this.end;
  }

  /** Copies `chunk` behind what was read. The chunk grows when it must; whoever reads asks for room before, so that it seldom does. */
  append(chunk: Uint8Array): void {
    if (chunk.length > this.room) this.#moveTo(Math.max(this.bytes.length * 2, this.end + chunk.length), 0);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  /** Forgets what is parsed, when no row points into it, and makes room for `needed` bytes from `at` on. */
  reclaim(needed = 0): void {
    const size = Math.max(this.#chunkBytes, needed, this.end - this.at);
    if (size === this.bytes.length) {
      if (this.at > 0) this.#shift();
    } else {
      this.#moveTo(size, this.at);
    }
  }

  /**
   * Gives away the parsed bytes, from offset 0, for the rows that point into them; what is not parsed moves to the start of the chunk that is read on.
   *
   * When they are at least half of the chunk, the chunk itself is given away; else a copy of their exact size, so that nothing pins more than
   * twice what it uses.
   */
  take(): Buffer {
    if (this.at * 2 < this.bytes.length) {
      const copy = Buffer.allocUnsafeSlow(this.at);
      this.bytes.copy(copy, 0, 0, this.at);
      this.reclaim();
      return copy;
    }
    const given = this.bytes;
    this.#moveTo(Math.max(this.#chunkBytes, this.end - this.at), this.at);
    return given;
  }

  #shift(): void {
    if (this.end > this.at) this.bytes.copyWithin(0, this.at, this.end);
    this.end -= this.at;
    this.at = 0;
  }

  /** Goes on in a new chunk of `size` bytes with what stands from `from` on. */
  #moveTo(size: number, from: number): void {
    const chunk = Buffer.allocUnsafeSlow(size);
    this.bytes.copy(chunk, 0, from, this.end);
    this.bytes = chunk;
    this.at -= from;
    this.end -= from;
  }
}
