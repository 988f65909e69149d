import { MillraceError } from '../../errors.ts';
import { type ChangeEvent, type DataEvent, Delivery, dmlEvent, RowBlockBuilder, resolvedEvent, type Table } from '../../events/index.ts';
import {
  FrameKind,
  formatLsn,
  type LogicalMessage,
  MessageKind,
  PgoutputReader,
  type RelationMessage,
  ReplicationFrame,
  type TruncateMessage,
} from '../../formats/pgoutput/index.ts';
import type { ChangePosition, SchemaResolver } from './schema-resolver.ts';

/**
 * Turns the CopyData payloads of a replication stream into the events of deliveries, without IO.
 *
 * Rows stay where they were read: their offsets point into the bytes that `feed` was given, and hold until `take`. Positions are (P1) Begin's `final_lsn`
 * and an ordinal that counts every row change and truncated relation of the transaction, also those of tables that nobody captures, so that it is the same on
 * every replay. What a replay after a reconnection repeats is skipped exactly, by position.
 *
 *     feed ─ true ─▶ feed …            the message is in
 *        └── false ─▶ settle ─▶ take   it needs the schema history first; what came before it, and the block events, go out
 */
export class Assembler {
  /** Set when a keepalive asked for a status update; whoever answers clears it. */
  replyRequested = false;
  /** The newest position that the server has told of. */
  serverTs = 0n;
  /** Rows gathered since the last `take`. */
  rowCount = 0;
  readonly #resolver: SchemaResolver;
  readonly #messagePrefix: string | null;
  readonly #frame = new ReplicationFrame();
  #reader = new PgoutputReader();
  #relations = new Map<number, Relation>();
  /** Relations with rows in the delivery that is gathered, in the order of their first. */
  #touched: Relation[] = [];
  #last: Relation | null = null;
  /** Changes with each transaction and each `take`: a relation with another mark has not been looked at since. */
  #mark = 1;
  #inTransaction = false;
  #commitTs = 0n;
  #commitTimeUs = 0n;
  #ordinal = 0;
  /** Changes of the open transaction with a lower ordinal are repeated and skipped. */
  #skipBelow = 0;
  /** Transactions up to this commitTs were taken whole. */
  #doneTs: bigint;
  /** The transaction that the connection broke in, and its ordinals that were taken. */
  #partial = { commitTs: 0n, ordinals: 0 };
  #resolvedTs: bigint;
  #resolved: { commitTs: bigint; commitTimeUs: bigint } | null = null;
  #blockEvents: DataEvent[] = [];

  /**
   * @param fromTs everything up to it was delivered and is durable; the stream is asked for what follows.
   * @param messagePrefix logical messages with it go to the schema history; null for none. They take no ordinal.
   */
  constructor(resolver: SchemaResolver, fromTs: bigint, messagePrefix: string | null = null) {
    this.#resolver = resolver;
    this.#messagePrefix = messagePrefix;
    this.#doneTs = fromTs;
    this.#resolvedTs = fromTs;
  }

  /** Whether `take` would give anything. */
  get hasOutput(): boolean {
    return this.rowCount > 0 || this.#resolved !== null || this.#blockEvents.length > 0;
  }

  /** Where the stream stands, for messages. */
  get position(): string {
    return this.#inTransaction ? `${formatLsn(this.#commitTs)}/${this.#ordinal}` : formatLsn(this.#doneTs);
  }

  /**
   * Reads the payload in `bytes` from `at` to before `end`. False: nothing was read, and `settle` must be called. Throws MR_PGOUTPUT_MALFORMED and, for a
   * stream that contradicts itself, MR_STREAM_BROKEN.
   */
  feed(bytes: Buffer, at: number, end: number): boolean {
    const frame = this.#frame;
    if (frame.read(bytes, at, end) === FrameKind.keepalive) {
      this.#keepalive(frame);
      return true;
    }
    const reader = this.#reader;
    const kind = reader.read(bytes, frame.payloadAt, end);
    switch (kind) {
      case MessageKind.insert:
      case MessageKind.update:
      case MessageKind.delete:
        return this.#row(reader);
      case MessageKind.begin:
        this.#begin(reader);
        return true;
      case MessageKind.commit:
        this.#commit(reader);
        return true;
      case MessageKind.relation:
        this.#relation(reader.message as RelationMessage);
        return true;
      case MessageKind.truncate:
        return this.#skipTruncate(reader.message as TruncateMessage);
      case MessageKind.type:
      case MessageKind.origin:
        return true;
      case MessageKind.message:
        return this.#skipMessage(reader.message as LogicalMessage);
      default:
        throw this.#broken(`message kind 0x${(kind as number).toString(16)} was not asked for`);
    }
  }

