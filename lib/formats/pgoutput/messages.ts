/** The kinds of pgoutput messages: the type byte of each (PostgreSQL, "Logical Replication Message Formats"; protocol versions 1–4). */
export const MessageKind = {
  begin: 0x42,
  commit: 0x43,
  origin: 0x4f,
  relation: 0x52,
  type: 0x59,
  insert: 0x49,
  update: 0x55,
  delete: 0x44,
  truncate: 0x54,
  message: 0x4d,
  streamStart: 0x53,
  streamStop: 0x45,
  streamCommit: 0x63,
  streamAbort: 0x41,
  beginPrepare: 0x62,
  prepare: 0x50,
  commitPrepared: 0x4b,
  rollbackPrepared: 0x72,
  streamPrepare: 0x70,
} as const;

export type MessageKind = (typeof MessageKind)[keyof typeof MessageKind];

/** The kind's name, or its byte in hexadecimal when there is no such kind. */
export function messageKindName(kind: number): string {
  return NAMES.get(kind) ?? `0x${kind.toString(16).padStart(2, '0')}`;
}

const NAMES = new Map<number, string>(Object.entries(MessageKind).map(([name, byte]) => [byte, name]));

/** The messages that come rarely, as plain objects. Times are microseconds since 1970 UTC; LSNs are u64. */
export type PgoutputMessage =
  | RelationMessage
  | TypeMessage
  | TruncateMessage
  | OriginMessage
  | LogicalMessage
  | StreamStartMessage
  | StreamStopMessage
  | StreamCommitMessage
  | StreamAbortMessage
  | PreparedMessage
  | RollbackPreparedMessage;

/** The shape of a relation for the rows that follow. Sent before its first row of a session, and again when it changed. */
export interface RelationMessage {
  readonly type: 'relation';
  /** The relation's oid. */
  readonly relationId: number;
  /** Empty for `pg_catalog`. */
  readonly namespace: string;
  readonly name: string;
  /** default, nothing, full, index: as `pg_class.relreplident` writes it. */
  readonly replicaIdentity: 'd' | 'n' | 'f' | 'i';
  /** The published columns, in the order of the tuples. */
  readonly columns: readonly RelationColumn[];
}

export interface RelationColumn {
  readonly name: string;
  /** Part of the replica identity; with a full identity every column is. */
  readonly isKey: boolean;
  readonly typeOid: number;
  /** −1 when there is none. */
  readonly typeModifier: number;
}

/** The name of a type that is not built in, sent before the first relation that uses it. */
export interface TypeMessage {
  readonly type: 'type';
  readonly typeOid: number;
  /** Empty for `pg_catalog`. */
  readonly namespace: string;
  readonly name: string;
}

export interface TruncateMessage {
  readonly type: 'truncate';
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
  readonly relationIds: readonly number[];
}

export interface OriginMessage {
  readonly type: 'origin';
  readonly commitLsn: bigint;
  readonly name: string;
}

/** What `pg_logical_emit_message` wrote. `content` is a copy. */
export interface LogicalMessage {
  readonly type: 'message';
  readonly isTransactional: boolean;
  readonly lsn: bigint;
  readonly prefix: string;
  readonly content: Buffer;
}

/** From here to the stream stop, changes belong to transaction `xid`, which is still open; each names its (sub)transaction itself. */
export interface StreamStartMessage {
  readonly type: 'streamStart';
  readonly xid: number;
  readonly isFirstSegment: boolean;
}

export interface StreamStopMessage {
  readonly type: 'streamStop';
}

export interface StreamCommitMessage {
  readonly type: 'streamCommit';
  readonly xid: number;
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
  readonly commitTimeUs: bigint;
}

/** What was streamed of (sub)transaction `subXid` of `xid` is void. The LSN and time are sent for parallel streaming only. */
export interface StreamAbortMessage {
  readonly type: 'streamAbort';
  readonly xid: number;
  readonly subXid: number;
  readonly abortLsn: bigint | null;
  readonly abortTimeUs: bigint | null;
}

/** One step of a two-phase transaction; `lsn` is that of the prepare, of a commit prepared that of the commit. */
export interface PreparedMessage {
  readonly type: 'beginPrepare' | 'prepare' | 'commitPrepared' | 'streamPrepare';
  readonly lsn: bigint;
  readonly endLsn: bigint;
  readonly timeUs: bigint;
  readonly xid: number;
  readonly gid: string;
}

export interface RollbackPreparedMessage {
  readonly type: 'rollbackPrepared';
  readonly prepareEndLsn: bigint;
  readonly endLsn: bigint;
  readonly prepareTimeUs: bigint;
  readonly rollbackTimeUs: bigint;
  readonly xid: number;
  readonly gid: string;
}
