import { type ByteWriter, IMAGE_NEW, OP_UPDATE, type RowBlock, rowEnd } from '../events/index.ts';
import { type CanalPlan, type CanalTail, type Head, hasThirteenDigits } from './canal-plan.ts';
import { CANAL_ROWS_WASM } from './canal-rows-wasm.ts';
import { passingTables, steppingTables } from './checksum.ts';
import { writeDecimal } from './digits.ts';
import { ESCAPE_ROOM } from './json-escape.ts';
import type { WordText } from './word-text.ts';

/** As much of WebAssembly's interface as is used here: its types come with those of browsers alone. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
};

interface Exports extends Readonly<Record<Place, { readonly value: number }>> {
  readonly memory: { readonly buffer: ArrayBuffer };
  encode(rows: number): number;
}

/** What the module exports beside its functions: where in its memory things stand. `assembly/canal-rows.ts` says what they are. */
type Place =
  | 'COLUMN_COUNT'
  | 'INSERT_LENGTH'
  | 'UPDATE_LENGTH'
  | 'INSERT_TIME_AT'
  | 'UPDATE_TIME_AT'
  | 'CHECKSUM'
  | 'TRANSACTIONS'
  | 'TRANSACTION_BYTES'
  | 'TIME_AT'
  | 'TAIL_AT'
  | 'ROWS'
  | 'INSERT_TABLES'
  | 'UPDATE_TABLES'
  | 'BYTE_TABLES'
  | 'INSERT_HEAD'
  | 'UPDATE_HEAD'
  | 'COLUMNS'
  | 'COLUMN_BYTES'
  | 'TEXTS'
  | 'INPUT'
  | 'OUTPUT'
  | 'END';

export interface RowsToWrite {
  readonly block: RowBlock;
  /** The first of them. */
  readonly from: number;
  /** The index of its transaction. */
  readonly transaction: number;
  readonly plan: CanalPlan;
  readonly tail: CanalTail;
  /** Milliseconds since 1970 UTC. */
  readonly nowMs: number;
  readonly out: ByteWriter;
}

/** Rows that were written at once. */
export interface WrittenRows {
  /** The first row that was not. */
  next: number;
  /** CRC-32 of what was written. */
  checksum: number;
}

/**
 * Rows without an old image, from wire bytes to canal-json in WebAssembly: some dozens in one call, sixteen bytes at a time, in about half of the time that
 * JavaScript and the native checksum take for them. The checksum comes along: a row's head is the same as the last one's, so a checksum passes over it in one
 * step, whatever its length.
 *
 * What does not suit it is left to the caller: rows that a stage has rewritten, old images, values beyond some 60 KB, tables with hundreds of columns, or with
 * columns that canal-json writes otherwise than their text (floats, `bytea`).
 *
 * There is one for all encoders, and what it is for changes from call to call: they are synchronous.
 */
export class CanalRows {
  readonly #at: Readonly<Record<Place, number>>;
  readonly #encode: (rows: number) => number;
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #columnsMax: number;
  readonly #headMax: number;
  readonly #tailMax: number;
  readonly #inputMax: number;
  readonly #textsMax: number;
  #plan: CanalPlan | null = null;
  #nowMs = Number.NaN;
  readonly #written: WrittenRows = { next: 0, checksum: 0 };

  /** The one there is; null where WebAssembly is switched off, gets no memory, or has no vectors because the processor has none. */
  static get(): CanalRows | null {
    if (instance === undefined) {
      const exports = instantiate();
      instance = exports === null ? null : new CanalRows(exports);
    }
    return instance;
  }

  private constructor({ memory, encode, ...places }: Exports) {
    const at = Object.fromEntries(Object.entries(places).map(([name, { value }]) => [name, value])) as Record<Place, number>;
    this.#at = at;
    this.#encode = encode;
    this.#bytes = Buffer.from(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.#columnsMax = Math.floor((at.TEXTS - at.COLUMNS) / at.COLUMN_BYTES);
    this.#headMax = at.UPDATE_HEAD - at.INSERT_HEAD - HEAD_SLACK;
    this.#tailMax = at.TRANSACTION_BYTES - at.TAIL_AT - SLACK;
    this.#inputMax = at.OUTPUT - at.INPUT - SLACK;
    this.#textsMax = at.INPUT - at.TEXTS - SLACK;
    this.#words.set(steppingTables(STEP_BYTES), at.BYTE_TABLES >> 2);
  }

