import type { ByteWriter, Column } from '../events/index.ts';
import type { CsvLayout } from './csv-options.ts';
import { hexByte, isHexBytes } from './hex-bytes.ts';
import { FLOAT_ROOM, layoutFloat } from './number-layout.ts';
import { storageType, type ValueKind } from './storage-layout/type-map.ts';
import { viewOf } from './word-text.ts';

/** What `CsvFields.write` must know of a column. */
export interface FieldColumn {
  readonly wire: number;
  readonly isIdentity: boolean;
  readonly isPlain: boolean;
  readonly kind: ValueKind;
}

export function fieldColumn(column: Pick<Column, 'wireIndex' | 'isIdentity' | 'type' | 'typeModifier'>): FieldColumn {
  const { isPlain, kind } = storageType(column);
  return { wire: column.wireIndex, isIdentity: column.isIdentity, isPlain, kind };
}

/** Writes single fields of csv. Text is quoted, or escaped where there is no quote; numbers stand bare. */
export class CsvFields {
  readonly #layout: CsvLayout;
  readonly #quote: number;
  /** The quote in each byte of a word. */
  readonly #quotes: number;
  readonly #delimiter: Buffer;
  readonly #isHex: boolean;
  /** Bytes that a bare value may hold; one with another (a stage put it there) is written as text. */
  readonly #isBare = new Uint8Array(256);
  /** The null text, if a bare value could be taken for it. */
  readonly #bareNull: Buffer | null;
  /** Bytes that need a look where backslashes escape. */
  readonly #isSpecial = new Uint8Array(256);
  /** Whether a text's last bytes and the delimiter behind it could be read as an earlier delimiter. */
  readonly #overlapsItself: boolean;

  constructor(layout: CsvLayout) {
    const { delimiter } = layout;
    this.#layout = layout;
    this.#quote = layout.quote;
    this.#quotes = Math.imul(layout.quote, 0x01010101);
    this.#delimiter = delimiter;
    this.#isHex = layout.isHex;
    for (const char of BARE) this.#isBare[char.charCodeAt(0)] = 1;
    for (const byte of delimiter) this.#isBare[byte] = 0;
    this.#bareNull = layout.nullText.every((byte) => this.#isBare[byte] === 1) ? layout.nullText : null;
    for (const byte of [CR, LF, BACKSLASH, ...delimiter]) this.#isSpecial[byte] = 1;
    this.#overlapsItself = [1, 2].some((n) => n < delimiter.length && delimiter.subarray(0, n).equals(delimiter.subarray(-n)));
  }

