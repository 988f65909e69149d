import { reasonOf } from '../lib/errors.ts';
import type { Table } from '../lib/events/index.ts';
import { isMillraceError, type Logger, MillraceError } from '../lib/index.ts';
import { readFileCheckpoint } from '../lib/runtime/checkpoint-file.ts';
import { needsSnapshot, stateFromJson, type TableState } from '../lib/sources/postgres/state.ts';
import type { RememberedSource } from './target.ts';

/** What becomes of a table in a capture; `copying`: it takes a snapshot of it, or will; `absent`: it does not know it. */
export type TableFate = TableState['status'] | 'copying' | 'absent';

/**
 * What the capture that wrote a target remembers of its tables, from its state folder. Null where nothing of that capture is there, and where the target does
 * not say who wrote it.
 *
 * @param isGiven whether the user named the folder: what is wrong with it is an error then.
 * @throws MR_INVALID_OPTION, MR_CHECKPOINT_CORRUPT.
 */
export async function fatesOf(
  { folder, isGiven }: { readonly folder: string; readonly isGiven: boolean },
  { slot, systemIdentifier, database }: RememberedSource,
  logger: Logger,
): Promise<((table: Table) => TableFate) | null> {
  const fail = (reason: string, cause?: unknown) => {
    const bound = `the state folder of the capture that wrote the target, with slot ${slot} (${reason})`;
    return new MillraceError('MR_INVALID_OPTION', { option: 'state', value: JSON.stringify(folder), bound }, cause);
  };
  if (systemIdentifier === null) return null;
  try {
    const checkpoint = await readFileCheckpoint(folder, slot);
    const state = stateFromJson(checkpoint?.sourceState ?? null);
    if (state === null && isGiven) throw fail(`it has no ${slot}.checkpoint.json`);
    if (state === null) return null;
    if (state.systemIdentifier !== systemIdentifier || state.database !== database) {
      if (isGiven) throw fail('what is there is of another database');
      return null;
    }
    const checkpointTs = checkpoint?.checkpointTs ?? null;
    const fateOf = (table: TableState) => (table.status === 'captured' && needsSnapshot(table, checkpointTs) ? 'copying' : table.status);
    const fates = new Map<number, TableFate>(state.tables.map((table) => [table.oid, fateOf(table)]));
    return ({ tableId }) => fates.get(tableId) ?? 'absent';
  } catch (error) {
    if (isGiven) throw isMillraceError(error) ? error : fail(reasonOf(error), error);
    logger.warn(
      { folder, reason: reasonOf(error) },
      'the state of the capture cannot be read: tables that it has stopped are not told as such',
    );
    return null;
  }
}
