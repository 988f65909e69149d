import { Observable, type Observer } from 'rxjs';
import { MillraceError } from '../errors.ts';
import {
  type AckedEvent,
  ALL_DISPATCHERS,
  type BlockEvent,
  type ChangeEvent,
  comparePositions,
  type Delivery,
  type DispatcherId,
  type DmlEvent,
  firstPosition,
  formatPosition,
  isBlockEvent,
  type Table,
  tableOf,
} from '../events/index.ts';
import type { Context } from '../flow/index.ts';
import { type JsonValue, stringifyJson } from '../formats/json.ts';
import type { FlushReason, FlushReport, OpenSink, Sink } from '../runtime/sink.ts';
import { changesOf, fullName, type RecordedChange, rowsAfter, targetName } from './recorded-change.ts';

/** The memory implementation of the `Sink` port: a target that keeps what was made durable, over all runs. */
export interface MemorySink extends Sink {
  /** What was made durable, piece by piece; what a restart wrote again stands twice. */
  readonly pieces: readonly MemoryPiece[];
  /** The changes of a table, or of all, as a reader finds them: in position order, each position once. `users` is `public.users`. */
  changes(table?: string): RecordedChange[];
  /** The rows of a table after these changes. */
  rows(table: string): Record<string, string | null>[];
  /** The checkpoints that were published at this target. */
  readonly published: readonly bigint[];
  /** The source that claimed it; null while it is new. */
  readonly identity: JsonValue | null;
  /** From now on writes wait. */
  hold(): void;
  /** Lets them go on. */
  release(): void;
  /** The next write fails, and with it the run: a negative ack. */
  failNext(reason?: string): void;
}

/** One write: all of it is durable, or nothing. */
export interface MemoryPiece {
  readonly atMs: number;
  readonly table: string;
  readonly reason: FlushReason;
  readonly changes: readonly RecordedChange[];
}

export interface MemorySinkOptions {
  readonly name?: string;
  /** How long a table's rows gather, milliseconds from the first. Default 0: each delivery is written when it comes. */
  readonly flushIntervalMs?: number;
  /** A table that has gathered so many rows is written at once. Default 1000. */
  readonly flushRows?: number;
  /** How long a write takes, milliseconds. Default 0. */
  readonly writeMs?: number;
  /** Rows accepted and not durable, over all tables: above, everything is written at once and the source waits for it. Default 10 000. */
  readonly maxRows?: number;
}

export function memorySink(options: MemorySinkOptions = {}): MemorySink {
  const settings = { name: 'memory', flushIntervalMs: 0, flushRows: 1000, writeMs: 0, maxRows: 10_000, ...options };
  const { name, flushIntervalMs, flushRows } = settings;
  const target = new MemoryTarget();
  const uri = `memory://${name}`;
  return {
    name,
    options: { uri, flushIntervalMs, flushRows },
    pieces: target.pieces,
    published: target.published,
    get identity() {
      return target.identity;
    },
    changes: (table) => target.changes(table === undefined ? null : fullName(table)),
    rows: (table) => target.rows(fullName(table)),
    hold: () => target.hold(),
    release: () => target.release(),
    failNext: (reason = 'the memory sink was told to refuse') => {
      target.refusal = reason;
    },
    open: async ({ context }): Promise<OpenSink> => ({
      identity: target.identity,
      claim: async (identity) => {
        const [remembered, source] = [stringifyJson(target.identity), stringifyJson(identity)];
        if (target.identity !== null && remembered !== source) {
          throw new MillraceError('MR_TARGET_OF_ANOTHER_SOURCE', { uri, remembered, source });
        }
        target.identity = identity;
      },
      write: (deliveries) => new Observable((subscriber) => new Writer(settings, target, context, subscriber).start(deliveries)),
      publishCheckpoint: async (checkpointTs) => {
        if (checkpointTs > (target.published.at(-1) ?? -1n)) target.published.push(checkpointTs);
      },
      close: async () => {},
    }),
  };
}

/** What outlives a run. */
class MemoryTarget {
  readonly pieces: MemoryPiece[] = [];
  readonly published: bigint[] = [];
  identity: JsonValue | null = null;
  refusal: string | null = null;
  /** The newest version of each table, for its key. */
  readonly #tables = new Map<string, Table>();
  #gate: { readonly opened: Promise<void>; open(): void } | null = null;

