import { tap } from 'rxjs';
import { type AckedEvent, ALL_DISPATCHERS, type ChangeEvent, type Delivery, isAckedEvent, tableOf } from '../../../lib/events/index.ts';
import type { Checkpoint, CheckpointStore, OpenSink, Sink, Source, Stage } from '../../../lib/index.ts';
import { operator } from '../../../lib/index.ts';
import type { SimNode, Simulation } from '../../../lib/testing/index.ts';
import { AckOrder } from './ack-order.ts';
import { Arrivals, type Breach } from './arrivals.ts';
import type { ExpectedTable } from './expected.ts';
import type { Origin } from './origin.ts';
import { RULES, type Rule } from './rules.ts';
import { WatchedSink, WatchedSource } from './watched-ports.ts';
import type { ShownRun, ShownVersion, StoreWatcher } from './watched-store.ts';

/**
 * Stands at the borders of a capture (source, checkpoint store, target, arrival at the sink) and holds what passes against what was committed. It rests on nothing
 * that the capture itself computes.
 */
export class Monitor implements StoreWatcher {
  /** The newest checkpoint that is stored; null before the first. */
  storedTs: bigint | null = null;
  publishedTs: bigint | null = null;
  confirmedTs: bigint | null = null;
  /** How often a run took the target over: everything that it needs is open then. */
  claims = 0;
  readonly #sim: Simulation;
  readonly #node: SimNode;
  readonly #origin: Origin;
  readonly #isOnce: boolean;
  readonly #isInOrder: boolean;
  readonly #byName: ReadonlyMap<string, ExpectedTable>;
  #acks: AckOrder;
  /** What the last check rested on. */
  #checked = { storedTs: -1n, expected: 0 };

  /**
   * @param isOnce whether no row may be published twice, by a restart either.
   * @param isInOrder whether all enqueue acks run in the order in which the events came: none waits for a disk that another does not need.
   */
  constructor(sim: Simulation, node: SimNode, origin: Origin, { isOnce, isInOrder }: { isOnce: boolean; isInOrder: boolean }) {
    this.#isOnce = isOnce;
    this.#isInOrder = isInOrder;
    this.#node = node;
    this.#sim = sim;
    this.#origin = origin;
    this.#byName = new Map(origin.tables.map((table) => [table.fullName, table]));
    this.#acks = new AckOrder();
    sim.invariant('the monitor', () => {
      this.#check();
      return true;
    });
  }

  broken(rule: Rule, reason: string): void {
    this.#sim.fail(RULES[rule], reason);
  }

