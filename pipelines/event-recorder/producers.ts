import { errorText, recordQuietly } from '../../lib/flow/index.ts';
import type { ColumnSpec, EventTarget } from './event.ts';

export { type RunningOperation, type SlowOperationOptions, type SlowOperations, slowOperations } from '../../lib/flow/index.ts';

/** What moves a procedure from one state to the next. */
export type LifecycleTrigger = (typeof LIFECYCLE_TRIGGERS)[number];
export const LIFECYCLE_TRIGGERS = [
  'Submitted',
  'ChildSubmitted',
  'Retrying',
  'RollingBack',
  'Succeeded',
  'Failed',
  'Poisoned',
  'Recovered',
] as const;

/** Triggers whose state is a failure: their events carry the error's text. */
const FAILURES: readonly LifecycleTrigger[] = ['Retrying', 'RollingBack', 'Failed', 'Poisoned'];

export interface LifecycleOptions {
  readonly events: EventTarget;
  /** What lives here: the type of its events, such as `pipeline`. */
  readonly type: string;
  /** Default `events`. */
  readonly table?: string;
}

export interface LifecycleChange {
  /** Which one: the same in all its events. */
  readonly id: string;
  readonly trigger: LifecycleTrigger;
  /** Recorded on failures alone. */
  readonly error?: unknown;
  /** What it was asked to do, a JSON value: recorded once, with `Submitted`. */
  readonly context?: unknown;
  /** A JSON value that is recorded each time. Default: null. */
  readonly details?: unknown;
}

/**
 * Records what becomes of procedures, one event per trigger. The returned function never throws, and what it records never decides what the procedure
 * does: call it before the new state is published.
 */
export function lifecycle({ events, type, table }: LifecycleOptions): (change: LifecycleChange) => void {
  return ({ id, trigger, error, context, details }) =>
    recordQuietly(events, type, () => ({
      type,
      ...(table === undefined ? {} : { table }),
      payload: details ?? null,
      extraSchema: LIFECYCLE_COLUMNS,
      extraRows: [
        [
          id,
          trigger,
          FAILURES.includes(trigger) && error !== undefined && error !== null ? errorText(error) : null,
          trigger === 'Submitted' ? (context ?? null) : null,
        ],
      ],
    }));
}

export const LIFECYCLE_COLUMNS: readonly ColumnSpec[] = frozenColumns([
  { name: 'procedure_id', type: 'string', semantic: 'tag' },
  { name: 'trigger', type: 'string', semantic: 'tag' },
  { name: 'error', type: 'string', semantic: 'field' },
  { name: 'context', type: 'json', semantic: 'field' },
]);

function frozenColumns(columns: readonly ColumnSpec[]): readonly ColumnSpec[] {
  return Object.freeze(columns.map((column) => Object.freeze(column)));
}
