import type { LogRecord } from '../../lib/spool/spool-log.ts';
import type { RecordedEvent } from './event.ts';
import { decodeEvent, encodeEvent } from './event-codec.ts';

/**
 * A record of the spill's log. Its key is one byte for its kind, and for an event u64 its number (big-endian); its value the event as JSON text, or the numbers
 * that are settled, as pairs of u64: from, to, both included.
 */
export type SpillRecord =
  | { readonly kind: 'accepted'; readonly seq: bigint; event(): RecordedEvent }
  | { readonly kind: 'settled'; readonly ranges: readonly SeqRange[] }
  | { readonly kind: 'unknown' };

export type SeqRange = readonly [from: bigint, to: bigint];

export function acceptedRecord(event: RecordedEvent): LogRecord {
  const key = Buffer.allocUnsafe(9);
  key[0] = ACCEPTED;
  key.writeBigUInt64BE(event.seq, 1);
  return { key, value: encodeEvent(event) };
}

/** One record for all of them; none for none. */
export function settledRecords(seqs: readonly bigint[]): LogRecord[] {
  if (seqs.length === 0) return [];
  const ranges = mergeRanges(seqs.map((seq) => [seq, seq]));
  const value = Buffer.allocUnsafe(16 * ranges.length);
  ranges.forEach(([from, to], index) => {
    value.writeBigUInt64BE(from, 16 * index);
    value.writeBigUInt64BE(to, 16 * index + 8);
  });
  return [{ key: Buffer.from([SETTLED]), value }];
}

export function readRecord({ key, value }: LogRecord): SpillRecord {
  if (key[0] === ACCEPTED && key.length === 9) {
    return { kind: 'accepted', seq: key.readBigUInt64BE(1), event: () => decodeEvent(value.toString()) };
  }
  if (key[0] !== SETTLED || value.length % 16 !== 0) return { kind: 'unknown' };
  const ranges: SeqRange[] = [];
  for (let at = 0; at < value.length; at += 16) ranges.push([value.readBigUInt64BE(at), value.readBigUInt64BE(at + 8)]);
  return { kind: 'settled', ranges };
}

const ACCEPTED = 0x45;
const SETTLED = 0x53;

/** The same numbers in ranges that ascend and neither touch nor overlap. */
export function mergeRanges(ranges: readonly SeqRange[]): SeqRange[] {
  const sorted = [...ranges].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const merged: [bigint, bigint][] = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last === undefined || from > last[1] + 1n) merged.push([from, to]);
    else if (to > last[1]) last[1] = to;
  }
  return merged;
}
