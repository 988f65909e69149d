import { formatLsn, parseLsn } from '../../formats/pgoutput/index.ts';
import type { Query } from './connection.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';
import type { StreamNames } from './stream-fate.ts';

/**
 * Whether a capture that goes on at `fromTs` may still get changes of rows that were committed before `toTs`. The server decodes them for a temporary copy of
 * the slot: whoever reads the slot itself, or comes to, does not notice. A schema change that writes no row is not seen.
 *
 * True too where it cannot be known: there is no such slot or publication, the slot begins behind `fromTs`, `toTs` is not on the server's disk, there is no free
 * slot for the copy, or more than 64 MiB of WAL are to be read.
 *
 * @param query of one session, which the copy lives in.
 */
export async function mayHoldChanges(query: Query, { slot, publication }: StreamNames, fromTs: bigint, toTs: bigint): Promise<boolean> {
  try {
    const [facts] = await query(`SELECT restart_lsn, confirmed_flush_lsn, pg_current_wal_flush_lsn() AS flushed FROM pg_replication_slots
      WHERE slot_name = ${quoteLiteral(slot)} AND plugin = 'pgoutput' AND database = current_database()
        AND EXISTS (SELECT FROM pg_publication WHERE pubname = ${quoteLiteral(publication)})`);
    const restart = parseLsn(facts?.['restart_lsn'] ?? '');
    const confirmed = parseLsn(facts?.['confirmed_flush_lsn'] ?? '');
    const flushed = parseLsn(facts?.['flushed'] ?? '');
    if (restart === null || confirmed === null || flushed === null) return true;
    // WAL that is not on disk yet is not decoded.
    if (confirmed > fromTs + 1n || flushed < toTs || toTs - restart > WAL_BYTES_MAX) return true;
    await query(`SELECT pg_copy_logical_replication_slot(${quoteLiteral(slot)}, ${COPY}, true)`);
    try {
      return (await query(changesSql(publication, fromTs, toTs))).length > 0;
    } finally {
      await query(`SELECT pg_drop_replication_slot(${COPY})`);
    }
  } catch {
    // Whatever the server refuses: then nothing is known.
    return true;
  }
}

const WAL_BYTES_MAX = 64n * 1024n * 1024n;
const COPY = `'millrace_peek_' || pg_backend_pid()`;

/** A row where a transaction behind `fromTs` holds changes: what was confirmed late comes again, and PostgreSQL 14 sends transactions without any. */
function changesSql(publication: string, fromTs: bigint, toTs: bigint): string {
  const options = `'proto_version', '1', 'publication_names', ${quoteLiteral(quoteIdentifier(publication))}`;
  const behind = `'\\x${fromTs.toString(16).padStart(16, '0')}'::bytea`;
  return `WITH message AS MATERIALIZED (
      SELECT xid, data, chr(get_byte(data, 0)) AS kind
      FROM pg_logical_slot_peek_binary_changes(${COPY}, ${quoteLiteral(formatLsn(toTs))}, NULL, ${options})
    )
    SELECT 1 AS found FROM message begun JOIN message change USING (xid)
    WHERE begun.kind = 'B' AND substring(begun.data FROM 2 FOR 8) > ${behind} AND change.kind IN ('I', 'U', 'D', 'T') LIMIT 1`;
}
