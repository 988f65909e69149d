import {
  ByteWriter,
  type Column,
  type DmlEvent,
  IMAGE_KEY,
  IMAGE_NEW,
  LENGTH_UNCHANGED,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  type RowBlock,
  RowBlockBuilder,
  type Table,
  TupleIndex,
  tupleEnd,
  VALUE_NULL,
  VALUE_UNCHANGED,
  withRows,
} from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { dataStage } from './per-event.ts';

/**
 * Turns an update that changes a row's key into a delete of the old key and an insert of the new one.
 *
 * In plain words: targets that find rows by their key see the row leave and come back, instead of a key they never heard of.
 *
 * ![splitKeyUpdates](../docs/operators/split-key-updates.svg)
 *
 * Both take the update's place and its position. The key is the replica identity's; under a full identity it is the primary key, and without one nothing is
 * split unless `keyless` says that the whole row is the key then. Keys are compared as the bytes that the source sent. Unchanged TOAST values of the new row are filled from the old image; an update in which one
 * remains is never split (P9), nor is one without an old image. Nothing is copied but the rows that were filled.
 *
 * @example
 * ```ts
 * import { splitKeyUpdates } from 'millrace/operators';
 *
 * const stages = [splitKeyUpdates()];
 * const forCsv = [splitKeyUpdates({ keyless: 'split' })]; // csv has no old image, so rows without a key are split too
 * ```
 *
 * @returns a stage.
 */
export function splitKeyUpdates({ keyless = 'keep' }: SplitKeyOptions = {}): Stage {
  return dataStage('splitKeyUpdates', { keyless }, () => {
    const splitter = new Splitter(keyless);
    return (event) => (event.type === 'dml' ? splitter.split(event) : event);
  });
}

export interface SplitKeyOptions {
  /** Updates of tables without a key under a full identity: `split` them, for formats that have no old image, or `keep` them. Default `keep`. */
  readonly keyless?: 'keep' | 'split';
}

/** What becomes of a row. FILL is SPLIT with an inserted row that takes values from the old image. */
const KEEP = 0;
const SPLIT = 1;
const FILL = 2;
type Plan = typeof KEEP | typeof SPLIT | typeof FILL;

class Splitter {
  readonly #keyless: 'keep' | 'split';
  readonly #old = new TupleIndex();
  readonly #new = new TupleIndex();
  readonly #writer = new ByteWriter();
  readonly #keys = new WeakMap<Table, readonly Column[]>();

  constructor(keyless: 'keep' | 'split') {
    this.#keyless = keyless;
  }

