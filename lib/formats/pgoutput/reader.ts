import { MillraceError } from '../../errors.ts';
import { IMAGE_KEY, IMAGE_NEW, IMAGE_OLD, OP_INSERT, OP_UPDATE, VALUE_NULL, VALUE_TEXT, VALUE_UNCHANGED } from '../../events/index.ts';
import { readControlMessage } from './control.ts';
import { Fields, malformed, timeUs, u32, u64 } from './fields.ts';
import { MessageKind, messageKindName, type PgoutputMessage } from './messages.ts';

/** What START_REPLICATION asked for: it decides which messages may come and how they look. */
export interface PgoutputOptions {
  /** `proto_version`. Default 1. Streamed transactions come from 2 on, two-phase messages from 3 on. */
  readonly protocolVersion?: 1 | 2 | 3 | 4;
  /** `streaming = parallel`: stream aborts then carry an LSN and a time. Default false. */
  readonly parallelStreaming?: boolean;
}

/**
 * Reads the messages of one pgoutput session, one by one, without IO.
 *
 * `read` checks a whole message before it sets any field, so that what follows it may trust the bytes; anything that does not hold is
 * MR_PGOUTPUT_MALFORMED and leaves the reader as it was. Which fields are set depends on the kind, as each says; the others keep old values.
 * Row changes allocate nothing, begin and commit only their bigints. A reader remembers whether it is inside a streamed block and nothing else:
 * a new session takes a new reader.
 */
export class PgoutputReader {
  /** insert, update, delete: the relation's oid. */
  relationId = 0;
  /** insert, update, delete: the operation, as `RowBlockBuilder.append` takes it. */
  op = 0;
  /** insert, update, delete: where the row's first image begins in the bytes; the row ends where the message ends. */
  rowAt = 0;
  /** insert, update, delete: columns of each of the row's tuples. Compare it with the relation's before the row is used. */
  columnCount = 0;
  /** begin: the transaction. Inside a streamed block: the (sub)transaction of the message. Else 0. */
  xid = 0;
  /** begin: the LSN that the transaction's commit will have (P1: its commitTs). */
  finalLsn = 0n;
  /** commit: its LSN. */
  commitLsn = 0n;
  /** commit: where the commit record ends. */
  endLsn = 0n;
  /** begin, commit: microseconds since 1970 UTC. */
  commitTimeUs = 0n;
  /** Every other kind: the message as a plain object, which may be kept. Null for the kinds above. */
  message: PgoutputMessage | null = null;
  readonly #protocolVersion: number;
  readonly #parallelStreaming: boolean;
  #inStream = false;

  constructor(options: PgoutputOptions = {}) {
    this.#protocolVersion = options.protocolVersion ?? 1;
    this.#parallelStreaming = options.parallelStreaming ?? false;
  }

  /** Whether the next message is inside a streamed block: between a stream start and its stop. */
  get isInStream(): boolean {
    return this.#inStream;
  }

  /**
   * Reads the message of `bytes` from `at` (its type byte) to before `end`, and says of which kind it is.
   *
   * Throws MR_PGOUTPUT_MALFORMED; MR_PGOUTPUT_BINARY for a column in binary form, which row blocks do not hold.
   */
  read(bytes: Buffer, at: number, end: number): MessageKind {
    if (!(at >= 0 && at < end && end <= bytes.length)) throw malformed('empty', 0, `no bytes from ${at} to ${end} of ${bytes.length}`);
    const kind = bytes[at]!;
    switch (kind) {
      case MessageKind.insert:
      case MessageKind.update:
      case MessageKind.delete:
        this.#readRow(kind, bytes, at, end);
        return kind;
      case MessageKind.begin:
        this.#readBegin(bytes, at, end);
        return kind;
      case MessageKind.commit:
        this.#readCommit(bytes, at, end);
        return kind;
      default:
        return this.#readControl(kind, bytes, at, end);
    }
  }

