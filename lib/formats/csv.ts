import { MillraceError } from '../errors.ts';
import {
  ByteWriter,
  formatPosition,
  IMAGE_KEY,
  IMAGE_NEW,
  IMAGE_OLD,
  LENGTH_NULL,
  LENGTH_UNCHANGED,
  OP_DELETE,
  OP_INSERT,
  type RowBlock,
  type Table,
  TupleIndex,
  tableName,
} from '../events/index.ts';
import { CsvFields, type FieldColumn, fieldColumn } from './csv-fields.ts';
import { type CsvLayout, type CsvOptions, csvLayout } from './csv-options.ts';
import { U64_ROOM, writeU64 } from './digits.ts';
import type { RowEncoder } from './encoder.ts';
import { viewOf, WordText } from './word-text.ts';

/** The fields that every row begins with, as the header names them. */
export const CSV_META_NAMES = {
  operation: 'ticdc-meta$operation',
  table: 'ticdc-meta$table',
  schema: 'ticdc-meta$schema',
  commitTs: 'ticdc-meta$commit-ts',
  isUpdate: 'ticdc-meta$is-update',
} as const;

/**
 * csv as the storage layout has it (spec storage-sink §6.1): `op, table, schema [, commitTs] [, isUpdate], columns…`, from wire bytes to output bytes.
 *
 * csv has no way to leave a column out: an unchanged TOAST value is taken from the old image, and where there is none encoding stops with
 * MR_CSV_UNCHANGED_TOAST (P9); columns outside a key-only old image are written as null. Throws MR_INVALID_OPTION.
 */
export function csv(options: CsvOptions = {}): RowEncoder {
  return new CsvEncoder(csvLayout(options));
}

class CsvEncoder implements RowEncoder {
  readonly extension = '.csv';
  readonly #layout: CsvLayout;
  readonly #fields: CsvFields;
  readonly #nullField: WordText;
  readonly #terminator: WordText;
  readonly #plans = new WeakMap<Table, Plan>();
  readonly #tuple = new TupleIndex();
  readonly #old = new TupleIndex();
  #bytes: Buffer = Buffer.alloc(0);
  #view = viewOf(this.#bytes);
  /** Counts transactions, so that a head knows whether it carries the current commitTs. */
  #transaction = 0;

  constructor(layout: CsvLayout) {
    this.#layout = layout;
    this.#nullField = new WordText(Buffer.concat([layout.delimiter, layout.nullText]));
    this.#terminator = new WordText(layout.terminator);
    this.#fields = new CsvFields(layout);
  }

