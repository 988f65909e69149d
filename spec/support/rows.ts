import { Observable } from 'rxjs';
import { type DataEvent, Delivery, dmlEvent, type Row, type RowBlock, rowsOf } from '../../lib/events/index.ts';
import type { Operator } from '../../lib/flow/index.ts';

/** Rows as text: `I id=1 note=x`, `U id=1 note=~ < id=0`, `D id=1`. `~` is an unchanged TOAST value; what is absent is left out. */
export function rowTexts(block: RowBlock): string[] {
  // A row is valid until the next, so each is read as it comes.
  return Array.from(rowsOf(block), (row) => {
    const old = row.old === null ? '' : ` < ${valuesOf(row.old)}`;
    return `${row.op[0]!.toUpperCase()} ${valuesOf(row)}${old}`;
  });
}

function valuesOf(row: Row): string {
  return row.table.columns
    .map(({ name }) => `${name}=${row.isUnchanged(name) ? '~' : (row.get(name) ?? (row.get(name) === null ? 'null' : undefined))}`)
    .filter((text) => !text.endsWith('=undefined'))
    .join(' ');
}

/** Runs one event through a stage: what comes out, or the error it failed with. */
export function throughStage(stage: Operator<Delivery, Delivery>, ...events: DataEvent[]): { events: DataEvent[]; error: unknown } {
  const out: DataEvent[] = [];
  let failure: unknown = null;
  new Observable<Delivery>((subscriber) => subscriber.next(new Delivery(events)))
    .pipe(stage)
    .subscribe({ next: (delivery) => out.push(...(delivery.events as DataEvent[])), error: (error: unknown) => (failure = error) });
  return { events: out, error: failure };
}

/** Runs a block through a stage: the block that comes out, null when it is dropped. Fails when the stage does. */
export function blockThrough(stage: Operator<Delivery, Delivery>, block: RowBlock): RowBlock | null {
  const { events, error } = throughStage(stage, dmlEvent(block));
  if (error !== null) throw error;
  const [event] = events;
  return event?.type === 'dml' ? event.rows : null;
}
