import { filter, Observable, tap } from 'rxjs';
import type { Delivery } from '../events/index.ts';
import { type Clock, operator, type Stage } from '../flow/index.ts';
import type { CheckpointStore } from '../runtime/checkpoint.ts';
import type { OpenSink, Sink } from '../runtime/sink.ts';
import type { OpenSource, Source } from '../sources/source.ts';
import type { ObjectStore } from '../stores/object-store.ts';
import { Incarnation } from './simulator/incarnation.ts';
import type { VirtualClock } from './virtual-clock.ts';

/**
 * One life of a pipeline's process, and the pipeline's parts as that process has them. When it has ended, as by SIGKILL, nothing that was begun in it goes on:
 * its clock wakes nobody, and its parts take nothing in and answer nothing. Memory is not taken away, so whoever waits, waits for ever.
 */
export class ProcessLife {
  readonly #process: Incarnation;
  readonly #ending = new AbortController();

  constructor(clock: VirtualClock) {
    this.#process = new Incarnation({ name: 'test', clock, skewMs: () => 0, stallMs: () => 0, leaves: () => 0, isAnswered: () => true });
  }

  get clock(): Clock {
    return this.#process.clock;
  }

  get isOver(): boolean {
    return !this.#process.isUp;
  }

  end(): void {
    this.#process.end();
    this.#ending.abort();
  }

  /** The store as this process reaches it: each call takes `latencyMs`, and has its effect at the end of it. */
  store(store: ObjectStore, latencyMs = 0): ObjectStore {
    const { port, clock } = this.#process;
    if (latencyMs === 0) return port(store);
    const reached = port(store);
    const late = async <T>(call: () => Promise<T>): Promise<T> => {
      await clock.sleep(latencyMs);
      return call();
    };
    return {
      uri: store.uri,
      capabilities: store.capabilities,
      put: (key, body) => late(() => reached.put(key, body)),
      putIfAbsent: (key, body) => late(() => reached.putIfAbsent(key, body)),
      putIf: (key, body, expected) => late(() => reached.putIf(key, body, expected)),
      getVersioned: (key) => late(() => reached.getVersioned(key)),
      get: (key) => late(() => reached.get(key)),
      read: (key) => late(() => reached.read(key)),
      exists: (key) => late(() => reached.exists(key)),
      async *folders(prefix, before) {
        await clock.sleep(latencyMs);
        yield* reached.folders(prefix, before);
      },
      async *list(prefix) {
        await clock.sleep(latencyMs);
        yield* reached.list(prefix);
      },
      delete: (key) => late(() => reached.delete(key)),
      close: () => late(() => reached.close()),
    };
  }

  /** @param onSaved hears what is stored. */
  checkpointStore(store: CheckpointStore, onSaved: (checkpointTs: bigint | null) => void): CheckpointStore {
    return this.#process.port<CheckpointStore>({
      name: store.name,
      load: (pipeline) => store.load(pipeline),
      save: async (pipeline, checkpoint) => {
        await store.save(pipeline, checkpoint);
        onSaved(checkpoint.checkpointTs);
      },
      close: async (pipeline) => store.close?.(pipeline),
    });
  }

  source(source: Source): Source {
    const { port } = this.#process;
    const opened = (open: OpenSource): OpenSource => ({
      identity: open.identity,
      hasOrdinals: open.hasOrdinals ?? false,
      // Each reading is one call, whose answer is the deliveries.
      deliveries: {
        [Symbol.asyncIterator]: () =>
          port({ read: () => open.deliveries })
            .read()
            [Symbol.asyncIterator](),
      },
      headTs: open.headTs,
      confirm: (checkpointTs) => this.isOver || open.confirm(checkpointTs),
      status: () => open.status(),
      close: () => port(open).close(),
    });
    // A dead process reads no further: what is left of its reading must not take what is meant for the next.
    const signalOf = (signal: AbortSignal) => AbortSignal.any([signal, this.#ending.signal]);
    return {
      name: source.name,
      options: source.options,
      open: async (context) => opened(await port(source).open({ ...context, signal: signalOf(context.signal) })),
    };
  }

  stage(stage: Stage): Stage {
    const { operatorName, options, parts } = stage;
    const alive = filter<Delivery>(() => !this.isOver);
    return operator(operatorName, options, (context) => (source) => stage.withContext(context)(source.pipe(alive)), parts);
  }

  /** @param onArrived hears of each delivery that the sink is given, before the sink. */
  sink(sink: Sink, onArrived: (delivery: Delivery) => void): Sink {
    const { port } = this.#process;
    const opened = (open: OpenSink): OpenSink => {
      const { claim, publishCheckpoint, close } = port(open);
      return {
        identity: open.identity,
        claim,
        write: (deliveries) => {
          const arriving = deliveries.pipe(
            filter(() => !this.isOver),
            tap(onArrived),
          );
          return new Observable((subscriber) => open.write(arriving).subscribe(subscriber));
        },
        publishCheckpoint,
        close,
      };
    };
    return { name: sink.name, options: sink.options, open: async (context) => opened(await port(sink).open(context)) };
  }
}
