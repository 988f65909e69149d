import assert from 'node:assert/strict';
import { Subject, type Subscription } from 'rxjs';
import { type ChangeEvent, Delivery, isAckedEvent } from '../events/index.ts';
import { type Context, createContext, Progress, systemClock } from '../flow/index.ts';
import type { FlushReport, OpenSink, Sink } from '../runtime/sink.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A sink that is open and written to by hand, on a virtual clock; its target may be real. */
export class SinkRun {
  readonly sink: OpenSink;
  readonly clock: VirtualClock;
  readonly context: Context;
  readonly reports: FlushReport[] = [];
  /** How the writing ended: null while it goes on. */
  end: 'complete' | { readonly error: unknown } | null = null;
  readonly #deliveries = new Subject<Delivery>();
  readonly #writing: Subscription;
  #isClosed = false;

  private constructor(sink: OpenSink, clock: VirtualClock, context: Context) {
    this.sink = sink;
    this.clock = clock;
    this.context = context;
    this.#writing = sink.write(this.#deliveries).subscribe({
      next: (report) => this.reports.push(report),
      error: (error: unknown) => {
        this.end = { error };
      },
      complete: () => {
        this.end = 'complete';
      },
    });
  }

  /** Opens it as a run does: from a checkpoint, for the source `suite`. */
  static async open(sink: Sink, checkpointTs = 0n): Promise<SinkRun> {
    const clock = new VirtualClock();
    const context = createContext({ clock, progress: new Progress(checkpointTs) });
    const opened = await sink.open({ pipeline: 'suite', context });
    await opened.claim(SOURCE);
    return new SinkRun(opened, clock, context);
  }

  get checkpointTs(): bigint {
    return this.context.progress.checkpointTs;
  }

  /** Sends the events as one delivery, and tells what becomes of it and of them. */
  send(...events: ChangeEvent[]): Sent {
    const bytes = events.reduce((sum, event) => sum + (event.type === 'dml' ? event.rows.retainedBytes : 0), 0);
    const delivery = new Delivery(events, bytes);
    const sent: Sent = { acks: [], eventAcks: [] };
    delivery.ack.addPostEnqueue(() => sent.acks.push('enqueued'));
    delivery.ack.addPostFlush(() => sent.acks.push('flushed'));
    for (const [index, event] of events.filter(isAckedEvent).entries()) event.ack.addPostFlush(() => sent.eventAcks.push(index));
    this.#deliveries.next(delivery);
    return sent;
  }

  complete(): void {
    this.#deliveries.complete();
  }

  fail(error: unknown): void {
    this.#deliveries.error(error);
  }

  /** Lets time pass until it holds, virtual time and, for a target that is real, real time too. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      if (await holds()) return;
      await this.clock.advance(1000);
      if (turn > TURNS_VIRTUAL) await systemClock.sleep(1);
    }
    const end = this.end === null ? '' : `; the writing has ended: ${this.end === 'complete' ? 'complete' : String(this.end.error)}`;
    assert.fail(`${what} did not happen${end}`);
  }

  /** An hour in which nothing is waited for. */
  async quiet(): Promise<void> {
    for (let minute = 0; minute < 60; minute++) await this.clock.advance(60_000);
  }

  /** Stops without a flush. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#writing.unsubscribe();
    await this.sink.close();
  }
}

/** What became of a delivery, in order, and which of its events were flushed. */
export interface Sent {
  readonly acks: ('enqueued' | 'flushed')[];
  readonly eventAcks: number[];
}

/** What the sink is told of its source. */
export const SOURCE = { source: 'suite' };
const TURNS_MAX = 5000;
const TURNS_VIRTUAL = 50;
