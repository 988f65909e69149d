import { mergeRanges, type SeqRange, type SpillRecord } from './spill-records.ts';

/** Which files of the log still hold events that are not settled. Events stand in the log in the order of their numbers, each counted where it stands first. */
export class SpillSegments {
  /** By number of the file, ascending; `ranges` of the events that a start found there. */
  readonly #segments = new Map<number, { first: bigint; live: number; ranges: [bigint, bigint][] }>();
  /** Settled by earlier processes. */
  #settled: SeqRange[] = [];
  #lastSeq = 0n;

  /** The highest number of an event. */
  get lastSeq(): bigint {
    return this.#lastSeq;
  }

  /** Events not settled. */
  get live(): number {
    let live = 0;
    for (const segment of this.#segments.values()) live += segment.live;
    return live;
  }

  /** A start finds a record; `count` is called behind the last. */
  found(record: SpillRecord, segment: number): void {
    if (record.kind === 'settled') this.#settled.push(...record.ranges);
    if (record.kind !== 'accepted' || record.seq <= this.#lastSeq) return;
    this.added(record.seq, segment);
    const { ranges } = this.#segments.get(segment)!;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1n === record.seq) last[1] = record.seq;
    else ranges.push([record.seq, record.seq]);
    // A long log settles its events as it goes: what is merged stays small.
    if (this.#settled.length > MERGE_AT) this.#settled = mergeRanges(this.#settled);
  }

  count(): void {
    this.#settled = mergeRanges(this.#settled);
    for (const segment of this.#segments.values()) {
      for (const range of segment.ranges) for (const settled of this.#settled) segment.live -= overlap(range, settled);
      segment.ranges = [];
    }
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

  /** An event was written there. */
  added(seq: bigint, segment: number): void {
    this.#lastSeq = seq;
    const known = this.#segments.get(segment);
    if (known === undefined) this.#segments.set(segment, { first: seq, live: 1, ranges: [] });
    else known.live++;
  }

  /** An event of the log is settled. */
  settled(seq: bigint): void {
    let of: { live: number } | null = null;
    for (const segment of this.#segments.values()) {
      if (segment.first > seq) break;
      of = segment;
    }
    if (of !== null) of.live--;
  }

  /** The first file with events that are not settled; `active` when there is none. Those before it are forgotten. */
  forget(active: number): number {
    for (const [id, { live }] of this.#segments) {
      if (id >= active || live > 0) return Math.min(id, active);
      this.#segments.delete(id);
    }
    return active;
  }
}

const MERGE_AT = 4096;

function overlap([from, to]: SeqRange, [settledFrom, settledTo]: SeqRange): number {
  const first = from > settledFrom ? from : settledFrom;
  const last = to < settledTo ? to : settledTo;
  return last < first ? 0 : Number(last - first) + 1;
}
