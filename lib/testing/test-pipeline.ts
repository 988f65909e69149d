import { MillraceError } from '../errors.ts';
import type { ChangeEvent, Delivery } from '../events/index.ts';
import type { Logger } from '../flow/index.ts';
import type { CheckpointStore } from '../runtime/checkpoint.ts';
import { memoryCheckpoint } from '../runtime/checkpoint-memory.ts';
import { definePipeline, isPipelineDefinition, type PipelineDefinition } from '../runtime/define.ts';
import { type Running, type RunSummary, run } from '../runtime/run.ts';
import type { RunOptions } from '../runtime/run-options.ts';
import type { Sink } from '../runtime/sink.ts';
import type { Source } from '../sources/source.ts';
import { MemoryStore } from '../stores/memory.ts';
import type { ObjectStore } from '../stores/object-store.ts';
import type { DeliveryValues } from './marbles/item-maker.ts';
import { MarbleTables, type TableSketches } from './marbles/tables.ts';
import { type MemorySink, memorySink } from './memory-sink.ts';
import { type MemorySource, memorySource } from './memory-source.ts';
import { changesText, compareAcks, compareArrivals, feedDiagram, type Moment } from './pipeline-marbles.ts';
import { ProcessLife } from './process-life.ts';
import { changesOf, type RecordedChange } from './recorded-change.ts';
import { VirtualClock } from './virtual-clock.ts';

/** The memory parts of one life of a pipeline: what a definition of one's own is made of in a test. They lose nothing in a crash, but what is under way. */
export interface TestParts {
  /** What is fed. */
  readonly source: Source;
  /** A target in memory; `test.sink` shows what is durable there. */
  readonly sink: Sink;
  /** An object store in memory, for a real sink over it, as in `cloudStorage({ ...options, store })`; `test.store` shows what is there. */
  readonly store: ObjectStore;
  readonly checkpoint: CheckpointStore;
}

export interface TestPipelineOptions extends Pick<RunOptions, 'maxBytesInFlight' | 'drainTimeoutMs'> {
  readonly clock: VirtualClock;
  /** What changes are written to, or how to make it from the parts of a life. Default: a `memorySink` that writes each delivery when it comes. */
  readonly sink?: MemorySink | ((parts: TestParts) => Sink);
  /** What is fed. Default: a `memorySource`, which says by itself when a transaction is complete. */
  readonly source?: MemorySource;
  /** How long each call of `store` takes, milliseconds. Default 0. */
  readonly storeLatencyMs?: number;
  readonly logger?: Logger;
  /** The columns of the tables that diagrams name, by name; one that is not listed has `id` (the key) and `note`, both text. */
  readonly tables?: TableSketches;
}

/** A delivery that reached the sink. */
export interface Arrival {
  readonly atMs: number;
  /** Which life of the pipeline it reached it in, from 1. */
  readonly life: number;
  readonly delivery: Delivery;
  readonly changes: readonly RecordedChange[];
}

/** An ack of a delivery: all of it is accepted, or durable. */
export interface DeliveryAck {
  readonly atMs: number;
  readonly life: number;
  readonly ack: 'enqueued' | 'flushed';
  readonly delivery: Delivery;
}

