import { ByteWriter } from '../../../events/index.ts';

/** Writes messages of PostgreSQL's protocol: fields in network order, inside frames (a type byte, a length, the fields). */
export class FrameWriter {
  readonly #bytes = new ByteWriter(512);
  #frameAt = 0;

  begin(type: number): this {
    this.#bytes.writeByte(type);
    this.#frameAt = this.#bytes.length;
    return this.u32(0);
  }

  end(): this {
    this.#bytes.view.setUint32(this.#frameAt, this.#bytes.length - this.#frameAt);
    return this;
  }

  u8(value: number): this {
    this.#bytes.writeByte(value);
    return this;
  }

  u16(value: number): this {
    this.#bytes.ensure(2);
    this.#bytes.view.setUint16(this.#bytes.length, value);
    this.#bytes.length += 2;
    return this;
  }

  u32(value: number): this {
    this.#bytes.ensure(4);
    this.#bytes.view.setUint32(this.#bytes.length, value);
    this.#bytes.length += 4;
    return this;
  }

  u64(value: bigint): this {
    this.#bytes.ensure(8);
    this.#bytes.view.setBigUint64(this.#bytes.length, value);
    this.#bytes.length += 8;
    return this;
  }

  /** Eight bytes of a safe integer: no BigInt is on the way. */
  u53(value: number): this {
    return this.u32(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }

  /** Text that ends with a NUL. */
  text(value: string): this {
    this.#bytes.writeText(value);
    return this.u8(0);
  }

  /** Text behind its length in bytes; null is −1. */
  value(value: string | null): this {
    if (value === null) return this.u32(0xffff_ffff);
    const at = this.#bytes.length;
    this.u32(0);
    this.#bytes.writeText(value);
    this.#bytes.view.setUint32(at, this.#bytes.length - at - 4);
    return this;
  }

  raw(value: string): this {
    this.#bytes.writeText(value);
    return this;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** What was written; the writer starts again. */
  take(): Buffer {
    const { buffer, length } = this.#bytes;
    // A copy out of Node's pool: most are small.
    const taken = Buffer.allocUnsafe(length);
    buffer.copy(taken, 0, 0, length);
    this.#bytes.length = 0;
    return taken;
  }
}
