import { type ErrorCode, isMillraceError, MillraceError, reasonOf } from '../../errors.ts';
import { formatLsn, parseLsn } from '../../formats/pgoutput/index.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';
import type { TextRow, WireConnection } from './wire-connection.ts';
import { sqlStateOf } from './wire-frames.ts';

export interface StreamNames {
  readonly slot: string;
  readonly publication: string;
  /** Logical messages with this prefix are asked for (the server then sends all of them). Default: none. */
  readonly messagePrefix?: string | null;
}

/** What an error of the stream means for it: try again, somebody else has the slot, or the end, with the error to end with. */
export type Fate = { readonly kind: 'retry' } | { readonly kind: 'slotActive' } | { readonly kind: 'end'; readonly error: unknown };

/** Transient: a lost or refused connection, lack of resources, a server that shuts down, starts or recovers. All else ends the stream, loudly (I6). */
export function fateOf(error: unknown, { slot, publication }: StreamNames): Fate {
  if (isMillraceError(error) && TRANSIENT_CODES.has(error.code)) return { kind: 'retry' };
  const state = sqlStateOf(error);
  if (state === null) return { kind: 'end', error };
  if (TRANSIENT_CLASSES.has(state.slice(0, 2))) return { kind: 'retry' };
  const reason = reasonOf(error);
  switch (state) {
    case OBJECT_IN_USE:
      return { kind: 'slotActive' };
    case UNDEFINED_OBJECT:
      return {
        kind: 'end',
        error: /publication/.test(reason)
          ? new MillraceError('MR_PUBLICATION_GAP', { publication, reason: 'it does not exist at a change that is to be sent' }, error)
          : new MillraceError('MR_SLOT_GONE', { slot }, error),
      };
    case UNDEFINED_FILE:
      return { kind: 'end', error: new MillraceError('MR_SLOT_INVALIDATED', { slot, reason: 'its WAL was removed' }, error) };
    case OBJECT_NOT_IN_PREREQUISITE_STATE:
      return /can no longer|invalidated/.test(reason)
        ? { kind: 'end', error: new MillraceError('MR_SLOT_INVALIDATED', { slot, reason: 'it can no longer be read' }, error) }
        : { kind: 'end', error };
    default:
      return { kind: 'end', error };
  }
}

/** What the server says of the slot before streaming starts. */
export interface SlotFacts {
  /** Who reads it now; null when nobody does. */
  readonly activePid: string | null;
  /** 0: the server has none. */
  readonly walSenderTimeoutMs: number;
}

/**
 * Checks that the slot can still give everything behind `confirmedTs` (I6): a server would start silently at its own, later position (P2).
 *
 * Throws MR_SLOT_GONE, MR_SLOT_INVALIDATED, MR_SLOT_ADVANCED.
 */
export async function checkSlot(connection: WireConnection, slot: string, confirmedTs: bigint): Promise<SlotFacts> {
  const [row] = await connection.query(
    `SELECT s.*, (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout
     FROM pg_replication_slots s WHERE slot_name = ${quoteLiteral(slot)}`,
  );
  if (row === undefined) throw new MillraceError('MR_SLOT_GONE', { slot });
  const reason = invalidation(row);
  if (reason !== null) throw new MillraceError('MR_SLOT_INVALIDATED', { slot, reason });
  const confirmed = parseLsn(row.confirmed_flush_lsn ?? '');
  if (confirmed !== null && confirmed > confirmedTs + 1n) {
    throw new MillraceError('MR_SLOT_ADVANCED', { slot, confirmed: formatLsn(confirmed), checkpoint: formatLsn(confirmedTs) });
  }
  return { activePid: row.active_pid ?? null, walSenderTimeoutMs: Number(row.wal_sender_timeout) };
}

/** P1: `confirmedTs` is durable, so what follows it is asked for. */
export function startReplicationSql({ slot, publication, messagePrefix = null }: StreamNames, confirmedTs: bigint): string {
  const messages = messagePrefix === null ? '' : ", messages 'true'";
  const options = `proto_version '1', publication_names ${quoteLiteral(quoteIdentifier(publication))}${messages}`;
  return `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(confirmedTs + 1n)} (${options})`;
}

/** Versions before 17 do not say why. */
function invalidation(row: TextRow): string | null {
  if (row.invalidation_reason) return row.invalidation_reason;
  return row.wal_status === 'lost' ? 'it needs WAL that was removed' : null;
}

const TRANSIENT_CODES = new Set<ErrorCode>(['MR_CONNECTION_LOST', 'MR_SOURCE_UNREACHABLE', 'MR_SOURCE_FULL']);
const TRANSIENT_CLASSES = new Set(['08', '40', '53', '57']);
const UNDEFINED_OBJECT = '42704';
const UNDEFINED_FILE = '58P01';
const OBJECT_IN_USE = '55006';
const OBJECT_NOT_IN_PREREQUISITE_STATE = '55000';
