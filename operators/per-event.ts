import { map } from 'rxjs';
import { MillraceError, reasonOf } from '../lib/errors.ts';
import {
  type ChangeEvent,
  type DataEvent,
  firstPosition,
  formatPosition,
  isDataEvent,
  type Position,
  tableName,
  tableOf,
} from '../lib/events/index.ts';
import { type Context, operator, type PlainOptions, type Stage } from '../lib/flow/index.ts';

/** What a step returns for an event that goes no further. */
export const DROP = null;

/** One step of a stage: an event in, the event to pass on out, or DROP. */
export type EventStep = (event: DataEvent, context: Context) => DataEvent | typeof DROP;

/**
 * Makes a stage from a pure, synchronous function on data events.
 *
 * In plain words: say what becomes of one change, and the stage does it to all of them.
 *
 * ![perEvent](../docs/operators/per-event.svg)
 *
 * Data events are row blocks, schema changes and TRUNCATEs; resolved marks, syncpoints and signals pass untouched. Each delivery goes on as one delivery in
 * the same turn, also when all of its events were dropped. A step that returns its event costs no copy. A step must keep an event's dispatcher and
 * position.
 *
 * @example
 * ```ts
 * import { DROP, perEvent } from 'millrace/operators';
 *
 * const noTruncate = perEvent('noTruncate', (event) => (event.type === 'truncate' ? DROP : event));
 *
 * const loud = perEvent('loud', (event, { logger }) => {
 *   if (event.type === 'ddl') logger.warn({ query: event.query }, 'a table was changed');
 *   return event;
 * });
 * ```
 *
 * @param name what `describe`, metrics and errors call the stage.
 * @param step called once for each data event, in order.
 * @param options plain data for `describe`.
 * @returns a stage. It fails with MR_STAGE_FAILED, naming position and table, when `step` throws or returns anything else.
 * @see lift for what is not one event after another.
 */
export function perEvent(name: string, step: EventStep, options: PlainOptions = {}): Stage {
  return dataStage(name, options, (context) => (event) => step(event, context));
}

/** @internal `perEvent` for steps with state: `build` is called once per subscription. */
export function dataStage(name: string, options: PlainOptions, build: (context: Context) => (event: DataEvent) => DataEvent | null): Stage {
  return operator(name, options, (context) => {
    const step = build(context);
    const guarded = (event: ChangeEvent) => {
      if (!isDataEvent(event)) return event;
      try {
        const result = step(event);
        return result === DROP || result === event ? result : requireDataEvent(result);
      } catch (error) {
        throw stageFailure(name, event, firstPosition(event), error);
      }
    };
    return map((delivery) => delivery.with(mapEvents(delivery.events, guarded)));
  });
}

/** @internal `events` with `step` done to each, without those it drops; the same array when nothing changed. */
export function mapEvents(events: readonly ChangeEvent[], step: (event: ChangeEvent) => ChangeEvent | null): readonly ChangeEvent[] {
  let mapped: ChangeEvent[] | null = null;
  for (let i = 0; i < events.length; i++) {
    const event = events[i]!;
    const result = step(event);
    if (mapped === null && result !== event) mapped = events.slice(0, i);
    if (mapped !== null && result !== null) mapped.push(result);
  }
  return mapped ?? events;
}

/** @internal What the user's function gave, if it is a change: anything else would be lost in silence, because progress waits for changes only. */
export function requireDataEvent(value: DataEvent): DataEvent {
  if (typeof value === 'object' && value !== null && isDataEvent(value)) return value;
  throw new TypeError('the function must give a change (rows, a schema change or a TRUNCATE), synchronously, or drop it');
}

/** @internal The error of a stage at a position; one that names its stage and position already stays as it is. */
export function stageFailure(stage: string, event: DataEvent, position: Position, error: unknown): MillraceError {
  if (error instanceof MillraceError && error.code === 'MR_STAGE_FAILED') return error;
  return new MillraceError(
    'MR_STAGE_FAILED',
    { stage, position: formatPosition(position), table: tableName(tableOf(event)), reason: reasonOf(error) },
    error,
  );
}