  /**
   * Asks the schema history what the message that `feed` refused means, and queues the block events that it brings. Returns whether the message is thereby
   * read; otherwise it is fed again. Either way `take` comes first.
   */
  async settle(): Promise<boolean> {
    const { message } = this.#reader;
    if (message?.type === 'truncate') {
      await this.#truncate(message);
      return true;
    }
    if (message?.type === 'message') {
      this.#blockEvents.push(...(await this.#resolver.statement(message, this.#here())));
      return true;
    }
    await this.#resolve(this.#reader.relationId);
    return false;
  }

  /**
   * The gathered deliveries: the rows, by table, with the newest resolved mark behind them, then each block event in one of its own.
   *
   * @param bytes what the rows' offsets point into; asked for only when there are rows.
   */
  take(bytes: () => Buffer): Delivery[] {
    const deliveries: Delivery[] = [];
    const events: ChangeEvent[] = [];
    let retained = 0;
    if (this.rowCount > 0) {
      const buffer = bytes();
      retained = buffer.length;
      for (const { builder, table } of this.#touched) events.push(dmlEvent(builder.build(table!, buffer)));
      this.#touched = [];
      this.rowCount = 0;
    }
    if (this.#resolved !== null) {
      events.push(resolvedEvent(this.#resolved.commitTs, this.#resolved.commitTimeUs));
      this.#resolved = null;
    }
    if (events.length > 0) deliveries.push(new Delivery(events, retained));
    for (const event of this.#blockEvents) deliveries.push(new Delivery([event]));
    this.#blockEvents = [];
    this.#mark++;
    return deliveries;
  }

  /** A new session follows, which repeats what was not confirmed. What was gathered must have been taken. */
  reconnected(): void {
    if (this.#inTransaction && this.#commitTs > this.#doneTs) {
      this.#partial = { commitTs: this.#commitTs, ordinals: Math.max(this.#ordinal, this.#skipBelow) };
    }
    this.#inTransaction = false;
    this.#reader = new PgoutputReader();
    this.#relations = new Map();
    this.#last = null;
    this.#mark++;
  }

  #row(reader: PgoutputReader): boolean {
    if (!this.#inTransaction) throw this.#broken('a row came outside a transaction');
    if (this.#ordinal < this.#skipBelow) {
      this.#ordinal++;
      return true;
    }
    let relation = this.#last;
    if (relation === null || relation.id !== reader.relationId) {
      relation = this.#relations.get(reader.relationId) ?? null;
      if (relation === null) throw this.#broken(`a row came of relation ${reader.relationId}, which was not described`);
      this.#last = relation;
    }
    if (relation.pending) return false;
    if (relation.mark !== this.#mark) this.#look(relation);
    if (relation.isEmitted) {
      if (reader.columnCount !== relation.columnCount) {
        throw this.#broken(`a row of relation ${relation.id} has ${reader.columnCount} columns instead of ${relation.columnCount}`);
      }
      const { builder } = relation;
      if (builder.rowCount === 0) this.#touched.push(relation);
      builder.append(reader.op, reader.rowAt, this.#ordinal);
      this.rowCount++;
    }
    this.#ordinal++;
    return true;
  }

  /** Once for each relation, transaction and delivery: whether its rows are emitted, and as rows of which version. */
  #look(relation: Relation): void {
    relation.mark = this.#mark;
    if (relation.builder.rowCount === 0) {
      const { table, dropBefore } = this.#resolver.lookup(relation.id);
      relation.table = table;
      relation.dropBefore = dropBefore;
    }
    relation.isEmitted = relation.table !== null && this.#commitTs >= relation.dropBefore;
    relation.builder.beginTransaction(this.#commitTs, this.#commitTimeUs);
  }

  #begin(reader: PgoutputReader): void {
    if (this.#inTransaction) throw this.#broken('a transaction began inside another');
    this.#inTransaction = true;
    this.#commitTs = reader.finalLsn;
    this.#commitTimeUs = reader.commitTimeUs;
    this.#ordinal = 0;
    this.#mark++;
    if (this.#commitTs <= this.#doneTs) this.#skipBelow = Number.POSITIVE_INFINITY;
    else this.#skipBelow = this.#commitTs === this.#partial.commitTs ? this.#partial.ordinals : 0;
  }

  #commit(reader: PgoutputReader): void {
    if (!this.#inTransaction) throw this.#broken('a commit came outside a transaction');
    if (reader.commitLsn !== this.#commitTs) throw this.#broken(`the transaction committed at ${formatLsn(reader.commitLsn)}`);
    this.#inTransaction = false;
    this.#mark++;
    if (this.#commitTs > this.#doneTs) this.#doneTs = this.#commitTs;
    this.#markResolved(reader.endLsn - 1n, reader.commitTimeUs);
  }

  #keepalive(frame: ReplicationFrame): void {
    if (frame.replyRequested) this.replyRequested = true;
    if (frame.walEnd > this.serverTs) this.serverTs = frame.walEnd;
    if (!this.#inTransaction && frame.walEnd > 0n) this.#markResolved(frame.walEnd - 1n, frame.sendTimeUs);
  }

  /** P1: the next transaction may commit at the very end of what was seen, so only what is before that is resolved. */
  #markResolved(commitTs: bigint, commitTimeUs: bigint): void {
    if (commitTs + 1n > this.serverTs) this.serverTs = commitTs + 1n;
    if (commitTs <= this.#resolvedTs) return;
    this.#resolvedTs = commitTs;
    this.#resolved = { commitTs, commitTimeUs };
  }

  #relation(message: RelationMessage): void {
    const known = this.#relations.get(message.relationId);
    if (known === undefined) {
      this.#relations.set(message.relationId, new Relation(message));
    } else {
      known.message = message;
      known.pending = true;
    }
  }

  /** Whether nothing of the message is news; its ordinals are then counted. */
  #skipTruncate({ relationIds }: TruncateMessage): boolean {
    if (!this.#inTransaction) throw this.#broken('a TRUNCATE came outside a transaction');
    if (this.#ordinal + relationIds.length > this.#skipBelow) return false;
    this.#ordinal += relationIds.length;
    return true;
  }

  /** Whether the message is nobody's, or none of its transaction's changes is news. */
  #skipMessage({ prefix, isTransactional }: LogicalMessage): boolean {
    return prefix !== this.#messagePrefix || !isTransactional || !this.#inTransaction || this.#ordinal < this.#skipBelow;
  }

  async #truncate({ relationIds, cascade, restartIdentity }: TruncateMessage): Promise<void> {
    for (const relationId of relationIds) {
      if (this.#ordinal >= this.#skipBelow) {
        const relation = this.#relations.get(relationId);
        if (relation === undefined) throw this.#broken(`relation ${relationId} was truncated and not described`);
        if (relation.pending) await this.#resolve(relationId);
        const { table, dropBefore } = this.#resolver.lookup(relationId);
        if (table !== null && this.#commitTs >= dropBefore) {
          const event = await this.#resolver.truncate(relationId, this.#here(), { cascade, restartIdentity });
          if (event !== null) this.#blockEvents.push(event);
        }
      }
      this.#ordinal++;
    }
  }

  async #resolve(relationId: number): Promise<void> {
    const relation = this.#relations.get(relationId)!;
    const { event } = await this.#resolver.resolve(relation.message, this.#here());
    relation.pending = false;
    relation.columnCount = relation.message.columns.length;
    if (event !== null) this.#blockEvents.push(event);
  }

  #here(): ChangePosition {
    return { commitTs: this.#commitTs, ordinal: this.#ordinal, commitTimeUs: this.#commitTimeUs };
  }

  #broken(reason: string): MillraceError {
    return new MillraceError('MR_STREAM_BROKEN', { position: this.position, reason });
  }
}

/** A relation of the present session. */
class Relation {
  readonly id: number;
  message: RelationMessage;
  /** The message has not been resolved: no change has used it yet. */
  pending = true;
  table: Table | null = null;
  dropBefore = 0n;
  columnCount = 0;
  isEmitted = false;
  mark = 0;
  readonly builder = new RowBlockBuilder();

  constructor(message: RelationMessage) {
    this.id = message.relationId;
    this.message = message;
  }
}