  /** Null when nothing holds writes up. */
  get opened(): Promise<void> | null {
    return this.#gate?.opened ?? null;
  }

  hold(): void {
    if (this.#gate !== null) return;
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    this.#gate = { opened, open };
  }

  release(): void {
    this.#gate?.open();
    this.#gate = null;
  }

  keep(piece: MemoryPiece, events: readonly AckedEvent[]): void {
    this.pieces.push(piece);
    for (const event of events) if (event.type !== 'syncpoint') this.#tables.set(piece.table, tableOf(event));
  }

  /** Each table as it was written. A piece that begins where others have been is a replay, whose known positions drop; those that share one share a piece (I3). */
  changes(table: string | null): RecordedChange[] {
    const byTable = new Map<string, RecordedChange[]>();
    for (const piece of this.pieces) {
      if (table !== null && piece.table !== table) continue;
      const found = byTable.get(piece.table) ?? [];
      byTable.set(piece.table, found);
      const last = found.at(-1);
      found.push(...piece.changes.filter((change) => last === undefined || isBehind(change, last)));
    }
    return merged([...byTable.values()]);
  }

  rows(table: string): Record<string, string | null>[] {
    const known = this.#tables.get(table);
    return known === undefined ? [] : rowsAfter(this.changes(table), known);
  }
}

/** A schema change takes the ordinal of the change behind it. */
function isBehind(change: RecordedChange, before: RecordedChange): boolean {
  const order = comparePositions(change, before);
  return order > 0 || (order === 0 && before.op === 'ddl' && change.op !== 'ddl');
}

/** One list in position order, in which each list keeps its own order. */
function merged(lists: readonly RecordedChange[][]): RecordedChange[] {
  const heads = lists.map((list) => ({ list, next: 0 }));
  const all: RecordedChange[] = [];
  for (;;) {
    let first: (typeof heads)[number] | null = null;
    for (const head of heads) {
      if (head.next === head.list.length) continue;
      if (first === null || comparePositions(head.list[head.next]!, first.list[first.next]!) < 0) first = head;
    }
    if (first === null) return all;
    all.push(first.list[first.next++]!);
  }
}

type Settings = Required<MemorySinkOptions>;

interface Gathering {
  readonly events: DmlEvent[];
  rows: number;
  bytes: number;
  cancelTimer: () => void;
}

/** One run's writing. Rows of a table are written in order, one piece at a time; tables beside one another. */
class Writer {
  readonly #settings: Settings;
  readonly #target: MemoryTarget;
  readonly #context: Context;
  readonly #out: Observer<FlushReport>;
  readonly #gathering = new Map<DispatcherId, Gathering>();
  readonly #lanes = new Map<DispatcherId, Promise<void>>();
  #rowsHeld = 0;
  #isStopped = false;

  constructor(settings: Settings, target: MemoryTarget, context: Context, out: Observer<FlushReport>) {
    this.#settings = settings;
    this.#target = target;
    this.#context = context;
    this.#out = out;
  }

