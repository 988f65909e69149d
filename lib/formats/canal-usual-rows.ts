import type { DecodedRow } from './encoder.ts';
import { KnownBytes } from './known-bytes.ts';
import { viewOf } from './word-text.ts';

/**
 * Reads rows in the form that upstream and this package write, where they begin as one did that was parsed: `…,"old":null,"data":[{…}],"_tidb":{"commitTs":N}}`.
 *
 * What stands before `old` is the same from row to row of one kind, but for its two times, and longer than the rest; the names of columns are the same too. So
 * values alone are made anew; the engine's parser, which takes several times as long, is asked for those with escapes, and for images of many columns. Whatever
 * is not of this form, or no JSON at all, is no usual row: the reader parses it as a whole.
 */
export class UsualRows {
  /** Behind the row that was read last. */
  end = 0;
  readonly #beginnings: Beginning[] = [];
  /** How often one is still looked for. */
  #attempts = ATTEMPTS_MAX;
  /** What columns were called so far, in the order of their table as far as that is known. */
  readonly #names: Name[] = [];
  #bytes = NOTHING;
  #view = VIEW_OF_NOTHING;
  #to = 0;
  /** Behind the list of an image that was read last. */
  #imagesEnd = 0;
  /** What stands in the text whose end was looked for last. */
  #kinds = 0;
  /** A part of the bytes as text, of which short values are copied. */
  #text = '';
  #textFrom = 0;
  #textTo = 0;
  #commitNumber = 0;
  #commitTs = 0n;

