import type { Table } from '../../events/index.ts';
import type { Logger, SystemEvents } from '../../flow/index.ts';
import type { RelationMessage } from '../../formats/pgoutput/index.ts';
import type { CatalogTable } from './catalog.ts';
import type { TableVersion } from './schema-history.ts';
import type { PostgresState, TableState } from './state.ts';

/** What the captured tables need of their run. */
export interface CapturedTablesOptions {
  readonly pipeline: string;
  readonly state: PostgresState;
  /** Stores the state: durable when it resolves. */
  save(): Promise<void>;
  /** The catalog's present view of a table; null when it is gone. */
  look(oid: number): Promise<Look & { readonly table: CatalogTable | null }>;
  /** A relation that nobody captures appeared in the stream: perhaps it should join. */
  onUnknown(relation: RelationMessage): void;
  readonly logger: Logger;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
}

/** When the catalog was read: where the safe WAL ended before, and where all WAL ended after. */
export interface Look {
  readonly before: bigint;
  readonly after: bigint;
}

/** What a run knows of one captured table, beside its state. */
export interface Captured {
  readonly state: TableState;
  current: TableVersion | null;
  table: Table | null;
  /** A relation message has come in this session. */
  wasDescribed: boolean;
  /** The stream has told that it was dropped. */
  isDropped: boolean;
  /** Where the WAL stood before `state.seen` was read. */
  seenLsn: bigint;
  /** Partitions were emptied: the stream must tell of a TRUNCATE before it passes `lsn`. */
  awaited: { readonly lsn: bigint; readonly reason: string } | null;
  /** The catalog has other columns than the version in force, `after`, and no row has told of it. */
  silent: {
    readonly after: TableVersion;
    readonly catalog: CatalogTable;
    readonly published: readonly string[];
    readonly lsn: bigint;
  } | null;
}

/** A table as a run begins with it: `current` is the version in force, `table` what its events carry. */
export function capturedTable(state: TableState, current: TableVersion | null, table: Table | null): Captured {
  return { state, current, table, wasDescribed: false, isDropped: false, seenLsn: state.seenSince, awaited: null, silent: null };
}

/** Whether two versions have the same columns, as far as rows depend on them. */
export function hasSameColumns(a: TableVersion, b: TableVersion): boolean {
  return (
    a.columns.length === b.columns.length &&
    a.columns.every((column, index) => {
      const { attnum, name, typeOid, typeModifier } = b.columns[index]!;
      return column.attnum === attnum && column.name === name && column.typeOid === typeOid && column.typeModifier === typeModifier;
    })
  );
}