/** A pipeline that runs in virtual time against memory parts. */
export interface TestPipeline {
  /**
   * Commits changes at the source, as the diagram says: its frame 0 is now, a frame a millisecond. `|` ends the source, at `#` its connection breaks. Each comes
   * to the life that runs at its time, and again to any that begins at a checkpoint before it. A resolved mark follows each transaction by itself.
   */
  feed(diagram: string, values?: DeliveryValues): void;
  /** Commits these now: each array is one delivery, a bare event is one of its own. */
  feed(...deliveries: readonly (ChangeEvent | readonly ChangeEvent[])[]): void;
  /**
   * Lets virtual time pass. Rejects with the error that has ended the run: once, here, in `crash`, `restart` or `stop`, whichever comes first, unless somebody
   * has asked for the end of that run with `done` or `stop`. One that nobody has heard of fails the test at the end of `virtualTime`.
   */
  advance(ms: number): Promise<void>;
  /** The process dies, as by SIGKILL: nothing of this life happens any more, and what is not durable is lost. */
  crash(): void;
  /** Starts the pipeline again, from its checkpoint. */
  restart(): void;
  /** Stops it, drained by default; resolves and rejects as the run does. */
  stop(options?: { readonly drain?: boolean }): Promise<RunSummary>;
  /** How the life that runs ends; whoever asks for it hears of its failure, and nothing else tells it again. */
  readonly done: Promise<RunSummary>;
  /** Expects what has reached the sink so far, in all lives: deliveries with changes, at their virtual time. */
  expectArrivals(diagram: string, values?: DeliveryValues): void;
  /**
   * Expects the acks of these deliveries so far: `enqueued:a@5`, `flushed:a@5`. Where two are closer in time than their texts are long, letters stand for them:
   * `{ x: 'enqueued:a@5' }`.
   */
  expectAcks(diagram: string, values?: DeliveryValues): void;
  /** What reached the sink, in all lives. */
  readonly arrivals: readonly Arrival[];
  /** The acks that these deliveries had, in order. */
  readonly acks: readonly DeliveryAck[];
  /** The checkpoint that is stored: null before the first. */
  readonly checkpointTs: bigint | null;
  /** Every checkpoint that was stored, in order. */
  readonly checkpoints: readonly { readonly atMs: number; readonly checkpointTs: bigint }[];
  /** What the source was told that it may forget, in order. */
  readonly confirmed: readonly bigint[];
  readonly source: MemorySource;
  readonly sink: MemorySink;
  readonly store: MemoryStore;
}

/**
 * Runs a pipeline of one's own in virtual time, against a source, a target and a checkpoint in memory.
 *
 * In plain words: your stages, your flush settings and, if you like, your sink; no database and no waiting, and a crash is one call.
 *
 * Given a definition, its name and its stages run, between memory parts. Given a function, it makes the definition of each life from the parts of that life.
 * The pipeline runs at once, and as often as it is restarted.
 *
 * @throws MR_TEST_PIPELINE_MISUSED, MR_FEED_REFUSED, MR_INVALID_OPTION
 */
export function testPipeline(
  definition: PipelineDefinition | ((parts: TestParts) => PipelineDefinition),
  options: TestPipelineOptions,
): TestPipeline {
  if (!(options.clock instanceof VirtualClock)) throw invalid('clock', 'another clock, or none', 'the clock that virtualTime gives');
  if (typeof definition !== 'function' && !isPipelineDefinition(definition)) {
    throw invalid('definition', typeof definition, 'what definePipeline returns, or a function that gives it');
  }
  return new Bench(definition, options);
}

function invalid(option: string, value: string, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value, bound });
}

class Bench implements TestPipeline {
  readonly arrivals: Arrival[] = [];
  readonly acks: DeliveryAck[] = [];
  readonly checkpoints: { readonly atMs: number; readonly checkpointTs: bigint }[] = [];
  readonly source: MemorySource;
  readonly sink: MemorySink;
  readonly store = new MemoryStore('test');
  readonly #checkpoint = memoryCheckpoint();
  readonly #define: (parts: TestParts) => PipelineDefinition;
  readonly #options: TestPipelineOptions;
  readonly #tables: MarbleTables;
  #lives = 0;
  #life!: ProcessLife;
  #running!: Running;
  #state: 'runs' | 'has crashed' | 'has ended' = 'has ended';
  /** What ended the run, until somebody has heard of it. */
  #failure: { readonly error: unknown } | null = null;
  /** Somebody waits for the end of this life, and hears of its failure. */
  #isWatched = false;

