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
    const units = text.length;
    const at = this.length;
    const buffer = this.ensure(units * 3);
    if (units <= SHORT_UNITS) {
      let done = 0;
      for (; done < units; done++) {
        const unit = text.charCodeAt(done);
        if (unit >= 0x80) break;
        buffer[at + done] = unit;
      }
      if (done === units) {
        this.length = at + units;
        return;
      }
    }
    this.length = at + buffer.write(text, at, 'utf8');
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

/** A call into Node's native encoder costs as much as to write so many characters here. */
const SHORT_UNITS = 24;
