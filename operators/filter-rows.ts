import { type DmlEvent, type Row, RowCursor, type RowShape, tableSelector, withRows } from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { DROP, dataStage, stageFailure } from './per-event.ts';

/**
 * Passes on the rows of a table for which the predicate holds.
 *
 * In plain words: keep the orders of one region, drop the rest.
 *
 * ![filterRows](../docs/operators/filter-rows.svg)
 *
 * The predicate sees the new image of an insert or update (`row.old` is the one before, where the source sent it) and the old image of a delete, in which a
 * table with a key-only replica identity has the key columns alone: `row.get` gives undefined for the rest, and for an unchanged TOAST value. An update
 * whose row leaves the chosen set is dropped like any other, so the target keeps the row as it was; filter on columns that do not change, or look at `row.old`
 * too. Other tables, schema changes and TRUNCATEs pass. What remains of a block is copied when it would pin more than twice its own bytes.
 *
 * @example
 * ```ts
 * import { filterRows } from 'millrace/operators';
 *
 * interface Order {
 *   id: string;
 *   region: string;
 * }
 *
 * const european = filterRows<Order>('public.orders', (row) => row.get('region') === 'eu');
 * ```
 *
 * @param table `schema.table`, by the source's names; patterns as for `filterTables`.
 * @param predicate called once per row; the row is valid during the call.
 * @returns a stage. It fails with MR_STAGE_FAILED, naming the row's position, when the predicate throws.
 */
export function filterRows<Shape extends object = RowShape>(table: string, predicate: (row: Row<Shape>) => boolean): Stage {
  const isSelected = tableSelector([table]);
  return dataStage('filterRows', { table }, () => {
    const cursor = new RowCursor<Shape>();
    return (event) => (event.type === 'dml' && isSelected(event.rows.table) ? filterBlock(event, cursor, predicate) : event);
  });
}

function filterBlock<Shape extends object>(
  event: DmlEvent,
  cursor: RowCursor<Shape>,
  predicate: (row: Row<Shape>) => boolean,
): DmlEvent | null {
  const { rows } = event;
  let kept: number[] | null = null;
  for (let i = 0; i < rows.rowCount; i++) {
    let isKept: boolean;
    try {
      isKept = predicate(cursor.moveTo(rows, i));
    } catch (error) {
      throw stageFailure('filterRows', event, rows.positionOf(i), error);
    }
    if (!isKept) kept ??= Array.from({ length: i }, (_, row) => row);
    else kept?.push(i);
  }
  if (kept === null) return event;
  return kept.length === 0 ? DROP : withRows(event, rows.select(kept).compact());
}
