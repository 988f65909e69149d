import type { Position } from '../../lib/events/index.ts';
import type { SchemaFileColumn } from '../../lib/formats/storage-layout/index.ts';
import type { TableName } from './table-name.ts';

/** One change of a table, as `read` prints it. Column values are text or null; an unchanged TOAST value is absent. */
export interface Change {
  readonly schema: string;
  readonly table: string;
  /** Insert, update, delete, or truncate: all rows of the table are gone. */
  readonly op: 'I' | 'U' | 'D' | 'T';
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly old: Readonly<Record<string, string | null>> | null;
  readonly data: Readonly<Record<string, string | null>> | null;
}

/** Changes of one table in position order. The two halves of a split key update share a position and are never apart. */
export interface TableChanges extends TableName {
  /** The version that the changes are of. */
  readonly version: TableVersion;
  /** None when a version begins: a new table, or other columns. */
  readonly changes: readonly Change[];
  /**
   * In the first part of a table whose older files clean-up has removed: its changes begin behind this position, and what rows it had then is not to be known.
   * Absent where nothing is missing.
   */
  readonly removedUpTo?: Position;
}

/** One version of a table: the columns that its changes have. */
export interface TableVersion {
  readonly version: bigint;
  readonly columns: readonly SchemaFileColumn[];
  /** The names of the columns that tell rows apart; empty for a table without a key, whose rows are a multiset. */
  readonly keyColumns: readonly string[];
  /** What rows older than a column have there, in the form in which the files hold values; null for a column that is not in it. */
  readonly defaults: ReadonlyMap<string, string>;
  /** The version has no rows but its own. Whoever had an earlier one hears of it by a `T` change too. */
  readonly startsEmpty: boolean;
  /** The statement that made the version, where the target keeps it; else empty. */
  readonly query: string;
}
