import type { DdlEvent, Position, Table, TruncateEvent } from '../../events/index.ts';
import type { LogicalMessage, RelationMessage } from '../../formats/pgoutput/index.ts';

/** Where a change stands, and when its transaction committed (microseconds since 1970 UTC). */
export interface ChangePosition extends Position {
  readonly commitTimeUs: bigint;
}

/** What the stream does with the rows of one relation. */
export interface TableInForce {
  /** The version that the rows belong to; null when the table is not captured, or was stopped. */
  readonly table: Table | null;
  /** Rows of transactions with a commitTs below this one are dropped: the table's snapshot holds them (P5). */
  readonly dropBefore: bigint;
}

/** What a relation message means. */
export interface Resolution extends TableInForce {
  /** The schema change that stands before the next change of the table; null when there is none. Emitted in a delivery of its own. */
  readonly event: DdlEvent | null;
}

/** The options of a TRUNCATE, as the source sent them. */
export interface TruncateOptions {
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

/**
 * Port between the stream, which knows bytes, and the schema history, which knows tables (P7). The stream calls one method at a time, waits for its
 * promise before it decodes anything further, and emits the returned event before any row that stands behind it.
 */
export interface SchemaResolver {
  /**
   * A relation message that is about to be used by the change at `at`. Called for every relation message that a change uses, also when it repeats what
   * is in force (each session sends them again; a rewrite of the table sends one that looks the same); relation messages that only replayed, skipped
   * changes use do not come here.
   */
  resolve(relation: RelationMessage, at: ChangePosition): Promise<Resolution>;
  /** The relation was truncated at `at`: its new version, in force from now on; null when the truncation is not to be emitted. */
  truncate(relationId: number, at: ChangePosition, options: TruncateOptions): Promise<TruncateEvent | null>;
  /**
   * A transactional message with the prefix that the stream was told (`ddlText`), at `at`: it takes no ordinal, and stands before the change of that ordinal. It
   * may come again after a reconnection. Returns the schema changes that no relation message will tell of, each for a delivery of its own.
   */
  statement(message: LogicalMessage, at: ChangePosition): Promise<readonly DdlEvent[]>;
  /** What is in force now for a relation that was resolved in this session. Asked once per relation and delivery. */
  lookup(relationId: number): TableInForce;
}
