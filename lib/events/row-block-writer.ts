import { ByteWriter } from './byte-writer.ts';
import { type ColumnValue, writeTuple } from './row.ts';
import { type RowBlock, RowBlockBuilder } from './row-block.ts';
import type { Table } from './table.ts';
import { IMAGE_KEY, IMAGE_NEW, IMAGE_OLD, OP_DELETE, OP_INSERT, OP_UPDATE } from './wire.ts';

/** A row's values by column name. A column that is left out was not sent: an unchanged TOAST value. */
export type RowValues = Readonly<Record<string, ColumnValue>>;

/**
 * Builds row blocks from values: for sources that have no wire bytes, and for tests. Ordinals count up by one within a transaction, over `build`
 * too, unless one is given.
 */
export class RowBlockWriter {
  readonly #table: Table;
  readonly #bytes = new ByteWriter(256);
  readonly #builder = new RowBlockBuilder();
  readonly #wireWidth: number;
  #nextOrdinal = 0;

  constructor(table: Table) {
    this.#table = table;
    this.#wireWidth = table.columns.reduce((width, { wireIndex }) => Math.max(width, wireIndex + 1), 0);
  }

  get rowCount(): number {
    return this.#builder.rowCount;
  }

  beginTransaction(commitTs: bigint, commitTimeUs = 0n, firstOrdinal = 0): this {
    this.#builder.beginTransaction(commitTs, commitTimeUs);
    this.#nextOrdinal = firstOrdinal;
    return this;
  }

  insert(values: RowValues, ordinal = this.#nextOrdinal): this {
    return this.#append(OP_INSERT, ordinal, [[IMAGE_NEW, values]]);
  }

  /** `old` is the whole old row, or with replica identity `default` its key; null when the source sent none. */
  update(old: RowValues | null, values: RowValues, ordinal = this.#nextOrdinal): this {
    return this.#append(OP_UPDATE, ordinal, old === null ? [[IMAGE_NEW, values]] : [this.#oldImage(old), [IMAGE_NEW, values]]);
  }

  delete(old: RowValues, ordinal = this.#nextOrdinal): this {
    return this.#append(OP_DELETE, ordinal, [this.#oldImage(old)]);
  }

  /** The block of the rows so far (at least one); the writer starts again from empty. */
  build(): RowBlock {
    return this.#builder.build(this.#table, this.#bytes.take());
  }

  #oldImage(values: RowValues): [marker: number, values: RowValues] {
    return [this.#table.replicaIdentity === 'full' ? IMAGE_OLD : IMAGE_KEY, values];
  }

  #append(op: number, ordinal: number, images: readonly (readonly [marker: number, values: RowValues])[]): this {
    const offset = this.#bytes.length;
    for (const [marker, values] of images) {
      const wire = new Array<ColumnValue>(this.#wireWidth).fill(null);
      for (const { name, wireIndex, isIdentity } of this.#table.columns) {
        // Own values only: a column may be called `constructor`.
        const value = Object.hasOwn(values, name) ? values[name] : undefined;
        wire[wireIndex] = marker === IMAGE_KEY && !isIdentity ? null : value;
      }
      this.#bytes.writeByte(marker);
      writeTuple(this.#bytes, wire);
    }
    this.#builder.append(op, offset, ordinal);
    this.#nextOrdinal = ordinal + 1;
    return this;
  }
}
