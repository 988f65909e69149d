import type { ColumnValue } from '../../events/index.ts';

/** A table by the names of its source. */
export interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** A column's value as a diagram gives it. */
export interface ValueSketch {
  readonly column: string;
  /** `undefined` is an unchanged TOAST value. */
  readonly value: ColumnValue;
}

/** `{after}` is an insert, `{before>after}` an update (`before` empty: without an old image), `{before>}` a delete. */
export interface ChangeSketch {
  readonly before: readonly ValueSketch[] | null;
  readonly after: readonly ValueSketch[] | null;
}

export interface RowSketch {
  readonly commitTs: bigint;
  readonly ordinal: number;
  /** Null: an insert whose key is its ordinal, everything else null. */
  readonly change: ChangeSketch | null;
}

interface SketchBase {
  /** Of the session with an event service; both 0 where there is none. */
  readonly epoch: bigint;
  readonly seq: bigint;
}

export interface RowsSketch extends SketchBase {
  readonly kind: 'rows';
  readonly table: TableName;
  /** The names the table is routed to; null when they are its own. */
  readonly target: TableName | null;
  /** At least one, in position order. */
  readonly rows: readonly RowSketch[];
}

export interface VersionSketch extends SketchBase {
  readonly kind: 'ddl' | 'truncate';
  readonly table: TableName;
  readonly target: TableName | null;
  readonly commitTs: bigint;
  readonly ordinal: number;
  /** The table version that begins; null when it is the commitTs. */
  readonly version: bigint | null;
}

export interface MarkSketch extends SketchBase {
  readonly kind: 'sync' | 'res' | 'marker';
  /** Null: of all tables. */
  readonly table: TableName | null;
  /** 0 for a marker, which has none. */
  readonly commitTs: bigint;
}

export interface SignalSketch extends SketchBase {
  readonly kind: 'hello' | 'ready' | 'gone' | 'lost';
  readonly table: TableName;
  /** 0 when it is not given. */
  readonly commitTs: bigint;
}

/** An event as a diagram gives it: plain data, without tables and bytes. */
export type EventSketch = RowsSketch | VersionSketch | MarkSketch | SignalSketch;

/** What stands behind the colon of `kind:table`, and whether a position must follow. */
export const KINDS = {
  ddl: { needsPosition: true, meaning: 'a schema change' },
  truncate: { needsPosition: true, meaning: 'a TRUNCATE' },
  sync: { needsPosition: true, meaning: 'a syncpoint' },
  res: { needsPosition: true, meaning: 'a resolved mark' },
  marker: { needsPosition: false, meaning: 'a drain marker' },
  hello: { needsPosition: false, meaning: 'a handshake' },
  ready: { needsPosition: false, meaning: 'the service can serve this table' },
  gone: { needsPosition: false, meaning: 'the service cannot serve this table' },
  lost: { needsPosition: false, meaning: 'an event dropped by memory control' },
} as const;

export type Kind = keyof typeof KINDS;
