import { MillraceError } from '../errors.ts';
import {
  ALL_DISPATCHERS,
  type ChangeEvent,
  comparePositions,
  Delivery,
  type DispatcherId,
  firstPosition,
  formatPosition,
  isAckedEvent,
  isBlockEvent,
  lastPosition,
  type Position,
  resolvedEvent,
  TwoStageAck,
} from '../events/index.ts';
import type { Clock } from '../flow/index.ts';
import type { OpenSource, Source, SourceContext } from '../sources/source.ts';

/**
 * A source whose changes are given: the memory implementation of the `Source` port. It keeps a log, as a database does: every run gets what stands
 * behind its checkpoint, what was there before at once and the rest when its time comes.
 */
export interface MemorySource extends Source {
  /** What the run confirmed, in order, over all runs. */
  readonly confirmed: readonly bigint[];
  /**
   * Puts one delivery at the end of the log, or where time puts it. Give each transaction at once, or all parts of it before a run reads the first:
   * a run that has said that a commitTs is complete keeps its word.
   *
   * @param atMs when it comes, on the run's clock. Default: at once.
   * @throws MR_FEED_REFUSED when no source could emit it there.
   */
  append(events: readonly ChangeEvent[], atMs?: number): void;
  /** The log ends here: a run that has emitted all of it ends. */
  end(atMs?: number): void;
  /** The connection breaks, once, for whoever runs at that time. */
  fail(error: unknown, atMs?: number): void;
}

export interface MemorySourceOptions {
  readonly name?: string;
  /** Everything up to this commitTs is what `until: 'caught-up'` waits for. Default: with `deliveries` 0, which is nothing, otherwise the end of the log. */
  readonly headTs?: bigint;
  /** Whether the stream stays open behind its last delivery, as a database's does, until the run is stopped. Default false with `deliveries`, otherwise true. */
  readonly staysOpen?: boolean;
  /** Whether a resolved mark follows each transaction by itself. Default true; with `deliveries` there is none but theirs. */
  readonly resolves?: boolean;
  /** In place of the log: the deliveries of one run, made afresh for it; `checkpointTs` is where the last run got to, null at the first. */
  deliveries?(checkpointTs: bigint | null): Iterable<Delivery> | AsyncIterable<Delivery>;
}

export function memorySource(options: MemorySourceOptions = {}): MemorySource {
  const { name = 'memory', resolves = true, deliveries } = options;
  const staysOpen = options.staysOpen ?? deliveries === undefined;
  const log = new ChangeLog();
  const confirmed: bigint[] = [];
  return {
    name,
    options: {},
    confirmed,
    append: (events, atMs) => log.append(events, atMs),
    end: (atMs) => log.add({ what: 'end' }, atMs),
    fail: (error, atMs) => log.add({ what: 'failure', error, isOver: false }, atMs),
    async open({ checkpointTs, signal, clock }: SourceContext): Promise<OpenSource> {
      let phase: 'streaming' | 'closed' = 'streaming';
      let sourceTs = checkpointTs ?? 0n;
      const closing = new AbortController();
      const stop = AbortSignal.any([signal, closing.signal]);
      const headTs = options.headTs ?? log.headTs;
      const emitted = deliveries === undefined ? log.read({ checkpointTs, clock, stop, resolves, staysOpen }) : deliveries(checkpointTs);
      async function* emit() {
        for await (const delivery of emitted) {
          if (stop.aborted) return;
          for (const event of delivery.events) if (event.type === 'resolved' && event.commitTs > sourceTs) sourceTs = event.commitTs;
          yield delivery;
        }
        if (staysOpen && deliveries !== undefined) await aborted(stop);
      }
      return {
        identity: { source: name },
        hasOrdinals: true,
        deliveries: emit(),
        headTs,
        confirm: (ts) => void confirmed.push(ts),
        status: () => ({ phase, sourceTs, tables: new Map() }),
        close: async () => {
          phase = 'closed';
          closing.abort();
        },
      };
    },
  };
}

type Happening =
  | { readonly what: 'delivery'; readonly events: readonly ChangeEvent[] }
  | { readonly what: 'end' }
  | { readonly what: 'failure'; readonly error: unknown; isOver: boolean };

