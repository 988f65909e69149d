import { MillraceError } from '../errors.ts';
import { ByteWriter } from '../events/index.ts';
import { writeCanalValue } from './canal-value.ts';
import type { DecodedRow, RowDecoder } from './encoder.ts';
import { parseJson } from './json.ts';
import { RowSplitter } from './row-splitter.ts';
import { storageType } from './storage-layout/type-map.ts';

/** Reads canal-json files of the storage layout, whatever their terminator: a row ends where its object does. */
export function canalJsonReader(): RowDecoder {
  return { extension: '.json', decode: (_columns, chunks) => decode(chunks), fromSourceText };
}

async function* decode(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<DecodedRow[]> {
  const splitter = new RowSplitter();
  const heads = new Heads();
  const scanner = new ObjectScanner(heads);
  let row = 0;
  for await (const chunk of chunks) {
    splitter.push(chunk);
    const rows: DecodedRow[] = [];
    scanner.begin(splitter);
    while (scanner.next(splitter)) rows.push(decodeRow(splitter.bytes, scanner, heads, row++));
    scanner.pause(splitter);
    if (rows.length > 0) yield rows;
  }
  if (scanner.isInside) throw malformed(row, 'the file ends inside it');
}

/** Where a row is. */
interface Place {
  readonly from: number;
  readonly end: number;
  /** Where the comma before `old` is in a row that begins as one before did; 0 where that is not known. */
  readonly tail: number;
}

/** Finds where objects begin and end. Between objects anything may stand: terminators. */
class ObjectScanner implements Place {
  from = 0;
  end = 0;
  tail = 0;
  readonly #heads: Heads;
  #at = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** How far the row under way has been looked at, from its beginning, and where its tail is. */
  #seen = 0;
  #head = 0;

  /** @param heads what they know is not looked at byte by byte. */
  constructor(heads: Heads) {
    this.#heads = heads;
  }

  get isInside(): boolean {
    return this.#depth > 0;
  }

  begin(splitter: RowSplitter): void {
    this.from = splitter.from;
    this.tail = this.#head === 0 ? 0 : splitter.from + this.#head;
    this.#at = splitter.from + this.#seen;
  }

  /** Moves to the end of the next whole object. */
  next(splitter: RowSplitter): boolean {
    const { bytes, to } = splitter;
    for (let at = this.#at; at < to; at++) {
      const byte = bytes[at]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === 0x5c) this.#escaped = true;
        else if (byte === 0x22) this.#inString = false;
      } else if (byte === 0x7b) {
        if (this.#depth++ > 0) continue;
        this.from = at;
        this.tail = this.#heads.endOf(bytes, at, to);
        if (this.tail > 0) at = this.tail;
      } else if (this.#depth > 0) {
        if (byte === 0x22) this.#inString = true;
        else if (byte === 0x7d && --this.#depth === 0) {
          this.end = at + 1;
          this.#at = at + 1;
          return true;
        }
      }
    }
    this.#at = to;
    if (this.#depth === 0) {
      this.from = to;
      this.tail = 0;
    }
    return false;
  }

  /** Before the splitter's bytes move. */
  pause(splitter: RowSplitter): void {
    this.#seen = this.#at - this.from;
    this.#head = this.tail === 0 ? 0 : this.tail - this.from;
    splitter.advance(this.from);
  }
}

/**
 * What stands before `old` in a row is the same from row to row of one kind, but for its two times, and longer than the rest: it is parsed once.
 *
 * Where a row begins as one did that was parsed as a whole, it stands at the same place inside the same object behind that. All this is done in bytes: a text
 * that is put together costs as much as to parse it.
 */
class Heads {
  readonly #known: Head[] = [];
  /** How often one is still looked for. */
  #attempts = ATTEMPTS_MAX;
  /** Of the head that was found last. */
  #type: unknown;

  /** Where the comma before `old` is in a row that begins at `from`; 0 for one that begins otherwise, or has not come so far. */
  endOf(bytes: Buffer, from: number, to: number): number {
    for (const { type, beforeTimes, betweenTimes, behindTimes } of this.#known) {
      const times = behindBytes(beforeTimes, bytes, from, to);
      if (times < 0) continue;
      const between = behindBytes(betweenTimes, bytes, behindNumber(bytes, times, to), to);
      const behind = between < 0 ? -1 : behindBytes(behindTimes, bytes, behindNumber(bytes, between, to), to);
      if (behind < 0) continue;
      this.#type = type;
      return behind - OLD.length;
    }
    return 0;
  }

