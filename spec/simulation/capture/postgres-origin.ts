import type { Clock, Source } from '../../../lib/index.ts';
import type { Simulation } from '../../../lib/testing/index.ts';
import {
  expectedOf,
  type SimChange,
  SimDatabase,
  type SimPostgresSource,
  SimServer,
  type SimTable,
  type SimTransaction,
  simPostgres,
  Workload,
} from '../../../lib/testing/simulator/postgres/index.ts';
import { ExpectedTable } from './expected.ts';
import type { Origin, OriginChange, OriginRow } from './origin.ts';
import type { CaptureParts } from './parts.ts';
import type { Plan } from './plan.ts';

const SLOT = 'millrace';

interface Captured {
  readonly table: SimTable;
  readonly expected: ExpectedTable;
}

/** A simulated PostgreSQL, with the real stream over it. */
export class PostgresOrigin implements Origin {
  readonly source: Source;
  readonly tables: readonly ExpectedTable[];
  readonly mayRepeat = false;
  readonly troubles;
  readonly #sim: Simulation;
  readonly #plan: Plan;
  readonly #database: SimDatabase;
  readonly #server: SimServer;
  readonly #postgres: SimPostgresSource;
  readonly #workload: Workload;
  readonly #hasSnapshot: boolean;
  readonly #captured: readonly Captured[];
  /** So much of the database's history is taken in. */
  #taken = 0;

  constructor(sim: Simulation, plan: Plan, parts: CaptureParts) {
    this.#sim = sim;
    this.#plan = plan;
    const random = () => sim.random();
    const database = new SimDatabase({ random, now: () => sim.clock.now() });
    this.#database = database;
    this.#workload = new Workload(database, { random, unchangedToast: plan.unchangedToast, weights: plan.weights });
    const server = new SimServer({ database, sim, clock: sim.clock, faults: plan.serverFaults });
    this.#server = server;
    const { maxDeliveryBytes, snapshot } = plan;
    this.#postgres = simPostgres({ server, slot: SLOT, snapshot, maxDeliveryBytes, parts: parts.postgres });
    this.source = this.#postgres;
    this.#hasSnapshot = snapshot === 'initial';
    this.#captured = [...database.tables.values()]
      .filter(({ isPublished, schema, name }) => isPublished && `${schema}.${name}` !== plan.dropped)
      .map((table) => ({ table, expected: new ExpectedTable(table.schema, table.name, table.key) }));
    this.tables = this.#captured.map(({ expected }) => expected);
    this.troubles = [
      ['restarts', () => server.restart(sim.between(0, 1000))],
      ['disconnects everybody', () => server.disconnect()],
      ['gives the slot to somebody else', () => server.holdSlot(SLOT, sim.between(10, 3000))],
    ] as const;
    for (let made = 0; made < plan.changesBefore; ) made += this.#workload.next()?.changes.length ?? 1;
  }

  stages() {
    return [];
  }

  async live(): Promise<void> {
    const { changes, gapMs, script } = this.#plan;
    if (script === null) return this.#workload.run(this.#sim.clock, { changes, gapMs });
    for (const { afterMs, commit } of script) {
      await this.#sim.sleep(afterMs);
      commit(this.#database);
    }
  }

  filtered(): bigint {
    const database = this.#database;
    const { dropped } = this.#plan;
    const id = String(this.#sim.between(1000, 1_000_000));
    database.transact((writer) => writer.insert(database.table('public.private'), { id }));
    if (dropped !== null) database.transact((writer) => writer.insert(database.table(dropped), { shop: id, sku: 'x', title: 'y' }));
    database.transact(() => {});
    database.writeIdle();
    return database.walEnd - 1n;
  }

  calm(): void {
    this.#server.calm();
  }

  abandon(clock: Clock): void {
    this.#server.abandon(clock);
  }

  lose(): void {
    if (this.#sim.chance(0.5)) this.#server.dropSlot(SLOT);
    else this.#server.invalidateSlot(SLOT);
  }

  update(onAgain: (table: ExpectedTable, from: bigint) => void): void {
    for (const captured of this.#captured) {
      const { table, expected } = captured;
      const from = this.#hasSnapshot ? this.#postgres.snapshots.get(table.oid) : this.#server.slots.get(SLOT)?.consistentPoint;
      if (from === undefined || from === expected.from) continue;
      if (expected.from !== null) onAgain(expected, from);
      expected.begin(from, this.#hasSnapshot ? this.#database.snapshots.get(from)!.tables.get(table.oid)!.rows.length : 0);
      for (let i = 0; i < this.#taken; i++) this.#takeIn(this.#database.history[i]!, captured);
    }
    const { history } = this.#database;
    for (; this.#taken < history.length; this.#taken++) this.#takeIn(history[this.#taken]!, null);
  }

  serverTs(): bigint | null {
    const slot = this.#server.slots.get(SLOT);
    return slot === null ? null : slot.confirmedFlush - 1n;
  }

  beginningTs(): bigint {
    return (this.#server.slots.get(SLOT)?.consistentPoint ?? 0n) - 1n;
  }

  isStale(): boolean {
    return false;
  }

  /** Where nothing but the client itself can keep it from being heard. */
  silencesOf(clock: Clock): number {
    const { silences } = this.#server;
    if (silences.length === 0) return 0;
    const { nodeFaults, serverFaults } = this.#plan;
    const hasExcuse = nodeFaults.pauseEveryMs !== undefined || (nodeFaults.stall ?? 0) > 0 || serverFaults.breaks || serverFaults.stalls;
    return hasExcuse ? 0 : silences.filter((client) => client === clock).length;
  }

  violation(): string | null {
    return this.#server.violations[0] ?? null;
  }

  changesOf(table: ExpectedTable): readonly OriginChange[] {
    return table.from === null ? [] : this.#oracle(table).changes;
  }

  /** Without a snapshot, rows from before the slot are not there. */
  rowsOf(table: ExpectedTable): readonly OriginRow[] | null {
    return table.from === null || !this.#hasSnapshot ? null : this.#oracle(table).rows;
  }

  #oracle(expected: ExpectedTable) {
    const { table } = this.#captured.find((captured) => captured.expected === expected)!;
    return expectedOf(this.#database, table.oid, expected.from!, this.#hasSnapshot);
  }

  /** What it changes is expected of its table, or of `only`. */
  #takeIn({ commitTs, changes }: SimTransaction, only: Captured | null): void {
    for (const change of changes) {
      if (change.kind === 'row') {
        const captured = this.#takes(change.shape.oid, commitTs, only);
        captured?.expected.add(commitTs, change.ordinal, this.#rowsOf(captured.table, change));
      } else {
        for (const [index, { oid }] of change.shapes.entries()) {
          this.#takes(oid, commitTs, only)?.expected.add(commitTs, change.ordinal + index, 0);
        }
      }
    }
  }

  #takes(oid: number, commitTs: bigint, only: Captured | null): Captured | null {
    for (const captured of this.#captured) {
      if (captured.table.oid !== oid || (only !== null && only !== captured)) continue;
      const { from } = captured.expected;
      if (from !== null && commitTs >= from) return captured;
    }
    return null;
  }

  /** As `splitKeyUpdates` has it: not when a value of the new row is known to nobody. */
  #rowsOf(table: SimTable, { op, old, data, shape }: Extract<SimChange, { kind: 'row' }>): number {
    if (this.#plan.sink.outputRawChangeEvent === true || op !== 'U' || old === null || data === null) return 1;
    if (table.key.every((name) => old[name] === data[name])) return 1;
    return table.isFull || shape.columns.length === Object.keys(data).length ? 2 : 1;
  }
}
