import { ByteWriter, type DmlEvent, type Row, RowBlock, RowCursor, type RowShape, tableSelector, withRows } from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { dataStage, stageFailure } from './per-event.ts';

/**
 * Changes values in the rows of a table.
 *
 * In plain words: `mapRows('public.users', (row) => row.update('email', hash))` lets no address through, old ones included.
 *
 * ![mapRows](../docs/operators/map-rows.svg)
 *
 * The function runs on every image of a row: the new one, then the one before an update where the source sent it; of a delete on the old one. So what is masked
 * is masked everywhere; `row.isOld` tells them apart. Images are not complete: `row.get` gives undefined for an unchanged TOAST value, and for all but the key
 * in a key-only old image, where `row.set` does nothing; `row.update` calls its function only where there is a value. A row returned as it came costs no copy;
 * of a changed one only the changed values are encoded. Other tables, schema changes and TRUNCATEs pass.
 *
 * @example
 * ```ts
 * import { createHash } from 'node:crypto';
 * import { mapRows } from 'millrace/operators';
 *
 * interface User {
 *   id: string;
 *   email: string | null;
 * }
 *
 * const hash = (text: string) => createHash('sha256').update(text).digest('hex');
 * const masked = mapRows<User>('public.users', (row) => row.update('email', hash));
 * const dropped = mapRows<User>('public.users', (row) => row.set('email', null));
 * ```
 *
 * @param table `schema.table`, by the source's names; patterns as for `filterTables`.
 * @param fn returns the row it was given, or that row with other values; the row is valid during the call. Same values in, same values out: a change that is
 * sent again must come out as before.
 * @returns a stage. It fails with MR_STAGE_FAILED, naming the row's position, when `fn` throws or returns anything else.
 */
export function mapRows<Shape extends object = RowShape>(table: string, fn: (row: Row<Shape>) => Row<Shape>): Stage {
  const isSelected = tableSelector([table]);
  return dataStage('mapRows', { table }, () => {
    const cursor = new RowCursor<Shape>();
    const writer = new ByteWriter();
    return (event) => (event.type === 'dml' && isSelected(event.rows.table) ? mapBlock(event, cursor, writer, fn) : event);
  });
}

function mapBlock<Shape extends object>(
  event: DmlEvent,
  cursor: RowCursor<Shape>,
  writer: ByteWriter,
  fn: (row: Row<Shape>) => Row<Shape>,
): DmlEvent {
  const { rows } = event;
  let offsets: Int32Array | null = null;
  let changed = 0;
  for (let i = 0; i < rows.rowCount; i++) {
    const image = cursor.moveTo(rows, i);
    let row: Row<Shape>;
    let old: Row<Shape> | null;
    try {
      row = mapImage(fn, image);
      old = cursor.old === null ? null : mapImage(fn, cursor.old);
    } catch (error) {
      throw stageFailure('mapRows', event, rows.positionOf(i), error);
    }
    if (row.changes === null && (old === null || old.changes === null)) continue;
    if (offsets === null) {
      offsets = rows.offsets.slice();
      writer.length = 0;
      // Rows changed by a stage before this one keep their places.
      if (rows.patches !== null) writer.writeBytes(rows.patches);
    }
    offsets[i] = ~writer.length;
    cursor.write(writer, row, old);
    changed++;
  }
  if (offsets === null) return event;
  return withRows(event, changed === rows.rowCount ? rewritten(rows, writer.take(), offsets) : rows.withPatches(writer.take(), offsets));
}

function mapImage<Shape extends object>(fn: (row: Row<Shape>) => Row<Shape>, image: Row<Shape>): Row<Shape> {
  const result = fn(image);
  if (!result?.isOfImage?.(image))
    throw new TypeError('the function must return the row it was given, as it is or from row.set or row.update');
  return result;
}

/** All rows were written anew: the bytes they came in are let go. */
function rewritten(rows: RowBlock, bytes: Buffer, offsets: Int32Array): RowBlock {
  for (let i = 0; i < offsets.length; i++) offsets[i] = ~offsets[i]!;
  return new RowBlock({ table: rows.table, ops: rows.ops, ordinals: rows.ordinals, transactions: rows.transactions, bytes, offsets });
}