  /** The bytes up to `to` are read next. */
  begin(bytes: Buffer, to: number): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = viewOf(bytes);
    }
    this.#to = to;
    this.#textTo = 0;
  }

  /** The row that begins at `from`; null where it is none of the usual ones, or not whole. */
  read(from: number): DecodedRow | null {
    for (const beginning of this.#beginnings) {
      const at = this.#behindBeginning(beginning, from);
      if (at >= 0) return this.#readTail(beginning.op, at);
    }
    return null;
  }

  /**
   * Takes note of how a row begins that is `text` and was parsed as a whole, from `from` to `end`.
   *
   * It is all in how it ends: that is as it must be from `,"old":` on, which can stand inside no string. So what is before it are whole members of the row, and
   * stay that when the times are other ones.
   */
  learn(type: unknown, text: string, from: number, end: number): void {
    const op = OPS.get(type);
    if (op === undefined || this.#attempts === 0) return;
    // Of a kind that is known, but cut by a chunk, say: that leaves the search to others.
    if (this.#beginnings.some((beginning) => this.#behindBeginning(beginning, from) >= 0)) return;
    this.#attempts--;
    const match = BEGIN.exec(text);
    if (match === null) return;
    const es = from + Buffer.byteLength(match[1]!);
    const ts = this.#behind(BETWEEN_TIMES, this.#behindNumber(es));
    const behindTimes = this.#behindNumber(ts);
    if (behindTimes < 0) return;
    const old = behindTimes + Buffer.byteLength(match[2]!);
    // In text that is no UTF-8 the places are other ones.
    if (this.#behind(OLD, old - OLD.length) !== old || this.#readTail(op, old) === null || this.end !== end) return;
    const bytes = this.#bytes;
    this.#beginnings.push({ op, beforeTimes: new KnownBytes(bytes, from, es), behindTimes: new KnownBytes(bytes, behindTimes, old) });
  }

  #behindBeginning({ beforeTimes, behindTimes }: Beginning, from: number): number {
    const es = this.#behind(beforeTimes, from);
    if (es < 0) return -1;
    const ts = this.#behind(BETWEEN_TIMES, this.#behindNumber(es));
    return ts < 0 ? -1 : this.#behind(behindTimes, this.#behindNumber(ts));
  }

  /** A row from the value of `old` on. */
  #readTail(op: DecodedRow['op'], from: number): DecodedRow | null {
    const isNull = this.#bytes[from] === 0x6e;
    const old = isNull ? null : this.#readImages(from);
    if (old === null && !isNull) return null;
    const at = isNull ? this.#behind(NULL, from) : this.#imagesEnd;
    const data = this.#readImages(this.#behind(DATA, at));
    const commitTs = data === null ? null : this.#readEnd(this.#imagesEnd);
    if (commitTs === null) return null;
    if (op === 'U') return { op, commitTs, old, data };
    return op === 'D' ? { op, commitTs, old: data, data: null } : { op, commitTs, old: null, data };
  }

  /** A list of one image. */
  #readImages(from: number): Image | null {
    const bytes = this.#bytes;
    if (from < 0 || bytes[from] !== 0x5b || bytes[from + 1] !== 0x7b) return null;
    const image = this.#names.length > ASSIGNED_MAX ? null : {};
    const end = this.#readMembers(image, from + 2);
    if (end < 0 || bytes[end] !== 0x5d) return null;
    this.#imagesEnd = end + 1;
    return image ?? parsed<Image>(bytes.toString('utf8', from + 1, end));
  }

  /** Reads texts and nulls into `image`, if there is one. Gives the place behind the object, or −1. */
  #readMembers(image: Image | null, from: number): number {
    const bytes = this.#bytes;
    if (bytes[from] === 0x7d) return from + 1;
    for (let at = from, likely = 0; ; at++, likely++) {
      if (image === null) {
        at = this.#endOfText(at);
        if (at < 0 || bytes[at] !== 0x3a) return -1;
        at = bytes[at + 1] === 0x6e ? this.#behind(NULL, at + 1) : this.#endOfText(at + 1);
      } else {
        likely = this.#indexOfName(at, likely);
        if (likely < 0) return -1;
        const { name, known } = this.#names[likely]!;
        at = this.#readValue(image, name, at + known.length);
      }
      if (at < 0) return -1;
      if (bytes[at] === 0x7d) return at + 1;
      if (bytes[at] !== 0x2c) return -1;
    }
  }

  /** Which name stands at `at`: `likely`, or else any, be it new; −1 where there is none, or there are too many. */
  #indexOfName(at: number, likely: number): number {
    const names = this.#names;
    if (likely < names.length && this.#behind(names[likely]!.known, at) >= 0) return likely;
    for (let i = 0; i < names.length; i++) if (this.#behind(names[i]!.known, at) >= 0) return i;
    const name = names.length > ASSIGNED_MAX ? null : this.#nameAt(at);
    return name === null ? -1 : names.push(name) - 1;
  }

  #nameAt(at: number): Name | null {
    const end = this.#endOfText(at);
    if (end < 0 || this.#bytes[end] !== 0x3a) return null;
    const name = this.#textUpTo(at, end);
    // That one cannot be assigned like any other.
    return name === null || name === '__proto__' ? null : { name, known: new KnownBytes(this.#bytes, at, end + 1) };
  }

  /** Gives the place behind the value, or −1 for none. */
  #readValue(image: Image, name: string, from: number): number {
    if (this.#bytes[from] === 0x6e) {
      image[name] = null;
      return this.#behind(NULL, from);
    }
    const end = this.#endOfText(from);
    const value = end < 0 ? null : this.#textUpTo(from, end);
    if (value === null) return -1;
    image[name] = value;
    return end;
  }

  /** The place behind a text in quotes, or −1 for none. */
  #endOfText(from: number): number {
    const bytes = this.#bytes;
    if (bytes[from] !== 0x22) return -1;
    let kinds = 0;
    for (let at = from + 1; at < this.#to; at++) {
      const kind = KINDS[bytes[at]!]!;
      if (kind === 0) continue;
      if (kind === QUOTE) {
        this.#kinds = kinds;
        return at + 1;
      }
      if (kind === ESCAPE) at++;
      kinds |= kind;
    }
    return -1;
  }

  /** What the quotes hold whose end was looked for last; null for what JSON does not know. */
  #textUpTo(from: number, end: number): string | null {
    if (this.#kinds === NOT_ASCII) return this.#bytes.toString('utf8', from + 1, end - 1);
    if (this.#kinds !== 0) return parsed<string>(this.#bytes.toString('utf8', from, end));
    if (end - from - 2 > SHORT_MAX) return this.#bytes.toString('latin1', from + 1, end - 1);
    if (from < this.#textFrom || end > this.#textTo) {
      this.#textFrom = from;
      this.#textTo = Math.min(from + TEXT_BYTES, this.#to);
      this.#text = this.#bytes.toString('latin1', from, this.#textTo);
    }
    return this.#text.substring(from + 1 - this.#textFrom, end - 1 - this.#textFrom);
  }

  /** The row's commitTs, 0 without one, from behind its data; and the row's end. */
  #readEnd(from: number): bigint | null {
    const bytes = this.#bytes;
    if (from < this.#to && bytes[from] === 0x7d) {
      this.end = from + 1;
      return 0n;
    }
    const begin = this.#behind(COMMIT_TS, from);
    const end = this.#behindNumber(begin);
    this.end = this.#behind(END, end);
    if (this.end < 0) return null;
    if (end - begin > EXACT_DIGITS) return BigInt(bytes.toString('latin1', begin, end));
    let number = 0;
    for (let at = begin; at < end; at++) number = number * 10 + bytes[at]! - 0x30;
    if (number !== this.#commitNumber) {
      this.#commitNumber = number;
      this.#commitTs = BigInt(number);
    }
    return this.#commitTs;
  }

  #behind(known: KnownBytes, at: number): number {
    return known.behind(this.#bytes, this.#view, at, this.#to);
  }

  /** The place behind a whole number; −1 without one, or with one that JSON does not know. */
  #behindNumber(from: number): number {
    const bytes = this.#bytes;
    let at = from;
    while (at >= 0 && at < this.#to && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++;
    return at === from || (bytes[from] === 0x30 && at > from + 1) ? -1 : at;
  }
}

