import { createHash } from 'node:crypto';
import { MillraceError } from '../../errors.ts';
import { type Query, textOf } from './connection.ts';

/*
 * The server calls a slot active only while somebody streams from it: not while a capture starts, copies, or connects again. So a capture shares an advisory
 * lock of the database for its slot as long as it lives, and `teardown` wants it alone. The server lets go of it with the session, however that ends.
 */

/**
 * SQL that a capture's session for the catalog begins with: it waits for a `teardown` that is under way, for nobody else. A session whose host has vanished is
 * found after two minutes, instead of the server's own two hours.
 */
export function shareSlotSql(slot: string): string {
  return `SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 15; SET tcp_keepalives_count = 4; SELECT pg_advisory_lock_shared(${keyOf(slot)})`;
}

/** Takes the slot's lock alone, until the session ends. @throws MR_SLOT_ACTIVE, with the server process of a capture, while there is one. */
export async function takeSlotAlone(query: Query, slot: string): Promise<void> {
  const [row] = await query(`SELECT pg_try_advisory_lock(${keyOf(slot)})::text AS taken`);
  if (textOf(row, 'taken') === 'true') return;
  throw new MillraceError('MR_SLOT_ACTIVE', { slot, pid: (await slotHolder(query, slot)) ?? 'unknown' });
}

/** The server process of a capture that shares the slot's lock, from its start to its end; null when there is none. A `teardown` that is under way counts too. */
export async function slotHolder(query: Query, slot: string): Promise<string | null> {
  const key = keyOf(slot);
  // A key of 64 bits is shown as two halves.
  const halves = `classid = ${BigInt.asUintN(32, key >> 32n)} AND objid = ${BigInt.asUintN(32, key)} AND objsubid = 1`;
  const [holder] = await query(`SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND ${halves}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid LIMIT 1`);
  return holder?.['pid'] ?? null;
}

/** Of all advisory locks that applications take, one in 2^64 is this one. */
function keyOf(slot: string): bigint {
  return createHash('sha256').update(`millrace slot ${slot}`).digest().readBigInt64BE();
}
