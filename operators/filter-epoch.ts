import { map } from 'rxjs';
import type { ChangeEvent } from '../lib/events/index.ts';
import { operator, type Stage } from '../lib/flow/index.ts';
import { DROP, mapEvents } from './per-event.ts';

/**
 * Drops events that belong to another epoch than the current one.
 *
 * In plain words: after a reset, whatever was still in flight from before is ignored.
 *
 * ![filterEpoch](../docs/operators/filter-epoch.svg)
 *
 * An event of another epoch, older or newer, is dropped silently: it is normal after a reset, and nothing is reported upstream. A row block is kept whole or
 * dropped whole. `ready`, `notReusable` and drain markers belong to no epoch and pass (spec event-collector §3.3, §4.1).
 *
 * @example
 * ```ts
 * import { filterEpoch } from 'millrace/operators';
 * import { eventMarbles } from 'millrace/testing';
 *
 * eventMarbles(
 *   ({ events, context, expectEvents }) => {
 *     const source   = events('a@5#1.2-a@6#2.2-|');
 *     const expected =        '--------a@6#2.2-|';
 *     expectEvents(source.pipe(filterEpoch().withContext(context))).toBe(expected);
 *   },
 *   { sessions: { a: 2n } }, // the current epoch of table a
 * );
 * ```
 *
 * @returns a stage that mirrors the source without foreign epochs. The current epoch of each dispatcher comes from the context's sessions; where there is no
 * session both are 0 and everything passes.
 * @see checkSequence, which notices when the current epoch itself has a gap.
 */
export function filterEpoch(): Stage {
  return operator('filterEpoch', {}, ({ sessions }) => {
    const keep = (event: ChangeEvent) => (hasEpoch(event) && event.epoch !== sessions.epochOf(event.dispatcher) ? DROP : event);
    return map((delivery) => delivery.with(mapEvents(delivery.events, keep)));
  });
}

function hasEpoch({ type }: ChangeEvent): boolean {
  return type !== 'ready' && type !== 'notReusable' && type !== 'marker';
}
