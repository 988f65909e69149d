import { MillraceError } from '../../errors.ts';
import type { Clock, Logger } from '../../flow/index.ts';
import { formatLsn, parseLsn } from '../../formats/pgoutput/index.ts';
import { readOpenWriters, readPrepared, readSlot, type SlotFacts } from './catalog.ts';
import { type Query, textOf } from './connection.ts';
import { quoteIdentifier } from './session-settings.ts';
import { sqlStateOf } from './wire-frames.ts';

/** What is needed to work on slots: a session that may replicate, and one for the catalog beside it. */
export interface SlotContext {
  readonly replicate: Query;
  readonly query: Query;
  readonly versionNumber: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CreatedSlot {
  /** The stream of the slot begins here: transactions that commit at or behind it. */
  readonly consistentPoint: bigint;
  /** The exported snapshot, which sees exactly the transactions before; null when none was asked for. Valid until `replicate` does anything else. */
  readonly snapshot: string | null;
}

/**
 * Creates a slot. The server waits for the transactions that are open and have written; after 10 s, and again from time to time, a warning names their
 * pids (P5).
 *
 * @param kind `durable`: kept until it is dropped. `snapshot`: gone with the session, and exports the snapshot that it begins with.
 */
export async function createSlot(context: SlotContext, slot: string, kind: 'durable' | 'snapshot'): Promise<CreatedSlot> {
  const isModern = context.versionNumber >= 150000;
  const snapshot =
    kind === 'durable' ? (isModern ? "(SNAPSHOT 'nothing')" : 'NOEXPORT_SNAPSHOT') : isModern ? "(SNAPSHOT 'export')" : 'EXPORT_SNAPSHOT';
  const command = `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot)} ${kind === 'snapshot' ? 'TEMPORARY ' : ''}LOGICAL pgoutput ${snapshot}`;
  const cancel = tellWhoHoldsItUp(context, slot);
  try {
    const [row] = await context.replicate(command);
    const consistentPoint = parseLsn(textOf(row, 'consistent_point'));
    if (consistentPoint === null) throw new MillraceError('MR_WIRE_MALFORMED', { reason: 'a slot was created without a consistent point' });
    return { consistentPoint, snapshot: row?.['snapshot_name'] ?? null };
  } catch (error) {
    if (sqlStateOf(error) === '53400') throw new MillraceError('MR_TOO_FEW_SLOTS', { free: 0, max: 'all', needed: 1 }, error);
    throw error;
  } finally {
    cancel();
  }
}

/**
 * Commits a transaction of no content, so that the stream soon tells that it has come that far. On a server where nobody else writes it might tell nothing:
 * WAL that is no commit is not taken to the disk at once, and what the stream has told it does not tell again. The commit waits for no standby.
 */
export async function provokeMark(query: Query): Promise<void> {
  await query("SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'millrace', '')");
}

function tellWhoHoldsItUp({ clock, logger, query }: SlotContext, slot: string): () => void {
  let waitedMs = 0;
  let cancel = () => {};
  const again = (delayMs: number) => {
    cancel = clock.after(delayMs, () => {
      waitedMs += delayMs;
      Promise.all([readOpenWriters(query), readPrepared(query)]).then(
        ([pids, prepared]) =>
          logger.warn(
            { slot, pids, prepared, waitedMs },
            'creating a replication slot waits for open transactions of these server processes, and for those that are prepared',
          ),
        () => {},
      );
      again(delayMs * 2);
    });
  };
  again(WAIT_WARNING_MS);
  return () => cancel();
}

/**
 * What became of a slot whose creation was intended and perhaps killed: null when it is not there. A server process that still creates it, not knowing that we
 * are gone, is waited for.
 */
export async function findIntendedSlot(context: SlotContext, slot: string, signal: AbortSignal): Promise<SlotFacts | null> {
  for (let tries = 0; ; tries++) {
    const facts = await readSlot(context.query, slot, context.versionNumber);
    if (facts === null || facts.activePid === null || signal.aborted) return facts;
    const pids = await readOpenWriters(context.query);
    if (tries % 100 === 20) {
      context.logger.warn(
        { slot, pid: facts.activePid, pids },
        'an earlier start still creates the replication slot; it waits for these server processes',
      );
    }
    await context.clock.sleep(POLL_MS, signal);
  }
}

export async function dropSlot(replicate: Query, slot: string): Promise<void> {
  await replicate(`DROP_REPLICATION_SLOT ${quoteIdentifier(slot)}`);
}

/**
 * Whether a slot can be read on from `fromTs` (P2, I6).
 *
 * @throws MR_SLOT_FOREIGN, MR_SLOT_INVALIDATED, MR_SLOT_ADVANCED.
 */
export function checkSlotFacts(slot: string, facts: SlotFacts, database: string, fromTs: bigint): void {
  checkSlotKind(slot, facts, database);
  if (facts.walStatus === 'lost' || facts.invalidationReason !== null) {
    throw new MillraceError('MR_SLOT_INVALIDATED', { slot, reason: facts.invalidationReason ?? 'it needs WAL that was removed' });
  }
  if (facts.confirmedFlushLsn !== null && facts.confirmedFlushLsn > fromTs + 1n) {
    throw new MillraceError('MR_SLOT_ADVANCED', { slot, confirmed: formatLsn(facts.confirmedFlushLsn), checkpoint: formatLsn(fromTs) });
  }
}

/** @throws MR_SLOT_FOREIGN. */
export function checkSlotKind(slot: string, { plugin, database: slotDatabase }: SlotFacts, database: string): void {
  if (plugin !== 'pgoutput')
    throw new MillraceError('MR_SLOT_FOREIGN', { slot, what: 'kind', is: plugin ?? 'physical', wanted: 'pgoutput' });
  if (slotDatabase !== database) {
    throw new MillraceError('MR_SLOT_FOREIGN', { slot, what: 'database', is: slotDatabase ?? 'none', wanted: database });
  }
}

const WAIT_WARNING_MS = 10_000;
const POLL_MS = 500;
