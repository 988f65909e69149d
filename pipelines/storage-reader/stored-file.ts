import { isMillraceError, reasonOf } from '../../lib/errors.ts';
import { comparePositions, type Position } from '../../lib/events/index.ts';
import { crc32Of } from '../../lib/formats/checksum.ts';
import type { DecodedRow } from '../../lib/formats/encoder.ts';
import { expandRuns, type Positions, parsePositions } from '../../lib/formats/storage-layout/index.ts';
import type { Change } from './change.ts';
import type { StoredTarget } from './stored-target.ts';
import type { TableName } from './table-name.ts';

/** A published data file, as its sidecar describes it. */
export interface StoredFile {
  readonly number: number;
  readonly path: string;
  readonly sidecar: string;
  /** Positions of the first and the last change. */
  readonly first: Position;
  readonly last: Position;
  /** What the sidecar says, where it is short; else it is read again. */
  readonly positions: Positions | null;
  /** The content, checked, where it was fetched already. */
  readonly chunks: readonly Uint8Array[] | null;
}

/**
 * Reads the sidecar of a published file; with `smallBytes` also the content of one that is no larger and has something up to the checkpoint: to do so for
 * several files at a time saves waiting. Null for a file without rows, by which a writer closes a folder.
 *
 * @throws MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED
 */
export async function describeFile(
  target: StoredTarget,
  number: number,
  { path, sidecar }: Pick<StoredFile, 'path' | 'sidecar'>,
  smallBytes = 0,
): Promise<StoredFile | null> {
  const positions = await positionsOf(target, path, sidecar);
  const { runs, bytes } = positions;
  const [begin, end] = [runs[0], runs.at(-1)];
  if (begin === undefined || end === undefined) return null;
  const isFetched = bytes <= smallBytes && begin.commitTs <= target.checkpointTs!;
  return {
    number,
    path,
    sidecar,
    first: { commitTs: begin.commitTs, ordinal: begin.first },
    last: { commitTs: end.commitTs, ordinal: end.last },
    positions: runs.length <= KEPT_RUNS_MAX ? positions : null,
    chunks: isFetched ? await wholeContent(target, path, positions) : null,
  };
}

/**
 * The changes of a file behind `seen` and up to the target's checkpoint, in batches; a position's changes are never apart. Returns whether it has more,
 * beyond the checkpoint.
 *
 * The file is read whole and compared with its sidecar before a row of it is given: one that is cut or changed shows nothing. Up to 16 MiB are kept for that,
 * larger ones are read twice.
 *
 * @throws MR_TARGET_DAMAGED naming the file
 */
export async function* changesOf(
  target: StoredTarget,
  name: TableName,
  columns: readonly string[],
  file: StoredFile,
  seen: Position,
): AsyncGenerator<Change[], boolean> {
  const { path } = file;
  const positions = file.positions ?? (await positionsOf(target, path, file.sidecar));
  const chunks = checkedChunks(target, path, positions, file.chunks);
  const rows = new PlacedRows(target, name, path, positions, seen);
  let ready: Change[] = [];
  try {
    for await (const batch of target.decoderOf(path).decode(columns, chunks)) {
      // The last position of a batch may go on in the next.
      const changes = takeLastGroup(ready);
      if (ready.length > 0) yield ready;
      ready = changes;
      if (rows.place(batch, ready)) continue;
      if (ready.length > 0) yield ready;
      return true;
    }
  } catch (error) {
    if (isMillraceError(error, 'MR_ROW_MALFORMED')) throw target.damaged(path, reasonOf(error), error);
    throw error;
  }
  rows.end();
  if (ready.length > 0) yield ready;
  return false;
}

/** Gives the rows of a file their positions, one after another. A class of its own because a loop in an asynchronous generator is several times slower. */
class PlacedRows {
  readonly #target: StoredTarget;
  readonly #name: TableName;
  readonly #path: string;
  readonly #positions: Positions;
  readonly #places: Generator<Position>;
  readonly #seen: Position;
  #placed = 0;

  constructor(target: StoredTarget, name: TableName, path: string, positions: Positions, seen: Position) {
    this.#target = target;
    this.#name = name;
    this.#path = path;
    this.#positions = positions;
    this.#places = expandRuns(positions.runs);
    this.#seen = seen;
  }

