import { TwoStageAck } from './ack.ts';
import type { DispatcherId } from './dispatcher.ts';
import type { Position } from './position.ts';
import type { RowBlock } from './row-block.ts';
import type { Table } from './table.ts';

/** What every event carries. `epoch` and `seq` number the event in a session with an event service; both are 0 where there is none. */
interface EventBase {
  readonly dispatcher: DispatcherId;
  readonly epoch: bigint;
  readonly seq: bigint;
}

/** Changed rows of one table version. */
export interface DmlEvent extends EventBase {
  readonly type: 'dml';
  readonly rows: RowBlock;
  readonly ack: TwoStageAck;
}

/**
 * A table takes a new version: columns from `table` on. A block event.
 *
 * Its position sorts before the change of the same ordinal. `startsEmpty` says that the rows of this version are all there are (a snapshot, or a new
 * table under a known name): readers clear the table first. `abandons` lists versions whose snapshot was never completed; the sink removes them.
 */
export interface DdlEvent extends EventBase {
  readonly type: 'ddl';
  readonly position: Position;
  readonly commitTimeUs: bigint;
  readonly table: Table;
  /** The statement for readers; empty for a table's first version. */
  readonly query: string;
  /**
   * What the user sent, where the source carries it (`postgres({ ddlText: true })`): perhaps more than one statement, with whatever is in it, secrets too. Null
   * where that is not known.
   */
  readonly statement: string | null;
  /** TiDB's DDL action code, as schema files carry it: 0 snapshot, 3 create table, 5 add column, 11 truncate, … */
  readonly action: number;
  readonly startsEmpty: boolean;
  readonly abandons: readonly bigint[];
  readonly ack: TwoStageAck;
}

/** All rows of a table are gone at this position; `table` is the version that begins here. A block event. */
export interface TruncateEvent extends EventBase {
  readonly type: 'truncate';
  readonly position: Position;
  readonly commitTimeUs: bigint;
  readonly table: Table;
  readonly query: string;
  readonly ack: TwoStageAck;
}

/** A consistent cut over all tables at `commitTs`. A block event. */
export interface SyncpointEvent extends EventBase {
  readonly type: 'syncpoint';
  readonly commitTs: bigint;
  readonly ack: TwoStageAck;
}

/** Every change with a commitTs ≤ `commitTs` has been emitted: one mark for all dispatchers of a source. */
export interface ResolvedEvent extends EventBase {
  readonly type: 'resolved';
  readonly commitTs: bigint;
  /** The source's clock at that position, microseconds since 1970 UTC; 0 when unknown. */
  readonly commitTimeUs: bigint;
}

/** Travels behind everything before it on a dispatcher's route, forces its pending batches out, and is flush-acked when they are durable. */
export interface DrainMarker extends EventBase {
  readonly type: 'marker';
  readonly ack: TwoStageAck;
}

/** Opens an epoch of a dispatcher: `seq` is 1. */
export interface HandshakeEvent extends EventBase {
  readonly type: 'handshake';
  readonly commitTs: bigint;
  readonly table: Table;
}

/** The service can serve this dispatcher. */
export interface ReadyEvent extends EventBase {
  readonly type: 'ready';
}

/** The service cannot serve this dispatcher from what it holds. */
export interface NotReusableEvent extends EventBase {
  readonly type: 'notReusable';
}

/** Memory control dropped the event that had `droppedSeq`; made locally, never sent. */
export interface DropEvent extends EventBase {
  readonly type: 'drop';
  readonly droppedSeq: bigint;
  readonly droppedCommitTs: bigint;
}

/** Changes: what user stages see, sinks write and acks answer. */
export type DataEvent = DmlEvent | DdlEvent | TruncateEvent;
export type BlockEvent = DdlEvent | TruncateEvent | SyncpointEvent;
export type SignalEvent = HandshakeEvent | ReadyEvent | NotReusableEvent | DropEvent;
export type ChangeEvent = DataEvent | SyncpointEvent | ResolvedEvent | DrainMarker | SignalEvent;
/** What a sink registers and acks. */
export type AckedEvent = DataEvent | SyncpointEvent;

