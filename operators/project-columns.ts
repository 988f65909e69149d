import { MillraceError } from '../lib/errors.ts';
import { type Column, columnIndex, defineTable, type Table, tableName, tableOf, tableSelector, withTable } from '../lib/events/index.ts';
import type { Stage } from '../lib/flow/index.ts';
import { dataStage } from './per-event.ts';

/**
 * Keeps some columns of a table.
 *
 * In plain words: the others never leave the process.
 *
 * ![projectColumns](../docs/operators/project-columns.svg)
 *
 * Rows are not touched: their table versions get fewer columns, in the table's own order, and point into the same bytes. Schema changes and TRUNCATEs carry the
 * projected columns too. The primary key must stay, and so must the replica identity where it is an index: readers find rows by them. A table
 * version that lacks a listed column ends the run rather than leave a hole.
 *
 * @example
 * ```ts
 * import { projectColumns } from 'millrace/operators';
 *
 * const stages = [projectColumns('public.users', ['id', 'country'])];
 * ```
 *
 * @param table `schema.table`, by the source's names; patterns as for `filterTables`.
 * @param columns exact names; at least one.
 * @returns a stage. At the table's first event it fails with MR_INVALID_OPTION when key columns are missing from the list and with MR_UNKNOWN_COLUMN
 * when the table has no such column (inside MR_STAGE_FAILED).
 */
export function projectColumns(table: string, columns: readonly string[]): Stage {
  const isSelected = tableSelector([table]);
  if (columns.length === 0)
    throw new MillraceError('MR_INVALID_OPTION', { option: 'columns', value: '[]', bound: 'at least one column name' });
  const kept = [...columns];
  return dataStage('projectColumns', { table, columns: kept }, () => {
    const projections = new WeakMap<Table, Table>();
    return (event) => {
      const version = tableOf(event);
      if (!isSelected(version)) return event;
      let projection = projections.get(version);
      if (projection === undefined) {
        projection = project(version, kept);
        projections.set(version, projection);
      }
      return withTable(event, projection);
    };
  });
}

function project(table: Table, columns: readonly string[]): Table {
  for (const column of columns) {
    if (columnIndex(table, column) >= 0) continue;
    throw new MillraceError('MR_UNKNOWN_COLUMN', {
      table: tableName(table),
      column,
      columns: table.columns.map(({ name }) => name).join(', '),
    });
  }
  const missing = table.columns.filter((column) => isKey(table, column) && !columns.includes(column.name));
  if (missing.length > 0) {
    throw new MillraceError('MR_INVALID_OPTION', {
      option: 'columns',
      value: JSON.stringify(columns),
      bound: `a list with the key columns of ${tableName(table)}: ${missing.map(({ name }) => name).join(', ')} missing`,
    });
  }
  return defineTable({ ...table, columns: table.columns.filter(({ name }) => columns.includes(name)) });
}

/** Under a full identity every column is in the old image; the rows of a table without a key are then found by what is left of them. */
function isKey({ replicaIdentity }: Table, { isPrimaryKey, isIdentity }: Column): boolean {
  return isPrimaryKey || (isIdentity && replicaIdentity !== 'full');
}
