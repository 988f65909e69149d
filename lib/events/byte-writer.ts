/** A growing buffer. Encoders write at `buffer[length]` after `ensure`; nobody keeps `buffer` or `view` across an `ensure`. */
export class ByteWriter {
  buffer: Buffer;
  /** Over `buffer`, for whoever writes words. */
  view: DataView;
  length = 0;

  constructor(initialBytes = 4096) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Makes room for `bytes` more and returns the buffer to write into. */
  ensure(bytes: number): Buffer {
    const needed = this.length + bytes;
    if (needed > this.buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
      this.buffer.copy(grown, 0, 0, this.length);
      this.buffer = grown;
      this.view = new DataView(grown.buffer);
    }
    return this.buffer;
  }

  writeByte(byte: number): void {
    this.ensure(1)[this.length++] = byte;
  }

  writeBytes(bytes: Uint8Array): void {
    this.ensure(bytes.length).set(bytes, this.length);
    this.length += bytes.length;
  }

  writeText(text: string): void {
    const room = text.length * 3;
    this.length += this.ensure(room).write(text, this.length, 'utf8');
  }

  /** A copy of what was written, of its exact size; the writer starts again from empty and keeps its buffer. */
  take(): Buffer {
    const taken = Buffer.allocUnsafeSlow(this.length);
    this.buffer.copy(taken, 0, 0, this.length);
    this.length = 0;
    return taken;
  }

  /** Gives away the buffer itself, with what was written in front; the writer goes on, empty, in `next`. */
  give(next: Buffer): Buffer {
    const given = this.buffer;
    this.buffer = next;
    this.view = new DataView(next.buffer, next.byteOffset, next.length);
    this.length = 0;
    return given;
  }
}
