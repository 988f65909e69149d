import { MillraceError } from '../errors.ts';
import type { ByteWriter } from './byte-writer.ts';
import type { Position } from './position.ts';
import type { RowBlock } from './row-block.ts';
import { columnIndex, type Table, tableName } from './table.ts';
import {
  IMAGE_KEY,
  IMAGE_NEW,
  LENGTH_NULL,
  LENGTH_UNCHANGED,
  OP_INSERT,
  OP_UPDATE,
  TupleIndex,
  tupleEnd,
  VALUE_NULL,
  VALUE_TEXT,
  VALUE_UNCHANGED,
} from './wire.ts';

/** A column's value as the source's text; null is null, undefined is *not sent* (an unchanged TOAST value, or outside a key-only old image). */
export type ColumnValue = string | null | undefined;

/** The columns of a table, as a user may give them: `interface Users { id: string; email: string | null }`. */
export type RowShape = { [column: string]: string | null };

export type RowOp = 'insert' | 'update' | 'delete';

/**
 * One image of one changed row, read from the wire bytes on demand. Valid during the call it is given to: the next row reuses it
 * (`toObject` makes what may be kept).
 */
export class Row<Shape extends object = RowShape> {
  readonly #cursor: RowCursor;
  readonly #image: ImageView;
  readonly #changes: readonly ColumnValue[] | null;

  /** @internal Rows come from a `RowCursor`. */
  constructor(cursor: RowCursor, image: ImageView, changes: readonly ColumnValue[] | null) {
    this.#cursor = cursor;
    this.#image = image;
    this.#changes = changes;
  }

  get table(): Table {
    return this.#cursor.block.table;
  }

  get op(): RowOp {
    const op = this.#cursor.op;
    return op === OP_INSERT ? 'insert' : op === OP_UPDATE ? 'update' : 'delete';
  }

  /** Whether this is the image before the change: of a delete, or `old` of an update. */
  get isOld(): boolean {
    return this.#image.marker !== IMAGE_NEW;
  }

