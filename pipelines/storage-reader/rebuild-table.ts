import type { SchemaFileColumn } from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import type { ReadOptions } from './read-table.ts';
import type { RowValues } from './row-set.ts';
import { StoredTarget } from './stored-target.ts';
import { startOfTable, tableHistory } from './table-history.ts';
import { TableImage } from './table-image.ts';
import type { TableName } from './table-name.ts';

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
 * Applies all changes of a table, up to the checkpoint, in order. Memory: the rows that are there at the end of any moment of its history, and what
 * `readTable` needs; not the history.
 *
 * @param from a store, or a target that was opened for several tables (and then has its own `upTo`).
 * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED; MR_HISTORY_REMOVED when clean-up has removed files that its rows depend on (not where
 * the table was truncated, or taken again, since)
 * @see TableImage for what is done with old rows when columns change, with TOAST values and keys.
 */
export async function rebuildTable(from: ObjectStore | StoredTarget, name: TableName, { upTo }: ReadOptions = {}): Promise<RebuiltTable> {
  const target = from instanceof StoredTarget ? from : await StoredTarget.open(from, upTo);
  const image = new TableImage({ mayLack: true });
  for await (const part of tableHistory(target, name, startOfTable())) image.apply(part);
  if (image.removedUpTo !== null) target.refuseGap(name, 'its rows cannot be told from what is left');
  return {
    schema: name.schema,
    table: name.table,
    checkpointTs: target.checkpointTs!,
    columns: image.version?.columns ?? [],
    keyColumns: image.version?.keyColumns ?? [],
    rowCount: image.rowCount,
    rows: () => image.rows(),
    get: (key) => image.get(key),
  };
}