  /** The row's members, without those that nobody asks for, and the text that they were read from. */
  parse(bytes: Buffer, { from, end, tail }: Place): { readonly text: string; readonly message: Message } {
    // A row that came in two chunks may have been cut before its tail.
    const at = tail > 0 ? tail : this.endOf(bytes, from, end);
    if (at > 0) {
      bytes[at] = 0x7b;
      const text = bytes.toString('utf8', at, end);
      bytes[at] = 0x2c;
      // What is named twice is what it is named last.
      const { type = this.#type, old, data, _tidb } = JSON.parse(text) as Message;
      return { text, message: { type, old, data, _tidb } };
    }
    const text = bytes.toString('utf8', from, end);
    const { type, old, data, _tidb } = JSON.parse(text) as Message;
    if (this.#attempts > 0) {
      this.#attempts--;
      const head = headOf(text);
      if (head !== null) this.#known.push(head);
    }
    return { text, message: { type, old, data, _tidb } };
  }
}

interface Head {
  readonly type: unknown;
  readonly beforeTimes: Buffer;
  readonly betweenTimes: Buffer;
  readonly behindTimes: Buffer;
}

/** A file has rows of three kinds; where there is more to tell them apart by, it is not worth the search. */
const ATTEMPTS_MAX = 6;
const OLD = ',"old":';
const TIMES = /^(.*?"es":)(?:0|[1-9]\d*)(,"ts":)(?:0|[1-9]\d*)(,.*)$/s;

/** Null where it cannot be said. */
function headOf(text: string): Head | null {
  const at = text.indexOf(OLD);
  const match = at < 0 ? null : TIMES.exec(text.slice(0, at));
  if (match === null) return null;
  try {
    // Whole as it is, so `old` is a member of the row, and no part of a value.
    const { type, data, _tidb } = JSON.parse(`${text.slice(0, at)}}`) as Message;
    if (data !== undefined || _tidb !== undefined) return null;
    const [, before, between, behind] = match as unknown as [string, string, string, string];
    return { type, beforeTimes: Buffer.from(before), betweenTimes: Buffer.from(between), behindTimes: Buffer.from(behind + OLD) };
  } catch {
    return null;
  }
}

/** The place behind `text`, or −1 where it does not stand at `at`. From its end, where heads differ. */
function behindBytes(text: Buffer, bytes: Buffer, at: number, to: number): number {
  if (at < 0 || at + text.length > to) return -1;
  for (let i = text.length - 1; i >= 0; i--) if (bytes[at + i] !== text[i]) return -1;
  return at + text.length;
}

/** The place behind a whole number; −1 without one, or with one that JSON does not know. */
function behindNumber(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++;
  return at === from || (bytes[from] === 0x30 && at > from + 1) ? -1 : at;
}

function decodeRow(bytes: Buffer, place: Place, heads: Heads, row: number): DecodedRow {
  let message: Message;
  try {
    const parsed = heads.parse(bytes, place);
    message = parsed.message;
    // Beyond 2^53 the engine's parser does not do; nearly always the digits can be taken from the text, else only the exact parser will.
    const inexact = message._tidb?.commitTs;
    if (typeof inexact === 'number' && !Number.isSafeInteger(inexact)) {
      const { type } = message;
      const digits = digitsOf(parsed.text, inexact);
      const { old, data, _tidb } = digits === null ? (parseJson(parsed.text) as Message) : { ...message, _tidb: { commitTs: digits } };
      message = { type, old, data, _tidb };
    }
  } catch (error) {
    throw malformed(row, 'it is no JSON', error);
  }
  const stated = message._tidb?.commitTs ?? 0;
  if ((typeof stated !== 'number' && typeof stated !== 'bigint') || (typeof stated === 'number' && !Number.isSafeInteger(stated))) {
    throw malformed(row, 'its commitTs is no integer');
  }
  const data = imageOf(message.data, row);
  if (data === null) throw malformed(row, 'it has no data');
  const commitTs = BigInt(stated);
  switch (message.type) {
    case 'INSERT':
      return { op: 'I', commitTs, old: null, data };
    case 'UPDATE':
      return { op: 'U', commitTs, old: imageOf(message.old, row), data };
    case 'DELETE':
      return { op: 'D', commitTs, old: data, data: null };
    default:
      throw malformed(row, 'its type is none of INSERT, UPDATE and DELETE');
  }
}

/** The commitTs that the parser read as `inexact`; null where the text has several that it may be. Inside a string the quotes would be escaped. */
function digitsOf(text: string, inexact: number): bigint | null {
  const key = '"_tidb":{"commitTs":';
  const at = text.lastIndexOf(key);
  if (at < 1 || text[at - 1] === '\\' || text.indexOf(key) !== at) return null;
  const digits = /^\d+(?=[,}])/.exec(text.slice(at + key.length, at + key.length + 24));
  return digits !== null && Number(digits[0]) === inexact ? BigInt(digits[0]) : null;
}

interface Message {
  readonly type?: unknown;
  readonly old?: unknown;
  readonly data?: unknown;
  readonly _tidb?: { readonly commitTs?: unknown } | null | undefined;
}

function imageOf(value: unknown, row: number): Readonly<Record<string, string | null>> | null {
  if (value === null || value === undefined) return null;
  const image: unknown = Array.isArray(value) && value.length === 1 ? value[0] : null;
  if (typeof image !== 'object' || image === null || Array.isArray(image)) throw malformed(row, 'data or old is no list of one object');
  const values = image as Readonly<Record<string, unknown>>;
  for (const name in values) {
    const text = values[name];
    if (text !== null && typeof text !== 'string') throw malformed(row, 'a value is neither text nor null');
  }
  return values as Readonly<Record<string, string | null>>;
}

function fromSourceText(type: string, text: string): string {
  const { kind } = storageType({ type, typeModifier: -1 });
  if (kind === 'text') return text;
  const writer = new ByteWriter(text.length * 2 + 16);
  writer.writeByte(0x22);
  const bytes = Buffer.from(text);
  writeCanalValue(kind, bytes, 0, bytes.length, writer);
  writer.writeByte(0x22);
  return JSON.parse(writer.take().toString()) as string;
}

function malformed(row: number, reason: string, cause?: unknown): MillraceError {
  return new MillraceError('MR_ROW_MALFORMED', { format: 'canal-json', row, reason }, cause);
}
