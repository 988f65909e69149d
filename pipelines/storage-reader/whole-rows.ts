import { merged, type RowSet, type RowValues, textOf } from './row-set.ts';

interface Entry {
  readonly values: RowValues;
  count: number;
}

/** Rows of a table without a key: a multiset. A row is found by its whole old image, or by whichever columns an old image has. */
export class WholeRows implements RowSet {
  readonly #columns: readonly string[];
  readonly #rows = new Map<string, Entry>();
  /** For each set of columns that an old image came with: entries by the values of these columns. Made when first needed. */
  readonly #partial = new Map<string, { readonly indexes: readonly number[]; readonly entries: Map<string, Set<Entry>> }>();
  size = 0;

  constructor(columns: readonly string[]) {
    this.#columns = columns;
  }

  *rows(): Generator<RowValues> {
    for (const { values, count } of this.#rows.values()) for (let i = 0; i < count; i++) yield values;
  }

  get(): undefined {
    return undefined;
  }

  add(row: RowValues): void {
    this.size++;
    const text = textOf(row);
    const found = this.#rows.get(text);
    if (found !== undefined) {
      found.count++;
      return;
    }
    const entry = { values: row, count: 1 };
    this.#rows.set(text, entry);
    for (const { indexes, entries } of this.#partial.values()) addTo(entries, textOf(pick(row, indexes)), entry);
  }

  remove(before: RowValues): void {
    this.#take(before);
  }

  /**
   * Without an old image nothing but the row itself can have been meant: it did not change. An old image that lacks columns lacks those that did not change
   * (`only-output-updated-columns`).
   */
  update(before: RowValues | null, after: RowValues): void {
    if (before === null || before.every((value) => value === undefined)) return;
    this.add(merged(this.#take(merged(after, before)), after));
  }

  #take(before: RowValues): RowValues | undefined {
    const entry = before.includes(undefined) ? this.#findPartial(before) : this.#rows.get(textOf(before));
    if (entry === undefined) return undefined;
    this.size--;
    if (--entry.count > 0) return entry.values;
    this.#rows.delete(textOf(entry.values));
    for (const { indexes, entries } of this.#partial.values()) removeFrom(entries, textOf(pick(entry.values, indexes)), entry);
    return entry.values;
  }

  #findPartial(before: RowValues): Entry | undefined {
    const indexes = this.#columns.flatMap((_, index) => (before[index] === undefined ? [] : [index]));
    const name = indexes.join();
    let index = this.#partial.get(name);
    if (index === undefined) {
      index = { indexes, entries: new Map() };
      for (const entry of this.#rows.values()) addTo(index.entries, textOf(pick(entry.values, indexes)), entry);
      this.#partial.set(name, index);
    }
    const [first] = index.entries.get(textOf(pick(before, indexes))) ?? [];
    return first;
  }
}

function pick(values: RowValues, indexes: readonly number[]): RowValues {
  return indexes.map((index) => values[index]);
}

function addTo(entries: Map<string, Set<Entry>>, key: string, entry: Entry): void {
  const found = entries.get(key);
  if (found === undefined) entries.set(key, new Set([entry]));
  else found.add(entry);
}

function removeFrom(entries: Map<string, Set<Entry>>, key: string, entry: Entry): void {
  const found = entries.get(key);
  found?.delete(entry);
  if (found?.size === 0) entries.delete(key);
}
