import type { CatalogColumn, CatalogLeaf, CatalogTable } from './catalog.ts';

/**
 * What the catalog shows of changes to rows that send no row events (P6). Pure: two readings of one table are compared.
 *
 * A new file node alone means nothing: VACUUM FULL, CLUSTER and TRUNCATE (which is streamed) make one too. With it, these do: a type that changed; a column
 * whose catalog row was written again though nothing in it changed (`ALTER … TYPE … USING`); a new column that has a default and no missing value (a
 * value of its own for each row). VACUUM FULL writes the row of a column that had a missing value again, without the value: that is let pass.
 */
export type CatalogVerdict =
  | { readonly kind: 'fine' }
  | { readonly kind: 'rewritten'; readonly reason: string }
  /** Partitions whose rows are gone, unless a TRUNCATE of the whole table explains it: the stream will tell. */
  | { readonly kind: 'truncated'; readonly reason: string };

const FINE: CatalogVerdict = { kind: 'fine' };

export function compareCatalog(before: CatalogTable, now: CatalogTable): CatalogVerdict {
  const reason = renameOf(before, now) ?? columnMoveOf(before, now) ?? partitionMoveOf(before, now) ?? rewriteOf(before, now);
  if (reason !== null) return { kind: 'rewritten', reason };
  const emptied = emptiedPartitions(before, now);
  if (emptied.length === 0) return FINE;
  return { kind: 'truncated', reason: `partition ${emptied.map(({ name }) => name).join(', ')} was truncated alone` };
}

/**
 * What rows older than their columns read as, with what `now` adds to it. A default is remembered from the first reading that shows it.
 */
export function knownMissing(known: Readonly<Record<string, string | null>>, now: CatalogTable): Record<string, string | null> {
  const all: Record<string, string | null> = { ...known };
  for (const { attnum, isDropped, missing } of now.columns) {
    if (isDropped) continue;
    if (missing !== null) all[attnum] = missing;
    else all[attnum] ??= null;
  }
  return all;
}

function renameOf(before: CatalogTable, now: CatalogTable): string | null {
  return before.schema === now.schema && before.name === now.name ? null : `it was renamed to ${now.schema}.${now.name}`;
}

function columnMoveOf(before: CatalogTable, now: CatalogTable): string | null {
  const live = now.columns.filter(({ isDropped }) => !isDropped);
  for (const column of before.columns) {
    if (column.isDropped) continue;
    const renamed = live.find(({ attnum, name }) => attnum === column.attnum && name !== column.name);
    if (renamed !== undefined) return `column ${column.name} was renamed to ${renamed.name}`;
    if (live.some(({ attnum, name }) => attnum !== column.attnum && name === column.name))
      return `column ${column.name} was dropped and added again`;
  }
  return null;
}

function partitionMoveOf(before: CatalogTable, now: CatalogTable): string | null {
  const was = new Set(before.partitions.map(({ oid }) => oid));
  const is = new Set(now.partitions.map(({ oid }) => oid));
  const gone = before.partitions.find(({ oid }) => !is.has(oid));
  if (gone !== undefined) return `partition ${gone.name} was detached or dropped`;
  // One that was made as a partition was empty when it came.
  const attached = now.partitions.find(({ oid, isBornPartition }) => !was.has(oid) && !isBornPartition);
  return attached === undefined ? null : `partition ${attached.name} was attached`;
}

function rewriteOf(before: CatalogTable, now: CatalogTable): string | null {
  if (before.fileNode === now.fileNode && changedPartitions(before, now).length === 0) return null;
  const byAttnum = new Map(before.columns.map((column) => [column.attnum, column]));
  for (const column of now.columns) {
    if (column.isDropped) continue;
    const was = byAttnum.get(column.attnum);
    if (was === undefined) {
      const hasOwnValues = column.hasDefault || column.generated === 's' || column.isIdentityColumn;
      if (hasOwnValues && !column.hasMissing) return `column ${column.name} was added with values that readers cannot know`;
    } else {
      const reason = columnRewriteOf(was, column);
      if (reason !== null) return reason;
    }
  }
  return null;
}

function columnRewriteOf(was: CatalogColumn, column: CatalogColumn): string | null {
  if (was.typeOid !== column.typeOid || was.typeModifier !== column.typeModifier) return `the type of column ${column.name} was changed`;
  if (column.generated === 's' && was.defaultXmin !== column.defaultXmin) return `the expression of column ${column.name} was changed`;
  if (was.xmin === column.xmin || was.settings !== column.settings) return null;
  // A rewrite of any kind takes the missing value out; only a change of type replaces the default beside it.
  if (was.hasMissing && !column.hasMissing && was.defaultXmin === column.defaultXmin) return null;
  return `column ${column.name} was rewritten`;
}

function changedPartitions(before: CatalogTable, now: CatalogTable): CatalogLeaf[] {
  const nodes = new Map(before.partitions.map(({ oid, fileNode }) => [oid, fileNode]));
  return now.partitions.filter(({ oid, isLeaf, fileNode }) => isLeaf && nodes.has(oid) && nodes.get(oid) !== fileNode);
}

/**
 * A truncated relation has no row estimate until statistics are gathered; one that VACUUM FULL rewrote has one at once. Where they were gathered since, both
 * look the same, and it counts as truncated: to stop a table in vain is better than rows that are not there.
 */
function emptiedPartitions(before: CatalogTable, now: CatalogTable): CatalogLeaf[] {
  return changedPartitions(before, now).filter(({ rowsEstimated }) => rowsEstimated < 0 || now.analyzedAt > before.readAt);
}
