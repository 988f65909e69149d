import { crc32 } from 'node:zlib';
import { isMillraceError, reasonOf } from '../../lib/errors.ts';
import { comparePositions, type Position } from '../../lib/events/index.ts';
import { expandRuns, type SchemaFile } from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { type StoredFile, StoredTarget, type TableName } from './stored-target.ts';

/** One change of a table, as `read` prints it. Column values are text or null; an unchanged TOAST value is absent. */
export interface Change {
  readonly schema: string;
  readonly table: string;
  /** Insert, update, delete, or truncate: all rows of the table are gone. */
  readonly op: 'I' | 'U' | 'D' | 'T';
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly old: Readonly<Record<string, string | null>> | null;
  readonly data: Readonly<Record<string, string | null>> | null;
}

export interface ReadOptions {
  /** Shows nothing beyond this commitTs; by default everything up to the target's checkpoint. */
  readonly upTo?: bigint;
}

/** The tables that a target shows. */
export async function listTables(store: ObjectStore, { upTo }: ReadOptions = {}): Promise<TableName[]> {
  return (await StoredTarget.open(store, upTo)).tables();
}

/**
 * The changes of one table up to the checkpoint, in position order, each position once: what a restart wrote again is recognised. In batches; memory is
 * bounded by a file's sidecar and a chunk of it.
 *
 * @param from a store, or a target that was opened for several tables (and then has its own `upTo`).
 * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED, MR_ROW_MALFORMED
 */
export async function* readTable(from: ObjectStore | StoredTarget, name: TableName, { upTo }: ReadOptions = {}): AsyncGenerator<Change[]> {
  const target = from instanceof StoredTarget ? from : await StoredTarget.open(from, upTo);
  for await (const part of tableParts(target, name)) if (part.type === 'changes') yield part.changes;
}

/** A table's history in order: a version with its columns, then its changes. A version that starts empty brings a `T` change first. */
export type TablePart =
  | { readonly type: 'version'; readonly schemaFile: SchemaFile }
  | { readonly type: 'changes'; readonly changes: Change[] };

export async function* tableParts(target: StoredTarget, name: TableName): AsyncGenerator<TablePart> {
  const versions = await target.versions(name);
  let seen: Position = NOTHING_YET;
  for (const [index, { schemaFile, begins, files }] of versions.entries()) {
    if (begins.startsEmpty && index > 0) {
      const { commitTs, ordinal } = begins;
      yield { type: 'changes', changes: [{ ...name, op: 'T', commitTs, ordinal, old: null, data: null }] };
    }
    yield { type: 'version', schemaFile };
    const columns = schemaFile.TableColumns.map((column) => column.ColumnName);
    for (const file of files) {
      if (file.first.commitTs > target.checkpointTs!) break;
      if (comparePositions(file.last, seen) <= 0) continue;
      for await (const changes of changesOf(target, name, file, columns, seen)) yield { type: 'changes', changes };
      seen = file.last;
    }
  }
}

const NOTHING_YET: Position = { commitTs: -1n, ordinal: 0 };

/** The changes of a file behind `seen` and up to the checkpoint. Those that share a position with one another (a split key) all pass. */
async function* changesOf(
  target: StoredTarget,
  name: TableName,
  file: StoredFile,
  columns: readonly string[],
  seen: Position,
): AsyncGenerator<Change[]> {
  const { runs, rows, bytes, crc32: checksum } = await target.readPositions(file.path, file.sidecar);
  const chunks = await target.store.read(file.path);
  if (chunks === null) throw target.damaged(file.path, 'it was listed and is gone');
  const content = { bytes: 0, checksum: 0 };
  const positions = expandRuns(runs);
  let decoded = 0;
  try {
    for await (const batch of target.decoderOf(file.path).decode(columns, counted(chunks, content))) {
      const changes: Change[] = [];
      for (const { op, commitTs, old, data } of batch) {
        const { value: position } = positions.next();
        if (position === undefined) throw target.damaged(file.path, `it has more rows than the ${rows} of its sidecar`);
        if (commitTs !== 0n && commitTs !== position.commitTs) {
          throw target.damaged(file.path, `row ${decoded} is of ${commitTs}, its sidecar says ${position.commitTs}`);
        }
        decoded++;
        if (position.commitTs > target.checkpointTs!) {
          if (changes.length > 0) yield changes;
          return;
        }
        if (comparePositions(position, seen) > 0)
          changes.push({ ...name, op, commitTs: position.commitTs, ordinal: position.ordinal, old, data });
      }
      if (changes.length > 0) yield changes;
    }
  } catch (error) {
    if (isMillraceError(error, 'MR_ROW_MALFORMED')) throw target.damaged(file.path, reasonOf(error), error);
    throw error;
  }
  if (decoded !== rows) throw target.damaged(file.path, `it has ${decoded} rows, its sidecar says ${rows}`);
  if (content.bytes !== bytes || content.checksum !== checksum)
    throw target.damaged(file.path, 'it is not the file that its sidecar describes');
}

async function* counted(chunks: AsyncIterable<Uint8Array>, content: { bytes: number; checksum: number }): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    content.bytes += chunk.length;
    content.checksum = crc32(chunk, content.checksum);
    yield chunk;
  }
}