  /** Adds the changes behind what was seen. Returns false when it has come to one beyond the checkpoint, and nothing further is to be placed. */
  place(batch: readonly DecodedRow[], changes: Change[]): boolean {
    const { schema, table } = this.#name;
    const { checkpointTs } = this.#target;
    for (const { op, commitTs, old, data } of batch) {
      const { value: position } = this.#places.next();
      if (position === undefined) throw this.#damaged(`it has more rows than the ${this.#positions.rows} of its sidecar`);
      if (commitTs !== 0n && commitTs !== position.commitTs) {
        throw this.#damaged(`row ${this.#placed} is of ${commitTs}, its sidecar says ${position.commitTs}`);
      }
      this.#placed++;
      if (position.commitTs > checkpointTs!) return false;
      if (comparePositions(position, this.#seen) <= 0) continue;
      changes.push({ schema, table, op, commitTs: position.commitTs, ordinal: position.ordinal, old, data });
    }
    return true;
  }

  /** The file has ended: every position has its row. */
  end(): void {
    const { rows } = this.#positions;
    if (this.#placed !== rows) throw this.#damaged(`it has ${this.#placed} rows, its sidecar says ${rows}`);
  }

  #damaged(reason: string) {
    return this.#target.damaged(this.#path, reason);
  }
}

/** What a file may hold to be kept while it is compared with its sidecar. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;
/** Runs of a sidecar that is kept until its file's turn comes. */
const KEPT_RUNS_MAX = 100;

/** Takes the changes of the last position off the end. */
function takeLastGroup(changes: Change[]): Change[] {
  let from = changes.length;
  const last = changes.at(-1);
  while (from > 0 && comparePositions(changes[from - 1]!, last!) === 0) from--;
  return changes.splice(from);
}

async function positionsOf(target: StoredTarget, path: string, sidecar: string): Promise<Positions> {
  const content = await target.store.get(sidecar);
  if (content === null) throw target.damaged(path, `its sidecar ${sidecar} is missing`);
  const described = parsePositions(content.toString(), sidecar);
  if (described.alternatives === undefined) return described;
  const { alternatives, ...positions } = described;
  return matching(target, path, [positions, ...alternatives]);
}

/** The description that fits the file: runs that broke off at its number have left others. */
async function matching(target: StoredTarget, path: string, all: readonly Positions[]): Promise<Positions> {
  const chunks = await target.store.read(path);
  if (chunks === null) throw target.damaged(path, 'the index names it, and it is missing');
  let bytes = 0;
  let sum = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    sum = crc32Of(chunk, sum);
  }
  const found = all.find((one) => one.bytes === bytes && one.crc32 === sum);
  if (found === undefined) throw target.damaged(path, 'it is not the file that its sidecar describes');
  return found;
}

async function* checkedChunks(
  target: StoredTarget,
  path: string,
  positions: Positions,
  fetched: readonly Uint8Array[] | null,
): AsyncGenerator<Uint8Array> {
  if (fetched !== null || positions.bytes <= KEPT_BYTES_MAX) {
    const chunks = fetched ?? (await wholeContent(target, path, positions));
    yield* chunks;
    return;
  }
  for await (const _ of contentOf(target, path, positions));
  yield* contentOf(target, path, positions);
}

async function wholeContent(target: StoredTarget, path: string, positions: Positions): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of contentOf(target, path, positions)) chunks.push(chunk);
  return chunks;
}

/** Reads a file through. Throws MR_TARGET_DAMAGED, at the latest at its end, when it is not the one that its sidecar describes. */
async function* contentOf(target: StoredTarget, path: string, { bytes, crc32: checksum }: Positions): AsyncGenerator<Uint8Array> {
  const chunks = await target.store.read(path);
  if (chunks === null) throw target.damaged(path, 'the index names it, and it is missing');
  let read = 0;
  let sum = 0;
  for await (const chunk of chunks) {
    read += chunk.length;
    sum = crc32Of(chunk, sum);
    // One that is longer is not kept to its end.
    if (read > bytes) break;
    yield chunk;
  }
  if (read !== bytes || sum !== checksum) throw target.damaged(path, 'it is not the file that its sidecar describes');
}