  /** Writes a delimiter and a value: the source's text at `from … to − 1` of `bytes`, of which `view` is a view. */
  write(bytes: Buffer, view: DataView, from: number, to: number, column: FieldColumn, out: ByteWriter): void {
    const room = (to - from) * 2 + SEPARATORS_ROOM;
    if (to - from > SHORT || this.#quote < 0 || column.kind !== 'text') {
      out.writeBytes(this.#delimiter);
      this.#writeValue(bytes, view, from, to, column, out);
      return;
    }
    if (out.length + room > out.buffer.length) out.ensure(room);
    const { buffer, view: target } = out;
    let end = out.length;
    if (this.#delimiter.length === 1) buffer[end++] = this.#delimiter[0]!;
    else for (let i = 0; i < this.#delimiter.length; i++) buffer[end++] = this.#delimiter[i]!;
    if (column.isPlain && this.#holdsBare(bytes, from, to)) {
      for (let i = from; i < to; i++) buffer[end++] = bytes[i]!;
    } else {
      buffer[end++] = this.#quote;
      end = this.#copyQuoted(bytes, view, from, to, buffer, target, end);
      buffer[end++] = this.#quote;
    }
    out.length = end;
  }

  #writeValue(bytes: Buffer, view: DataView, from: number, to: number, column: FieldColumn, out: ByteWriter): void {
    if (!column.isPlain) {
      if (column.kind === 'bytes' && isHexBytes(bytes, from, to)) this.#writeBinary(bytes, from + 2, to, out);
      else this.#writeBytes(bytes, view, from, to, out);
      return;
    }
    if (column.kind === 'bool' && to - from === 1 && (bytes[from] === 0x74 || bytes[from] === 0x66)) {
      out.writeByte(bytes[from] === 0x74 ? 0x31 : 0x30);
      return;
    }
    if (column.kind === 'float') {
      const end = layoutFloat(bytes, from, to, out.ensure(FLOAT_ROOM), out.length, true);
      if (end >= 0) {
        if (this.#holdsBare(out.buffer, out.length, end)) out.length = end;
        else this.writeText(out.buffer.toString('latin1', out.length, end), out);
        return;
      }
    }
    this.#writePlain(bytes, view, from, to, out);
  }

  /** Writes text that is not in a row's bytes: once per table. */
  writeText(text: string, out: ByteWriter): void {
    const bytes = Buffer.from(text);
    this.#writeBytes(bytes, viewOf(bytes), 0, bytes.length, out);
  }

  /** Writes a name of the header: bare, as upstream, unless a reader would then misread it. */
  writeName(name: string, out: ByteWriter): void {
    const { delimiter, terminator, nullText } = this.#layout;
    const separators = [String.fromCharCode(this.#quote), delimiter.toString(), terminator.toString(), '\r', '\n'];
    const needsQuotes = name === nullText.toString() || separators.some((text) => text !== '' && name.includes(text));
    if (this.#quote < 0 || needsQuotes) this.writeText(name, out);
    else out.writeText(name);
  }

  #writePlain(bytes: Buffer, view: DataView, from: number, to: number, out: ByteWriter): void {
    if (!this.#holdsBare(bytes, from, to)) {
      this.#writeBytes(bytes, view, from, to, out);
      return;
    }
    const buffer = out.ensure(to - from);
    let end = out.length;
    for (let i = from; i < to; i++) buffer[end++] = bytes[i]!;
    out.length = end;
  }

  /** Whether the value can stand without quotes and not be taken for null or for two fields. */
  #holdsBare(bytes: Buffer, from: number, to: number): boolean {
    for (let i = from; i < to; i++) if (this.#isBare[bytes[i]!] === 0) return false;
    const bareNull = this.#bareNull;
    return from < to && (bareNull === null || bareNull.length !== to - from || bareNull.compare(bytes, from, to) !== 0);
  }

  #writeBytes(bytes: Buffer, view: DataView, from: number, to: number, out: ByteWriter): void {
    const quote = this.#quote;
    if (quote < 0) {
      for (let at = from; at < to; ) at = this.#writeEscaped(bytes, at, Math.min(at + SLICE, to), to, out);
      return;
    }
    out.ensure(1)[out.length++] = quote;
    for (let at = from; at < to; at += SLICE) {
      const until = Math.min(at + SLICE, to);
      const buffer = out.ensure((until - at) * 2);
      out.length = this.#copyQuoted(bytes, view, at, until, buffer, out.view, out.length);
    }
    out.ensure(1)[out.length++] = quote;
  }

  /** Copies text and doubles its quotes; four bytes at a time where there are none. Returns where it ends. */
  #copyQuoted(bytes: Buffer, view: DataView, from: number, to: number, buffer: Buffer, target: DataView, start: number): number {
    const quote = this.#quote;
    const quotes = this.#quotes;
    let end = start;
    let at = from;
    while (at < to) {
      let until = to;
      const begin = at;
      while (at + 4 <= to) {
        const word = view.getInt32(at, true);
        if (holdsByte(word, quotes)) {
          until = at + 4;
          break;
        }
        target.setInt32(end, word, true);
        at += 4;
        end += 4;
      }
      /** The last one to three bytes: the word that ends with them, over what was just copied. */
      if (until === to && at > begin && at < to) {
        const word = view.getInt32(to - 4, true);
        if (!holdsByte(word, quotes)) {
          end += to - at;
          target.setInt32(end - 4, word, true);
          return end;
        }
      }
      for (; at < until; at++) {
        const byte = bytes[at]!;
        if (byte === quote) buffer[end++] = quote;
        buffer[end++] = byte;
      }
    }
    return end;
  }

  /** Escapes from `from` to about `until` of a text that ends at `to`, and returns how far it came: a delimiter is never cut. */
  #writeEscaped(bytes: Buffer, from: number, until: number, to: number, out: ByteWriter): number {
    const buffer = out.ensure((until - from + this.#delimiter.length) * 2);
    let end = out.length;
    let at = from;
    while (at < until) {
      const byte = bytes[at]!;
      const special = this.#isSpecial[byte] === 1;
      const separator = special ? this.#separatorAt(bytes, at, to) : 0;
      if (separator > 0) {
        for (let k = 0; k < separator; k++) {
          /** A backslash before each character, not inside one. */
          if ((bytes[at]! & 0xc0) !== 0x80) buffer[end++] = BACKSLASH;
          buffer[end++] = bytes[at++]!;
        }
        continue;
      }
      if (byte === CR || byte === LF || byte === BACKSLASH) {
        buffer[end++] = BACKSLASH;
        buffer[end++] = byte === CR ? 0x72 : byte === LF ? 0x6e : BACKSLASH;
      } else {
        buffer[end++] = byte;
      }
      at++;
    }
    out.length = end;
    return at;
  }

  /** How many bytes at `at` are a delimiter, or the beginning of one with which the text ends and that could join with what follows. */
  #separatorAt(bytes: Buffer, at: number, to: number): number {
    const delimiter = this.#delimiter;
    const length = Math.min(delimiter.length, to - at);
    if (length < delimiter.length && !this.#overlapsItself) return 0;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== delimiter[i]) return 0;
    return length;
  }

  #writeBinary(bytes: Buffer, from: number, to: number, out: ByteWriter): void {
    if (this.#quote >= 0) out.writeByte(this.#quote);
    for (let at = from; at < to; at += HEX_SLICE) {
      const until = Math.min(at + HEX_SLICE, to);
      const buffer = out.ensure(until - at + 4);
      out.length = this.#isHex ? copyHex(bytes, at, until, buffer, out.length) : writeBase64(bytes, at, until, buffer, out.length);
    }
    if (this.#quote >= 0) out.writeByte(this.#quote);
  }
}

const CR = 0x0d;
const LF = 0x0a;
const BACKSLASH = 0x5c;
const BARE = '0123456789+-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** A longer value is written in slices, which make their own room. */
const SHORT = 4096;
const SLICE = 4096;
/** A delimiter and two quotes. */
const SEPARATORS_ROOM = 8;
/** Hex digits written at once: whole groups of three bytes. */
const HEX_SLICE = 6 * 1024;
const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;

/** Whether one of a word's four bytes is the byte that all four of `pattern` are. */
function holdsByte(word: number, pattern: number): boolean {
  const other = word ^ pattern;
  return ((other - 0x01010101) & ~other & 0x80808080) !== 0;
}

function copyHex(bytes: Buffer, from: number, to: number, target: Buffer, at: number): number {
  /** PostgreSQL prints lower case already; `| 0x20` keeps digits and lowers letters that a stage wrote. */
  for (let i = from; i < to; i++) target[at + i - from] = bytes[i]! | 0x20;
  return at + to - from;
}

function writeBase64(bytes: Buffer, from: number, to: number, target: Buffer, at: number): number {
  let end = at;
  for (let i = from; i < to; i += 6) {
    const count = Math.min(3, (to - i) / 2);
    const group = (hexByte(bytes, i) << 16) | ((count > 1 ? hexByte(bytes, i + 2) : 0) << 8) | (count > 2 ? hexByte(bytes, i + 4) : 0);
    target[end++] = BASE64[group >> 18]!;
    target[end++] = BASE64[(group >> 12) & 63]!;
    target[end++] = count > 1 ? BASE64[(group >> 6) & 63]! : PAD;
    target[end++] = count > 2 ? BASE64[group & 63]! : PAD;
  }
  return end;
}
