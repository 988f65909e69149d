import { MillraceError } from '../errors.ts';
import { ByteWriter } from '../events/index.ts';
import { CSV_META_NAMES } from './csv.ts';
import { CsvFields, fieldColumn } from './csv-fields.ts';
import { type CsvLayout, type CsvOptions, csvLayout } from './csv-options.ts';
import type { DecodedRow, RowDecoder } from './encoder.ts';
import { RowSplitter } from './row-splitter.ts';
import { viewOf } from './word-text.ts';

/**
 * Reads csv files of the storage layout. Whether there is a header, a commitTs and an is-update field is seen from the file; separators and null text must be
 * the writer's. Throws MR_INVALID_OPTION.
 */
export function csvReader(options: CsvOptions = {}): RowDecoder {
  const layout = csvLayout(options);
  if (layout.terminator.length === 0) {
    throw new MillraceError('MR_INVALID_OPTION', {
      option: 'terminator',
      value: '""',
      bound: 'at least one character, for csv to be read back',
    });
  }
  const fields = new CsvFields({ ...layout, quote: NO_BYTE, delimiter: Buffer.of(NO_BYTE) });
  return {
    extension: '.csv',
    decode: (columns, chunks) => new CsvDecoder(layout, columns).decode(chunks),
    fromSourceText: (type, text) => {
      const column = fieldColumn({ type, typeModifier: -1, wireIndex: 0, isIdentity: false });
      if (!column.isPlain && column.kind === 'text') return text;
      const bytes = Buffer.from(text);
      const writer = new ByteWriter(bytes.length * 2 + 16);
      fields.write(bytes, viewOf(bytes), 0, bytes.length, column, writer);
      const written = writer.take();
      return written[1] === NO_BYTE ? written.toString('utf8', 2, written.length - 1) : written.toString('utf8', 1);
    },
  };
}

/** A byte that no text holds, as a quote and delimiter that nothing has to be told apart from. */
const NO_BYTE = 0xff;

class CsvDecoder {
  readonly #layout: CsvLayout;
  readonly #columns: readonly string[];
  readonly #splitter = new RowSplitter();
  #row = 0;
  /** The old image of an update whose second row is still to come. */
  #pendingOld: Readonly<Record<string, string | null>> | null = null;
  /** The end of the row being looked for: how far it was looked at, and whether that is inside quotes. */
  #seen = 0;
  #quoted = false;

  constructor(layout: CsvLayout, columns: readonly string[]) {
    this.#layout = layout;
    this.#columns = columns;
  }

  async *decode(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<DecodedRow[]> {
    for await (const chunk of chunks) {
      this.#splitter.push(chunk);
      const rows = this.#takeRows();
      if (rows.length > 0) yield rows;
    }
    if (this.#splitter.to > this.#splitter.from) throw this.#malformed('the file ends inside it');
    if (this.#pendingOld !== null) throw this.#malformed('the second row of an update is missing');
  }

  #takeRows(): DecodedRow[] {
    const rows: DecodedRow[] = [];
    const splitter = this.#splitter;
    let from = splitter.from;
    for (let end = this.#findEnd(from); end >= 0; end = this.#findEnd(from)) {
      const decoded = this.#decodeRow(from, end);
      if (decoded !== null) rows.push(decoded);
      this.#row++;
      from = end + this.#layout.terminator.length;
    }
    splitter.advance(from);
    return rows;
  }

  /** Where the terminator of the row at `from` begins; −1 when it has not come yet, and the search goes on from there. */
  #findEnd(from: number): number {
    const { bytes, to } = this.#splitter;
    const { quote, terminator } = this.#layout;
    const last = terminator.length - 1;
    let at = from + this.#seen;
    for (; at < to; at++) {
      const byte = bytes[at]!;
      if (byte === quote) {
        this.#quoted = !this.#quoted;
      } else if (!this.#quoted && byte === terminator[0]) {
        if (at + last >= to) break;
        if (startsWith(bytes, at, terminator)) {
          this.#seen = 0;
          return at;
        }
      } else if (quote < 0 && byte === BACKSLASH) {
        if (at + 1 >= to) break;
        at++;
      }
    }
    this.#seen = at - from;
    return -1;
  }

  #decodeRow(from: number, end: number): DecodedRow | null {
    const fields = this.#fieldsOf(from, end);
    if (this.#row === 0 && fields[0] === CSV_META_NAMES.operation) {
      this.#checkHeader(fields);
      return null;
    }
    const extra = fields.length - META_FIELDS - this.#columns.length;
    if (fields.length < META_FIELDS + 1 && this.#columns.length > 0) {
      throw this.#malformed('the csv row should have at least four columns(operation-type, table-name, schema-name, commit-ts)');
    }
    if (extra < 0 || extra > 2) throw this.#malformed(`it has ${fields.length} fields for ${this.#columns.length} columns`);
    const op = fields[0];
    if (op !== 'I' && op !== 'U' && op !== 'D') throw this.#malformed(`invalid operation type ${op}`);
    const isUpdate = extra > 0 && (extra === 2 || isFlag(fields[META_FIELDS])) ? fields[META_FIELDS + extra - 1] : undefined;
    if (isUpdate !== undefined && !isFlag(isUpdate)) throw this.#malformed(`the is-update column(${isUpdate}) is neither true nor false`);
    const hasCommitTs = extra - (isUpdate === undefined ? 0 : 1) === 1;
    const commitTs = hasCommitTs ? this.#commitTs(fields[META_FIELDS]!) : 0n;
    const image = this.#imageOf(fields, META_FIELDS + extra);
    return this.#changeOf(op, commitTs, image, isUpdate === 'true');
  }