  /** Whether rows of such a table, with such an ending, can be written here at all. */
  suits({ columns, isInWireOrder, insert, bareUpdate, room }: CanalPlan, tail: CanalTail): boolean {
    for (const head of [insert, bareUpdate]) head.setTimes(ANY_TIME, ANY_TIME);
    return (
      isInWireOrder &&
      columns.length <= this.#columnsMax &&
      columns.every(({ kind }) => kind === 'text' || kind === 'bool') &&
      2 * room <= this.#textsMax &&
      Math.max(insert.bytes.length, bareUpdate.bytes.length) <= this.#headMax &&
      tail.text.room <= this.#tailMax
    );
  }

  /** Appends rows to `out`, as many as it can at once, perhaps none. The result is good until the next call. */
  write({ block, from, transaction, plan, tail, nowMs, out }: RowsToWrite): WrittenRows {
    const written = this.#written;
    written.next = from;
    if (!hasThirteenDigits(nowMs)) return written;
    const { INPUT, OUTPUT, END, CHECKSUM } = this.#at;
    const { bytes, offsets, ops } = block;
    const roomOfRow = plan.bareUpdate.bytes.length + plan.room + tail.text.room + HEAD_SLACK;
    const start = offsets[from]!;
    const rowsMax = Math.min(ROWS_MAX, Math.floor((END - OUTPUT - SLACK - INPUT_WANTED * ESCAPE_ROOM) / roomOfRow));
    let next = this.#select(block, from, transaction, tail, rowsMax);
    if (next === from) return written;
    // The last one ends where the next one begins, or somewhere before.
    const last = offsets[next - 1]!;
    const bound = next < offsets.length && offsets[next]! > last ? offsets[next]! : bytes.length;
    let end = bound - last <= INPUT_WANTED ? bound : rowEnd(bytes, last, ops[next - 1]!);
    if (end - start > this.#inputMax || (end - start) * ESCAPE_ROOM + (next - from) * roomOfRow > END - OUTPUT - SLACK) {
      next--;
      end = last;
      if (next === from) return written;
    }
    if (plan !== this.#plan) this.#load(plan);
    if (nowMs !== this.#nowMs) this.#loadHeads(plan, nowMs);
    bytes.copy(this.#bytes, INPUT, start, end);
    const length = this.#encode(next - from) - OUTPUT;
    this.#bytes.copy(out.ensure(length), out.length, OUTPUT, OUTPUT + length);
    out.length += length;
    written.next = next;
    written.checksum = this.#words[CHECKSUM >> 2]! >>> 0;
    return written;
  }

  /** Says which rows of the input are to be written, and in which transactions. Gives the row behind them. */
  #select({ bytes, offsets, ops, transactions }: RowBlock, from: number, transaction: number, tail: CanalTail, rowsMax: number): number {
    const { INPUT, ROWS, TRANSACTIONS, TRANSACTION_BYTES, TIME_AT, TAIL_AT } = this.#at;
    const words = this.#words;
    const start = offsets[from]!;
    const limit = Math.min(offsets.length, from + rowsMax);
    let slot = TRANSACTIONS;
    let current = transaction;
    let first = from;
    let before = -1;
    let row = from;
    for (; row < limit; row++) {
      const offset = offsets[row]!;
      if (offset <= before || offset - start >= INPUT_WANTED || bytes[offset] !== IMAGE_NEW) break;
      if (row === first) {
        const { commitTs, commitTimeUs } = transactions[current]!;
        const ms = Math.floor(Number(commitTimeUs) / 1000);
        if (!hasThirteenDigits(ms)) break;
        words[slot >> 2] = row - from;
        writeDecimal(ms, this.#bytes, slot + TIME_AT);
        words[(slot + 4) >> 2] = tail.write(commitTs, this.#bytes, slot + TAIL_AT) - slot - TAIL_AT;
        slot += TRANSACTION_BYTES;
        current++;
        first = current < transactions.length ? transactions[current]!.firstRow : -1;
      }
      const at = INPUT + offset - start + TUPLE_AT;
      words[(ROWS >> 2) + row - from] = ops[row] === OP_UPDATE ? ~at : at;
      before = offset;
    }
    // No transaction begins behind the last.
    words[slot >> 2] = -1;
    return row;
  }

  #load(plan: CanalPlan): void {
    const { COLUMN_COUNT, COLUMNS, COLUMN_BYTES, TEXTS, INSERT_TABLES, UPDATE_TABLES } = this.#at;
    const words = this.#words;
    words[COLUMN_COUNT >> 2] = plan.columns.length;
    let textAt = TEXTS;
    let at = COLUMNS >> 2;
    const add = ({ bytes, length }: WordText) => {
      words[at++] = textAt;
      words[at++] = length;
      this.#bytes.set(bytes, textAt);
      textAt += bytes.length;
    };
    for (const { kind, firstPrefix, nextPrefix, firstNull, nextNull } of plan.columns) {
      words[at++] = kind === 'bool' ? 1 : 0;
      add(firstPrefix);
      add(nextPrefix);
      add(firstNull);
      add(nextNull);
    }
    if (at !== (COLUMNS + plan.columns.length * COLUMN_BYTES) >> 2) throw new RangeError('a column takes more words than it has');
    for (const [head, at] of [
      [plan.insert, INSERT_TABLES],
      [plan.bareUpdate, UPDATE_TABLES],
    ] as const) {
      head.setTimes(ANY_TIME, ANY_TIME);
      words.set(tablesOf(head), at >> 2);
    }
    this.#plan = plan;
    this.#nowMs = Number.NaN;
  }

  /** The commit times in them are set while rows are written. */
  #loadHeads({ insert, bareUpdate }: CanalPlan, nowMs: number): void {
    const { INSERT_HEAD, INSERT_LENGTH, INSERT_TIME_AT, UPDATE_HEAD, UPDATE_LENGTH, UPDATE_TIME_AT } = this.#at;
    const load = (head: Head, at: number, lengthAt: number, timeAt: number) => {
      head.setTimes(ANY_TIME, nowMs);
      this.#bytes.set(head.bytes, at);
      this.#words[lengthAt >> 2] = head.bytes.length;
      this.#words[timeAt >> 2] = head.commitMsAt;
    };
    load(insert, INSERT_HEAD, INSERT_LENGTH, INSERT_TIME_AT);
    load(bareUpdate, UPDATE_HEAD, UPDATE_LENGTH, UPDATE_TIME_AT);
    this.#nowMs = nowMs;
  }
}

let instance: CanalRows | null | undefined;

function instantiate(): Exports | null {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(CANAL_ROWS_WASM, 'base64'))).exports as Exports;
  } catch {
    return null;
  }
}

/** By length, 4 KiB each: to make them takes as long as to write some rows. */
const tables = new Map<number, Uint32Array>();

function tablesOf({ bytes: { length } }: Head): Uint32Array {
  let known = tables.get(length);
  if (known === undefined) {
    known = passingTables(length);
    if (tables.size >= TABLES_MAX) tables.clear();
    tables.set(length, known);
  }
  return known;
}

const TABLES_MAX = 1024;
const STEP_BYTES = 16;
/** What may be read and written behind a text. */
const SLACK = 16;
/** … behind a head. */
const HEAD_SLACK = 64;
const ROWS_MAX = 64;
/** Input up to here is taken in one call, and the rest of its last row. */
const INPUT_WANTED = 16 * 1024;
/** In a row: behind its marker and the count of its columns. */
const TUPLE_AT = 3;
const ANY_TIME = 1e12;
