import { filter, Observable, type SchedulerLike, tap } from 'rxjs';
import type { Delivery } from '../events/index.ts';
import { type Clock, operator, type Stage, sleepWith } from '../flow/index.ts';
import type { CheckpointStore } from '../runtime/checkpoint.ts';
import type { OpenSink, Sink } from '../runtime/sink.ts';
import type { OpenSource, Source } from '../sources/source.ts';
import type { ObjectStore } from '../stores/object-store.ts';
import { schedulerOf } from './virtual-clock.ts';

/**
 * One life of a process. When it has ended, as by SIGKILL, nothing that was begun in it goes on: its clock wakes nobody, and its ports take nothing in and
 * answer nothing. Memory is not taken away, so whoever waits, waits for ever.
 */
export class ProcessLife {
  readonly clock: Clock;
  readonly #ending = new AbortController();

  constructor(clock: Clock) {
    this.clock = new LifeClock(clock, this);
  }

  get isOver(): boolean {
    return this.#ending.signal.aborted;
  }

  end(): void {
    this.#ending.abort();
  }

  /** What `call` comes to while the life lasts: after its end it is not called, and what is under way is never heard of again. */
  during<T>(call: () => Promise<T>): Promise<T> {
    if (this.isOver) return new Promise(() => {});
    return new Promise((resolve, reject) => {
      call().then(
        (value) => this.isOver || resolve(value),
        (error: unknown) => this.isOver || reject(error),
      );
    });
  }

  /** The store as this process reaches it: each call takes `latencyMs`, and has its effect at the end of it. */
  store(store: ObjectStore, latencyMs = 0): ObjectStore {
    const call = <T>(step: () => Promise<T>) =>
      this.during(async () => {
        if (latencyMs > 0) await this.clock.sleep(latencyMs);
        return step();
      });
    return {
      uri: store.uri,
      capabilities: store.capabilities,
      put: (key, body) => call(() => store.put(key, body)),
      putIfAbsent: (key, body) => call(() => store.putIfAbsent(key, body)),
      get: (key) => call(() => store.get(key)),
      read: (key) => call(() => store.read(key)),
      exists: (key) => call(() => store.exists(key)),
      async *list(prefix) {
        yield* await call(async () => store.list(prefix));
      },
      delete: (key) => call(() => store.delete(key)),
      close: () => call(() => store.close()),
    };
  }

  /** @param onSaved hears what is stored. */
  checkpointStore(store: CheckpointStore, onSaved: (checkpointTs: bigint | null) => void): CheckpointStore {
    return {
      name: store.name,
      load: (pipeline) => this.during(() => store.load(pipeline)),
      save: (pipeline, checkpoint) =>
        this.during(async () => {
          await store.save(pipeline, checkpoint);
          onSaved(checkpoint.checkpointTs);
        }),
      close: (pipeline) => this.during(async () => store.close?.(pipeline)),
    };
  }

  source(source: Source): Source {
    const opened = (open: OpenSource): OpenSource => ({
      identity: open.identity,
      deliveries: { [Symbol.asyncIterator]: () => this.#iterator(open.deliveries[Symbol.asyncIterator]()) },
      headTs: open.headTs,
      confirm: (checkpointTs) => this.isOver || open.confirm(checkpointTs),
      status: () => open.status(),
      close: () => this.during(() => open.close()),
    });
    // A dead process reads no further: what is left of its reading must not take what is meant for the next.
    const signalOf = (signal: AbortSignal) => AbortSignal.any([signal, this.#ending.signal]);
    return {
      name: source.name,
      options: source.options,
      open: (context) => this.during(async () => opened(await source.open({ ...context, signal: signalOf(context.signal) }))),
    };
  }

  stage(stage: Stage): Stage {
    const { operatorName, options, parts } = stage;
    const alive = filter<Delivery>(() => !this.isOver);
    return operator(operatorName, options, (context) => (source) => stage.withContext(context)(source.pipe(alive)), parts);
  }

  /** @param onArrived hears of each delivery that the sink is given, before the sink. */
  sink(sink: Sink, onArrived: (delivery: Delivery) => void): Sink {
    const opened = (open: OpenSink): OpenSink => ({
      identity: open.identity,
      claim: (identity) => this.during(() => open.claim(identity)),
      write: (deliveries) => {
        const arriving = deliveries.pipe(
          filter(() => !this.isOver),
          tap(onArrived),
        );
        return new Observable((subscriber) => open.write(arriving).subscribe(subscriber));
      },
      publishCheckpoint: (checkpointTs, final) => this.during(() => open.publishCheckpoint(checkpointTs, final)),
      close: () => this.during(() => open.close()),
    });
    return { name: sink.name, options: sink.options, open: (context) => this.during(async () => opened(await sink.open(context))) };
  }

  #iterator(inner: AsyncIterator<Delivery>): AsyncIterator<Delivery> {
    return {
      next: () => this.during(() => inner.next()),
      return: (value) => this.during(async () => inner.return?.(value) ?? { done: true, value: undefined }),
    };
  }
}

class LifeClock implements Clock {
  readonly scheduler: SchedulerLike = schedulerOf(this);
  readonly #clock: Clock;
  readonly #life: ProcessLife;

  constructor(clock: Clock, life: ProcessLife) {
    this.#clock = clock;
    this.#life = life;
  }

  now(): number {
    return this.#clock.now();
  }

  random(): number {
    return this.#clock.random();
  }

  after(delayMs: number, fn: () => void): () => void {
    if (this.#life.isOver) return () => {};
    return this.#clock.after(delayMs, () => {
      if (!this.#life.isOver) fn();
    });
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepWith((ms, fn) => this.after(ms, fn), delayMs, signal);
  }
}
