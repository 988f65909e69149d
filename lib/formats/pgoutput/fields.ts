import { MillraceError } from '../../errors.ts';

/** Microseconds from 1970-01-01 to 2000-01-01 UTC, where PostgreSQL's clock begins. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000n;

/** What is wrong at `offset` of message `message`. */
export function malformed(message: string, offset: number, reason: string): MillraceError {
  return new MillraceError('MR_PGOUTPUT_MALFORMED', { message, offset, reason });
}

/** The u32 at `at`; the caller has checked that it is there. */
export function u32(bytes: Buffer, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

const scratch = new DataView(new ArrayBuffer(8));

/** The u64 at `at`; the caller has checked that it is there. Makes one bigint and no other garbage. */
export function u64(bytes: Buffer, at: number): bigint {
  scratch.setUint32(0, u32(bytes, at));
  scratch.setUint32(4, u32(bytes, at + 4));
  return scratch.getBigUint64(0);
}

/** The PostgreSQL time at `at` as microseconds since 1970 UTC; the caller has checked that it is there. */
export function timeUs(bytes: Buffer, at: number): bigint {
  scratch.setUint32(0, u32(bytes, at));
  scratch.setUint32(4, u32(bytes, at + 4));
  return scratch.getBigInt64(0) + POSTGRES_EPOCH_US;
}

/** Reads the fields of one rare message in turn, each checked against the message's end. */
export class Fields {
  readonly #message: string;
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;
  #at: number;

  /** Fields of the message at `start` (its type byte), which ends before `end`. */
  constructor(message: string, bytes: Buffer, start: number, end: number) {
    this.#message = message;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#at = start + 1;
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  u16(): number {
    const at = this.#take(2);
    return (this.#bytes[at]! << 8) | this.#bytes[at + 1]!;
  }

  u32(): number {
    return u32(this.#bytes, this.#take(4));
  }

  i32(): number {
    return u32(this.#bytes, this.#take(4)) | 0;
  }

  u64(): bigint {
    return u64(this.#bytes, this.#take(8));
  }

  timeUs(): bigint {
    return timeUs(this.#bytes, this.#take(8));
  }

  /** Text up to its NUL. */
  text(): string {
    const bytes = this.#bytes;
    let stop = this.#at;
    while (stop < this.#end && bytes[stop] !== 0) stop++;
    if (stop === this.#end) throw this.fail('a string has no end');
    const text = bytes.toString('utf8', this.#at, stop);
    this.#at = stop + 1;
    return text;
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Buffer {
    const at = this.#take(length);
    return Buffer.from(this.#bytes.subarray(at, at + length));
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** Flags that the protocol reserves: PostgreSQL's own subscriber refuses others than 0, and so does this. */
  noFlags(): void {
    const flags = this.u8();
    if (flags !== 0) throw this.fail(`flags are ${flags}; none is known`, -1);
  }

  /** Nothing may follow. */
  done(): void {
    if (this.#at !== this.#end) throw this.fail(`${this.left} bytes follow its end`);
  }

  /** The error for what was just read, or what should come next. */
  fail(reason: string, offset = 0): MillraceError {
    return malformed(this.#message, this.#at - this.#start + offset, reason);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) throw this.fail(`${length} bytes are due and ${this.left} left`);
    this.#at = at + length;
    return at;
  }
}
