import { Observable } from 'rxjs';
import type { DrainMarker } from '../lib/events/index.ts';
import { link, type Operator, operator } from '../lib/flow/index.ts';
import type { Flush } from './flush-by.ts';

export interface GroupByTypeOptions<T> {
  /** What tells the groups apart: the type of an item, or whatever else one call of a target takes together. */
  readonly type: (item: T) => string;
}

/** Items of one batch and one type, in order. */
export interface TypeGroup<T> {
  readonly type: string;
  readonly events: readonly T[];
  readonly bytes: number;
}

/**
 * Splits each batch into one group for each type.
 *
 * In plain words: what goes to one table in one statement stands together, and one type that is refused does not hold the others back.
 *
 * ![groupByType](../docs/operators/group-by-type.svg)
 *
 * Order holds inside a type (G2); groups of a batch come in the order in which their types first stand in it, the same in every run. A batch is split at once
 * and nothing is kept between batches. Drain markers pass, behind all groups of the batches before them. Each item goes out in exactly one group, so a target
 * that takes one group and refuses the next can be told the next again without the first.
 *
 * @example
 * ```ts
 * import { dispatcherOfTable } from 'millrace';
 * import { flushBy, groupByType } from 'millrace/operators';
 * import { from } from 'rxjs';
 *
 * const dispatcher = dispatcherOfTable('example', 1);
 * const events = ['slow:1', 'ddl:2', 'slow:3'].map((name) => ({ dispatcher, name, bytes: 10 }));
 *
 * from(events)
 *   .pipe(flushBy({ key: () => 'all', intervalMs: 5_000, bytes: 1024 }), groupByType({ type: ({ name }) => name.split(':')[0]! }))
 *   .subscribe((group) => {
 *     if ('events' in group) console.log(group.type, group.events.map(({ name }) => name).join(' '));
 *   });
 * // → slow slow:1 slow:3
 * // → ddl ddl:2
 * ```
 *
 * @returns an operator.
 * @see flushBy, which makes the batches.
 */
export function groupByType<T extends { readonly bytes: number }>({
  type,
}: GroupByTypeOptions<T>): Operator<Flush<T> | DrainMarker, TypeGroup<T> | DrainMarker> {
  return operator('groupByType', {}, () => (source) => {
    return new Observable((subscriber) => {
      link(source, subscriber, {
        next: (batch) => {
          if ('events' in batch) for (const group of groupsOf(batch.events, type)) subscriber.next(group);
          else subscriber.next(batch);
        },
      });
    });
  });
}

/** The groups of some items, by type, in the order in which the types first occur. */
export function groupsOf<T extends { readonly bytes: number }>(items: readonly T[], type: (item: T) => string): TypeGroup<T>[] {
  const groups = new Map<string, { type: string; events: T[]; bytes: number }>();
  for (const item of items) {
    const name = type(item);
    let group = groups.get(name);
    if (group === undefined) {
      group = { type: name, events: [], bytes: 0 };
      groups.set(name, group);
    }
    group.events.push(item);
    group.bytes += item.bytes;
  }
  return [...groups.values()];
}