const NOTHING: Buffer = Buffer.alloc(0);
const VIEW_OF_NOTHING = viewOf(NOTHING);

type Image = Record<string, string | null>;

/** How rows of one kind begin. */
interface Beginning {
  readonly op: DecodedRow['op'];
  readonly beforeTimes: KnownBytes;
  /** Up to the value of `old`. */
  readonly behindTimes: KnownBytes;
}

interface Name {
  readonly name: string;
  /** With the colon. */
  readonly known: KnownBytes;
}

/** A file has rows of three kinds; where there is more to tell them apart by, it is not worth the search. */
const ATTEMPTS_MAX = 6;
/** An object to which more members are assigned one by one becomes slow to use: the parser makes better ones. */
const ASSIGNED_MAX = 16;
const OPS: ReadonlyMap<unknown, DecodedRow['op']> = new Map([
  ['INSERT', 'I'],
  ['UPDATE', 'U'],
  ['DELETE', 'D'],
]);
const BEGIN = /^(.*?"es":)\d+,"ts":\d+((?:,.*?)?,"old":)/s;
const BETWEEN_TIMES = new KnownBytes(Buffer.from(',"ts":'));
const OLD = new KnownBytes(Buffer.from(',"old":'));
const NULL = new KnownBytes(Buffer.from('null'));
const DATA = new KnownBytes(Buffer.from(',"data":'));
const COMMIT_TS = new KnownBytes(Buffer.from(',"_tidb":{"commitTs":'));
const END = new KnownBytes(Buffer.from('}}'));
/** So many decimal digits a number holds exactly. */
const EXACT_DIGITS = 15;
/** Up to here the engine copies a part of a text; a longer one would keep the whole text in memory. */
const SHORT_MAX = 12;
const TEXT_BYTES = 65_536;

const QUOTE = 1;
const ESCAPE = 2;
const NOT_ASCII = 4;
const CONTROL = 8;
/** By byte; 0 for what stands for itself. */
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === 0x22) return QUOTE;
  if (byte === 0x5c) return ESCAPE;
  return byte < 0x20 ? CONTROL : byte > 0x7f ? NOT_ASCII : 0;
});

/** Null where it is no JSON. */
function parsed<T>(json: string): T | null {
  try {
    return JSON.parse(json) as T;
  } catch {
    return null;
  }
}