  /** Takes in what was committed, and what was begun, since. */
  update(): void {
    this.#origin.update((table, from) => {
      if (this.storedTs === null || table.from === null || this.storedTs < table.from - 1n) return;
      this.broken(
        'snapshot',
        `${table.fullName} is copied again from ${from}, and checkpoint ${this.storedTs} says that it is there since ${table.from}`,
      );
    });
  }

  /** The source as it is, its confirmations looked at. */
  source(source: Source): Source {
    return {
      ...source,
      open: async (context) => {
        const opened = await source.open(context);
        this.#begins(context.checkpointTs);
        return new WatchedSource(opened, (checkpointTs) => this.#confirming(checkpointTs));
      },
    };
  }

  /** The checkpoint store as it is, its checkpoints looked at. */
  checkpoint(store: CheckpointStore): CheckpointStore {
    return {
      name: store.name,
      load: async (pipeline) => {
        const loaded = await store.load(pipeline);
        this.#loaded(loaded);
        return loaded;
      },
      save: async (pipeline, checkpoint) => {
        const { checkpointTs } = checkpoint;
        this.#saving(checkpointTs);
        await store.save(pipeline, checkpoint);
        if (checkpointTs !== null && (this.storedTs === null || checkpointTs > this.storedTs)) this.storedTs = checkpointTs;
      },
      close: async (pipeline) => store.close?.(pipeline),
    };
  }

  /** The sink as it is; what arrives there is looked at before it is written. */
  sink(sink: Sink): Sink {
    return {
      ...sink,
      open: async (context): Promise<OpenSink> => {
        const opened = await sink.open(context);
        const arrivals = new Arrivals(this.#origin.tables, this.storedTs ?? -1n, this.#origin.mayRepeat);
        this.#acks = new AckOrder();
        const claimed = () => this.claims++;
        const arrived = (delivery: Delivery) => this.#arrived(arrivals, delivery);
        return new WatchedSink(opened, claimed, arrived);
      },
    };
  }

  /** Behind `trackProgress`: the acks of what is written. */
  ackWatch(): Stage {
    return operator<Delivery, Delivery>('ackWatch', {}, () => {
      const acks = this.#acks;
      return tap(({ events }: Delivery) => {
        for (const event of events) if (isAckedEvent(event)) this.#watchAck(acks, event);
      });
    });
  }

  shown(name: string, runs: readonly ShownRun[]): void {
    const table = this.#byName.get(name);
    if (table === undefined) {
      this.broken('reader', `rows of ${name}, which is not captured, are published`);
      return;
    }
    this.update();
    let last: { commitTs: bigint; ordinal: number } | null = null;
    const inFile = new Map<number, number>();
    for (const { commitTs, first, last: end } of runs) {
      if (last !== null && (commitTs < last.commitTs || (commitTs === last.commitTs && first < last.ordinal && !this.#origin.mayRepeat))) {
        this.broken('order', `${name}: a file has ${commitTs}/${first} behind ${last.commitTs}/${last.ordinal}`);
      }
      last = { commitTs, ordinal: end };
      for (let ordinal = first; ordinal <= end; ordinal++) {
        const index = table.indexOf(commitTs, ordinal);
        if (index < 0) continue;
        const count = (inFile.get(index) ?? 0) + 1;
        inFile.set(index, count);
        const change = table.changes[index]!;
        // Rows of one position in two files are no group: readers take the second for a repetition.
        if (change.rows > 0 && count > change.shown) change.shown = count;
        if (++change.published > Math.max(1, change.rows) && this.#isOnce) {
          this.broken('once', `${name}: ${commitTs}/${ordinal} is published again`);
        }
      }
    }
  }

  began(name: string, { begins }: ShownVersion): void {
    const table = this.#byName.get(name);
    if (table === undefined || begins === null) return;
    this.update();
    const { commitTs, ordinal } = begins;
    const missing = table.changes[table.firstMissing];
    if (missing !== undefined && (missing.commitTs < commitTs || (missing.commitTs === commitTs && missing.ordinal < ordinal))) {
      const reason = `${name}: a version begins at ${commitTs}/${ordinal}, and ${missing.commitTs}/${missing.ordinal} is not published`;
      this.broken('drain', reason);
    }
    const index = table.indexOf(commitTs, ordinal);
    if (begins.startsEmpty && index >= 0 && table.changes[index]!.rows === 0) table.changes[index]!.shown = 1;
  }

  removed(name: string, version: bigint): void {
    if (this.storedTs === null || version > this.storedTs) return;
    this.broken('snapshot', `version ${version} of ${name} is removed, and the checkpoint is ${this.storedTs}`);
  }

  publishing(checkpointTs: bigint): void {
    if (this.publishedTs !== null && checkpointTs < this.publishedTs) {
      this.broken('monotone', `the target's checkpoint goes back from ${this.publishedTs} to ${checkpointTs}`);
    }
    if (this.storedTs === null || checkpointTs > this.storedTs) {
      this.broken('readable', `${checkpointTs} is published, and ${this.storedTs} is stored`);
    }
    this.publishedTs = checkpointTs;
  }

  /** What a run begins with is a confirmation too. */
  #begins(checkpointTs: bigint | null): void {
    if (checkpointTs !== null && (this.confirmedTs === null || checkpointTs > this.confirmedTs)) this.#confirming(checkpointTs);
  }

  #loaded(loaded: Checkpoint | null): void {
    const checkpointTs = loaded?.checkpointTs ?? null;
    if (this.storedTs !== null && (checkpointTs === null || checkpointTs < this.storedTs)) {
      this.broken('readable', `checkpoint ${this.storedTs} was stored, and ${checkpointTs} is there after a restart`);
    }
    this.storedTs = checkpointTs;
  }

  #saving(checkpointTs: bigint | null): void {
    if (checkpointTs === null) return;
    if (this.storedTs !== null && checkpointTs < this.storedTs) {
      this.broken('monotone', `${checkpointTs} is stored over ${this.storedTs}`);
    }
    this.update();
    this.#checkShown(checkpointTs);
  }

  #confirming(checkpointTs: bigint): void {
    if (this.storedTs === null || checkpointTs > this.storedTs) {
      this.broken('readable', `${checkpointTs} is confirmed, and the stored checkpoint is ${this.storedTs}`);
    } else if (this.confirmedTs !== null && checkpointTs < this.confirmedTs) {
      this.broken('monotone', `${checkpointTs} is confirmed behind ${this.confirmedTs}`);
    }
    this.confirmedTs = checkpointTs;
  }

  #arrived(arrivals: Arrivals, delivery: Delivery): void {
    this.update();
    for (const event of delivery.events) {
      const breach =
        event.type === 'resolved' && event.dispatcher === ALL_DISPATCHERS
          ? arrivals.resolved(event.commitTs)
          : this.#arrivedEvent(arrivals, event);
      if (breach !== null) this.broken(breach.rule, breach.reason);
    }
  }

  #arrivedEvent(arrivals: Arrivals, event: ChangeEvent): Breach | null {
    if (isAckedEvent(event) && this.#origin.isStale(event)) {
      return { rule: 'epoch', reason: `an event of epoch ${event.epoch}, which is over, arrives` };
    }
    if (event.type !== 'dml' && event.type !== 'truncate') return null;
    const { sourceSchema, sourceName } = tableOf(event);
    const table = this.#byName.get(`${sourceSchema}.${sourceName}`);
    if (table === undefined) return { rule: 'reader', reason: `changes of ${sourceSchema}.${sourceName}, which is not captured, arrive` };
    if (event.type === 'truncate') return arrivals.changed(table, event.position.commitTs, event.position.ordinal);
    const { rows } = event;
    for (let row = 0; row < rows.rowCount; row++) {
      const { commitTs, ordinal } = rows.positionOf(row);
      const breach = arrivals.changed(table, commitTs, ordinal);
      if (breach !== null) return breach;
    }
    return null;
  }

  #watchAck(acks: AckOrder, event: AckedEvent): void {
    const entry = acks.add(event.type === 'dml');
    event.ack.addPostFlushFront(() => {
      entry.isFlushed = true;
      this.#checkFlushed(event);
    });
    event.ack.addPostEnqueue(() => {
      if (!acks.enqueued(entry) && this.#isInOrder) this.broken('fifo', 'an event is enqueue-acked while an earlier one is held');
    });
  }

  #checkFlushed(event: AckedEvent): void {
    if (event.type !== 'dml') return;
    const { rows } = event;
    const table = this.#byName.get(`${rows.table.sourceSchema}.${rows.table.sourceName}`);
    if (table === undefined) return;
    this.update();
    for (let row = 0; row < rows.rowCount; row++) {
      const { commitTs, ordinal } = rows.positionOf(row);
      const index = table.indexOf(commitTs, ordinal);
      if (index < 0 || table.isShown(index)) continue;
      const rule = table.changes[index]!.shown > 0 ? 'group' : 'durable';
      this.broken(rule, `${table.fullName}: ${commitTs}/${ordinal} is acked and is not published`);
    }
  }

  /** After each step. */
  #check(): void {
    const serverTs = this.#origin.serverTs();
    const allowedTs = this.storedTs ?? this.#origin.beginningTs();
    if (serverTs !== null && serverTs > allowedTs && serverTs > this.#origin.beginningTs()) {
      this.broken('keepalive', `the server was told ${serverTs}, and the stored checkpoint is ${this.storedTs}`);
    }
    const violation = this.#origin.violation();
    if (violation !== null) this.broken('keepalive', violation);
    if (this.#origin.silencesOf(this.#node.clock) > 0)
      this.broken('keepalive', 'the server heard nothing of a client that was there, and gave it up');
    if (this.storedTs === null) return;
    this.update();
    let expected = 0;
    for (const { changes } of this.#origin.tables) expected += changes.length;
    if (this.#checked.storedTs === this.storedTs && this.#checked.expected === expected) return;
    this.#checked = { storedTs: this.storedTs, expected };
    this.#checkShown(this.storedTs);
  }

  /** Everything up to `checkpointTs` must be published, whole. */
  #checkShown(checkpointTs: bigint): void {
    for (const table of this.#origin.tables) {
      const index = table.firstMissing;
      const change = table.changes[index];
      if (change === undefined || change.commitTs > checkpointTs) continue;
      const rule = table.isSnapshotRow(index) ? 'snapshot' : change.shown > 0 ? 'group' : 'durable';
      const reason = `checkpoint ${checkpointTs} is stored, and ${change.commitTs}/${change.ordinal} of ${table.fullName} is not published`;
      this.broken(rule, reason);
    }
  }
}
