import { merged, type RowSet, type RowValues, textOf } from './row-set.ts';

/** Rows told apart by key columns. Adding a key that is there replaces its row, as replays do. */
export class KeyedRows implements RowSet {
  readonly #keyIndexes: readonly number[];
  readonly #rows = new Map<string, RowValues>();

  constructor(keyIndexes: readonly number[]) {
    this.#keyIndexes = keyIndexes;
  }

  get size(): number {
    return this.#rows.size;
  }

  rows(): Iterable<RowValues> {
    return this.#rows.values();
  }

  get(key: readonly (string | null)[]): RowValues | undefined {
    return this.#rows.get(this.#textOfKey(key));
  }

  add(row: RowValues): void {
    this.#rows.set(this.#keyOf(row), row);
  }

  remove(before: RowValues): void {
    this.#rows.delete(this.#keyOf(before));
  }

  update(before: RowValues | null, after: RowValues): void {
    const keys = this.#keyIndexes;
    const newKey = keys.map((index) => (after[index] === undefined ? before?.[index] : after[index]));
    const oldKey = before === null ? newKey : keys.map((index, i) => (before[index] === undefined ? newKey[i] : before[index]));
    const from = this.#textOfKey(oldKey);
    const row = merged(this.#rows.get(from), after);
    this.#rows.delete(from);
    this.#rows.set(this.#textOfKey(newKey), row);
  }

  #keyOf(row: RowValues): string {
    return this.#textOfKey(this.#keyIndexes.map((index) => row[index]));
  }

  /** One column, the usual case, is its own text; a prefix keeps null and longer keys apart from it. */
  #textOfKey(key: RowValues): string {
    return key.length === 1 && typeof key[0] === 'string' ? `=${key[0]}` : textOf(key);
  }
}
