import { isMillraceError, MillraceError } from '../../lib/errors.ts';
import type { Context } from '../../lib/flow/index.ts';

/**
 * What a column holds, and the JavaScript value that stands for it: `string` text, `json` any JSON value, `int64` and `uint64` a bigint (or a safe
 * integer), `float64` a number, `boolean`, `timestampMs` and `timestampNs` since 1970 UTC as a bigint (or a safe integer), `binary` bytes.
 */
export type ColumnType = (typeof COLUMN_TYPES)[number];
export const COLUMN_TYPES = ['string', 'json', 'int64', 'uint64', 'float64', 'boolean', 'timestampMs', 'timestampNs', 'binary'] as const;

/** What a column is for: a tag names the series that a row belongs to, the timestamp is its time index, a field is anything else. */
export type ColumnSemantic = (typeof COLUMN_SEMANTICS)[number];
export const COLUMN_SEMANTICS = ['tag', 'field', 'timestamp'] as const;

export interface ColumnSpec {
  /** 1 to 63 bytes, none of the names of `RESERVED_COLUMNS`, once in a schema. */
  readonly name: string;
  readonly type: ColumnType;
  /** `timestamp` belongs to the base column alone: an extra column is a tag or a field. */
  readonly semantic: ColumnSemantic;
  /** Whether null may stand there. Default: no for a tag, yes for a field. */
  readonly nullable?: boolean;
}

/** A value as a producer gives it; which one a column takes is said at `ColumnType`. A `json` column takes any JSON value. */
export type EventValue = unknown;

/** A value as it is kept: frozen, of one form for each type (a `json` value as its text, every integer and timestamp as a bigint). */
export type StoredValue = string | bigint | number | boolean | Uint8Array | null;

/** What happened, as a producer tells it. */
export interface EventInput {
  /** 1 to 63 bytes. */
  readonly type: string;
  /** 1 to 63 bytes. Default: `events` (`DEFAULT_TABLE`). */
  readonly table?: string;
  /** A JSON value. Default: null. */
  readonly payload?: unknown;
  /** Nanoseconds since 1970 UTC, a signed 64-bit number. Default: the time of the call of `record`. */
  readonly timestampNs?: bigint;
  /** Columns behind the base columns `type`, `payload`, `timestamp`. Default: none. */
  readonly extraSchema?: readonly ColumnSpec[];
  /** The values of the extra columns, one list per row; each row repeats the base columns. Default: one row without values. No row at all: the event vanishes. */
  readonly extraRows?: readonly (readonly EventValue[])[];
}

export const DEFAULT_TABLE = 'events';

/** An event as it was at the call of `record`, frozen (G4): what happens to the producer's objects later does not show (W4). */
export interface RecordedEvent {
  /** Unique over all processes, and the same in every delivery: what makes an insert idempotent. 1 to 63 characters of ASCII. */
  readonly id: string;
  /** Ascends strictly in the order of accepting (G2). */
  readonly seq: bigint;
  readonly timestampNs: bigint;
  readonly type: string;
  readonly table: string;
  /** JSON text. */
  readonly payload: string;
  readonly extraSchema: readonly ColumnSpec[];
  readonly extraRows: readonly (readonly StoredValue[])[];
  /** What it counts in every bound in bytes: about what it keeps in memory. */
  readonly bytes: number;
}

/** How a table is to be kept, passed to the handler with each group (C3). */
export interface EventHints {
  /** How long rows are kept, such as `90d`; null for ever. */
  readonly ttl: string | null;
  /** Whether rows of equal tags and timestamp stand side by side; otherwise the last one replaces the ones before. */
  readonly appendMode: boolean;
  /** The width of the time windows that rows are cleaned up by, such as `1d`. */
  readonly timeWindow: string;
}

/** Events of one table and one type, in the order in which they were accepted. */
export interface EventGroup {
  readonly table: string;
  readonly type: string;
  readonly events: readonly RecordedEvent[];
  readonly hints: EventHints;
}

export interface DeliverOptions {
  /** Aborted when the call's time is over or the recorder gives up: the handler should stop soon, and what it did may stay. */
  readonly signal: AbortSignal;
  /** From 1 on. */
  readonly attempt: number;
}

/**
 * Where events go. The recorder calls `deliver` for one group at a time. A call that resolves has delivered the whole group; one that throws, rejects
 * or does not settle in time is made again with the same events, so a handler that can tell duplicates does so by `RecordedEvent.id` (G7).
 *
 * A handler that knows which events can never be delivered throws `new EventRejectedError(reason, { …, eventIds })`: those become dead letters, and the
 * rest of the group is delivered again without them. With `eventIds` null it does not know which: the recorder finds out by halves.
 */
export interface EventHandler {
  readonly name: string;
  /** Called before the first `deliver`, and again until it has succeeded. May connect; it counts as part of that call. */
  open?(context: Context): Promise<void>;
  deliver(group: EventGroup, options: DeliverOptions): Promise<void>;
  /** Called once, after the last `deliver` has settled. */
  close?(): Promise<void>;
}

/** What a producer needs of a recorder. */
export interface EventTarget {
  /** Never throws. */
  record(event: EventInput): unknown;
  /** Whether events of this type are recorded at all: a producer need not build others. Left out: all are. */
  wants?(type: string): boolean;
}

/** The target refuses events for good: trying again would not help. */
export class EventRejectedError extends MillraceError {
  /** The events it refuses; null where it cannot tell which. */
  readonly eventIds: readonly string[] | null;

  constructor(reason: string, { eventIds = null, handler, table, type }: RejectedEvents, cause?: unknown) {
    super('MR_EVENT_REJECTED', { handler, table, type, events: eventIds?.length ?? 'one or more', reason }, cause);
    this.eventIds = eventIds;
  }
}

export interface RejectedEvents {
  readonly handler: string;
  readonly table: string;
  readonly type: string;
  /** Default: null, not known which. */
  readonly eventIds?: readonly string[] | null;
}

/** Whether trying again can help: everything but a rejection and what the rows themselves are wrong about. */
export function isRetryable(error: unknown): boolean {
  return !(isMillraceError(error) && PERMANENT.includes(error.code));
}

const PERMANENT: readonly string[] = ['MR_EVENT_REJECTED', 'MR_EVENT_INVALID', 'MR_EVENT_SCHEMA_MISMATCH', 'MR_EVENT_GROUP_MIXED'];
