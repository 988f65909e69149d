import { map } from 'rxjs';
import {
  type ChangeEvent,
  type DispatcherId,
  type DmlEvent,
  isAckedEvent,
  type Position,
  type RowBlock,
  withRows,
} from '../lib/events/index.ts';
import { operator, type Stage } from '../lib/flow/index.ts';
import { mapEvents } from './per-event.ts';

export interface DedupeOptions {
  /** Everything up to this commitTs was passed on before: it drops. Default 0. */
  readonly startTs?: bigint;
  /** Whether the source numbers the changes of a transaction. Default true. */
  readonly ordinals?: boolean;
}

/**
 * Drops what was passed on before, per dispatcher and across epochs.
 *
 * In plain words: after a reset or a restart the source sends some changes again; each goes on once.
 *
 * ![dedupeCommitTs](../docs/operators/dedupe-commit-ts.svg)
 *
 * With ordinals it is exact: a position at or before the last drops; a row block that straddles it is sliced. A schema change stands just before the
 * change whose ordinal it shares. Without ordinals (spec event-collector §4.2, with H1 of §4.3) everything below the last commitTs drops; at it rows
 * pass, because several transactions may share one, until a schema change (or TRUNCATE) or a syncpoint was seen there; those pass once. Resolved marks and
 * signals pass and change nothing. State moves only for events passed on, and keeps one entry per dispatcher.
 *
 * @example
 * ```ts
 * import { dedupeCommitTs } from 'millrace/operators';
 * import { eventMarbles } from 'millrace/testing';
 *
 * eventMarbles(({ events, expectEvents }) => {
 *   const source   = events('a@5-a@6-a@5-a@6.0..2-|');
 *   const expected =        'a@5-a@6-----a@6.1..2-|'; // of the repeated transaction, what had not come yet
 *   expectEvents(source.pipe(dedupeCommitTs())).toBe(expected);
 * });
 * ```
 *
 * @returns a stage.
 * @see checkSequence, whose resets make the duplicates.
 */
export function dedupeCommitTs({ startTs = 0n, ordinals = true }: DedupeOptions = {}): Stage {
  return operator('dedupeCommitTs', { startTs, ordinals }, () => {
    const drop = ordinals ? dropper(positionStart(startTs), dedupePositionStep) : dropper(dedupeStart(startTs), dedupeStep);
    return map((delivery) => delivery.with(mapEvents(delivery.events, drop)));
  });
}

/** What was passed on for one dispatcher, where the source does not number the changes of a transaction. */
export interface DedupeState {
  /** Everything up to here drops. */
  readonly startTs: bigint;
  /** The last commitTs passed on. It never goes back (spec event-collector §2, 12). */
  readonly lastTs: bigint;
  /** A schema change or TRUNCATE at `lastTs` was passed on. */
  readonly gotDdl: boolean;
  /** A syncpoint at `lastTs` was passed on. */
  readonly gotSyncpoint: boolean;
}

export interface DedupeStep<State> {
  readonly state: State;
  /** What goes on: the event, a slice of it, or null. */
  readonly event: ChangeEvent | null;
}

export function dedupeStart(startTs: bigint): DedupeState {
  return { startTs, lastTs: startTs, gotDdl: false, gotSyncpoint: false };
}

/**
 * One event against the commit-ts rules. Unlike upstream, a resolved beyond `lastTs` does not clear what was seen there: behind it, another event at
 * `lastTs` can only be a repetition.
 */
export function dedupeStep(state: DedupeState, event: ChangeEvent): DedupeStep<DedupeState> {
  const { startTs, lastTs, gotDdl, gotSyncpoint } = state;
  switch (event.type) {
    case 'dml': {
      const isPast = (ts: bigint) => ts <= startTs || ts < lastTs || (ts === lastTs && (gotDdl || gotSyncpoint));
      const kept = dropHead(event, (rows, row) => isPast(rows.transactionOf(row).commitTs));
      return kept === null ? { state, event: null } : { state: movedTo(state, kept.rows.last.commitTs), event: kept };
    }
    case 'ddl':
    case 'truncate': {
      const ts = event.position.commitTs;
      if (ts <= startTs || ts < lastTs || (ts === lastTs && (gotDdl || gotSyncpoint))) return { state, event: null };
      return { state: { ...movedTo(state, ts), gotDdl: true }, event };
    }
    case 'syncpoint': {
      const ts = event.commitTs;
      if (ts <= startTs || ts < lastTs || (ts === lastTs && gotSyncpoint)) return { state, event: null };
      return { state: { ...movedTo(state, ts), gotSyncpoint: true }, event };
    }
    default:
      return { state, event };
  }
}

/** The last position passed on for one dispatcher, where the source numbers the changes of a transaction. */
export interface PositionState extends Position {
  /** The table version of the schema change passed on last at this position; null when the change itself was. */
  readonly version: bigint | null;
}

export function positionStart(startTs: bigint): PositionState {
  return { commitTs: startTs, ordinal: Number.POSITIVE_INFINITY, version: null };
}

/** One event against the exact rule: position ≤ last drops. */
export function dedupePositionStep(last: PositionState, event: ChangeEvent): DedupeStep<PositionState> {
  switch (event.type) {
    case 'dml': {
      const kept = dropHead(event, (rows, row) => isPassed(last, { ...rows.positionOf(row), version: null }));
      return kept === null ? { state: last, event: null } : { state: { ...kept.rows.last, version: null }, event: kept };
    }
    case 'ddl':
    case 'truncate':
    case 'syncpoint': {
      const position = placeOf(event);
      return isPassed(last, position) ? { state: last, event: null } : { state: position, event };
    }
    default:
      return { state: last, event };
  }
}

function placeOf(event: Extract<ChangeEvent, { type: 'ddl' | 'truncate' | 'syncpoint' }>): PositionState {
  if (event.type === 'syncpoint') return { commitTs: event.commitTs, ordinal: Number.POSITIVE_INFINITY, version: null };
  return { ...event.position, version: event.type === 'ddl' ? event.table.version : null };
}

function isPassed(last: PositionState, place: PositionState): boolean {
  if (place.commitTs !== last.commitTs) return place.commitTs < last.commitTs;
  if (place.ordinal !== last.ordinal) return place.ordinal < last.ordinal;
  return last.version === null || (place.version !== null && place.version <= last.version);
}

function movedTo(state: DedupeState, ts: bigint): DedupeState {
  return ts > state.lastTs ? { ...state, lastTs: ts, gotDdl: false, gotSyncpoint: false } : state;
}

/** The event without its first rows, those that are past, found by bisection; null when all are. */
function dropHead(event: DmlEvent, isPast: (rows: RowBlock, row: number) => boolean): DmlEvent | null {
  const { rows } = event;
  if (!isPast(rows, 0)) return event;
  let low = 1;
  let high = rows.rowCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isPast(rows, middle)) low = middle + 1;
    else high = middle;
  }
  return low === rows.rowCount ? null : withRows(event, rows.slice(low, rows.rowCount));
}

/** The rule with its state by dispatcher. */
function dropper<State>(
  start: State,
  step: (state: State, event: ChangeEvent) => DedupeStep<State>,
): (event: ChangeEvent) => ChangeEvent | null {
  const states = new Map<DispatcherId, State>();
  return (event) => {
    if (!isAckedEvent(event)) return event;
    const { state, event: kept } = step(states.get(event.dispatcher) ?? start, event);
    states.set(event.dispatcher, state);
    return kept;
  };
}