  header(table: Table): Buffer | null {
    if (!this.#layout.outputFieldHeader) return null;
    const { operation, table: tableField, schema, commitTs, isUpdate } = CSV_META_NAMES;
    const meta: string[] = [operation, tableField, schema];
    if (this.#layout.includeCommitTs) meta.push(commitTs);
    if (this.#layout.outputOldValue) meta.push(isUpdate);
    const writer = new ByteWriter(256);
    [...meta, ...table.columns.map(({ name }) => name)].forEach((name, index) => {
      if (index > 0) writer.writeBytes(this.#layout.delimiter);
      this.#fields.writeName(name, writer);
    });
    writer.writeBytes(this.#layout.terminator);
    return writer.take();
  }

  encode(block: RowBlock, out: ByteWriter): null {
    const plan = this.#planOf(block.table);
    const { transactions, rowCount } = block;
    for (let t = 0; t < transactions.length; t++) {
      const { commitTs, firstRow } = transactions[t]!;
      const end = t + 1 < transactions.length ? transactions[t + 1]!.firstRow : rowCount;
      this.#transaction++;
      for (let row = firstRow; row < end; row++) this.#encodeChange(block, row, plan, commitTs, out);
    }
    return null;
  }

  #encodeChange(block: RowBlock, row: number, plan: Plan, commitTs: bigint, out: ByteWriter): void {
    const op = block.ops[row]!;
    const offset = block.offsets[row]!;
    const bytes = offset < 0 ? block.patches! : block.bytes;
    const at = offset < 0 ? ~offset : offset;
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = viewOf(bytes);
    }
    const marker = bytes[at]!;
    if (op === OP_INSERT || op === OP_DELETE || marker === IMAGE_NEW) {
      this.#tuple.read(bytes, at + 1);
      const head = op === OP_INSERT ? plan.insert : op === OP_DELETE ? plan.delete : plan.update;
      this.#encodeRow(block, row, plan, head, commitTs, this.#tuple, marker, null, out);
      return;
    }
    const next = this.#old.read(bytes, at + 1);
    this.#tuple.read(bytes, next + 1);
    const fill = marker === IMAGE_OLD ? this.#old : null;
    if (this.#layout.outputOldValue) {
      this.#encodeRow(block, row, plan, plan.updateOld, commitTs, this.#old, marker, null, out);
      this.#encodeRow(block, row, plan, plan.updateNew, commitTs, this.#tuple, IMAGE_NEW, fill, out);
    } else {
      this.#encodeRow(block, row, plan, plan.update, commitTs, this.#tuple, IMAGE_NEW, fill, out);
    }
  }

  #encodeRow(
    block: RowBlock,
    row: number,
    plan: Plan,
    head: Head,
    commitTs: bigint,
    tuple: TupleIndex,
    marker: number,
    fill: TupleIndex | null,
    out: ByteWriter,
  ): void {
    if (head.transaction !== this.#transaction) head.setCommitTs(this.#transaction, commitTs);
    head.text.append(out);
    for (let c = 0; c < plan.columns.length; c++) {
      const column = plan.columns[c]!;
      let length = tuple.lengths[column.wire]!;
      let start = tuple.starts[column.wire]!;
      if (marker === IMAGE_KEY && !column.isIdentity) {
        length = LENGTH_NULL;
      } else if (length === LENGTH_UNCHANGED) {
        length = fill === null ? LENGTH_UNCHANGED : fill.lengths[column.wire]!;
        if (length === LENGTH_UNCHANGED) throw unchangedToast(block, row, c);
        start = fill!.starts[column.wire]!;
      }
      if (length === LENGTH_NULL) this.#nullField.append(out);
      else this.#fields.write(this.#bytes, this.#view, start, start + length, column, out);
    }
    this.#terminator.append(out);
  }

  #planOf(table: Table): Plan {
    let plan = this.#plans.get(table);
    if (plan === undefined) {
      plan = new Plan(table, this.#layout, this.#fields);
      this.#plans.set(table, plan);
    }
    return plan;
  }
}

/** What is the same for all rows of a table version. */
class Plan {
  readonly columns: readonly FieldColumn[];
  readonly insert: Head;
  readonly update: Head;
  readonly delete: Head;
  readonly updateOld: Head;
  readonly updateNew: Head;

  constructor(table: Table, layout: CsvLayout, fields: CsvFields) {
    this.columns = table.columns.map(fieldColumn);
    this.insert = new Head(table, layout, fields, 'I', false);
    this.update = new Head(table, layout, fields, 'U', true);
    this.delete = new Head(table, layout, fields, 'D', false);
    this.updateOld = new Head(table, layout, fields, 'D', true);
    this.updateNew = new Head(table, layout, fields, 'I', true);
  }
}

/** The meta fields of a row, the commitTs patched in for each transaction. */
class Head {
  text: WordText;
  transaction = 0;
  readonly #before: Buffer;
  readonly #after: Buffer;
  readonly #hasCommitTs: boolean;

  constructor(table: Table, layout: CsvLayout, fields: CsvFields, op: string, isUpdate: boolean) {
    const writer = new ByteWriter(256);
    [op, table.name, table.schema].forEach((text, index) => {
      if (index > 0) writer.writeBytes(layout.delimiter);
      fields.writeText(text, writer);
    });
    if (layout.includeCommitTs) writer.writeBytes(layout.delimiter);
    this.#hasCommitTs = layout.includeCommitTs;
    this.#before = writer.take();
    if (layout.outputOldValue) {
      writer.writeBytes(layout.delimiter);
      writer.writeText(String(isUpdate));
    }
    this.#after = writer.take();
    this.text = new WordText(Buffer.concat([this.#before, this.#after]));
  }

  setCommitTs(transaction: number, commitTs: bigint): void {
    this.transaction = transaction;
    if (!this.#hasCommitTs) return;
    const digits = writeU64(commitTs, scratch, 0);
    const length = this.#before.length + digits + this.#after.length;
    if (this.text.length !== length) this.text = new WordText(Buffer.concat([this.#before, Buffer.alloc(digits), this.#after]));
    for (let i = 0; i < digits; i++) this.text.bytes[this.#before.length + i] = scratch[i]!;
    this.text.reload();
  }
}

const scratch = new Uint8Array(U64_ROOM);

function unchangedToast(block: RowBlock, row: number, column: number): MillraceError {
  return new MillraceError('MR_CSV_UNCHANGED_TOAST', {
    table: tableName(block.table),
    column: block.table.columns[column]!.name,
    position: formatPosition(block.positionOf(row)),
  });
}
