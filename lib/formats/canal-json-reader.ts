import { MillraceError } from '../errors.ts';
import { ByteWriter } from '../events/index.ts';
import { UsualRows } from './canal-usual-rows.ts';
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
  const reader = new RowReader();
  for await (const chunk of chunks) {
    splitter.push(chunk);
    const rows = reader.read(splitter);
    if (rows.length > 0) yield rows;
  }
  reader.end();
}

/** Reads rows one after another. Between them anything may stand: terminators. */
class RowReader {
  readonly #usual = new UsualRows();
  readonly #scanner = new ObjectScanner();
  /** How far the row under way has been looked at, from its beginning. */
  #seen = 0;
  /** Rows that were given. */
  #given = 0;

  /** The rows that end in what the splitter has. */
  read(splitter: RowSplitter): DecodedRow[] {
    const { bytes, to } = splitter;
    const rows: DecodedRow[] = [];
    let from = splitter.from;
    let at = from + this.#seen;
    this.#usual.begin(bytes, to);
    while (at < to) {
      if (!this.#scanner.isInside) {
        if (bytes[at] !== 0x7b) {
          at++;
          continue;
        }
        const usual = this.#usual.read(at);
        if (usual !== null) {
          rows.push(usual);
          at = this.#usual.end;
          continue;
        }
        from = at;
      }
      at = this.#scanner.endOf(bytes, at, to);
      if (!this.#scanner.isInside) rows.push(this.#parse(bytes, from, at, this.#given + rows.length));
    }
    if (!this.#scanner.isInside) from = to;
    this.#seen = to - from;
    this.#given += rows.length;
    splitter.advance(from);
    return rows;
  }

  /** There is no more. */
  end(): void {
    if (this.#scanner.isInside) throw malformed(this.#given, 'the file ends inside it');
  }

  #parse(bytes: Buffer, from: number, end: number, row: number): DecodedRow {
    const text = bytes.toString('utf8', from, end);
    const message = parseMessage(text, row);
    const decoded = decodeRow(message, row);
    this.#usual.learn(message.type, text, from, end);
    return decoded;
  }
}

/** Finds where an object ends, which may come in pieces. */
class ObjectScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;

  get isInside(): boolean {
    return this.#depth > 0;
  }

  /** Looks on at `at`, where the object begins if it is not inside one. Gives the place behind it, or `to` where that is still inside. */
  endOf(bytes: Buffer, from: number, to: number): number {
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === 0x5c) this.#escaped = true;
        else if (byte === 0x22) this.#inString = false;
      } else if (byte === 0x22) this.#inString = true;
      else if (byte === 0x7b) this.#depth++;
      else if (byte === 0x7d && --this.#depth === 0) return at + 1;
    }
    return to;
  }
}

/** The row's members, without those that nobody asks for. */
function parseMessage(text: string, row: number): Message {
  try {
    const { type, old, data, _tidb } = JSON.parse(text) as Message;
    // Beyond 2^53 the engine's parser does not do; nearly always the digits can be taken from the text, else only the exact parser will.
    const inexact = _tidb?.commitTs;
    if (typeof inexact !== 'number' || Number.isSafeInteger(inexact)) return { type, old, data, _tidb };
    const digits = digitsOf(text, inexact);
    return digits === null ? (parseJson(text) as Message) : { type, old, data, _tidb: { commitTs: digits } };
  } catch (error) {
    throw malformed(row, 'it is no JSON', error);
  }
}

function decodeRow(message: Message, row: number): DecodedRow {
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
