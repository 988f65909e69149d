import { MillraceError } from '../errors.ts';
import {
  type ByteWriter,
  IMAGE_KEY,
  IMAGE_NEW,
  IMAGE_OLD,
  LENGTH_NULL,
  LENGTH_UNCHANGED,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  type RowBlock,
  type Table,
  TupleIndex,
  VALUE_NULL,
  VALUE_TEXT,
} from '../events/index.ts';
import { CanalPlan, CanalTail, type Head, type PlanColumn } from './canal-plan.ts';
import { CanalRows } from './canal-rows.ts';
import { writeCanalValue } from './canal-value.ts';
import { crc32Combine } from './checksum.ts';
import type { RowEncoder } from './encoder.ts';
import { ESCAPE_ROOM, escapeJson } from './json-escape.ts';
import { viewOf, WordText } from './word-text.ts';

export interface CanalJsonOptions {
  /** Milliseconds since 1970 UTC, for `ts`: read once a block. */
  readonly now: () => number;
  /** Ends each row; default CRLF. */
  readonly terminator?: string;
  /** Writes `_tidb.commitTs`, without which a reader has no positions; default true. */
  readonly enableTidbExtension?: boolean;
  /** `old` holds the columns that changed instead of all; default false. */
  readonly onlyOutputUpdatedColumns?: boolean;
  /** `mysqlType` names types with their lengths (`varchar(20)`); implies `onlyOutputUpdatedColumns`. Default false. */
  readonly contentCompatible?: boolean;
  /** A delete carries its key columns alone, where the table has some; default false. */
  readonly deleteOnlyOutputHandleKeyColumns?: boolean;
}

/**
 * canal-json as the storage layout has it: one object a row (spec storage-sink §6.2), from wire bytes to output bytes.
 *
 * An unchanged TOAST value is taken from the old image; where there is none the column is left out of `data` (P9). Of a key-only old image the key
 * columns alone are written; an update without an old image has `old: [{}]`.
 *
 * @throws MR_INVALID_OPTION for a terminator with a `{`, in which readers would see a row begin.
 */
export function canalJson(options: CanalJsonOptions): RowEncoder {
  const { terminator = '' } = options;
  if (terminator.includes('{'))
    throw new MillraceError('MR_INVALID_OPTION', { option: 'terminator', value: terminator, bound: 'text without {' });
  return new CanalJsonEncoder(options);
}

class CanalJsonEncoder implements RowEncoder {
  readonly extension = '.json';
  readonly #options: CanalJsonOptions;
  readonly #onlyUpdated: boolean;
  readonly #plans = new WeakMap<Table, Planned>();
  readonly #tuple = new TupleIndex();
  readonly #old = new TupleIndex();
  readonly #tail: CanalTail;
  #bytes: Buffer = Buffer.alloc(0);
  #view = viewOf(this.#bytes);

  constructor(options: CanalJsonOptions) {
    this.#options = options;
    this.#onlyUpdated = options.onlyOutputUpdatedColumns === true || options.contentCompatible === true;
    this.#tail = new CanalTail(options.terminator ?? '\r\n', options.enableTidbExtension ?? true);
  }

  header(): null {
    return null;
  }

