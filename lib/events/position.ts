/**
 * Where a change stands in the source's order.
 *
 * `commitTs` is the commit order of the source, an opaque u64 (PostgreSQL: the commit LSN). `ordinal` counts the row changes and truncated
 * relations of one source transaction, from 0, the same on every replay. Order, dedupe and reader identity all use the pair.
 */
export interface Position {
  readonly commitTs: bigint;
  /** 0 … 2^32 − 1. */
  readonly ordinal: number;
}

/** The largest ordinal a transaction, or a snapshot of one table, may reach. */
export const MAX_ORDINAL = 0xffff_ffff;

/** Negative when `a` stands before `b`, 0 when they are one position, positive otherwise. */
export function comparePositions(a: Position, b: Position): number {
  if (a.commitTs !== b.commitTs) return a.commitTs < b.commitTs ? -1 : 1;
  // Not by subtraction: two marks behind all ordinals are one position, and ∞ − ∞ is none.
  if (a.ordinal === b.ordinal) return 0;
  return a.ordinal < b.ordinal ? -1 : 1;
}

/** `commitTs/ordinal`, as errors and logs print it. */
export function formatPosition(position: Position): string {
  return `${position.commitTs}/${position.ordinal}`;
}
