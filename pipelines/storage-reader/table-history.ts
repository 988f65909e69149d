import { isMillraceError, MillraceError } from '../../lib/errors.ts';
import { comparePositions, formatPosition, type Position } from '../../lib/events/index.ts';
import type { Change, TableChanges, TableVersion } from './change.ts';
import { FileSeries } from './file-series.ts';
import { mapBounded } from './map-bounded.ts';
import { mergeSeries } from './merge-series.ts';
import type { StoredTarget, StoredVersion } from './stored-target.ts';
import type { TableName } from './table-name.ts';

/** How far a table was read. It grows with the data folders of the version under way; what is known of earlier versions is forgotten. */
export interface TableProgress {
  /** The version under way; null before the first. */
  version: bigint | null;
  /** The last position that was given. */
  at: Position;
  /** By name of a series: files up to this number have nothing more to give. Saves reading them; what was given is told by `at`. */
  files: Map<string, number>;
}

export function startOfTable(): TableProgress {
  return { version: null, at: NOTHING_YET, files: new Map() };
}

export const NOTHING_YET: Position = { commitTs: -1n, ordinal: 0 };

/**
 * What a table has beyond `progress`, up to the target's checkpoint, in position order; `progress` moves with it, before each part is given. A version that
 * begins is given even where it has no changes yet.
 *
 * A table that is begun after clean-up has removed files begins behind them, and its first part says so (`removedUpTo`).
 *
 * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED, MR_CURSOR_OF_ANOTHER_TARGET; MR_HISTORY_REMOVED when clean-up has removed what comes
 * next.
 */
export async function* tableHistory(target: StoredTarget, name: TableName, progress: TableProgress): AsyncGenerator<TableChanges> {
  for (;;) {
    try {
      return yield* historyOfList(target, name, progress);
    } catch (error) {
      // Clean-up goes on while somebody reads: what it removed behind the list is neither damage nor a failure of the store.
      const canBeCleanUp = isMillraceError(error, 'MR_TARGET_DAMAGED') || isMillraceError(error, 'MR_STORE_FAILED');
      if (!canBeCleanUp || !(await target.noticeCleanUp().catch(() => false))) throw error;
    }
  }
}

async function* historyOfList(target: StoredTarget, name: TableName, progress: TableProgress): AsyncGenerator<TableChanges> {
  const removedUpTo = target.removedUpTo(name);
  const isMissing = removedUpTo !== null && comparePositions(progress.at, removedUpTo) < 0;
  if (progress.version !== null) {
    if (!target.hasVersion(name, progress.version)) {
      const reason = `it has read version ${progress.version} of ${name.schema}.${name.table}, which the target does not have`;
      throw new MillraceError('MR_CURSOR_OF_ANOTHER_TARGET', { uri: target.store.uri, reason });
    }
    if (isMissing) target.refuseGap(name, `this reader has come to ${formatReached(progress.at)}`);
    if (!target.hasMore(name, progress.version, progress.files)) return;
  }
  const versions = await target.versions(name, progress.version ?? 0n);
  let gap = isMissing ? { removedUpTo } : {};
  if (isMissing) progress.at = removedUpTo;
  for (const stored of versions) {
    const version = describeVersion(target, stored);
    if (progress.version !== version.version) {
      // One that is missing with the changes around it is not told.
      const isCleared = progress.version !== null && version.startsEmpty && comparePositions(stored.begins, progress.at) >= 0;
      const changes = isCleared ? [truncation(name, stored)] : [];
      progress.version = version.version;
      progress.files = new Map();
      yield { schema: name.schema, table: name.table, version, changes, ...gap };
      gap = {};
    }
    yield* changesOfVersion(target, name, stored, version, progress);
  }
}

async function* changesOfVersion(
  target: StoredTarget,
  name: TableName,
  stored: StoredVersion,
  version: TableVersion,
  progress: TableProgress,
): AsyncGenerator<TableChanges> {
  const columns = version.columns.map(({ ColumnName }) => ColumnName);
  const news = stored.series.filter((listed) => listed.newest !== progress.files.get(listed.name));
  const series = news.map((listed) => new FileSeries({ target, name, columns }, listed, progress.files.get(listed.name) ?? 0));
  const remember = () => {
    for (const one of series) {
      if (one.done > 0) progress.files.set(one.name, one.done);
      else progress.files.delete(one.name);
    }
  };
  // Folders that were cleaned up are forgotten.
  const listed = new Set(stored.series.map((one) => one.name));
  for (const known of progress.files.keys()) if (!listed.has(known)) progress.files.delete(known);
  try {
    await mapBounded(series, (one) => one.begin(progress.at));
    for await (const changes of mergeSeries(series, progress)) {
      remember();
      yield { schema: name.schema, table: name.table, version, changes };
    }
    remember();
  } finally {
    await Promise.all(series.map((one) => one.close()));
  }
}

function formatReached(at: Position): string {
  return at.commitTs < 0n ? 'none of them' : formatPosition(at);
}

function truncation(name: TableName, { begins: { commitTs, ordinal } }: StoredVersion): Change {
  return { schema: name.schema, table: name.table, op: 'T', commitTs, ordinal, old: null, data: null };
}

function describeVersion(target: StoredTarget, { schemaFile, begins }: StoredVersion): TableVersion {
  const columns = schemaFile.TableColumns;
  const decoder = target.decoderOf(target.format?.protocol === 'csv' ? '.csv' : '.json');
  const defaults = new Map<string, string>();
  for (const { ColumnName, ColumnType, ColumnDefault } of columns) {
    if (ColumnDefault === undefined || ColumnDefault === null) continue;
    // A schema file has the source's own text.
    defaults.set(ColumnName, decoder.fromSourceText(REWRITTEN_TYPES.get(ColumnType) ?? 'text', String(ColumnDefault)));
  }
  return {
    version: schemaFile.TableVersion,
    columns,
    keyColumns: columns.filter(({ ColumnIsPk }) => ColumnIsPk === 'true').map(({ ColumnName }) => ColumnName),
    defaults,
    startsEmpty: begins.startsEmpty,
    query: schemaFile.Query,
  };
}

/** The source's types whose text is not written as it is, by the only `ColumnType` that stands for each. */
const REWRITTEN_TYPES: ReadonlyMap<string, string> = new Map([
  ['TINYINT', 'bool'],
  ['FLOAT', 'float4'],
  ['DOUBLE', 'float8'],
  ['LONGBLOB', 'bytea'],
]);
