import { Observable, type OperatorFunction, Subject } from 'rxjs';
import { ALL_DISPATCHERS, type DispatcherId, type DrainMarker, drainMarker, shardOf } from '../lib/events/index.ts';
import { type Context, link, type Operator, operator, requireNumber } from '../lib/flow/index.ts';

export interface ShardOptions<T> {
  /** How many shards: 1 … 1024. */
  readonly shards: number;
  /** What an item belongs to; all items of one dispatcher go to one shard. */
  readonly key: (item: T) => DispatcherId;
}

/**
 * Runs a chain of operators several times side by side, each on its share of the dispatchers.
 *
 * In plain words: a slow table holds up the tables of its own shard only, and rows of one table never overtake each other.
 *
 * ![shardBy](../docs/operators/shard-by.svg)
 *
 * The shard of a dispatcher is `(low64 XOR (high64 << 1)) mod shards` (spec storage-sink §1), the same in every run. What the shards emit is merged as it
 * comes. A drain marker of all dispatchers goes to every shard as a marker of its own; it is flush-acked when all of those are. The first shard that fails
 * ends all; the end comes when the source and all shards have ended. A chain must not end before its source: what came for it later would be lost.
 *
 * @example
 * ```ts
 * import { dispatcherOfTable } from 'millrace';
 * import { shardBy } from 'millrace/operators';
 * import { from, map } from 'rxjs';
 *
 * const tables = [1, 2].map((oid) => dispatcherOfTable('example', oid));
 * const items = ['a', 'b', 'c', 'd'].map((name, i) => ({ name, table: tables[i % 2]! }));
 *
 * from(items)
 *   .pipe(shardBy({ shards: 4, key: ({ table }) => table }, () => map(({ name }) => name.toUpperCase())))
 *   .subscribe((name) => console.log(name));
 * // → A
 * // → B
 * // → C
 * // → D
 * ```
 *
 * @param chain makes the chain of one shard; called once for each, per subscription. An `Operator` gets the run's context.
 * @returns an operator. A number of shards out of bounds is MR_INVALID_OPTION, at once.
 */
export function shardBy<T, R>(
  { shards, key }: ShardOptions<T>,
  chain: (shard: number) => Operator<T, R> | OperatorFunction<T, R>,
): Operator<T, R> {
  requireNumber('shards', shards, 1, 1024);
  const sample = chain(0);
  const parts = isOperator(sample) ? [sample as Operator<never, unknown>] : [];
  return operator(
    'shardBy',
    { shards },
    (context) => (source) => {
      return new Observable((subscriber) => {
        const inputs = Array.from({ length: shards }, () => new Subject<T>());
        const shardIndexes = new Map<DispatcherId, number>();
        const inputOf = (dispatcher: DispatcherId) => {
          let shard = shardIndexes.get(dispatcher);
          if (shard === undefined) {
            shard = shardOf(dispatcher, shards);
            if (shardIndexes.size === ROUTES_MAX) shardIndexes.clear();
            shardIndexes.set(dispatcher, shard);
          }
          return inputs[shard]!;
        };
        let running = shards;
        let isFailing = false;
        inputs.forEach((input, shard) => {
          link(bound(chain(shard), context)(input), subscriber, {
            next: (value) => subscriber.next(value),
            error: (error) => {
              if (!isFailing) subscriber.error(error);
            },
            complete: () => {
              if (--running === 0) subscriber.complete();
            },
          });
        });
        link(source, subscriber, {
          next: (item) => {
            const dispatcher = key(item);
            if (dispatcher === ALL_DISPATCHERS && isMarker(item)) broadcast(item, inputs);
            else inputOf(dispatcher).next(item);
          },
          error: (error) => {
            // Every shard hears of it before the first one's end unsubscribes the others: flushBy lets go of what it holds.
            isFailing = true;
            for (const input of inputs) input.error(error);
            subscriber.error(error);
          },
          complete: () => {
            for (const input of inputs) input.complete();
          },
        });
      });
    },
    parts,
  );
}

/** Routes that are remembered, which saves computing them: tables come and go. */
const ROUTES_MAX = 4096;

function isOperator<T, R>(chain: Operator<T, R> | OperatorFunction<T, R>): chain is Operator<T, R> {
  return 'operatorName' in chain;
}

function bound<T, R>(chain: Operator<T, R> | OperatorFunction<T, R>, context: Context): OperatorFunction<T, R> {
  return isOperator(chain) ? chain.withContext(context) : chain;
}

function isMarker(item: unknown): item is DrainMarker {
  return typeof item === 'object' && item !== null && 'type' in item && item.type === 'marker';
}

/** A marker in each shard; together they are the one that came. */
function broadcast<T>(item: T & DrainMarker, inputs: readonly Subject<T>[]): void {
  let left = inputs.length;
  for (const input of inputs) {
    const marker = drainMarker(ALL_DISPATCHERS);
    let isFlushed = false;
    marker.ack.addPostFlush(() => {
      if (isFlushed) return;
      isFlushed = true;
      if (--left === 0) item.ack.postFlush();
    });
    input.next({ ...item, ...marker });
  }
}
