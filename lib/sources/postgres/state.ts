import { isMillraceError, MillraceError } from '../../errors.ts';
import type { JsonValue } from '../../formats/json.ts';
import type { CatalogTable } from './catalog.ts';
import type { DdlStatement } from './ddl-statements.ts';
import type { TableVersion } from './schema-history.ts';

/**
 * What the source remembers between runs. It is stored before whatever rests on it: before the slot is created, before rows of a snapshot or of a
 * schema version are emitted.
 */
export interface PostgresState {
  systemIdentifier: string;
  timeline: number;
  database: string;
  slot: string;
  publication: string;
  /** Null until the publication is known: only the intent was stored. */
  publicationOid: number | null;
  /** Which changes it publishes, and how; null until the publication is known. */
  publishes: string | null;
  /** Where the slot begins; null until it is known: a start was killed while it created the slot, and the next one resumes there. */
  consistentPoint: bigint | null;
  tables: TableState[];
}

export interface TableState {
  readonly oid: number;
  schema: string;
  name: string;
  /** oid of what publishes it, its own or its schema's row; null when it is published otherwise. */
  entry: number | null;
  /** `stopped`: its rows may have changed without events (P6). `left`: dropped, or not captured any more. */
  status: 'captured' | 'stopped' | 'left';
  /** A snapshot of it is to be taken, and was not begun. */
  wantsSnapshot: boolean;
  /** The version that its newest snapshot was begun with; null when there was none. Complete once the checkpoint is there (I5). */
  snapshotVersion: bigint | null;
  /** Versions of snapshots that were never completed and not yet removed at the target. */
  abandoned: bigint[];
  /** Streamed rows with a commitTs below this one are in the snapshot, or before this table's time. */
  dropBefore: bigint;
  /** Readers know rows under this name from before: its next first version clears them. */
  hasPast: boolean;
  /** Versions, ascending (P7). */
  history: TableVersion[];
  /** The catalog as it was last compared (P6). */
  seen: CatalogTable | null;
  /** The WAL position before the comparison before that: a TRUNCATE streamed since explains new file nodes. */
  seenSince: bigint;
  /** commitTs of the newest TRUNCATE that was streamed; −1 when there was none. */
  truncatedAt: bigint;
  /** Behind where it was dropped: once the checkpoint is there nothing of it is due; null while it exists. */
  droppedBefore: bigint | null;
  /** By attnum: what rows that are older than the column read as, as soon as it was seen; a rewrite takes it out of the catalog. */
  missing: Record<string, string | null>;
  /** Statements that changed it and that a replay may have to tell of; in order. */
  statements: readonly DdlStatement[];
}

/** Whether the table's rows are missing at the target, or may be: a snapshot is to be taken before anything of it is streamed. */
export function needsSnapshot(table: TableState, checkpointTs: bigint | null): boolean {
  if (table.wantsSnapshot) return true;
  return table.snapshotVersion !== null && (checkpointTs === null || checkpointTs < table.snapshotVersion);
}

/** Whether a snapshot of it was begun and must be taken again, because the checkpoint does not reach it. */
export function hasUnfinishedSnapshot(table: TableState, checkpointTs: bigint | null): boolean {
  const isBegun = table.snapshotVersion !== null || table.abandoned.length > 0;
  return isBegun && table.status !== 'left' && needsSnapshot(table, checkpointTs);
}

/** A table that nothing is known of yet. */
export function newTableState(
  names: { readonly oid: number; readonly schema: string; readonly name: string; readonly entry: number | null },
  wantsSnapshot: boolean,
  hasPast: boolean,
): TableState {
  return {
    oid: names.oid,
    schema: names.schema,
    name: names.name,
    entry: names.entry,
    status: 'captured',
    wantsSnapshot,
    snapshotVersion: null,
    abandoned: [],
    dropBefore: 0n,
    hasPast,
    history: [],
    seen: null,
    seenSince: 0n,
    truncatedAt: -1n,
    droppedBefore: null,
    missing: {},
    statements: [],
  };
}

const FORMAT = 1;

/** The state as it is stored. */
export function stateToJson(state: PostgresState): JsonValue {
  return { format: FORMAT, ...state } as unknown as JsonValue;
}

/** The state that was stored; null stays null. @throws MR_STATE_MALFORMED. */
export function stateFromJson(json: JsonValue | null): PostgresState | null {
  if (json === null) return null;
  try {
    const stored = json as unknown as PostgresState & { format: number };
    if (stored.format !== FORMAT) throw malformed(`its format is ${stored.format}, this version knows ${FORMAT}`);
    return {
      systemIdentifier: String(stored.systemIdentifier),
      timeline: stored.timeline,
      database: stored.database,
      slot: stored.slot,
      publication: stored.publication,
      publicationOid: stored.publicationOid,
      publishes: stored.publishes,
      consistentPoint: optionalBigInt(stored.consistentPoint),
      tables: stored.tables.map((table) => ({
        ...table,
        snapshotVersion: optionalBigInt(table.snapshotVersion),
        abandoned: table.abandoned.map((version) => BigInt(version)),
        dropBefore: BigInt(table.dropBefore),
        seenSince: BigInt(table.seenSince),
        truncatedAt: BigInt(table.truncatedAt),
        droppedBefore: optionalBigInt(table.droppedBefore ?? null),
        // Not there from the beginning.
        statements: (table.statements ?? []).map((entry) => ({
          ...entry,
          lsn: BigInt(entry.lsn),
          commitTs: BigInt(entry.commitTs),
          toldAt: optionalBigInt(entry.toldAt),
        })),
        history: table.history.map((entry) => ({ ...entry, version: BigInt(entry.version) })),
      })),
    };
  } catch (error) {
    throw isMillraceError(error) ? error : malformed(String(error), error);
  }
}

/** JSON gives small integers back as numbers. */
function optionalBigInt(value: bigint | number | null): bigint | null {
  return value === null ? null : BigInt(value);
}

function malformed(reason: string, cause?: unknown): MillraceError {
  return new MillraceError('MR_STATE_MALFORMED', { reason }, cause);
}
