import { comparePositions, type Position } from '../../lib/events/index.ts';
import type { Change } from './change.ts';
import type { FileSeries } from './file-series.ts';

/** How far a table was read. */
export interface ReadPosition {
  /** The last position that was given. */
  at: Position;
}

/**
 * Merges the series of a table version into position order, each position once: a position that two series have was written again by a restart, and
 * what the second one says of it is given only where it is something else. A file is opened when its turn comes, so memory is bounded by a batch for each
 * series whose files overlap there.
 */
export async function* mergeSeries(series: readonly FileSeries[], read: ReadPosition): AsyncGenerator<Change[]> {
  for (;;) {
    const [first, second] = nextTwo(series);
    if (first === null) return;
    if (!first.isLoaded) {
      await first.load(read.at);
      continue;
    }
    let changes = first.take(second?.head ?? null);
    if (changes.length === 0) {
      const shared = first.head!;
      const waiting = series.find((one) => !one.isLoaded && isAt(one, shared));
      if (waiting !== undefined) {
        await waiting.load(read.at);
        continue;
      }
      changes = takeShared(series, shared);
    }
    const { commitTs, ordinal } = changes.at(-1)!;
    read.at = { commitTs, ordinal };
    yield changes;
  }
}

/** The two series that come first. */
function nextTwo(series: readonly FileSeries[]): [FileSeries | null, FileSeries | null] {
  let first: FileSeries | null = null;
  let second: FileSeries | null = null;
  for (const one of series) {
    if (one.head === null) continue;
    if (first === null || comparePositions(one.head, first.head!) < 0) {
      second = first;
      first = one;
    } else if (second === null || comparePositions(one.head, second.head!) < 0) {
      second = one;
    }
  }
  return [first, second];
}

function isAt({ head }: FileSeries, position: Position): boolean {
  return head !== null && comparePositions(head, position) === 0;
}

function takeShared(series: readonly FileSeries[], position: Position): Change[] {
  const changes: Change[] = [];
  const seen = new Set<string>();
  for (const one of series) {
    if (!isAt(one, position)) continue;
    const taken = one.takeAt(position).map((change) => ({ change, text: JSON.stringify([change.op, change.old, change.data]) }));
    changes.push(...taken.filter(({ text }) => !seen.has(text)).map(({ change }) => change));
    for (const { text } of taken) seen.add(text);
  }
  return changes;
}
