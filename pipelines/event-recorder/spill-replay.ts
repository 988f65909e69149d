import type { Segment } from '../../lib/spool/segment-files.ts';
import { mergeRanges, type SeqRange, type SpillRecord } from './spill-records.ts';

/** What a start finds in the log: events, in the order of their numbers, each counted where it stands first; and which of them earlier processes have settled. */
export class SpillReplay {
  /** The events of each file. */
  readonly #found = new Map<Segment, { count: number; readonly ranges: [bigint, bigint][] }>();
  #settled: SeqRange[] = [];
  #lastSeq = 0n;

  /** The highest number of an event. */
  get lastSeq(): bigint {
    return this.#lastSeq;
  }

  /** Takes a record; `settle` is called behind the last. Whether it is an event that counts. */
  found(record: SpillRecord, segment: Segment): boolean {
    const known = this.#found.get(segment) ?? { count: 0, ranges: [] };
    this.#found.set(segment, known);
    if (record.kind === 'settled') this.#settled.push(...record.ranges);
    if (record.kind !== 'accepted' || record.seq <= this.#lastSeq) return false;
    this.#lastSeq = record.seq;
    known.count++;
    const last = known.ranges.at(-1);
    if (last !== undefined && last[1] + 1n === record.seq) last[1] = record.seq;
    else known.ranges.push([record.seq, record.seq]);
    // A long log settles its events as it goes: what is merged stays small.
    if (this.#settled.length > MERGE_AT) this.#settled = mergeRanges(this.#settled);
    return true;
  }

  /** Tells of each file how many of its events are settled; gives how many are not. */
  settle(release: (segment: Segment, settled: number) => void): number {
    this.#settled = mergeRanges(this.#settled);
    let live = 0;
    for (const [segment, { count, ranges }] of this.#found) {
      let settled = 0;
      for (const range of ranges) for (const other of this.#settled) settled += overlap(range, other);
      live += count - settled;
      release(segment, settled);
    }
    this.#found.clear();
    return live;
  }

  /** Whether an earlier process has settled it. */
  wasSettled(seq: bigint): boolean {
    let [low, high] = [0, this.#settled.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#settled[middle]![1] < seq) low = middle + 1;
      else high = middle;
    }
    const range = this.#settled[low];
    return range !== undefined && range[0] <= seq;
  }
}

const MERGE_AT = 4096;

function overlap([from, to]: SeqRange, [settledFrom, settledTo]: SeqRange): number {
  const first = from > settledFrom ? from : settledFrom;
  const last = to < settledTo ? to : settledTo;
  return last < first ? 0 : Number(last - first) + 1;
}