type Entry = Happening & { readonly atMs: number };

interface Reading {
  readonly checkpointTs: bigint | null;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly resolves: boolean;
  readonly staysOpen: boolean;
}

/** What the database has committed, in the order in which it comes. Entries are added, never taken away. */
class ChangeLog {
  readonly #entries: Entry[] = [];
  /** The earliest commitTs of changes in the last entry, the last two, and so on; null when it is to be found out anew. */
  #earliest: (bigint | null)[] | null = null;
  /** The order of all entries; null when it is to be found out anew. */
  #order: LogOrder | null = null;
  /** Up to here some run has been told that everything was emitted. */
  #resolvedTs = -1n;
  #added = new AbortController();

  get headTs(): bigint {
    return this.#entries.reduce((head, entry) => max(head, lastTsOf(entry)), 0n);
  }

  append(events: readonly ChangeEvent[], atMs?: number): void {
    const blocks = events.filter(isBlockEvent);
    if (blocks.length > 0 && events.some((event) => isAckedEvent(event) && event !== blocks[0])) {
      throw refused(blocks[0]!, 'it is not alone in its delivery');
    }
    this.add({ what: 'delivery', events }, atMs);
  }

  /** Between what comes before and after it; entries of the same time come in the order in which they were added. */
  add(entry: Happening, atMs = this.#entries.at(-1)?.atMs ?? 0): void {
    let index = this.#entries.length;
    while (index > 0 && this.#entries[index - 1]!.atMs > atMs) index--;
    if (entry.what === 'delivery') this.#check(entry.events, index);
    this.#entries.splice(index, 0, { ...entry, atMs });
    this.#earliest = null;
    const added = this.#added;
    this.#added = new AbortController();
    added.abort();
  }

  /** What one run is given, as its clock reaches it. */
  async *read({ checkpointTs, clock, stop, resolves, staysOpen }: Reading): AsyncGenerator<Delivery> {
    const from = checkpointTs ?? -1n;
    const openedMs = clock.now();
    let next = 0;
    let seenTs = -1n;
    let resolvedTs = from;
    while (!stop.aborted) {
      const entry = this.#entries[next];
      if (entry === undefined && !staysOpen) return;
      const waitMs = entry === undefined ? Number.POSITIVE_INFINITY : entry.atMs - clock.now();
      if (waitMs > 0) {
        const change = AbortSignal.any([stop, this.#added.signal]);
        await (waitMs === Number.POSITIVE_INFINITY ? aborted(change) : clock.sleep(waitMs, change));
        continue;
      }
      next++;
      if (entry?.what === 'failure' && !entry.isOver) {
        entry.isOver = true;
        if (entry.atMs >= openedMs) throw entry.error;
      }
      if (entry?.what === 'end') return;
      if (entry?.what !== 'delivery') continue;
      const events = entry.events.map((event) => behind(event, from)).filter((event) => event !== null);
      for (const event of events) if (isMarkOfAll(event)) resolvedTs = max(resolvedTs, event.commitTs);
      seenTs = max(seenTs, lastTsOf(entry));
      const mark = resolves && seenTs > resolvedTs && this.#isComplete(next, seenTs) ? [resolvedEvent(seenTs)] : [];
      for (const { commitTs } of mark) resolvedTs = commitTs;
      this.#resolvedTs = max(this.#resolvedTs, resolvedTs);
      if (!events.some(isBlockEvent)) events.push(...mark.splice(0));
      if (events.length > 0) yield new Delivery(events, bytesOf(events));
      if (mark.length > 0) yield new Delivery(mark);
    }
  }

  /** Whether nothing from `next` on is of `seenTs` or before: a transaction in several entries is complete with its last (I2). */
  #isComplete(next: number, seenTs: bigint): boolean {
    if (next === this.#entries.length) return true;
    if (this.#earliest === null) {
      let earliest = firstTsOf(this.#entries.at(-1)!);
      this.#earliest = this.#entries.toReversed().map((entry) => {
        earliest = min(earliest, firstTsOf(entry));
        return earliest;
      });
    }
    const earliest = this.#earliest[this.#entries.length - 1 - next]!;
    return earliest === null || earliest > seenTs;
  }

  #check(events: readonly ChangeEvent[], index: number): void {
    for (const event of events) {
      if (isAckedEvent(event) && firstPosition(event).commitTs <= this.#resolvedTs) {
        throw refused(event, `a run has emitted the resolved mark ${this.#resolvedTs}, which says that everything up to there has come`);
      }
    }
    const isLast = index === this.#entries.length;
    const order = (isLast ? this.#order : null) ?? new LogOrder(this.#entries.slice(0, index).flatMap(eventsOf));
    this.#order = null;
    order.take(events);
    order.take(this.#entries.slice(index).flatMap(eventsOf));
    this.#order = order;
  }
}

/** What the port promises of every source (`OpenSource.deliveries`), checked event by event. */
class LogOrder {
  readonly #last = new Map<DispatcherId, Position & { readonly isDdl: boolean }>();
  #resolvedTs = -1n;

  constructor(events: readonly ChangeEvent[]) {
    this.take(events);
  }

  /** @throws MR_FEED_REFUSED */
  take(events: readonly ChangeEvent[]): void {
    for (const event of events) {
      if (isMarkOfAll(event)) {
        if (event.commitTs < this.#resolvedTs) throw refused(event, `a resolved mark at ${this.#resolvedTs} comes before it`);
        this.#resolvedTs = event.commitTs;
      }
      if (!isAckedEvent(event)) continue;
      const before = this.#last.get(event.dispatcher);
      if (before !== undefined) {
        const order = comparePositions(before, firstPosition(event));
        // A schema change takes the ordinal of the change behind it.
        if (order > 0 || (order === 0 && !before.isDdl)) throw refused(event, `it does not come after ${formatPosition(before)}`);
      }
      if (firstPosition(event).commitTs <= this.#resolvedTs) {
        throw refused(event, `a resolved mark at ${this.#resolvedTs} says that everything up to there has come`);
      }
      this.#last.set(event.dispatcher, { ...lastPosition(event), isDdl: event.type === 'ddl' });
    }
  }
}

/** What of an event stands behind a checkpoint, with acks of its own: each run hooks them anew. Null when nothing does. */
function behind(event: ChangeEvent, checkpointTs: bigint): ChangeEvent | null {
  if (event.type === 'resolved') return event.commitTs > checkpointTs ? event : null;
  if (!isAckedEvent(event)) return event;
  if (lastPosition(event).commitTs <= checkpointTs) return null;
  const ack = new TwoStageAck();
  if (event.type !== 'dml') return { ...event, ack };
  const run = event.rows.transactions.find(({ commitTs }) => commitTs > checkpointTs);
  return { ...event, ack, rows: event.rows.slice(run?.firstRow ?? 0, event.rows.rowCount) };
}

function eventsOf(entry: Entry): readonly ChangeEvent[] {
  return entry.what === 'delivery' ? entry.events : [];
}

function firstTsOf(entry: Entry): bigint | null {
  return eventsOf(entry).reduce<bigint | null>((ts, event) => (isAckedEvent(event) ? min(ts, firstPosition(event).commitTs) : ts), null);
}

function min(a: bigint | null, b: bigint | null): bigint | null {
  if (a === null || b === null) return a ?? b;
  return a < b ? a : b;
}

function lastTsOf(entry: Entry): bigint {
  return eventsOf(entry).reduce((ts, event) => {
    if (isMarkOfAll(event)) return max(ts, event.commitTs);
    return isAckedEvent(event) ? max(ts, lastPosition(event).commitTs) : ts;
  }, -1n);
}

function isMarkOfAll(event: ChangeEvent): event is ChangeEvent & { readonly type: 'resolved' } {
  return event.type === 'resolved' && event.dispatcher === ALL_DISPATCHERS;
}

function bytesOf(events: readonly ChangeEvent[]): number {
  return events.reduce((bytes, event) => bytes + (event.type === 'dml' ? event.rows.retainedBytes : 0), 0);
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function refused(event: ChangeEvent, reason: string): MillraceError {
  const place = isAckedEvent(event) ? ` at ${formatPosition(firstPosition(event))}` : '';
  return new MillraceError('MR_FEED_REFUSED', { event: `${event.type}${place}`, reason });
}