  encode(block: RowBlock, out: ByteWriter): number | null {
    const { plan, rows } = this.#planOf(block.table);
    const nowMs = Math.floor(this.#options.now());
    const { transactions, rowCount } = block;
    let checksum: number | null = 0;
    let current = -1;
    let commitMs = 0;
    let nextFirst = 0;
    for (let row = 0; row < rowCount; ) {
      if (row >= nextFirst) {
        while (current + 1 < transactions.length && transactions[current + 1]!.firstRow <= row) current++;
        const { commitTs, commitTimeUs } = transactions[current]!;
        commitMs = Math.floor(Number(commitTimeUs) / 1000);
        nextFirst = current + 1 < transactions.length ? transactions[current + 1]!.firstRow : rowCount;
        this.#tail.setCommitTs(commitTs);
      }
      if (rows !== null && rowCount - row >= ROWS_AT_ONCE_MIN) {
        const before = out.length;
        const { next, checksum: ofRows } = rows.write({ block, from: row, transaction: current, plan, tail: this.#tail, nowMs, out });
        if (next > row) {
          if (checksum !== null) checksum = crc32Combine(checksum, ofRows, out.length - before);
          row = next;
          continue;
        }
      }
      this.#encodeRow(block, row, plan, commitMs, nowMs, out);
      checksum = null;
      row++;
    }
    return checksum;
  }

  #encodeRow(block: RowBlock, row: number, plan: CanalPlan, commitMs: number, nowMs: number, out: ByteWriter): void {
    const op = block.ops[row]!;
    const offset = block.offsets[row]!;
    const bytes = offset < 0 ? block.patches! : block.bytes;
    const at = offset < 0 ? ~offset : offset;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = viewOf(bytes);
    }
    const marker = bytes[at]!;
    if (marker === IMAGE_NEW && plan.isInWireOrder) {
      this.#encodeDirect(op === OP_INSERT ? plan.insert : plan.bareUpdate, at + 3, plan, commitMs, nowMs, out);
      return;
    }
    const hasOld = op === OP_UPDATE && marker !== IMAGE_NEW;
    const next = hasOld ? this.#old.read(bytes, at + 1) : at;
    const wireBytes = this.#tuple.read(bytes, next + 1) - at;
    const head = op === OP_INSERT ? plan.insert : op === OP_DELETE ? plan.delete : plan.update;
    if (head.commitMs !== commitMs || head.nowMs !== nowMs) head.setTimes(commitMs, nowMs);
    /** Room for the whole row at once, unless that would be far more than it needs: then values make their own. */
    const room = head.bytes.length + plan.room + this.#tail.text.room + (wireBytes <= SHORT_ROW ? wireBytes * ESCAPE_ROOM : 0);
    out.ensure(room).set(head.bytes, out.length);
    out.length += head.bytes.length;
    if (op === OP_UPDATE) {
      if (hasOld) this.#writeOld(plan, marker === IMAGE_KEY, out);
      OLD_TO_DATA.append(out);
      this.#writeData(plan.columns, false, marker === IMAGE_OLD, out);
    } else {
      this.#writeData(op === OP_DELETE ? plan.deleted : plan.columns, marker === IMAGE_KEY, false, out);
    }
    this.#tail.text.append(out);
    out.length += this.#tail.length - this.#tail.text.length;
  }

  /** A row without an old image whose values come in the columns' order: they are written as they are met. */
  #encodeDirect(head: Head, from: number, plan: CanalPlan, commitMs: number, nowMs: number, out: ByteWriter): void {
    if (head.commitMs !== commitMs || head.nowMs !== nowMs) head.setTimes(commitMs, nowMs);
    out.ensure(head.bytes.length + plan.room + this.#tail.text.room).set(head.bytes, out.length);
    out.length += head.bytes.length;
    const source = this.#bytes;
    const sourceView = this.#view;
    const { columns } = plan;
    let { buffer, view, length: end } = out;
    let at = from;
    let isFirst = true;
    for (let c = 0; c < columns.length; c++) {
      const kind = source[at]!;
      if (kind === VALUE_TEXT) {
        const column = columns[c]!;
        const length = sourceView.getInt32(at + 1);
        const start = at + 5;
        at = start + length;
        const prefix = isFirst ? column.firstPrefix : column.nextPrefix;
        isFirst = false;
        if (column.kind !== 'text' || length > SHORT_VALUE) {
          out.length = end;
          prefix.append(out);
          writeCanalValue(column.kind, source, start, at, out);
          out.writeByte(QUOTE);
          ({ buffer, view, length: end } = out);
          continue;
        }
        if (end + prefix.room + length * ESCAPE_ROOM + 1 > buffer.length) {
          out.length = end;
          out.ensure(prefix.room + length * ESCAPE_ROOM + 1);
          ({ buffer, view } = out);
        }
        end = escapeJson(source, sourceView, start, at, buffer, view, prefix.write(view, end));
        buffer[end++] = QUOTE;
      } else {
        at++;
        if (kind !== VALUE_NULL) continue;
        const column = columns[c]!;
        const text = isFirst ? column.firstNull : column.nextNull;
        isFirst = false;
        if (end + text.room > buffer.length) {
          out.length = end;
          out.ensure(text.room);
          ({ buffer, view } = out);
        }
        end = text.write(view, end);
      }
    }
    out.length = end;
    this.#tail.text.append(out);
    out.length += this.#tail.length - this.#tail.text.length;
  }

  #writeData(columns: readonly PlanColumn[], keyOnly: boolean, hasFullOld: boolean, out: ByteWriter): void {
    const { starts, lengths } = this.#tuple;
    let isFirst = true;
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c]!;
      if (keyOnly && !column.isIdentity) continue;
      let length = lengths[column.wire]!;
      let start = starts[column.wire]!;
      if (length === LENGTH_UNCHANGED) {
        if (!hasFullOld) continue;
        length = this.#old.lengths[column.wire]!;
        start = this.#old.starts[column.wire]!;
        if (length === LENGTH_UNCHANGED) continue;
      }
      this.#writeMember(column, start, length, isFirst, out);
      isFirst = false;
    }
  }

  #writeOld(plan: CanalPlan, keyOnly: boolean, out: ByteWriter): void {
    const { starts, lengths } = this.#old;
    const onlyUpdated = this.#onlyUpdated;
    let isFirst = true;
    for (let c = 0; c < plan.columns.length; c++) {
      const column = plan.columns[c]!;
      const length = lengths[column.wire]!;
      if ((keyOnly && !column.isIdentity) || length === LENGTH_UNCHANGED) continue;
      if (onlyUpdated && !this.#differs(column.wire)) continue;
      this.#writeMember(column, starts[column.wire]!, length, isFirst, out);
      isFirst = false;
    }
  }

  #writeMember(column: PlanColumn, start: number, length: number, isFirst: boolean, out: ByteWriter): void {
    if (length === LENGTH_NULL) {
      (isFirst ? column.firstNull : column.nextNull).append(out);
      return;
    }
    const prefix = isFirst ? column.firstPrefix : column.nextPrefix;
    if (column.kind !== 'text' || length > SHORT_VALUE) {
      prefix.append(out);
      writeCanalValue(column.kind, this.#bytes, start, start + length, out);
      out.writeByte(QUOTE);
      return;
    }
    const room = prefix.room + length * ESCAPE_ROOM + 1;
    if (out.length + room > out.buffer.length) out.ensure(room);
    const { buffer, view } = out;
    const at = prefix.write(view, out.length);
    const end = escapeJson(this.#bytes, this.#view, start, start + length, buffer, view, at);
    buffer[end] = QUOTE;
    out.length = end + 1;
  }

  #differs(wire: number): boolean {
    const length = this.#tuple.lengths[wire]!;
    if (length === LENGTH_UNCHANGED) return false;
    if (length !== this.#old.lengths[wire]!) return true;
    if (length === LENGTH_NULL) return false;
    const start = this.#tuple.starts[wire]!;
    const oldStart = this.#old.starts[wire]!;
    return this.#bytes.compare(this.#bytes, start, start + length, oldStart, oldStart + length) !== 0;
  }

  #planOf(table: Table): Planned {
    let planned = this.#plans.get(table);
    if (planned === undefined) {
      const plan = new CanalPlan(table, this.#options.deleteOnlyOutputHandleKeyColumns === true, this.#options.contentCompatible === true);
      const rows = CanalRows.get();
      planned = { plan, rows: rows?.suits(plan, this.#tail) === true ? rows : null };
      this.#plans.set(table, planned);
    }
    return planned;
  }
}

interface Planned {
  readonly plan: CanalPlan;
  /** Null for tables that have to go without. */
  readonly rows: CanalRows | null;
}

/** `"old":[{` stands in the head of an update, and so this alone makes `[{}]`. */
const OLD_TO_DATA = new WordText('}],"data":[{');
const QUOTE = 0x22;
/** Fewer do not pay for the call where the rows before were of another table. */
const ROWS_AT_ONCE_MIN = 8;
/** A value up to here is escaped at once, a longer one in slices. */
const SHORT_VALUE = 4096;
const SHORT_ROW = 16384;
