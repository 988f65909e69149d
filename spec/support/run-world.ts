import { Observable } from 'rxjs';
import type { MillraceError } from '../../lib/errors.ts';
import {
  type ChangeEvent,
  Delivery,
  type DmlEvent,
  defineTable,
  dispatcherOfTable,
  dmlEvent,
  isAckedEvent,
  RowBlockBuilder,
  resolvedEvent,
  type Table,
} from '../../lib/events/index.ts';
import type { Checkpoint, CheckpointStore, OpenSink, OpenSource, Sink, SinkContext, Source, SourceContext } from '../../lib/index.ts';
import { definePipeline, operator, type PipelineDefinition, type Stage } from '../../lib/index.ts';

/** A small world to run pipelines in: what its parts do is written to one log, in order. */
export class World {
  readonly log: string[] = [];
  /** What the checkpoint store holds. */
  stored: Checkpoint | null = null;

  /** The entries of the log that begin with one of the words. */
  entries(...words: string[]): string[] {
    return this.log.filter((entry) => words.includes(entry.split(' ')[0]!));
  }
}

/** Rows (all of one transaction, ordinals from `ordinal`) of a table called `public.NAME`. */
export function rows(name: string, commitTs: bigint, count = 1, ordinal = 0): DmlEvent {
  const builder = new RowBlockBuilder(count);
  builder.beginTransaction(commitTs, 0n);
  for (let i = 0; i < count; i++) builder.append(0x49, 0, ordinal + i);
  return dmlEvent(builder.build(tableOf(name), Buffer.alloc(16)));
}

export function tableOf(name: string): Table {
  const known = tables.get(name);
  if (known !== undefined) return known;
  const tableId = tables.size + 1;
  const dispatcher = dispatcherOfTable('world', tableId);
  const names = { sourceSchema: 'public', sourceName: name, schema: 'public', name };
  const table = defineTable({ dispatcher, ...names, tableId, version: 1n, columns: [], replicaIdentity: 'default' });
  tables.set(name, table);
  return table;
}

const tables = new Map<string, Table>();

/** A delivery of these events, 100 bytes each. */
export function delivery(...events: ChangeEvent[]): Delivery {
  return new Delivery(events, events.length * 100);
}

/** Rows of table `t` at this commitTs and the mark that resolves it. */
export function transaction(commitTs: bigint, count = 1): Delivery {
  return delivery(rows('t', commitTs, count), resolvedEvent(commitTs));
}

export interface WorldSourceOptions {
  readonly deliveries?: () => Iterable<Delivery> | AsyncIterable<Delivery>;
  /** After the last delivery: wait for the signal instead of ending. */
  readonly stays?: boolean;
  readonly headTs?: bigint;
  readonly onOpen?: (context: SourceContext) => Promise<void> | void;
  readonly onConfirm?: (checkpointTs: bigint, context: SourceContext) => void;
  readonly onClose?: () => Promise<void>;
  readonly phase?: 'snapshot' | 'streaming';
}

export function worldSource(world: World, options: WorldSourceOptions = {}): Source {
  return {
    name: 'world',
    options: { url: 'world://here' },
    async open(context): Promise<OpenSource> {
      world.log.push(`source.open ${context.checkpointTs}`);
      await options.onOpen?.(context);
      async function* deliveries() {
        for await (const next of options.deliveries?.() ?? []) {
          if (context.signal.aborted) return;
          yield next;
        }
        if (options.stays !== true || context.signal.aborted) return;
        await new Promise<void>((resolve) => context.signal.addEventListener('abort', () => resolve(), { once: true }));
      }
      return {
        identity: 'world-1',
        deliveries: deliveries(),
        confirm: (checkpointTs) => {
          world.log.push(`confirm ${checkpointTs}`);
          options.onConfirm?.(checkpointTs, context);
        },
        headTs: options.headTs ?? 0n,
        status: () => ({ phase: options.phase ?? 'streaming', sourceTs: options.headTs ?? 0n, tables: new Map() }),
        close: async () => {
          await options.onClose?.();
          world.log.push('source.close');
        },
      };
    },
  };
}

