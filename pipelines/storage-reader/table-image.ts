import { MillraceError } from '../../lib/errors.ts';
import { comparePositions, formatPosition, type Position } from '../../lib/events/index.ts';
import type { Change, TableChanges, TableVersion } from './change.ts';
import { KeyedRows } from './keyed-rows.ts';
import { ownValue, type RowSet, type RowValues } from './row-set.ts';
import type { TableName } from './table-name.ts';
import { WholeRows } from './whole-rows.ts';

/**
 * A table's rows in memory, kept up to date by its changes.
 *
 * Rows written before a column existed get its constant default; an unchanged TOAST value keeps what the row had; an update that changes the key moves
 * the row from the old key.
 */
export class TableImage {
  #version: TableVersion | null = null;
  #rows: RowSet = new WholeRows([]);
  readonly #mayLack: boolean;
  #removedUpTo: Position | null = null;

  /** @param mayLack takes a table whose beginning clean-up has removed too: `removedUpTo` says so then. Default false: `apply` refuses it. */
  constructor({ mayLack = false }: { readonly mayLack?: boolean } = {}) {
    this.#mayLack = mayLack;
  }

  /** Rows that changed last at or before this position are missing, because clean-up has removed these changes; null when the rows are whole. */
  get removedUpTo(): Position | null {
    return this.#removedUpTo;
  }

  /** The version of the last changes; null before the first. */
  get version(): TableVersion | null {
    return this.#version;
  }

  get rowCount(): number {
    return this.#rows.size;
  }

  /** The rows, each in the order of the version's columns, in no particular order. A value that no change ever brought is undefined. */
  rows(): Iterable<RowValues> {
    return this.#rows.rows();
  }

  /** The row with this key (in the order of the version's key columns); undefined when there is none, or no key. */
  get(key: readonly (string | null)[]): RowValues | undefined {
    return this.#rows.get(key);
  }

  /** Applies what comes next of the table. Throws MR_HISTORY_REMOVED when changes before it are missing. */
  apply({ version, changes, removedUpTo, ...name }: Pick<TableChanges, 'version' | 'changes' | 'removedUpTo'> & Partial<TableName>): void {
    if (removedUpTo !== undefined) {
      if (!this.#mayLack) throw new MillraceError('MR_HISTORY_REMOVED', lackOf(name, removedUpTo));
      this.#removedUpTo = removedUpTo;
    }
    if (this.#version?.version !== version.version) this.#moveTo(version);
    for (const change of changes) {
      if (change.op === 'T') {
        this.#rows = emptyRows(version);
        // What was there before does not matter any more.
        if (this.#removedUpTo !== null && comparePositions(change, this.#removedUpTo) > 0) this.#removedUpTo = null;
      } else apply(this.#rows, version, change);
    }
  }

  #moveTo(version: TableVersion): void {
    const before = this.#version?.columns ?? [];
    const previous = this.#rows;
    this.#version = version;
    if (isSame(before, version.columns) && !version.startsEmpty) return;
    this.#rows = emptyRows(version);
    if (version.startsEmpty) return;
    const sources = version.columns.map(({ ColumnName }) => {
      const from = before.findIndex((column) => column.ColumnName === ColumnName);
      return { from, byDefault: version.defaults.get(ColumnName) ?? null };
    });
    for (const row of previous.rows()) this.#rows.add(sources.map(({ from, byDefault }) => (from < 0 ? byDefault : row[from])));
  }
}

function lackOf({ schema = '', table = '' }: Partial<TableName>, removedUpTo: Position) {
  const reason = 'its rows cannot be told from what is left';
  return { table: `${schema}.${table}`, uri: 'the target', position: formatPosition(removedUpTo), reason };
}

function emptyRows({ columns, keyColumns }: TableVersion): RowSet {
  const names = columns.map(({ ColumnName }) => ColumnName);
  if (keyColumns.length === 0) return new WholeRows(names);
  return new KeyedRows(keyColumns.map((name) => names.indexOf(name)));
}

function apply(rows: RowSet, { columns }: TableVersion, { op, old, data }: Change): void {
  const before = old === null ? null : columns.map(({ ColumnName }) => ownValue(old, ColumnName));
  const after = data === null ? null : columns.map(({ ColumnName }) => ownValue(data, ColumnName));
  if (op === 'I') rows.add(after!);
  else if (op === 'D') rows.remove((before ?? after)!);
  else rows.update(before, after!);
}

function isSame(a: TableVersion['columns'], b: TableVersion['columns']): boolean {
  const shape = (columns: TableVersion['columns']) => JSON.stringify(columns.map(({ ColumnName, ColumnIsPk }) => [ColumnName, ColumnIsPk]));
  return shape(a) === shape(b);
}
