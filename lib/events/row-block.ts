import { MillraceError } from '../errors.ts';
import { ByteWriter } from './byte-writer.ts';
import { MAX_ORDINAL, type Position } from './position.ts';
import { type Table, tableName } from './table.ts';
import { rowEnd } from './wire.ts';

/** The rows of a block from `firstRow` up to the next run belong to this transaction. */
export interface TransactionRun {
  readonly commitTs: bigint;
  /** Commit time, microseconds since 1970 UTC. */
  readonly commitTimeUs: bigint;
  readonly firstRow: number;
}

/**
 * Rows of one table version in position order, over wire bytes that nobody has decoded (`wire.ts` has the layout).
 *
 * Row `i` is operation `ops[i]` at `offsets[i]` of `bytes`; a negative offset `~o` points at `o` of `patches`, where a stage put the rows that it
 * changed. `ordinals[i]` and the run that covers `i` are its position. A block may span transactions, and a transaction may span blocks.
 * Blocks are immutable: slices and selections share the bytes. A block has at least one row, because it has a first and a last position; making one of
 * none throws MR_EMPTY_BLOCK.
 */
export class RowBlock {
  readonly table: Table;
  readonly bytes: Buffer;
  readonly patches: Buffer | null;
  readonly ops: Uint8Array;
  readonly offsets: Int32Array;
  readonly ordinals: Uint32Array;
  /** At least one; `firstRow` ascending from 0. */
  readonly transactions: readonly TransactionRun[];

  constructor(parts: RowBlockParts) {
    if (parts.ops.length === 0) throw new MillraceError('MR_EMPTY_BLOCK', { table: tableName(parts.table) });
    this.table = parts.table;
    this.bytes = parts.bytes;
    this.patches = parts.patches ?? null;
    this.ops = parts.ops;
    this.offsets = parts.offsets;
    this.ordinals = parts.ordinals;
    this.transactions = parts.transactions;
  }

  get rowCount(): number {
    return this.ops.length;
  }

  /** Bytes this block keeps alive: whole buffers, however little of them it uses. */
  get retainedBytes(): number {
    return this.bytes.length + (this.patches?.length ?? 0);
  }

  get first(): Position {
    return this.positionOf(0);
  }

  get last(): Position {
    return this.positionOf(this.rowCount - 1);
  }

  positionOf(row: number): Position {
    return { commitTs: this.transactionOf(row).commitTs, ordinal: this.ordinals[row]! };
  }

  /** The transaction of a row, by bisection. A loop over all rows walks `transactions` beside them instead. */
  transactionOf(row: number): TransactionRun {
    return this.transactions[this.#runOf(row)]!;
  }

  /** Rows `from` … `to − 1` (at least one), sharing the bytes. */
  slice(from: number, to: number): RowBlock {
    if (from === 0 && to === this.rowCount) return this;
    const runs: TransactionRun[] = [];
    for (let i = this.#runOf(from); i < this.transactions.length && this.transactions[i]!.firstRow < to; i++) {
      const run = this.transactions[i]!;
      runs.push({ ...run, firstRow: Math.max(0, run.firstRow - from) });
    }
    return new RowBlock({
      ...this.#parts(),
      ops: this.ops.subarray(from, to),
      offsets: this.offsets.subarray(from, to),
      ordinals: this.ordinals.subarray(from, to),
      transactions: runs,
    });
  }

  /** The given rows (ascending, at least one), sharing the bytes. */
  select(rows: ArrayLike<number>): RowBlock {
    const builder = new RowBlockBuilder(rows.length);
    let run = 0;
    let begun = -1;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      while (run + 1 < this.transactions.length && this.transactions[run + 1]!.firstRow <= row) run++;
      if (begun !== run) builder.beginTransaction(this.transactions[run]!.commitTs, this.transactions[run]!.commitTimeUs);
      begun = run;
      builder.append(this.ops[row]!, this.offsets[row]!, this.ordinals[row]!);
    }
    return builder.build(this.table, this.bytes, this.patches);
  }