  start(deliveries: Observable<Delivery>): () => void {
    const subscription = deliveries.subscribe({
      next: (delivery) => this.#accept(delivery),
      error: (error: unknown) => this.#drain(() => this.#out.error(error)),
      complete: () => this.#drain(() => this.#out.complete()),
    });
    return () => {
      this.#isStopped = true;
      subscription.unsubscribe();
      for (const { cancelTimer } of this.#gathering.values()) cancelTimer();
    };
  }

  #accept(delivery: Delivery): void {
    this.#context.progress.register(delivery);
    for (const event of delivery.events) this.#acceptEvent(event);
    // A delivery first, then what it makes full: changes that share a position stay in one piece (I3).
    for (const [dispatcher, { rows }] of this.#gathering) {
      if (rows >= this.#settings.flushRows) this.#flush(dispatcher, 'size');
      else if (this.#settings.flushIntervalMs === 0) this.#flush(dispatcher, 'interval');
    }
    if (this.#rowsHeld > this.#settings.maxRows) this.#flushAll('quota');
  }

  #acceptEvent(event: ChangeEvent): void {
    if (event.type === 'dml') this.#gather(event);
    else if (isBlockEvent(event)) {
      event.ack.postEnqueue();
      this.#barrier(event.dispatcher, () => this.#writeBlock(event));
    } else if (event.type === 'marker') {
      event.ack.postEnqueue();
      this.#barrier(event.dispatcher, async () => {
        if (!this.#isStopped) event.ack.postFlush();
      });
    }
  }

  #gather(event: DmlEvent): void {
    const { dispatcher, rows } = event;
    let gathering = this.#gathering.get(dispatcher);
    if (gathering === undefined) {
      const { flushIntervalMs } = this.#settings;
      const flush = () => this.#flush(dispatcher, 'interval');
      const cancelTimer = flushIntervalMs === 0 ? () => {} : this.#context.clock.after(flushIntervalMs, flush);
      gathering = { events: [], rows: 0, bytes: 0, cancelTimer };
      this.#gathering.set(dispatcher, gathering);
    }
    gathering.events.push(event);
    gathering.rows += rows.rowCount;
    gathering.bytes += rows.retainedBytes;
    this.#rowsHeld += rows.rowCount;
    this.#context.gauge.add(rows.retainedBytes);
    // Above the bound the flush ack wakes the source.
    if (this.#rowsHeld <= this.#settings.maxRows) event.ack.postEnqueue();
  }

  #flushAll(reason: FlushReason): void {
    for (const dispatcher of [...this.#gathering.keys()]) this.#flush(dispatcher, reason);
  }

  #flush(dispatcher: DispatcherId, reason: FlushReason): void {
    const gathering = this.#gathering.get(dispatcher);
    if (gathering === undefined) return;
    gathering.cancelTimer();
    this.#gathering.delete(dispatcher);
    this.#inLane(dispatcher, () => this.#write(gathering, reason));
  }

  /** Behind everything that came before it: of its table, or of all. */
  #barrier(dispatcher: DispatcherId, step: () => Promise<void>): void {
    if (dispatcher !== ALL_DISPATCHERS) {
      this.#flush(dispatcher, 'barrier');
      this.#inLane(dispatcher, step);
      return;
    }
    this.#flushAll('barrier');
    const before = Promise.all(this.#lanes.values());
    this.#lanes.clear();
    this.#inLane(ALL_DISPATCHERS, () => before.then(step));
  }

  #inLane(dispatcher: DispatcherId, step: () => Promise<void>): void {
    const before = this.#lanes.get(dispatcher) ?? this.#lanes.get(ALL_DISPATCHERS) ?? Promise.resolve();
    const after = before.then(step).catch((error: unknown) => {
      this.#isStopped = true;
      this.#out.error(error);
    });
    this.#lanes.set(dispatcher, after);
  }

  async #write({ events, rows, bytes }: Gathering, reason: FlushReason): Promise<void> {
    await this.#makeDurable(events, reason, rows, bytes);
    this.#rowsHeld -= rows;
    this.#context.gauge.release(bytes);
  }

  #writeBlock(event: BlockEvent): Promise<void> {
    return this.#makeDurable([event], 'barrier', 0, 0);
  }

  async #makeDurable(events: readonly AckedEvent[], reason: FlushReason, rows: number, bytes: number): Promise<void> {
    const target = this.#target;
    const { clock } = this.#context;
    while (target.opened !== null) await target.opened;
    // Also for no time at all: on the clock of a process that has died meanwhile it never ends.
    await clock.sleep(this.#settings.writeMs);
    if (this.#isStopped) return;
    const first = events[0]!;
    const table = first.type === 'syncpoint' ? '*' : targetName(tableOf(first));
    const path = `memory://${this.#settings.name}/${table}`;
    if (target.refusal !== null) {
      const details = { path, table, position: formatPosition(firstPosition(first)), reason: target.refusal };
      target.refusal = null;
      throw new MillraceError('MR_SINK_WRITE_FAILED', details);
    }
    target.keep({ atMs: clock.now(), table, reason, changes: changesOf(events) }, events);
    for (const event of events) event.ack.postFlush();
    this.#out.next({ dispatcher: first.dispatcher, table, path, rows, bytes, reason });
  }

  #drain(end: () => void): void {
    this.#flushAll('close');
    void Promise.all(this.#lanes.values()).then(end);
  }
}
