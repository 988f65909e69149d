import { type DmlEvent, dmlEvent, RowBlockWriter, resolvedEvent, type Table, truncateEvent } from '../../../lib/events/index.ts';
import type { SimNode, Simulation } from '../../../lib/testing/index.ts';
import { type MemorySource, memorySource } from '../../../lib/testing/index.ts';
import { table } from '../../support/sink-world.ts';

export const DAY_MS = 24 * 3600 * 1000;

/** Days back from here, a writer's wrong clock and all, have a date as well. */
const FIRST_DAY = 10;

/** A change as a reader must see it. */
export interface Committed {
  readonly commitTs: bigint;
  readonly op: 'I' | 'T';
  /** Since 1970, by the database's clock. */
  readonly timeMs: number;
}

/**
 * A database whose days are short: some seconds, then all clocks are at the next midnight. So many days pass in a run, and what has a timer beside clean-up
 * does not fire for nothing.
 */
export class Days {
  readonly source: MemorySource = memorySource({ resolves: false });
  /** By table, in order of commit. */
  readonly committed = new Map<string, Committed[]>([
    ['users', []],
    ['logs', []],
  ]);
  readonly #sim: Simulation;
  readonly #node: SimNode;
  readonly #tables = new Map<string, Table>();
  #midnightMs = FIRST_DAY * DAY_MS;
  #offsetMs = 0;
  #lastTs = 10n;

  constructor(sim: Simulation, node: SimNode) {
    this.#sim = sim;
    this.#node = node;
    for (const name of this.committed.keys()) this.#tables.set(name, versionOf(name, 1n));
    this.nextDay(0);
  }

  get nowMs(): number {
    return this.#sim.clock.now() + this.#offsetMs;
  }

  /** The commit time of the transaction at or before `commitTs`. */
  timeOf(commitTs: bigint): number {
    const all = [...this.committed.values()].flat().filter((change) => change.commitTs <= commitTs);
    return all.reduce((latest, { timeMs }) => Math.max(latest, timeMs), 0);
  }

  /** The database's clock goes to midnight. The node's may be wrong by `skewMs`. */
  nextDay(skewMs: number): void {
    this.#midnightMs += DAY_MS;
    this.#offsetMs = this.#midnightMs - this.#sim.clock.now();
    this.#sim.note('days', `day ${this.#midnightMs / DAY_MS} begins`);
    this.setSkew(skewMs);
  }

  /** The node's clock is set. */
  setSkew(skewMs: number): void {
    this.#node.skewMs = this.#offsetMs + skewMs;
    if (skewMs !== 0) this.#sim.noteFault('days', `the writer's clock is wrong by ${skewMs} ms`);
  }

  /** One transaction of so many rows. Returns its commitTs. */
  insert(name: string, rows: number): bigint {
    const [commitTs, timeMs] = this.#next();
    const writer = new RowBlockWriter(this.#tables.get(name)!).beginTransaction(commitTs, BigInt(timeMs) * 1000n);
    for (let row = 0; row < rows; row++) {
      writer.insert({ id: `${commitTs}-${row}`, name: 'x'.repeat(this.#sim.between(1, 60)) });
      this.committed.get(name)!.push({ commitTs, op: 'I', timeMs });
    }
    const event: DmlEvent = dmlEvent(writer.build());
    this.source.append([event, resolvedEvent(commitTs, BigInt(timeMs) * 1000n)]);
    return commitTs;
  }

  /** A version that starts empty. */
  truncate(name: string): void {
    const [commitTs, timeMs] = this.#next();
    const next = versionOf(name, commitTs);
    this.#tables.set(name, next);
    // What a table had before its first row is not told.
    this.committed.get(name)!.push({ commitTs, op: 'T', timeMs });
    const commitTimeUs = BigInt(timeMs) * 1000n;
    this.source.append([truncateEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs, table: next, query: `TRUNCATE ${name}` })]);
    this.source.append([resolvedEvent(commitTs, commitTimeUs)]);
  }

  #next(): [commitTs: bigint, timeMs: number] {
    this.#lastTs += 10n;
    return [this.#lastTs, this.nowMs];
  }
}

function versionOf(name: string, version: bigint): Table {
  return table(name, version, ['id', 'name'], ['id']);
}