  /** The same rows as rows of another version of the table: columns point into the same tuples. */
  withTable(table: Table): RowBlock {
    return new RowBlock({ ...this.#parts(), table });
  }

  /** The same rows with other places: what a stage that rewrote some of them builds. */
  withPatches(patches: Buffer, offsets: Int32Array): RowBlock {
    return new RowBlock({ ...this.#parts(), patches, offsets });
  }

  /** The same rows over a buffer of their own, if they use less than half of what they pin; else this block. */
  compact(): RowBlock {
    let used = 0;
    for (let i = 0; i < this.rowCount; i++) used += this.#lengthOf(i);
    if (used * 2 >= this.retainedBytes) return this;
    const writer = new ByteWriter(used);
    const offsets = new Int32Array(this.rowCount);
    for (let i = 0; i < this.rowCount; i++) {
      const offset = this.offsets[i]!;
      const at = offset < 0 ? ~offset : offset;
      offsets[i] = writer.length;
      writer.writeBytes((offset < 0 ? this.patches! : this.bytes).subarray(at, at + this.#lengthOf(i)));
    }
    // A slice's index arrays pin those of the whole block too.
    const { ops, ordinals } = this;
    return new RowBlock({ ...this.#parts(), bytes: writer.buffer, patches: null, ops: ops.slice(), offsets, ordinals: ordinals.slice() });
  }

  #lengthOf(row: number): number {
    const offset = this.offsets[row]!;
    const at = offset < 0 ? ~offset : offset;
    return rowEnd(offset < 0 ? this.patches! : this.bytes, at, this.ops[row]!) - at;
  }

  #runOf(row: number): number {
    let low = 0;
    let high = this.transactions.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.transactions[middle]!.firstRow <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #parts(): RowBlockParts {
    return {
      table: this.table,
      bytes: this.bytes,
      patches: this.patches,
      ops: this.ops,
      offsets: this.offsets,
      ordinals: this.ordinals,
      transactions: this.transactions,
    };
  }
}

interface RowBlockParts {
  readonly table: Table;
  readonly bytes: Buffer;
  readonly patches?: Buffer | null;
  readonly ops: Uint8Array;
  readonly offsets: Int32Array;
  readonly ordinals: Uint32Array;
  readonly transactions: readonly TransactionRun[];
}

/** Gathers rows of one table; `build` gives them away as a block and starts again from empty. Allocates per block, not per row. */
export class RowBlockBuilder {
  #ops: Uint8Array;
  #offsets: Int32Array;
  #ordinals: Uint32Array;
  #transactions: TransactionRun[] = [];
  #commitTs = 0n;
  #commitTimeUs = 0n;
  #begun = false;
  rowCount = 0;

  constructor(capacity = 64) {
    this.#ops = new Uint8Array(Math.max(capacity, 1));
    this.#offsets = new Int32Array(Math.max(capacity, 1));
    this.#ordinals = new Uint32Array(Math.max(capacity, 1));
  }

  /** Rows appended from now on belong to this transaction; it holds over `build`. */
  beginTransaction(commitTs: bigint, commitTimeUs: bigint): void {
    this.#commitTs = commitTs;
    this.#commitTimeUs = commitTimeUs;
    this.#begun = false;
  }

  append(op: number, offset: number, ordinal: number): void {
    const row = this.rowCount;
    if (row === this.#ops.length) this.#grow();
    if (ordinal > MAX_ORDINAL) throw new MillraceError('MR_COUNTER_OVERFLOW', { counter: 'an ordinal', bound: MAX_ORDINAL });
    if (!this.#begun) {
      this.#transactions.push({ commitTs: this.#commitTs, commitTimeUs: this.#commitTimeUs, firstRow: row });
      this.#begun = true;
    }
    this.#ops[row] = op;
    this.#offsets[row] = offset;
    this.#ordinals[row] = ordinal;
    this.rowCount = row + 1;
  }

  /** The block of the appended rows (at least one), whose offsets are into `bytes` (and, where negative, `patches`). */
  build(table: Table, bytes: Buffer, patches: Buffer | null = null): RowBlock {
    const block = new RowBlock({
      table,
      bytes,
      patches,
      ops: this.#ops.slice(0, this.rowCount),
      offsets: this.#offsets.slice(0, this.rowCount),
      ordinals: this.#ordinals.slice(0, this.rowCount),
      transactions: this.#transactions,
    });
    this.#transactions = [];
    this.#begun = false;
    this.rowCount = 0;
    return block;
  }

  #grow(): void {
    const capacity = this.#ops.length * 2;
    const ops = new Uint8Array(capacity);
    ops.set(this.#ops);
    this.#ops = ops;
    const offsets = new Int32Array(capacity);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const ordinals = new Uint32Array(capacity);
    ordinals.set(this.#ordinals);
    this.#ordinals = ordinals;
  }
}
