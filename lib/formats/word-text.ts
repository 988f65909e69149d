import type { ByteWriter } from '../events/index.ts';

/**
 * Bytes that are written again and again, held as 32-bit words: copying four at a time is the fastest there is for a few dozen bytes (a native `set` costs more
 * to call than it saves). `write` overwrites up to three bytes behind the end, so there must be room for `room`.
 */
export class WordText {
  readonly bytes: Buffer;
  readonly length: number;
  readonly room: number;
  readonly #words: Int32Array;

  constructor(text: string | Uint8Array) {
    this.length = Buffer.byteLength(text);
    this.room = (this.length + 3) & ~3;
    this.bytes = Buffer.alloc(this.room);
    if (typeof text === 'string') this.bytes.write(text);
    else this.bytes.set(text);
    this.#words = new Int32Array(this.room / 4);
    this.reload();
  }

  /** Takes over what was changed in `bytes`. */
  reload(): void {
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = this.bytes.readInt32LE(i * 4);
  }

  /** Writes the bytes at `at` and returns where they end. */
  write(target: DataView, at: number): number {
    const words = this.#words;
    for (let i = 0; i < words.length; i++) target.setInt32(at + i * 4, words[i]!, true);
    return at + this.length;
  }

  /** Writes the bytes behind what `out` holds. */
  append(out: ByteWriter): void {
    if (out.length + this.room > out.buffer.length) out.ensure(this.room);
    out.length = this.write(out.view, out.length);
  }
}

/** A view of the same bytes, for reading words. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
