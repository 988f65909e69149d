import type { SchemaFileColumn } from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { KeyedRows } from './keyed-rows.ts';
import { type Change, type ReadOptions, tableParts } from './read-table.ts';
import { ownValue, type RowSet, type RowValues } from './row-set.ts';
import { StoredTarget, type TableName } from './stored-target.ts';
import { WholeRows } from './whole-rows.ts';

/** A table as its files say it stood at the checkpoint. */
export interface RebuiltTable extends TableName {
  /** The checkpoint it was rebuilt at (`upTo`, if that is earlier). */
  readonly checkpointTs: bigint;
  /** The columns of its last version, in order. */
  readonly columns: readonly SchemaFileColumn[];
  /** The names of the columns that tell rows apart; empty for a table without a key, whose rows are a multiset. */
  readonly keyColumns: readonly string[];
  readonly rowCount: number;
  /** The rows, each in the order of `columns`, in no particular order. A value that no change ever brought is undefined. */
  rows(): Iterable<RowValues>;
  /** The row with this key (in the order of `keyColumns`); undefined when there is none, or no key. */
  get(key: readonly (string | null)[]): RowValues | undefined;
}

/**
 * Applies all changes of a table, up to the checkpoint, in order. Holds the table's rows in memory.
 *
 * Rows written before a column existed get its constant default; an unchanged TOAST value keeps what the row had; an update that changes the key moves
 * the row from the old key.
 *
 * @param from a store, or a target that was opened for several tables (and then has its own `upTo`).
 * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED
 */
export async function rebuildTable(from: ObjectStore | StoredTarget, name: TableName, { upTo }: ReadOptions = {}): Promise<RebuiltTable> {
  const target = from instanceof StoredTarget ? from : await StoredTarget.open(from, upTo);
  let columns: readonly SchemaFileColumn[] = [];
  let keyNames: readonly string[] = [];
  let rows: RowSet = new WholeRows([]);
  for await (const part of tableParts(target, name)) {
    if (part.type === 'changes') {
      for (const change of part.changes) {
        if (change.op === 'T') rows = emptyRows(columns, keyNames);
        else apply(rows, columns, change);
      }
      continue;
    }
    const before = columns;
    const previous = rows;
    columns = part.schemaFile.TableColumns;
    keyNames = columns.filter(({ ColumnIsPk }) => ColumnIsPk === 'true').map(({ ColumnName }) => ColumnName);
    if (isSame(before, columns)) continue;
    rows = emptyRows(columns, keyNames);
    const sources = columns.map((column) => {
      const from = before.findIndex(({ ColumnName }) => ColumnName === column.ColumnName);
      return { from, byDefault: from < 0 ? defaultOf(target, column) : null };
    });
    for (const row of previous.rows()) rows.add(sources.map(({ from, byDefault }) => (from < 0 ? byDefault : row[from])));
  }
  return {
    ...name,
    checkpointTs: target.checkpointTs!,
    columns,
    keyColumns: keyNames,
    rowCount: rows.size,
    rows: () => rows.rows(),
    get: (key) => rows.get(key),
  };
}

/** What rows older than a column have there, in the form in which the target's files hold written values: a schema file has the source's own text. */
function defaultOf(target: StoredTarget, { ColumnType, ColumnDefault }: SchemaFileColumn): string | null {
  if (ColumnDefault === undefined || ColumnDefault === null) return null;
  const decoder = target.decoderOf(target.format?.protocol === 'csv' ? '.csv' : '.json');
  return decoder.fromSourceText(REWRITTEN_TYPES.get(ColumnType) ?? 'text', String(ColumnDefault));
}

/** The source's types whose text is not written as it is, by the only `ColumnType` that stands for each. */
const REWRITTEN_TYPES: ReadonlyMap<string, string> = new Map([
  ['TINYINT', 'bool'],
  ['FLOAT', 'float4'],
  ['DOUBLE', 'float8'],
  ['LONGBLOB', 'bytea'],
]);

function emptyRows(columns: readonly SchemaFileColumn[], keyNames: readonly string[]): RowSet {
  const names = columns.map(({ ColumnName }) => ColumnName);
  if (keyNames.length === 0) return new WholeRows(names);
  return new KeyedRows(keyNames.map((name) => names.indexOf(name)));
}

function apply(rows: RowSet, columns: readonly SchemaFileColumn[], { op, old, data }: Change): void {
  const before = old === null ? null : columns.map(({ ColumnName }) => ownValue(old, ColumnName));
  const after = data === null ? null : columns.map(({ ColumnName }) => ownValue(data, ColumnName));
  if (op === 'I') rows.add(after!);
  else if (op === 'D') rows.remove((before ?? after)!);
  else rows.update(before, after!);
}

function isSame(a: readonly SchemaFileColumn[], b: readonly SchemaFileColumn[]): boolean {
  const shape = (columns: readonly SchemaFileColumn[]) =>
    JSON.stringify(columns.map(({ ColumnName, ColumnIsPk }) => [ColumnName, ColumnIsPk]));
  return shape(a) === shape(b);
}