  /** The image before an update, where the source sent one; otherwise null. */
  get old(): Row<Shape> | null {
    return this.isOld ? null : (this.#cursor.old as Row<Shape> | null);
  }

  /** Where the change stands. */
  get position(): Position {
    return this.#cursor.block.positionOf(this.#cursor.index);
  }

  /** When its transaction was committed, microseconds since 1970 UTC; 0 when unknown. */
  get commitTimeUs(): bigint {
    return this.#cursor.block.transactionOf(this.#cursor.index).commitTimeUs;
  }

  /** The value of `column`; undefined when the source did not send it. Throws MR_UNKNOWN_COLUMN for a name that the table does not have. */
  get<Name extends keyof Shape & string>(column: Name): Shape[Name] | undefined {
    const index = this.#indexOf(column);
    const changed = this.#changes?.[index];
    return (changed === undefined ? this.#image.text(index) : changed) as Shape[Name] | undefined;
  }

  /** Whether the value was left out because it is TOASTed and did not change. Null is a value; this is the lack of one. */
  isUnchanged(column: keyof Shape & string): boolean {
    const index = this.#indexOf(column);
    return this.#changes?.[index] === undefined && this.#image.lengthOf(index) === LENGTH_UNCHANGED;
  }

  /**
   * This row with another value in `column`. Nothing else is decoded or copied. A column outside a key-only old image stays outside; an
   * unchanged one becomes a value. Throws MR_INVALID_VALUE for anything but text and null, so that a function that forgot its result never lets the
   * value before through.
   */
  set<Name extends keyof Shape & string>(column: Name, value: Shape[Name]): Row<Shape> {
    const index = this.#indexOf(column);
    if (typeof value !== 'string' && value !== null) throw this.#invalid(column, value);
    if (this.#image.lengthOf(index) === LENGTH_ABSENT) return this;
    const changes = this.#changes === null ? new Array<ColumnValue>(this.table.columns.length).fill(undefined) : this.#changes.slice();
    changes[index] = value as string | null;
    return new Row<Shape>(this.#cursor, this.#image, changes);
  }

  /** `set` with `fn` of the value, where there is one: null and values that were not sent stay as they are. */
  update<Name extends keyof Shape & string>(column: Name, fn: (value: NonNullable<Shape[Name]>) => Shape[Name]): Row<Shape> {
    const value = this.get(column);
    return value === null || value === undefined ? this : this.set(column, fn(value as NonNullable<Shape[Name]>));
  }

  /** The columns that were sent, by name. */
  toObject(): Partial<Shape> {
    const object: Record<string, string | null> = {};
    for (const column of this.table.columns) {
      const value = this.get(column.name as keyof Shape & string) as ColumnValue;
      if (value === undefined) continue;
      if (column.name === '__proto__') Object.defineProperty(object, column.name, { ...OWN, value });
      else object[column.name] = value;
    }
    return object as Partial<Shape>;
  }

  /** @internal What `set` changed, by index in `table.columns`; null when nothing was. */
  get changes(): readonly ColumnValue[] | null {
    return this.#changes;
  }

  /** @internal Whether this row is `other`, perhaps with other values: the same image under the same cursor. */
  isOfImage(other: Row<Shape>): boolean {
    return this.#cursor === other.#cursor && this.#image === other.#image;
  }

  #invalid(column: string, value: unknown): MillraceError {
    return new MillraceError('MR_INVALID_VALUE', {
      table: tableName(this.table),
      column,
      kind: value === undefined ? 'undefined' : `a ${typeof value}`,
    });
  }

  #indexOf(column: string): number {
    const index = columnIndex(this.table, column);
    if (index < 0) {
      const columns = this.table.columns.map(({ name }) => name).join(', ');
      throw new MillraceError('MR_UNKNOWN_COLUMN', { table: tableName(this.table), column, columns });
    }
    return index;
  }
}

/** A property that assignment would make; assigning `__proto__` makes none. */
const OWN = { configurable: true, enumerable: true, writable: true };

/** In a tuple index seen through a key-only image: the column is outside the key. */
const LENGTH_ABSENT = -3;

/** One image of the row under a cursor, its tuple indexed when a value is first asked for. */
class ImageView {
  marker = 0;
  readonly #tuple = new TupleIndex();
  #block!: RowBlock;
  #bytes!: Buffer;
  #at = 0;
  #indexed = false;

  moveTo(block: RowBlock, bytes: Buffer, at: number): void {
    this.#block = block;
    this.#bytes = bytes;
    this.marker = bytes[at]!;
    this.#at = at + 1;
    this.#indexed = false;
  }

  lengthOf(index: number): number {
    if (!this.#indexed) {
      this.#tuple.read(this.#bytes, this.#at);
      this.#indexed = true;
    }
    const column = this.#block.table.columns[index]!;
    if (this.marker === IMAGE_KEY && !column.isIdentity) return LENGTH_ABSENT;
    return this.#tuple.lengths[column.wireIndex]!;
  }

  text(index: number): ColumnValue {
    const length = this.lengthOf(index);
    if (length < 0) return length === LENGTH_NULL ? null : undefined;
    const start = this.#tuple.starts[this.#block.table.columns[index]!.wireIndex]!;
    return this.#bytes.toString('utf8', start, start + length);
  }
}

/** Walks the rows of a block; the rows it gives are views that the next `moveTo` reuses. */
export class RowCursor<Shape extends object = RowShape> {
  block!: RowBlock;
  index = 0;
  op = 0;
  readonly #main = new ImageView();
  readonly #before = new ImageView();
  readonly #mainRow = new Row<Shape>(this as unknown as RowCursor, this.#main, null);
  readonly #beforeRow = new Row<Shape>(this as unknown as RowCursor, this.#before, null);
  #hasOld = false;

  /** The row's new image; of a delete, its old one. */
  get row(): Row<Shape> {
    return this.#mainRow;
  }

  /** The image before an update, where the source sent one. */
  get old(): Row<Shape> | null {
    return this.#hasOld ? this.#beforeRow : null;
  }

  moveTo(block: RowBlock, index: number): Row<Shape> {
    this.block = block;
    this.index = index;
    this.op = block.ops[index]!;
    const offset = block.offsets[index]!;
    const bytes = offset < 0 ? block.patches! : block.bytes;
    const at = offset < 0 ? ~offset : offset;
    this.#hasOld = this.op === OP_UPDATE && bytes[at] !== IMAGE_NEW;
    if (this.#hasOld) this.#before.moveTo(block, bytes, at);
    this.#main.moveTo(block, bytes, this.#hasOld ? tupleEnd(bytes, at + 1) : at);
    return this.#mainRow;
  }

  /** Appends the row to `writer` in wire form with the values that were set on its images, copying what was not. */
  write(writer: ByteWriter, row: Row<Shape>, old: Row<Shape> | null): void {
    const { block, index } = this;
    const offset = block.offsets[index]!;
    const bytes = offset < 0 ? block.patches! : block.bytes;
    let at = offset < 0 ? ~offset : offset;
    if (this.#hasOld) at = writeImage(writer, bytes, at, block.table, old?.changes ?? null);
    writeImage(writer, bytes, at, block.table, row.changes);
  }
}

/** The rows of a block, one after another; each is valid until the next. */
export function* rowsOf<Shape extends object = RowShape>(block: RowBlock): Generator<Row<Shape>> {
  const cursor = new RowCursor<Shape>();
  for (let i = 0; i < block.rowCount; i++) yield cursor.moveTo(block, i);
}

/** A value for `writeTuple`: text, null, or undefined for an unchanged TOAST value. */
export function writeTuple(writer: ByteWriter, values: readonly ColumnValue[]): void {
  writer.writeByte(values.length >> 8);
  writer.writeByte(values.length & 0xff);
  for (const value of values) writeValue(writer, value);
}

function writeValue(writer: ByteWriter, value: ColumnValue): void {
  if (value === undefined || value === null) {
    writer.writeByte(value === null ? VALUE_NULL : VALUE_UNCHANGED);
    return;
  }
  const bytes = Buffer.byteLength(value);
  const buffer = writer.ensure(5 + bytes);
  buffer[writer.length] = VALUE_TEXT;
  buffer.writeUInt32BE(bytes, writer.length + 1);
  buffer.write(value, writer.length + 5, 'utf8');
  writer.length += 5 + bytes;
}

/** Copies the image at `at` with `changes` (by column of the table) and returns where it ends. */
function writeImage(writer: ByteWriter, bytes: Buffer, at: number, table: Table, changes: readonly ColumnValue[] | null): number {
  const end = tupleEnd(bytes, at + 1);
  if (changes === null) {
    writer.writeBytes(bytes.subarray(at, end));
    return end;
  }
  const tuple = scratch;
  tuple.read(bytes, at + 1);
  const byWire = new Array<ColumnValue>(tuple.count);
  table.columns.forEach((column, index) => {
    byWire[column.wireIndex] = changes[index];
  });
  writer.writeBytes(bytes.subarray(at, at + 3));
  for (let i = 0; i < tuple.count; i++) {
    const changed = byWire[i];
    if (changed !== undefined) writeValue(writer, changed);
    else if (tuple.lengths[i]! < 0) writer.writeByte(tuple.lengths[i] === LENGTH_NULL ? VALUE_NULL : VALUE_UNCHANGED);
    else writer.writeBytes(bytes.subarray(tuple.starts[i]! - 5, tuple.starts[i]! + tuple.lengths[i]!));
  }
  return end;
}

const scratch = new TupleIndex();
