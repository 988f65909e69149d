import { formatLsn } from '../../../formats/pgoutput/index.ts';
import type { SimDatabase } from './database.ts';
import type { ResultRow } from './session-frames.ts';

/** A replication slot. */
export interface SimSlot {
  readonly name: string;
  /** Where its stream begins. */
  readonly consistentPoint: bigint;
  /** The client has everything that committed before. */
  confirmedFlush: bigint;
  /** What a server that crashed remembers of that; the WAL behind it is kept. */
  persistedFlush: bigint;
  /** The process that streams from it; null for none. */
  activePid: number | null;
  /** Why it can be read no more; null while it can. */
  invalidated: string | null;
}

/** The slots of a server. What all of them have confirmed, the WAL forgets. */
export class SimSlots {
  readonly #database: SimDatabase;
  readonly #random: () => number;
  readonly #slots = new Map<string, SimSlot>();

  constructor(database: SimDatabase, random: () => number) {
    this.#database = database;
    this.#random = random;
  }

  get(name: string): SimSlot | null {
    return this.#slots.get(name) ?? null;
  }

  /** Makes one that begins now. */
  create(name: string): SimSlot {
    const at = this.#database.walEnd;
    const slot: SimSlot = { name, consistentPoint: at, confirmedFlush: at, persistedFlush: at, activePid: null, invalidated: null };
    this.#slots.set(name, slot);
    return slot;
  }

  drop(name: string): void {
    this.#slots.delete(name);
  }

  /** A client has everything before `lsn`; it never goes back. */
  confirm(slot: SimSlot, lsn: bigint): void {
    if (lsn <= slot.confirmedFlush) return;
    slot.confirmedFlush = lsn;
    // The server writes it down when it comes to it.
    if (this.#random() < 0.5) slot.persistedFlush = lsn;
    this.#forget();
  }

  /** The server has crashed: what was not written down is confirmed no more. */
  recover(): void {
    for (const slot of this.#slots.values()) {
      slot.activePid = null;
      slot.confirmedFlush = slot.persistedFlush;
    }
  }

  /** Its row of `pg_replication_slots`, with what else the source asks beside it. */
  row(name: string, walSenderTimeoutMs: number): ResultRow[] {
    const slot = this.#slots.get(name);
    if (slot === undefined) return [];
    return [
      {
        slot_name: name,
        plugin: 'pgoutput',
        database: this.#database.name,
        temporary: 'f',
        active: slot.activePid === null ? 'f' : 't',
        active_pid: slot.activePid === null ? null : String(slot.activePid),
        restart_lsn: slot.invalidated === null ? formatLsn(slot.persistedFlush) : null,
        confirmed_flush_lsn: formatLsn(slot.confirmedFlush),
        wal_status: slot.invalidated === null ? 'reserved' : 'lost',
        invalidation_reason: slot.invalidated,
        wal_sender_timeout: String(walSenderTimeoutMs),
      },
    ];
  }

  #forget(): void {
    let lowest: bigint | null = null;
    for (const { persistedFlush, invalidated } of this.#slots.values()) {
      if (invalidated === null && (lowest === null || persistedFlush < lowest)) lowest = persistedFlush;
    }
    if (lowest !== null) this.#database.forgetBefore(lowest);
  }
}
