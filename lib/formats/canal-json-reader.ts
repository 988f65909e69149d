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
  const scanner = new ObjectScanner();
  const heads = new Heads();
  let row = 0;
  for await (const chunk of chunks) {
    splitter.push(chunk);
    const rows: DecodedRow[] = [];
    scanner.begin(splitter);
    while (scanner.next(splitter)) rows.push(decodeRow(splitter.bytes.toString('utf8', scanner.from, scanner.end), heads, row++));
    scanner.pause(splitter);
    if (rows.length > 0) yield rows;
  }
  if (scanner.isInside) throw malformed(row, 'the file ends inside it');
}

/** Finds where objects begin and end. Between objects anything may stand: terminators. */
class ObjectScanner {
  from = 0;
  end = 0;
  #at = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** How far the row under way has been looked at, from its beginning. */
  #seen = 0;

  get isInside(): boolean {
    return this.#depth > 0;
  }

  begin(splitter: RowSplitter): void {
    this.from = splitter.from;
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
        if (this.#depth++ === 0) this.from = at;
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
    if (this.#depth === 0) this.from = to;
    return false;
  }

  /** Before the splitter's bytes move. */
  pause(splitter: RowSplitter): void {
    this.#seen = this.#at - this.from;
    splitter.advance(this.from);
  }
}

/**
 * What stands before `old` in a row is the same from row to row of one kind, but for its two times, and longer than the rest: it is parsed once.
 *
 * Where a row begins as one did that was parsed as a whole, it stands at the same place inside the same object behind that.
 */
class Heads {
  readonly #known: Head[] = [];
  /** How often one is still looked for. */
  #attempts = ATTEMPTS_MAX;

  /** The row's members, without those that nobody asks for. */
  parse(text: string): Message {
    for (const head of this.#known) {
      const end = endOf(head, text);
      if (end > 0) return { type: head.type, ...(JSON.parse(`{${text.slice(end + 1)}`) as Message) };
    }
    const message = JSON.parse(text) as Message;
    if (this.#attempts > 0) {
      this.#attempts--;
      const head = headOf(text);
      if (head !== null) this.#known.push(head);
    }
    return message;
  }
}

interface Head {
  readonly type: unknown;
  readonly beforeTimes: string;
  readonly betweenTimes: string;
  readonly behindTimes: string;
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
    return { type, beforeTimes: match[1]!, betweenTimes: match[2]!, behindTimes: `${match[3]!}${OLD}` };
  } catch {
    return null;
  }
}

/** Where the comma before `old` is; 0 for a row that begins otherwise. */
function endOf({ beforeTimes, betweenTimes, behindTimes }: Head, text: string): number {
  if (!text.startsWith(beforeTimes)) return 0;
  const between = behindNumber(text, beforeTimes.length);
  if (!text.startsWith(betweenTimes, between)) return 0;
  const behind = behindNumber(text, between + betweenTimes.length);
  return text.startsWith(behindTimes, behind) ? behind + behindTimes.length - OLD.length : 0;
}

/** The place behind a whole number; without one, or with one that JSON does not know, where none of the texts is that stand behind it. */
function behindNumber(text: string, from: number): number {
  let at = from;
  for (let code = text.charCodeAt(at); code >= 0x30 && code <= 0x39; ) code = text.charCodeAt(++at);
  return at === from || (text.charCodeAt(from) === 0x30 && at > from + 1) ? text.length : at;
}

function decodeRow(text: string, heads: Heads, row: number): DecodedRow {
  let message: Message;
  try {
    message = heads.parse(text);
    // Beyond 2^53 the engine's parser does not do; nearly always the digits can be taken from the text, else only the exact parser will.
    const inexact = message._tidb?.commitTs;
    if (typeof inexact === 'number' && !Number.isSafeInteger(inexact)) {
      const commitTs = digitsOf(text, inexact);
      message = commitTs === null ? (parseJson(text) as Message) : { ...message, _tidb: { commitTs } };
    }
  } catch (error) {
    throw malformed(row, 'it is no JSON', error);
  }
  const commitTs = message._tidb?.commitTs ?? 0;
  if ((typeof commitTs !== 'number' && typeof commitTs !== 'bigint') || (typeof commitTs === 'number' && !Number.isSafeInteger(commitTs))) {
    throw malformed(row, 'its commitTs is no integer');
  }
  const data = imageOf(message.data, row);
  if (data === null) throw malformed(row, 'it has no data');
  const position = { commitTs: BigInt(commitTs) };
  switch (message.type) {
    case 'INSERT':
      return { op: 'I', ...position, old: null, data };
    case 'UPDATE':
      return { op: 'U', ...position, old: imageOf(message.old, row), data };
    case 'DELETE':
      return { op: 'D', ...position, old: data, data: null };
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
  readonly _tidb?: { readonly commitTs?: unknown } | null;
}

function imageOf(value: unknown, row: number): Readonly<Record<string, string | null>> | null {
  if (value === null || value === undefined) return null;
  const image: unknown = Array.isArray(value) && value.length === 1 ? value[0] : null;
  if (typeof image !== 'object' || image === null || Array.isArray(image)) throw malformed(row, 'data or old is no list of one object');
  for (const text of Object.values(image))
    if (text !== null && typeof text !== 'string') throw malformed(row, 'a value is neither text nor null');
  return image as Readonly<Record<string, string | null>>;
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
