import { MAX_ORDINAL, type Position, type RowBlock } from '../../events/index.ts';
import { crc32Of } from '../checksum.ts';
import { stringifyJson } from '../json.ts';
import { parseRuns } from './runs-text.ts';
import { isCount, parseCommitTs, parseStoredJson } from './stored-json.ts';

/** Changes of one transaction whose ordinals ascend by one from `first` to `last`. */
export interface PositionRun {
  readonly commitTs: bigint;
  readonly first: number;
  readonly last: number;
}

/**
 * What the sidecar of a data file says of it. `rows` counts changes: one for each `DecodedRow` (csv with `output-old-value` writes an update, one change, as
 * two lines). `bytes` and `crc32` (IEEE) are of the whole file, header included.
 */
export interface Positions {
  readonly rows: number;
  readonly bytes: number;
  readonly crc32: number;
  readonly runs: readonly PositionRun[];
  /** Whose rows they are; files from before it was written do not say. */
  readonly dispatcher?: string;
  /**
   * Left out for none. Runs that broke off described a file of the same number, which may have come after all: the file is whichever of all these it matches in
   * `bytes` and `crc32`.
   */
  readonly alternatives?: readonly Positions[];
}

/** The runs of a block, row by row. The two rows of a split key update share their ordinal, so the second begins a new run. */
export function runsOf(block: RowBlock): PositionRun[] {
  const runs: PositionRun[] = [];
  const { ordinals, transactions, rowCount } = block;
  for (let t = 0; t < transactions.length; t++) {
    const { commitTs, firstRow } = transactions[t]!;
    const end = transactions[t + 1]?.firstRow ?? rowCount;
    let first = ordinals[firstRow]!;
    for (let row = firstRow + 1; row <= end; row++) {
      const last = ordinals[row - 1]!;
      if (row < end && ordinals[row] === last + 1) continue;
      appendRun(runs, { commitTs, first, last });
      if (row < end) first = ordinals[row]!;
    }
  }
  return runs;
}

/** Appends `more` to `runs`, joining what continues: the runs of a file from those of its blocks. */
export function appendRuns(runs: PositionRun[], more: readonly PositionRun[]): void {
  for (const run of more) appendRun(runs, run);
}

/** The position of each row, in order. */
export function* expandRuns(runs: readonly PositionRun[]): Generator<Position> {
  for (const { commitTs, first, last } of runs) {
    for (let ordinal = first; ordinal <= last; ordinal++) yield { commitTs, ordinal };
  }
}

/** The rows that `runs` stand for. */
export function rowsOfRuns(runs: readonly PositionRun[]): number {
  return runs.reduce((rows, { first, last }) => rows + last - first + 1, 0);
}

/** What a sidecar must say of a file that consists of `parts`. */
export function describeFile(parts: readonly Uint8Array[], runs: readonly PositionRun[]): Positions {
  let bytes = 0;
  let checksum = 0;
  for (const part of parts) {
    bytes += part.length;
    checksum = crc32Of(part, checksum);
  }
  return { rows: rowsOfRuns(runs), bytes, crc32: checksum, runs };
}

/** Whether a file of these bytes is the one that the sidecar describes. */
export function matchesPositions(positions: Positions, parts: readonly Uint8Array[]): boolean {
  const actual = describeFile(parts, positions.runs);
  return actual.bytes === positions.bytes && actual.crc32 === positions.crc32 && actual.rows === positions.rows;
}

/** `{"v":1,"rows":N,"bytes":N,"crc32":N[,"dispatcher":"<hex>"][,"or":[…]],"runs":[["<commitTs>",first,last],…]}`; `or` has the alternatives, in the same form without `v`. */
export function stringifyPositions(positions: Positions): string {
  return `{"v":1,${stringifyDescription(positions).slice(1)}`;
}

/** A description of a file, without a version: an alternative in a sidecar. */
export function stringifyDescription({ rows, bytes, crc32, dispatcher, alternatives = [], runs }: Positions): string {
  const texts = runs.map(({ commitTs, first, last }) => `["${commitTs}",${first},${last}]`);
  const owner = dispatcher === undefined ? '' : `"dispatcher":${JSON.stringify(dispatcher)},`;
  const others = alternatives.length === 0 ? '' : `"or":[${alternatives.map(stringifyDescription).join()}],`;
  return `{${stringifyJson({ rows, bytes, crc32 }).slice(1, -1)},${owner}${others}"runs":[${texts.join()}]}`;
}

/** Reads a sidecar. Throws MR_STORAGE_FILE_MALFORMED, also when the runs do not add up to the rows. */
export function parsePositions(content: string, path: string): Positions {
  const from = content.lastIndexOf(RUNS) + RUNS.length;
  const isLast = from >= RUNS.length && content.endsWith(END);
  const runs = isLast ? parseRuns(content, from, content.length - END.length) : null;
  // The rest is as whole with none in their place.
  const { members, malformed } = parseStoredJson(runs === null ? content : content.slice(0, from) + END, path, 1);
  return describedBy(members, malformed, runs);
}

const RUNS = ',"runs":[';
const END = ']}';

/** `known` are its runs, where they were read already. */
function describedBy(
  members: Readonly<Record<string, unknown>>,
  malformed: (reason: string) => Error,
  known: PositionRun[] | null,
): Positions {
  const { rows, bytes, crc32: checksum, dispatcher, or, runs } = members;
  if (!isCount(rows) || !isCount(bytes) || !isCount(checksum) || !Array.isArray(runs)) throw malformed('a member is missing');
  if (dispatcher !== undefined && typeof dispatcher !== 'string') throw malformed('dispatcher is no text');
  if (or !== undefined && !Array.isArray(or)) throw malformed('or is no list');
  const parsed = known ?? runs.map((run) => runOf(run, malformed));
  if (rowsOfRuns(parsed) !== rows) throw malformed('its runs are not as many rows as it says');
  const alternatives = or?.map((one: unknown) => describedBy((one ?? {}) as Record<string, unknown>, malformed, null));
  return {
    rows,
    bytes,
    crc32: checksum,
    runs: parsed,
    ...(dispatcher !== undefined && { dispatcher }),
    ...(alternatives !== undefined && { alternatives }),
  };
}

function runOf(run: unknown, malformed: (reason: string) => Error): PositionRun {
  const [text, first, last] = Array.isArray(run) ? (run as unknown[]) : [];
  const commitTs = parseCommitTs(text);
  if (commitTs === null || !isCount(first) || !isCount(last, MAX_ORDINAL) || last < first) {
    throw malformed('a run is no [commitTs, first, last]');
  }
  return { commitTs, first, last };
}

function appendRun(runs: PositionRun[], run: PositionRun): void {
  const previous = runs.at(-1);
  if (previous !== undefined && previous.commitTs === run.commitTs && previous.last + 1 === run.first) {
    runs[runs.length - 1] = { commitTs: run.commitTs, first: previous.first, last: run.last };
  } else {
    runs.push(run);
  }
}