  split(event: DmlEvent): DmlEvent {
    const { rows } = event;
    const keys = this.#keysOf(rows.table);
    const first = keys.length === 0 ? rows.rowCount : this.#firstSplit(rows, keys);
    if (first === rows.rowCount) return event;
    const builder = new RowBlockBuilder(rows.rowCount + 1);
    let patches = rows.patches;
    let isPatching = false;
    let run = -1;
    for (let i = 0; i < rows.rowCount; i++) {
      if (rows.transactions[run + 1]?.firstRow === i) {
        run++;
        builder.beginTransaction(rows.transactions[run]!.commitTs, rows.transactions[run]!.commitTimeUs);
      }
      const offset = rows.offsets[i]!;
      const ordinal = rows.ordinals[i]!;
      const plan = i < first ? KEEP : this.#plan(rows, i, keys);
      if (plan === KEEP) {
        builder.append(rows.ops[i]!, offset, ordinal);
        continue;
      }
      builder.append(OP_DELETE, offset, ordinal);
      if (plan === FILL && !isPatching) {
        isPatching = true;
        this.#writer.length = 0;
        if (rows.patches !== null) this.#writer.writeBytes(rows.patches);
      }
      builder.append(OP_INSERT, plan === FILL ? this.#writeFilled(rows, offset) : newImageOf(rows, offset), ordinal);
    }
    if (isPatching) patches = this.#writer.take();
    return withRows(event, builder.build(rows.table, rows.bytes, patches));
  }

  #keysOf(table: Table): readonly Column[] {
    let keys = this.#keys.get(table);
    if (keys === undefined) {
      keys = keyColumns(table, this.#keyless);
      this.#keys.set(table, keys);
    }
    return keys;
  }

  #firstSplit(rows: RowBlock, keys: readonly Column[]): number {
    let row = 0;
    while (row < rows.rowCount && this.#plan(rows, row, keys) === KEEP) row++;
    return row;
  }

  #plan(rows: RowBlock, row: number, keys: readonly Column[]): Plan {
    if (rows.ops[row] !== OP_UPDATE) return KEEP;
    const { bytes, at } = placeOf(rows, rows.offsets[row]!);
    if (bytes[at] === IMAGE_NEW) return KEEP;
    this.#new.read(bytes, this.#old.read(bytes, at + 1) + 1);
    if (!keys.some(({ wireIndex }) => this.#differs(bytes, wireIndex))) return KEEP;
    let plan: Plan = SPLIT;
    for (const { wireIndex } of rows.table.columns) {
      if (this.#new.lengths[wireIndex] !== LENGTH_UNCHANGED) continue;
      if (!this.#isInOld(bytes[at]!, wireIndex)) return KEEP;
      plan = FILL;
    }
    return plan;
  }

  #differs(bytes: Buffer, column: number): boolean {
    const length = this.#new.lengths[column]!;
    if (length === LENGTH_UNCHANGED) return false;
    if (length !== this.#old.lengths[column]) return true;
    if (length < 0) return false;
    const before = this.#old.starts[column]!;
    const after = this.#new.starts[column]!;
    return bytes.compare(bytes, before, before + length, after, after + length) !== 0;
  }

  /** Whether the old image says what the column is; what a key-only image holds as null is absent. */
  #isInOld(marker: number, column: number): boolean {
    const length = this.#old.lengths[column]!;
    return marker === IMAGE_KEY ? length >= 0 : length !== LENGTH_UNCHANGED;
  }

  /** Appends the new image, which `#plan` has just indexed, with the values that it lacks. */
  #writeFilled(rows: RowBlock, offset: number): number {
    const { bytes, at } = placeOf(rows, offset);
    const writer = this.#writer;
    const written = ~writer.length;
    writer.writeByte(IMAGE_NEW);
    writer.writeByte(this.#new.count >> 8);
    writer.writeByte(this.#new.count & 0xff);
    for (let i = 0; i < this.#new.count; i++) {
      const isFromOld = this.#new.lengths[i] === LENGTH_UNCHANGED && this.#isInOld(bytes[at]!, i);
      const { starts, lengths } = isFromOld ? this.#old : this.#new;
      const length = lengths[i]!;
      if (length < 0) writer.writeByte(length === LENGTH_UNCHANGED ? VALUE_UNCHANGED : VALUE_NULL);
      else writer.writeBytes(bytes.subarray(starts[i]! - VALUE_HEAD_BYTES, starts[i]! + length));
    }
    return written;
  }
}

/** Kind and length before a value's text. */
const VALUE_HEAD_BYTES = 5;

function keyColumns({ columns, replicaIdentity }: Table, keyless: 'keep' | 'split'): readonly Column[] {
  if (replicaIdentity !== 'full') return columns.filter(({ isIdentity }) => isIdentity);
  const keys = columns.filter(({ isPrimaryKey }) => isPrimaryKey);
  return keys.length === 0 && keyless === 'split' ? columns : keys;
}

function placeOf(rows: RowBlock, offset: number): { bytes: Buffer; at: number } {
  return offset < 0 ? { bytes: rows.patches!, at: ~offset } : { bytes: rows.bytes, at: offset };
}

/** The offset of the new image of an update that has an old one. */
function newImageOf(rows: RowBlock, offset: number): number {
  const { bytes, at } = placeOf(rows, offset);
  const newAt = tupleEnd(bytes, at + 1);
  return offset < 0 ? ~newAt : newAt;
}
