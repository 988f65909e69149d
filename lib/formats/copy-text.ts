import { MillraceError } from '../errors.ts';
import { type ByteWriter, IMAGE_NEW, VALUE_NULL, VALUE_TEXT } from '../events/index.ts';

/**
 * Turns rows of `COPY … TO STDOUT` (text format, UTF-8, default delimiter and null) into rows of a row block, byte by byte and in one pass.
 *
 * The server sends each row as one CopyData message. Escapes are those of PostgreSQL's COPY: `\b \f \n \r \t \v`, `\` and one to three octal
 * digits, `\x` and one or two hexadecimal digits; any other escaped byte stands for itself; a field that is `\N` is null.
 */
export class CopyTextReader {
  readonly #columnCount: number;
  readonly #source = new Words();
  readonly #target = new Words();

  /** A reader of rows of `columnCount` columns: 0 … 1664. */
  constructor(columnCount: number) {
    if (!Number.isInteger(columnCount) || columnCount < 0 || columnCount > MAX_COLUMNS) {
      throw new MillraceError('MR_INVALID_OPTION', {
        option: 'columnCount',
        value: columnCount,
        bound: `an integer from 0 to ${MAX_COLUMNS}`,
      });
    }
    this.#columnCount = columnCount;
  }

  /**
   * Appends the row in `bytes` from `from` to before `to`, with or without its newline, to `writer` as an insert's image, and returns where it
   * stands there: `RowBlockBuilder.append(OP_INSERT, offset, ordinal)` may follow. Throws MR_COPY_MALFORMED and then has appended nothing.
   */
  appendRow(bytes: Buffer, from: number, to: number, writer: ByteWriter): number {
    if (!(from >= 0 && from <= to && to <= bytes.length)) throw malformed(0, `no bytes from ${from} to ${to} of ${bytes.length}`);
    const end = to > from && bytes[to - 1] === NEWLINE ? to - 1 : to;
    const count = this.#columnCount;
    const row = writer.length;
    const out = writer.ensure(3 + count * 5 + end - from + WORD);
    const source = this.#source.of(bytes);
    const words = this.#target.of(out);
    out[row] = IMAGE_NEW;
    out[row + 1] = count >> 8;
    out[row + 2] = count & 0xff;
    let target = row + 3;
    let at = from;
    for (let column = 0; column < count; column++) {
      if (column > 0) {
        if (at >= end) throw malformed(at - from, `it has ${column} columns instead of ${count}`);
        at++;
      }
      if (bytes[at] === BACKSLASH && bytes[at + 1] === NULL_LETTER && at + 1 < end && (at + 2 === end || bytes[at + 2] === TAB)) {
        out[target++] = VALUE_NULL;
        at += 2;
        continue;
      }
      const start = target + 5;
      let put = start;
      while (at < end) {
        if (end - at >= WORD) {
          const word = source.getInt32(at, true);
          words.setInt32(put, word, true);
          const plain = plainBytes(word);
          at += plain;
          put += plain;
          if (plain === WORD) continue;
        }
        const byte = bytes[at]!;
        if (byte === TAB) break;
        if (byte === BACKSLASH) {
          at = decodeEscape(bytes, at, end, from, out, put++);
        } else {
          if (byte === NEWLINE || byte === CARRIAGE_RETURN) throw malformed(at - from, 'a line ends inside of it');
          out[put++] = byte;
          at++;
        }
      }
      const length = put - start;
      out[target] = VALUE_TEXT;
      out[target + 1] = length >>> 24;
      out[target + 2] = length >>> 16;
      out[target + 3] = length >>> 8;
      out[target + 4] = length;
      target = put;
    }
    if (at !== end) throw malformed(at - from, `it has more than ${count} columns`);
    writer.length = target;
    return row;
  }
}

/** PostgreSQL's bound on the columns of a query (MaxTupleAttributeNumber). */
const MAX_COLUMNS = 1664;

const TAB = 0x09;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BACKSLASH = 0x5c;
const NULL_LETTER = 0x4e;
const HEX_LETTER = 0x78;

/** Values are copied four bytes at a time, up to the first that may mean something; twice as fast as one by one. */
const WORD = 4;

/** How many bytes of the little-endian `word`, from its first, are neither below 0x0e (tab, line ends) nor a backslash. */
function plainBytes(word: number): number {
  const unescaped = word ^ 0x5c5c5c5c;
  const special = (((word - 0x0e0e0e0e) & ~word) | ((unescaped - 0x01010101) & ~unescaped)) & 0x80808080;
  return special === 0 ? WORD : (31 - Math.clz32(special & -special)) >> 3;
}

/** The view of a buffer by words, made anew only when the buffer is another one: rows share theirs by the thousand. */
class Words {
  #buffer: Buffer | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));

  of(buffer: Buffer): DataView {
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    }
    return this.#view;
  }
}

/** What an escaped letter stands for, by its byte; 0 for itself. */
const LETTERS = new Uint8Array(256);
LETTERS[0x62] = 0x08;
LETTERS[0x66] = 0x0c;
LETTERS[0x6e] = NEWLINE;
LETTERS[0x72] = CARRIAGE_RETURN;
LETTERS[0x74] = TAB;
LETTERS[0x76] = 0x0b;

/** Puts the byte that the escape at `at` stands for, and returns where the escape ends. */
function decodeEscape(bytes: Buffer, at: number, end: number, from: number, out: Buffer, put: number): number {
  if (at + 1 >= end) throw malformed(at - from, 'it ends inside an escape');
  const letter = bytes[at + 1]!;
  const control = LETTERS[letter]!;
  if (control !== 0) {
    out[put] = control;
    return at + 2;
  }
  if (letter === HEX_LETTER && at + 2 < end && hexDigit(bytes[at + 2]!) >= 0) {
    const high = hexDigit(bytes[at + 2]!);
    const low = at + 3 < end ? hexDigit(bytes[at + 3]!) : -1;
    out[put] = low < 0 ? high : high * 16 + low;
    return low < 0 ? at + 3 : at + 4;
  }
  let next = at + 1;
  let value = 0;
  while (next < end && next < at + 4 && bytes[next]! >= 0x30 && bytes[next]! <= 0x37) value = value * 8 + bytes[next++]! - 0x30;
  if (next > at + 1) {
    out[put] = value;
    return next;
  }
  out[put] = letter;
  return at + 2;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function malformed(offset: number, reason: string): MillraceError {
  return new MillraceError('MR_COPY_MALFORMED', { offset, reason });
}