  /** Joins the two rows of an update. */
  #changeOf(op: 'I' | 'U' | 'D', commitTs: bigint, image: Readonly<Record<string, string | null>>, isUpdate: boolean): DecodedRow | null {
    const old = this.#pendingOld;
    this.#pendingOld = null;
    if (old !== null) {
      if (op !== 'I' || !isUpdate) throw this.#malformed('it is not the second row of the update before it');
      return { op: 'U', commitTs, old, data: image };
    }
    if (op === 'D' && isUpdate) {
      this.#pendingOld = image;
      return null;
    }
    if (op === 'I' && isUpdate) throw this.#malformed('the first row of its update is missing');
    return op === 'D' ? { op, commitTs, old: image, data: null } : { op, commitTs, old: null, data: image };
  }

  #commitTs(field: string | null): bigint {
    if (field === null || !/^\d{1,20}$/.test(field))
      throw this.#malformed(`the 4th column(${field}) of csv row should be a valid commit-ts`);
    return BigInt(field);
  }

  #imageOf(fields: readonly (string | null)[], from: number): Readonly<Record<string, string | null>> {
    const image = Object.create(null) as Record<string, string | null>;
    for (let i = 0; i < this.#columns.length; i++) image[this.#columns[i]!] = fields[from + i]!;
    return image;
  }

  #checkHeader(fields: readonly (string | null)[]): void {
    const names = fields.slice(fields.length - this.#columns.length);
    if (names.some((name, index) => name !== this.#columns[index]))
      throw this.#malformed('its header names other columns than the schema file');
  }

  #fieldsOf(from: number, end: number): (string | null)[] {
    const { quote, delimiter } = this.#layout;
    const { bytes } = this.#splitter;
    const fields: (string | null)[] = [];
    let at = from;
    while (true) {
      const isQuoted = quote >= 0 && at < end && bytes[at] === quote;
      const next = isQuoted ? this.#quotedEnd(at + 1, end) : this.#bareEnd(at, end);
      fields.push(isQuoted ? this.#unquote(at + 1, next - 1) : this.#bareText(at, next));
      if (next === end) return fields;
      if (!startsWith(bytes, next, delimiter)) throw this.#malformed('text follows a closing quote');
      at = next + delimiter.length;
    }
  }

  /** Behind the closing quote of the text at `from`. */
  #quotedEnd(from: number, end: number): number {
    const { quote } = this.#layout;
    const { bytes } = this.#splitter;
    for (let at = from; at < end; at++) {
      if (bytes[at] !== quote) continue;
      if (at + 1 >= end || bytes[at + 1] !== quote) return at + 1;
      at++;
    }
    throw this.#malformed('a quote is not closed');
  }

  #bareEnd(from: number, end: number): number {
    const { quote, delimiter } = this.#layout;
    const { bytes } = this.#splitter;
    for (let at = from; at < end; at++) {
      if (quote < 0 && bytes[at] === BACKSLASH) at++;
      else if (startsWith(bytes, at, delimiter) && at + delimiter.length <= end) return at;
    }
    return end;
  }

  #unquote(from: number, to: number): string {
    const text = this.#splitter.bytes.toString('utf8', from, to);
    const quote = String.fromCharCode(this.#layout.quote);
    return text.includes(quote) ? text.replaceAll(quote + quote, quote) : text;
  }

  #bareText(from: number, to: number): string | null {
    const { quote, nullText } = this.#layout;
    const { bytes } = this.#splitter;
    if (to - from === nullText.length && startsWith(bytes, from, nullText)) return null;
    const text = bytes.toString('utf8', from, to);
    if (quote >= 0 || !text.includes('\\')) return text;
    return text.replace(/\\([\s\S])/g, (_, char: string) => (char === 'r' ? '\r' : char === 'n' ? '\n' : char));
  }

  #malformed(reason: string): MillraceError {
    return new MillraceError('MR_ROW_MALFORMED', { format: 'csv', row: this.#row, reason });
  }
}

/** op, table, schema. */
const META_FIELDS = 3;
const BACKSLASH = 0x5c;

function startsWith(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}

function isFlag(field: string | null | undefined): field is 'true' | 'false' {
  return field === 'true' || field === 'false';
}
