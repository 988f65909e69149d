import type { RebuiltTable } from '../pipelines/index.ts';

/** A row as the source prints it, in the order of the compared columns. */
export type SourceRow = readonly (string | null)[];

export interface SourceTable {
  readonly schema: string;
  readonly name: string;
  /** The published columns: only they count. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
}

export interface Verdict {
  readonly isIdentical: boolean;
  readonly sourceRows: number;
  readonly rebuiltRows: number;
  /** In words, on one line; empty when identical. */
  readonly firstDifference: string;
}

/**
 * Compares a table's rows with what its files rebuild: by key, or as multisets where there is none.
 *
 * A column that the files do not know counts as null there: it may have been added and never written since.
 *
 * @param rebuilt null when the target has no such table.
 * @param fromSourceText the text that a file's reader gives for a value that the source prints as `text`.
 */
export async function compareTable(
  table: SourceTable,
  rebuilt: RebuiltTable | null,
  rows: AsyncIterable<readonly SourceRow[]>,
  fromSourceText: (type: string, text: string) => string,
): Promise<Verdict> {
  const comparison =
    rebuilt !== null && keyIndexes(table, rebuilt).length > 0 ? new ByKey(table, rebuilt) : new AsMultisets(table, rebuilt);
  let sourceRows = 0;
  for await (const batch of rows) {
    sourceRows += batch.length;
    for (const row of batch) {
      comparison.next(row.map((value, index) => (value === null ? null : fromSourceText(table.columns[index]!.type, value))));
    }
  }
  comparison.end();
  const rebuiltRows = rebuilt?.rowCount ?? 0;
  const counted = sourceRows === rebuiltRows ? '' : `the source has ${sourceRows} rows, the files ${rebuiltRows}`;
  const firstDifference = rebuilt === null ? NOTHING_THERE : (comparison.firstDifference ?? counted);
  return { isIdentical: firstDifference === '', sourceRows, rebuiltRows, firstDifference };
}

/** The sink writes a captured table's schema file with its first row, and with its snapshot also without any. */
const NOTHING_THERE = 'the target has nothing of it: no snapshot was taken of it, and no change of it was captured yet';

interface Comparison {
  readonly firstDifference: string | null;
  next(row: SourceRow): void;
  end(): void;
}

/** Where the rebuilt table has each column of the source; −1 where it has none. */
function columnIndexes({ columns }: SourceTable, rebuilt: RebuiltTable): number[] {
  return columns.map(({ name }) => rebuilt.columns.findIndex(({ ColumnName }) => ColumnName === name));
}

/** Where the source's row has the key of the rebuilt table; empty when there is no key, or when it is not published whole. */
function keyIndexes({ columns }: SourceTable, { keyColumns }: RebuiltTable): number[] {
  const indexes = keyColumns.map((key) => columns.findIndex(({ name }) => name === key));
  return indexes.includes(-1) ? [] : indexes;
}

class ByKey implements Comparison {
  firstDifference: string | null = null;
  readonly #table: SourceTable;
  readonly #rebuilt: RebuiltTable;
  readonly #indexes: readonly number[];
  readonly #key: readonly number[];
  readonly #seen = new Set<unknown>();

  constructor(table: SourceTable, rebuilt: RebuiltTable) {
    this.#table = table;
    this.#rebuilt = rebuilt;
    this.#indexes = columnIndexes(table, rebuilt);
    this.#key = keyIndexes(table, rebuilt);
  }

  next(row: SourceRow): void {
    const key = this.#key.map((index) => row[index]!);
    const found = this.#rebuilt.get(key);
    if (found === undefined) {
      this.firstDifference ??= `row ${this.#nameOf(key)} is missing in the files`;
      return;
    }
    this.#seen.add(found);
    if (this.firstDifference !== null) return;
    for (const [index, value] of row.entries()) {
      const at = this.#indexes[index]!;
      const written = at < 0 ? null : found[at];
      if (written === value) continue;
      const note = at < 0 ? ' (the files do not know the column)' : '';
      const { name } = this.#table.columns[index]!;
      this.firstDifference = `row ${this.#nameOf(key)}: ${shown(name)} is ${shown(value)}, in the files ${shown(written)}${note}`;
      return;
    }
  }

  end(): void {
    if (this.firstDifference !== null || this.#seen.size === this.#rebuilt.rowCount) return;
    const { columns, keyColumns } = this.#rebuilt;
    const places = keyColumns.map((key) => columns.findIndex(({ ColumnName }) => ColumnName === key));
    for (const row of this.#rebuilt.rows()) {
      if (this.#seen.has(row)) continue;
      this.firstDifference = `row ${this.#nameOf(places.map((place) => row[place]))} is in the files only`;
      return;
    }
  }

  #nameOf(key: readonly (string | null | undefined)[]): string {
    return `(${this.#rebuilt.keyColumns.map((name, index) => `${shown(name)}=${shown(key[index])}`).join(', ')})`;
  }
}

class AsMultisets implements Comparison {
  firstDifference: string | null = null;
  readonly #table: SourceTable;
  /** How often each row is in the files and not yet met in the source. */
  readonly #left = new Map<string, number>();

  constructor(table: SourceTable, rebuilt: RebuiltTable | null) {
    this.#table = table;
    if (rebuilt === null) return;
    const indexes = columnIndexes(table, rebuilt);
    for (const row of rebuilt.rows()) {
      const text = textOf(indexes.map((index) => (index < 0 ? null : row[index])));
      this.#left.set(text, (this.#left.get(text) ?? 0) + 1);
    }
  }

  next(row: SourceRow): void {
    const text = textOf(row);
    const count = this.#left.get(text) ?? 0;
    if (count === 0) this.firstDifference ??= `row ${this.#nameOf(row)} is in the source more often than in the files`;
    else if (count === 1) this.#left.delete(text);
    else this.#left.set(text, count - 1);
  }

  end(): void {
    const [left] = this.#left.keys();
    if (left === undefined) return;
    const row = (JSON.parse(left) as (string | null | 0)[]).map((value) => (value === 0 ? undefined : value));
    this.firstDifference ??= `row ${this.#nameOf(row)} is in the files more often than in the source`;
  }

  #nameOf(row: readonly (string | null | undefined)[]): string {
    return `(${this.#table.columns.map(({ name }, index) => `${shown(name)}=${shown(row[index])}`).join(', ')})`.slice(0, ROW_LENGTH_MAX);
  }
}

function textOf(values: readonly (string | null | undefined)[]): string {
  return JSON.stringify(values.map((value) => (value === undefined ? 0 : value)));
}

const VALUE_LENGTH_MAX = 60;
const ROW_LENGTH_MAX = 400;

/** A name or value on one line, without tabs; a long one is cut. */
function shown(value: string | null | undefined): string {
  if (value === undefined) return '(never sent)';
  if (value === null) return 'null';
  const cut = value.length > VALUE_LENGTH_MAX ? `${value.slice(0, VALUE_LENGTH_MAX)}… (${value.length} characters)` : value;
  return /^[\w.-]+$/.test(cut) ? cut : JSON.stringify(cut);
}
