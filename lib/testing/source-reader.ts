import assert from 'node:assert/strict';
import {
  ALL_DISPATCHERS,
  comparePositions,
  type Delivery,
  type DispatcherId,
  firstPosition,
  formatPosition,
  isAckedEvent,
  isBlockEvent,
  lastPosition,
  type Position,
} from '../events/index.ts';
import { Metrics, noSystemEvents, silentLogger, systemClock } from '../flow/index.ts';
import { type JsonValue, parseJson, stringifyJson } from '../formats/json.ts';
import type { OpenSource, Source } from '../sources/source.ts';
import { changesOf, type RecordedChange } from './recorded-change.ts';

/** What outlives a run of a source: its checkpoint, its state, and what the target remembers. */
export class SourceState {
  checkpointTs: bigint | null = null;
  state: JsonValue | null = null;
  identity: JsonValue | null = null;

  /** The same at another checkpoint. */
  at(checkpointTs: bigint): SourceState {
    return Object.assign(new SourceState(), this, { checkpointTs });
  }
}

/** Reads a source as a run does, and checks each delivery against what the port promises. */
export class SourceReader {
  readonly source: OpenSource;
  readonly state: SourceState;
  readonly deliveries: Delivery[] = [];
  /** The newest mark; before the first, the checkpoint. */
  resolvedTs: bigint;
  readonly #changes = { a: [] as RecordedChange[], b: [] as RecordedChange[] };
  readonly #last = new Map<DispatcherId, Position & { readonly isDdl: boolean }>();
  readonly #iterator: AsyncIterator<Delivery>;
  readonly #abort: AbortController;
  readonly #patienceMs: number;

  private constructor(source: OpenSource, state: SourceState, abort: AbortController, patienceMs: number) {
    this.#patienceMs = patienceMs;
    this.source = source;
    this.state = state;
    this.resolvedTs = state.checkpointTs ?? 0n;
    this.#abort = abort;
    this.#iterator = source.deliveries[Symbol.asyncIterator]();
  }

  static async open(source: Source, state: SourceState, patienceMs: number): Promise<SourceReader> {
    const abort = new AbortController();
    const opened = await source.open({
      pipeline: 'suite',
      clock: systemClock,
      logger: silentLogger,
      metrics: new Metrics(),
      events: noSystemEvents,
      checkpointTs: state.checkpointTs,
      state: state.state,
      targetIdentity: state.identity,
      // Through text, as a checkpoint store has it.
      saveState: async (saved) => {
        state.state = parseJson(stringifyJson(saved));
      },
      signal: abort.signal,
    });
    state.identity = parseJson(stringifyJson(opened.identity));
    return new SourceReader(opened, state, abort, patienceMs);
  }

  /** The rows and TRUNCATEs of a table so far. */
  changes(table: 'a' | 'b'): readonly RecordedChange[] {
    return this.#changes[table];
  }

  notes(table: 'a' | 'b'): (string | null | undefined)[] {
    return this.changes(table).map(({ data }) => data?.['note']);
  }

  /** The changes of both tables, in the order of positions. */
  streamed(): RecordedChange[] {
    return [...this.#changes.a, ...this.#changes.b].sort((a, b) => comparePositions(a, b) || (a.table < b.table ? -1 : 1));
  }

  /** Reads on until it holds. */
  async until(holds: () => boolean): Promise<true> {
    while (!holds()) assert.ok(await this.#read(), 'the source ended');
    return true;
  }

  /** Reads until everything that was there at the opening has come. */
  async caughtUp(): Promise<void> {
    const isDone = () => [...this.source.status().tables.values()].every(({ snapshotDone, stopped }) => snapshotDone || stopped);
    await this.until(() => this.resolvedTs >= this.source.headTs && isDone());
  }

  /** Stores the resolved mark as the checkpoint, and confirms it. */
  checkpoint(): void {
    this.state.checkpointTs = this.resolvedTs;
    this.source.confirm(this.resolvedTs);
  }

  stop(): void {
    this.#abort.abort();
  }

  /** Reads to the end, which the signal has asked for. */
  async ended(): Promise<void> {
    while (await this.#read());
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  async #read(): Promise<boolean> {
    const waiting = new AbortController();
    const tooLate = systemClock.sleep(this.#patienceMs, waiting.signal).then(() => null);
    const next = await Promise.race([this.#iterator.next(), tooLate]).finally(() => waiting.abort());
    assert.ok(next !== null, `nothing came for ${this.#patienceMs} ms`);
    const { done, value: delivery } = next;
    if (done) return false;
    this.#check(delivery);
    this.deliveries.push(delivery);
    for (const change of changesOf(delivery.events)) {
      if (change.op !== 'ddl') this.#changes[change.table === 'public.a' ? 'a' : 'b'].push(change);
    }
    return true;
  }

  #check({ events }: Delivery): void {
    const changes = events.filter(isAckedEvent);
    assert.ok(!changes.some(isBlockEvent) || changes.length === 1, 'a block event shares its delivery');
    for (const event of events) {
      if (event.type === 'resolved' && event.dispatcher === ALL_DISPATCHERS) {
        assert.ok(event.commitTs >= this.resolvedTs, `the resolved mark went from ${this.resolvedTs} to ${event.commitTs}`);
        this.resolvedTs = event.commitTs;
      }
      if (!isAckedEvent(event)) continue;
      const first = firstPosition(event);
      const before = this.#last.get(event.dispatcher);
      const order = before === undefined ? -1 : comparePositions(before, first);
      // A schema change takes the ordinal of the change behind it.
      assert.ok(order < 0 || (order === 0 && before?.isDdl), `${formatPosition(first)} came after ${before && formatPosition(before)}`);
      assert.ok(first.commitTs > this.resolvedTs, `${formatPosition(first)} came after the resolved mark ${this.resolvedTs}`);
      this.#last.set(event.dispatcher, { ...lastPosition(event), isDdl: event.type === 'ddl' });
    }
  }
}