  constructor(definition: PipelineDefinition | ((parts: TestParts) => PipelineDefinition), options: TestPipelineOptions) {
    this.#options = options;
    this.#tables = new MarbleTables(options.tables);
    this.source = options.source ?? memorySource();
    this.sink = typeof options.sink === 'object' ? options.sink : memorySink();
    this.#define = isPipelineDefinition(definition) ? (parts) => this.#swapped(definition, parts) : definition;
    this.#start();
    options.clock.atEnd(() => this.#tell());
  }

  get checkpointTs(): bigint | null {
    return this.checkpoints.at(-1)?.checkpointTs ?? null;
  }

  get confirmed(): readonly bigint[] {
    return this.source.confirmed;
  }

  get done(): Promise<RunSummary> {
    this.#failure = null;
    this.#isWatched = true;
    return this.#running.done;
  }

  feed(diagram: string, values?: DeliveryValues): void;
  feed(...deliveries: readonly (ChangeEvent | readonly ChangeEvent[])[]): void;
  feed(...given: readonly unknown[]): void {
    const nowMs = this.#options.clock.now();
    if (typeof given[0] === 'string') {
      feedDiagram(this.source, given[0], given[1] as DeliveryValues | undefined, this.#tables, nowMs);
      return;
    }
    for (const delivery of given as readonly (ChangeEvent | readonly ChangeEvent[])[]) {
      this.source.append('type' in delivery ? [delivery] : delivery, nowMs);
    }
  }

  expectArrivals(diagram: string, values?: DeliveryValues): void {
    const moments = this.arrivals.flatMap(({ atMs, delivery }) => momentOf(atMs, '', delivery));
    compareArrivals(moments, diagram, values, this.#tables);
  }

  expectAcks(diagram: string, values?: DeliveryValues): void {
    const moments = this.acks.flatMap(({ atMs, ack, delivery }) => momentOf(atMs, `${ack}:`, delivery));
    compareAcks(moments, diagram, values, this.#tables);
  }

  async advance(ms: number): Promise<void> {
    await this.#options.clock.advance(ms);
    this.#tell();
  }

  crash(): void {
    this.#tell();
    this.#require('crash', 'runs');
    this.#state = 'has crashed';
    this.#life.end();
  }

  restart(): void {
    this.#tell();
    if (this.#state === 'runs') throw this.#misused('restart');
    this.#start();
  }

  stop(options?: { readonly drain?: boolean }): Promise<RunSummary> {
    if (this.#failure === null) this.#require('stop', 'runs');
    this.#failure = null;
    this.#isWatched = true;
    return this.#running.stop(options);
  }

  #start(): void {
    const { clock, storeLatencyMs, logger, maxBytesInFlight, drainTimeoutMs } = this.#options;
    const life = new ProcessLife(clock);
    const number = ++this.#lives;
    const parts: TestParts = {
      source: life.source(this.source),
      sink: this.sink,
      store: life.store(this.store, storeLatencyMs),
      checkpoint: life.checkpointStore(this.#checkpoint, (checkpointTs) => {
        if (checkpointTs !== null && checkpointTs !== this.checkpointTs) this.checkpoints.push({ atMs: clock.now(), checkpointTs });
      }),
    };
    const made = this.#define(parts);
    const stages = made.stages.map((stage) => life.stage(stage));
    const sink = life.sink(made.sink, (delivery) => this.#arrived(delivery, life, number));
    const runOptions = {
      ...(logger && { logger }),
      ...(maxBytesInFlight !== undefined && { maxBytesInFlight }),
      ...(drainTimeoutMs !== undefined && { drainTimeoutMs }),
    };
    this.#running = run(definePipeline({ ...made, stages, sink }), { ...runOptions, clock: life.clock });
    this.#life = life;
    this.#state = 'runs';
    this.#isWatched = false;
    this.#running.done.then(
      () => this.#ended(life, null),
      (error: unknown) => this.#ended(life, { error }),
    );
  }

  #swapped({ name, stages }: PipelineDefinition, parts: TestParts): PipelineDefinition {
    const { sink } = this.#options;
    const { source, checkpoint } = parts;
    return definePipeline({ name, stages, source, checkpoint, sink: typeof sink === 'function' ? sink(parts) : parts.sink });
  }

  #arrived(delivery: Delivery, life: ProcessLife, number: number): void {
    const { clock } = this.#options;
    this.arrivals.push({ atMs: clock.now(), life: number, delivery, changes: changesOf(delivery.events) });
    const heard = (ack: DeliveryAck['ack']) => () => {
      if (!life.isOver) this.acks.push({ atMs: clock.now(), life: number, ack, delivery });
    };
    delivery.ack.addPostEnqueue(heard('enqueued'));
    delivery.ack.addPostFlush(heard('flushed'));
  }

  #ended(life: ProcessLife, failure: { readonly error: unknown } | null): void {
    if (life.isOver) return;
    life.end();
    this.#state = 'has ended';
    if (!this.#isWatched) this.#failure = failure;
  }

  /** What ended the run, where nobody has heard of it yet. */
  #tell(): void {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
  }

  #require(call: string, state: 'runs'): void {
    if (this.#state !== state) throw this.#misused(call);
  }

  #misused(call: string): MillraceError {
    return new MillraceError('MR_TEST_PIPELINE_MISUSED', { call, state: this.#state });
  }
}

function momentOf(atMs: number, what: string, delivery: Delivery): Moment[] {
  const changes = changesText(delivery);
  return changes === null ? [] : [{ atMs, text: `${what}${changes}` }];
}