  #readRow(op: number, bytes: Buffer, at: number, end: number): void {
    const body = this.#inStream ? at + 5 : at + 1;
    if (end - body < 7) throw malformed(messageKindName(op), end - at, 'it ends before its first tuple');
    const relationId = u32(bytes, body);
    const rowAt = body + 4;
    const columnCount = (bytes[rowAt + 1]! << 8) | bytes[rowAt + 2]!;
    const marker = bytes[rowAt]!;
    if (
      !(op === OP_INSERT
        ? marker === IMAGE_NEW
        : marker === IMAGE_KEY || marker === IMAGE_OLD || (op === OP_UPDATE && marker === IMAGE_NEW))
    ) {
      throw malformed(messageKindName(op), rowAt - at, `${marker} marks no tuple that it may hold`);
    }
    let next = checkTuple(op, relationId, bytes, at, rowAt + 1, end);
    if (op === OP_UPDATE && marker !== IMAGE_NEW) {
      if (end - next < 3 || bytes[next] !== IMAGE_NEW) throw malformed(messageKindName(op), next - at, 'no new tuple follows the old one');
      if (((bytes[next + 1]! << 8) | bytes[next + 2]!) !== columnCount) {
        throw malformed(messageKindName(op), next + 1 - at, 'its tuples differ in their number of columns');
      }
      next = checkTuple(op, relationId, bytes, at, next + 1, end);
    }
    if (next !== end) throw malformed(messageKindName(op), next - at, `${end - next} bytes follow its end`);
    this.relationId = relationId;
    this.op = op;
    this.rowAt = rowAt;
    this.columnCount = columnCount;
    this.xid = this.#inStream ? u32(bytes, at + 1) : 0;
    this.message = null;
  }

  #readBegin(bytes: Buffer, at: number, end: number): void {
    this.#checkOutsideStream(MessageKind.begin);
    if (end - at !== 21) throw malformed('begin', Math.min(end - at, 21), `it has ${end - at} bytes instead of 21`);
    const finalLsn = u64(bytes, at + 1);
    if (finalLsn === 0n) throw malformed('begin', 1, 'its final LSN is 0');
    this.finalLsn = finalLsn;
    this.commitTimeUs = timeUs(bytes, at + 9);
    this.xid = u32(bytes, at + 17);
    this.message = null;
  }

  #readCommit(bytes: Buffer, at: number, end: number): void {
    this.#checkOutsideStream(MessageKind.commit);
    if (end - at !== 26) throw malformed('commit', Math.min(end - at, 26), `it has ${end - at} bytes instead of 26`);
    if (bytes[at + 1] !== 0) throw malformed('commit', 1, `flags are ${bytes[at + 1]}; none is known`);
    this.commitLsn = u64(bytes, at + 2);
    this.endLsn = u64(bytes, at + 10);
    this.commitTimeUs = timeUs(bytes, at + 18);
    this.xid = 0;
    this.message = null;
  }

  #readControl(byte: number, bytes: Buffer, at: number, end: number): MessageKind {
    const since = CONTROL_SINCE.get(byte);
    if (since === undefined) throw malformed(messageKindName(byte), 0, 'there is no message of this kind');
    const kind = byte as MessageKind;
    if (since > this.#protocolVersion) {
      throw malformed(messageKindName(kind), 0, `it needs protocol version ${since}, the session has ${this.#protocolVersion}`);
    }
    const fields = new Fields(messageKindName(kind), bytes, at, end);
    if (kind === MessageKind.streamStop) {
      if (!this.#inStream) throw malformed('streamStop', 0, 'no streamed block is open');
    } else if (!IN_STREAM.has(kind)) {
      this.#checkOutsideStream(kind);
    }
    const xid = this.#inStream && HAS_XID.has(kind) ? fields.u32() : 0;
    const message = readControlMessage(kind, fields, this.#protocolVersion >= 4 && this.#parallelStreaming);
    fields.done();
    if (kind === MessageKind.streamStart) this.#inStream = true;
    else if (kind === MessageKind.streamStop) this.#inStream = false;
    this.xid = xid;
    this.message = message;
    return kind;
  }

  #checkOutsideStream(kind: MessageKind): void {
    if (this.#inStream) throw malformed(messageKindName(kind), 0, 'it may not come inside a streamed block');
  }
}

const VALUE_BINARY = 0x62;

/** The protocol version that brought each kind of control message. */
const CONTROL_SINCE = new Map<number, number>([
  [MessageKind.origin, 1],
  [MessageKind.relation, 1],
  [MessageKind.type, 1],
  [MessageKind.truncate, 1],
  [MessageKind.message, 1],
  [MessageKind.streamStart, 2],
  [MessageKind.streamStop, 2],
  [MessageKind.streamCommit, 2],
  [MessageKind.streamAbort, 2],
  [MessageKind.beginPrepare, 3],
  [MessageKind.prepare, 3],
  [MessageKind.commitPrepared, 3],
  [MessageKind.rollbackPrepared, 3],
  [MessageKind.streamPrepare, 3],
]);

/** Control messages whose first field, inside a streamed block, is the transaction they belong to. */
const HAS_XID = new Set<MessageKind>([MessageKind.relation, MessageKind.type, MessageKind.truncate, MessageKind.message]);
const IN_STREAM = new Set<MessageKind>([...HAS_XID, MessageKind.origin]);

/** Checks the tuple at `at` (its column count) of the message at `start` and returns where it ends. */
function checkTuple(op: number, relationId: number, bytes: Buffer, start: number, at: number, end: number): number {
  const count = (bytes[at]! << 8) | bytes[at + 1]!;
  let position = at + 2;
  for (let i = 0; i < count; i++) {
    if (position >= end) throw malformed(messageKindName(op), position - start, `it ends before column ${i} of ${count}`);
    const value = bytes[position]!;
    if (value === VALUE_TEXT || value === VALUE_BINARY) {
      if (end - position < 5) throw malformed(messageKindName(op), position - start, `it ends in the length of column ${i}`);
      const length = u32(bytes, position + 1);
      if (length > end - position - 5) {
        throw malformed(messageKindName(op), position - start, `column ${i} has ${length} bytes and ${end - position - 5} are left`);
      }
      if (value === VALUE_BINARY) throw new MillraceError('MR_PGOUTPUT_BINARY', { relationId, column: i });
      position += 5 + length;
    } else {
      if (value !== VALUE_NULL && value !== VALUE_UNCHANGED) {
        throw malformed(messageKindName(op), position - start, `${value} is no kind of column value`);
      }
      position += 1;
    }
  }
  return position;
}
