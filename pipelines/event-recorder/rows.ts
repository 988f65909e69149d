import { MillraceError } from '../../lib/errors.ts';
import { BASE_COLUMNS, describeSchema, isSameSchema } from './column-schema.ts';
import type { ColumnSpec, EventGroup, RecordedEvent, StoredValue } from './event.ts';

/** The rows of one group of events, ready to be written to its table. */
export interface EventRows {
  readonly table: string;
  /** `type`, `payload`, `timestamp`, then the extra columns. */
  readonly columns: readonly ColumnSpec[];
  readonly rows: readonly EventRow[];
}

export interface EventRow {
  readonly event: RecordedEvent;
  /** The row's number in its event, from 0 on: with the event's id it names the row, in every delivery (G7). */
  readonly row: number;
  /** As many as there are columns. */
  readonly values: readonly StoredValue[];
}

/**
 * The rows of a group. Several rows of one event repeat its base columns; an event without rows leaves none. What `acceptEvent` checked of each event is
 * not checked again; here it is that they belong together.
 *
 * @throws MR_EVENT_GROUP_MIXED, MR_EVENT_SCHEMA_MISMATCH, both permanent.
 */
export function buildRows({ table, type, events }: Pick<EventGroup, 'table' | 'type' | 'events'>): EventRows {
  const first = events[0];
  if (first === undefined) return { table, columns: BASE_COLUMNS, rows: [] };
  const rows: EventRow[] = [];
  for (const event of events) {
    if (event.table !== table || event.type !== type) {
      const found = `type ${event.type} for table ${event.table}`;
      throw new MillraceError('MR_EVENT_GROUP_MIXED', { expected: `type ${type} for table ${table}`, found });
    }
    if (!isSameSchema(event.extraSchema, first.extraSchema)) {
      const [one, other] = [describeSchema(first.extraSchema), describeSchema(event.extraSchema)];
      throw new MillraceError('MR_EVENT_SCHEMA_MISMATCH', { type, table, first: one, other });
    }
    const base = [event.type, event.payload, event.timestampNs];
    event.extraRows.forEach((extra, row) => {
      rows.push({ event, row, values: [...base, ...extra] });
    });
  }
  return { table, columns: [...BASE_COLUMNS, ...first.extraSchema], rows };
}