export interface WorldSinkOptions {
  /** Whether an arriving event is flushed at once. Default: yes. */
  readonly flushes?: (event: ChangeEvent) => boolean;
  readonly identity?: string;
  readonly onPublish?: (checkpointTs: bigint) => Promise<void> | void;
  readonly onWrite?: (delivery: Delivery) => void;
  readonly onOpen?: (context: SinkContext) => Promise<void> | void;
}

/** A sink that flushes what arrives and, at completion, whatever it held back, unless that is to be held for ever (`flushes` still says no). */
export function worldSink(world: World, options: WorldSinkOptions = {}): Sink {
  const flushes = options.flushes ?? (() => true);
  return {
    name: 'memory',
    options: { uri: 'memory://here' },
    async open(opening): Promise<OpenSink> {
      world.log.push('sink.open');
      await options.onOpen?.(opening);
      const { progress } = opening.context;
      return {
        identity: options.identity ?? null,
        claim: async (identity) => void world.log.push(`claim ${identity}`),
        write: (deliveries) =>
          new Observable((subscriber) => {
            const flush = (event: DmlEvent) => {
              event.ack.postFlush();
              const { table, rowCount, retainedBytes } = event.rows;
              subscriber.next({
                dispatcher: event.dispatcher,
                table: `public.${table.name}`,
                path: 'x',
                rows: rowCount,
                bytes: retainedBytes,
                reason: 'size',
              });
            };
            let held: DmlEvent[] = [];
            const settle = () => {
              held = held.filter((event) => {
                if (flushes(event)) flush(event);
                return !flushes(event);
              });
              if (held.length === 0) subscriber.complete();
            };
            const subscription = deliveries.subscribe({
              next: (arriving) => {
                options.onWrite?.(arriving);
                progress.register(arriving);
                for (const event of arriving.events.filter(isAckedEvent)) {
                  event.ack.postEnqueue();
                  if (event.type !== 'dml') event.ack.postFlush();
                  else if (flushes(event)) flush(event);
                  else held.push(event);
                }
              },
              error: (error: unknown) => subscriber.error(error),
              complete: settle,
            });
            return () => {
              world.log.push('sink.unsubscribed');
              subscription.unsubscribe();
            };
          }),
        publishCheckpoint: async (checkpointTs, final) => {
          world.log.push(`publish ${checkpointTs}${final ? ' final' : ''}`);
          await options.onPublish?.(checkpointTs);
        },
        close: async () => void world.log.push('sink.close'),
      };
    },
  };
}

export interface WorldStoreOptions {
  readonly onSave?: (checkpoint: Checkpoint) => Promise<void> | void;
}

export function worldStore(world: World, options: WorldStoreOptions = {}): CheckpointStore {
  return {
    name: 'memory',
    load: async () => world.stored,
    save: async (_pipeline, checkpoint) => {
      await options.onSave?.(checkpoint);
      world.stored = checkpoint;
      world.log.push(`save ${checkpoint.checkpointTs}`);
    },
    close: async () => void world.log.push('store.close'),
  };
}

/** The parts of a pipeline in a world. */
export interface Parts {
  readonly source?: WorldSourceOptions;
  readonly sink?: WorldSinkOptions;
  readonly store?: WorldStoreOptions;
  readonly stages?: readonly Stage[];
}

export function pipelineIn(world: World, { source, sink, store, stages = [] }: Parts): PipelineDefinition {
  return definePipeline({
    name: 'test',
    source: worldSource(world, source),
    stages,
    sink: worldSink(world, sink),
    checkpoint: worldStore(world, store),
  });
}

/** What a promise rejects with. */
export const errorOf = (promise: Promise<unknown>): Promise<MillraceError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as MillraceError,
  );

/** A stage that changes nothing. */
export const pass = (name: string) => operator<Delivery, Delivery>(name, {}, () => (source) => source);
