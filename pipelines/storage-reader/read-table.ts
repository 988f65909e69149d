import type { ObjectStore } from '../../lib/stores/index.ts';
import type { Change } from './change.ts';
import { StoredTarget } from './stored-target.ts';
import { startOfTable, tableHistory } from './table-history.ts';
import type { TableName } from './table-name.ts';

export interface ReadOptions {
  /** Shows nothing beyond this commitTs; by default everything up to the target's checkpoint. */
  readonly upTo?: bigint;
}

export interface ReadTableOptions extends ReadOptions {
  /** Reads what is left of a table whose older files clean-up has removed. Default false: MR_HISTORY_REMOVED. */
  readonly mayLack?: boolean;
}

/** The tables that a target shows. */
export async function listTables(store: ObjectStore, { upTo }: ReadOptions = {}): Promise<TableName[]> {
  return (await StoredTarget.open(store, upTo)).tables();
}

/**
 * The changes of one table up to the checkpoint, in position order, each position once: what a restart wrote again is recognised. In batches; memory is
 * bounded, however long the table's history is: by its versions and data folders, the sidecar of a file, and 16 MiB of the file (twice that while files
 * overlap that a restart wrote again).
 *
 * @param from a store, or a target that was opened for several tables (and then has its own `upTo`).
 * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED, MR_HISTORY_REMOVED
 * @see TargetReader, which goes on from where it was.
 */
export async function* readTable(
  from: ObjectStore | StoredTarget,
  name: TableName,
  { upTo, mayLack = false }: ReadTableOptions = {},
): AsyncGenerator<Change[]> {
  const target = from instanceof StoredTarget ? from : await StoredTarget.open(from, upTo);
  for await (const { changes, removedUpTo } of tableHistory(target, name, startOfTable())) {
    if (removedUpTo !== undefined && !mayLack) target.refuseGap(name, 'this reader is to have all of them');
    if (changes.length > 0) yield [...changes];
  }
}