/** The dispatcher of marks that belong to all dispatchers of a source. */
export const ALL_DISPATCHERS = '0'.repeat(32) as DispatcherId;

export function isDataEvent(event: ChangeEvent): event is DataEvent {
  return event.type === 'dml' || event.type === 'ddl' || event.type === 'truncate';
}

export function isBlockEvent(event: ChangeEvent): event is BlockEvent {
  return event.type === 'ddl' || event.type === 'truncate' || event.type === 'syncpoint';
}

export function isAckedEvent(event: ChangeEvent): event is AckedEvent {
  return isDataEvent(event) || event.type === 'syncpoint';
}

/** The position of an event's first change; a mark that has a commitTs alone stands behind all ordinals of it. */
export function firstPosition(event: AckedEvent): Position {
  if (event.type === 'dml') return event.rows.first;
  return event.type === 'syncpoint' ? { commitTs: event.commitTs, ordinal: Number.POSITIVE_INFINITY } : event.position;
}

/** The position of an event's last change. */
export function lastPosition(event: AckedEvent): Position {
  return event.type === 'dml' ? event.rows.last : firstPosition(event);
}

/** What names the session an event came in; left out where there is none. */
interface SessionNumbers {
  readonly epoch?: bigint;
  readonly seq?: bigint;
}

const NO_SESSION = { epoch: 0n, seq: 0n };

export function dmlEvent(rows: RowBlock, session: SessionNumbers = NO_SESSION): DmlEvent {
  return { type: 'dml', dispatcher: rows.table.dispatcher, ...NO_SESSION, ...session, rows, ack: new TwoStageAck() };
}

export function ddlEvent(
  fields: Pick<DdlEvent, 'position' | 'commitTimeUs' | 'table'> &
    Partial<Pick<DdlEvent, 'query' | 'statement' | 'action' | 'startsEmpty' | 'abandons'>>,
  session: SessionNumbers = NO_SESSION,
): DdlEvent {
  const defaults = { query: '', statement: null, action: 0, startsEmpty: false, abandons: [] };
  const { dispatcher } = fields.table;
  return { type: 'ddl', dispatcher, ...NO_SESSION, ...session, ...defaults, ...fields, ack: new TwoStageAck() };
}

export function truncateEvent(
  fields: Pick<TruncateEvent, 'position' | 'commitTimeUs' | 'table' | 'query'>,
  session: SessionNumbers = NO_SESSION,
): TruncateEvent {
  return { type: 'truncate', dispatcher: fields.table.dispatcher, ...NO_SESSION, ...session, ...fields, ack: new TwoStageAck() };
}

export function resolvedEvent(
  commitTs: bigint,
  commitTimeUs = 0n,
  dispatcher = ALL_DISPATCHERS,
  session: SessionNumbers = NO_SESSION,
): ResolvedEvent {
  return { type: 'resolved', dispatcher, ...NO_SESSION, ...session, commitTs, commitTimeUs };
}

export function syncpointEvent(commitTs: bigint, dispatcher = ALL_DISPATCHERS, session: SessionNumbers = NO_SESSION): SyncpointEvent {
  return { type: 'syncpoint', dispatcher, ...NO_SESSION, ...session, commitTs, ack: new TwoStageAck() };
}

export function drainMarker(dispatcher: DispatcherId): DrainMarker {
  return { type: 'marker', dispatcher, ...NO_SESSION, ack: new TwoStageAck() };
}

/** `event` with other rows: what a stage that changed a block passes on. Its acks are its own; hooks go on where events arrive. */
export function withRows(event: DmlEvent, rows: RowBlock): DmlEvent {
  return rows === event.rows ? event : { ...event, rows, ack: new TwoStageAck() };
}

/** The table version that an event belongs to. */
export function tableOf(event: DataEvent): Table {
  return event.type === 'dml' ? event.rows.table : event.table;
}

/** `event` as one of another table version (routed, projected); its rows are not touched. */
export function withTable(event: DataEvent, table: Table): DataEvent {
  if (table === tableOf(event)) return event;
  return event.type === 'dml' ? withRows(event, event.rows.withTable(table)) : { ...event, table, ack: new TwoStageAck() };
}
