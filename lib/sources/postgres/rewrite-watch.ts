import type { CatalogColumn, CatalogLeaf, CatalogTable } from './catalog.ts';

/**
 * What the catalog shows of changes to rows that send no row events (P6). Pure: two readings of one table are compared.
 *
 * A new file node alone means nothing: VACUUM FULL, CLUSTER and TRUNCATE (which is streamed) make one too. With it, these do: a type that changed; a column
 * whose catalog row was written again though nothing in it changed (`ALTER … TYPE … USING`); a new column that has a default and no missing value (a
 * value of its own for each row). VACUUM FULL writes the row of a column that had a missing value again, without the value: that is let pass where the row
 * estimate says that it was VACUUM FULL. What a rewrite and a TRUNCATE beside a harmless change leave behind alike, the stream decides.
 *
 * Without a new file node the rows stay, and may read otherwise: as another type, or because a value of an enum has another name.
 */
export type CatalogVerdict =
  | { readonly kind: 'fine' }
  | { readonly kind: 'rewritten'; readonly reason: string }
  /** Rows that are gone or changed, unless a TRUNCATE of the whole table explains it: the stream will tell. */
  | { readonly kind: 'truncated'; readonly reason: string };

const FINE: CatalogVerdict = { kind: 'fine' };

export function compareCatalog(before: CatalogTable, now: CatalogTable): CatalogVerdict {
  const reason = renameOf(before, now) ?? columnMoveOf(before, now) ?? partitionMoveOf(before, now) ?? readingOf(before, now);
  if (reason !== null) return { kind: 'rewritten', reason };
  const rewrite = rewriteOf(before, now);
  if (rewrite !== null) return rewrite;
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
  const since = new Map(now.partitions.map(({ oid, attachedXmin }) => [oid, attachedXmin]));
  const again = before.partitions.find(({ oid, attachedXmin }) => since.get(oid) !== attachedXmin);
  if (again !== undefined) return `partition ${again.name} was detached and attached again`;
  // One that was made as a partition was empty when it came.
  const attached = now.partitions.find(({ oid, isBornPartition }) => !was.has(oid) && !isBornPartition);
  return attached === undefined ? null : `partition ${attached.name} was attached`;
}

/** Rows that stay as they are and read as another text. */
function readingOf(before: CatalogTable, now: CatalogTable): string | null {
  const byAttnum = new Map(before.columns.map((column) => [column.attnum, column]));
  for (const column of now.columns) {
    const was = byAttnum.get(column.attnum);
    if (was === undefined || column.isDropped) continue;
    const isSameText = was.baseType === column.baseType || SAME_TEXT.some((types) => types.has(was.baseType) && types.has(column.baseType));
    if (was.typeOid !== column.typeOid && !isSameText) return `the type of column ${column.name} was changed`;
    for (const [oid, label] of Object.entries(was.labels ?? {})) {
      const renamed = column.labels?.[oid];
      if (renamed !== undefined && renamed !== label)
        return `value ${label} of the enum of column ${column.name} was renamed to ${renamed}`;
    }
  }
  return null;
}

/** Types that turn into one another without a rewrite, and write a value alike; timestamp and timestamptz (in UTC), cidr and inet, oid and int4 do not. */
const SAME_TEXT = [new Set(['text', 'varchar', 'bpchar', 'citext', 'xml']), new Set(['bit', 'varbit'])];

function rewriteOf(before: CatalogTable, now: CatalogTable): CatalogVerdict | null {
  const changed = changedPartitions(before, now);
  if (before.fileNode === now.fileNode && changed.length === 0) return null;
  const hasEstimate = (now.kind === 'p' ? changed : [now]).every(({ rowsEstimated }) => rowsEstimated >= 0);
  const isVacuum = hasEstimate && now.analyzedAt <= before.readAt;
  const byAttnum = new Map(before.columns.map((column) => [column.attnum, column]));
  let verdict: CatalogVerdict | null = null;
  for (const column of now.columns) {
    if (column.isDropped) continue;
    const was = byAttnum.get(column.attnum);
    if (was === undefined) {
      if (column.hasMissing || column.generated === 'v') continue;
      const reason = `column ${column.name} was added with values that readers cannot know`;
      if (column.hasDefault || column.generated === 's' || column.isIdentityColumn) return { kind: 'rewritten', reason };
      // The default that filled it may have been dropped since.
      if (!isVacuum) verdict ??= { kind: 'truncated', reason };
    } else {
      const change = columnRewriteOf(was, column, isVacuum, hasEstimate);
      if (change?.kind === 'rewritten') return change;
      verdict ??= change;
    }
  }
  return verdict;
}

function columnRewriteOf(was: CatalogColumn, column: CatalogColumn, isVacuum: boolean, hasEstimate: boolean): CatalogVerdict | null {
  const { name } = column;
  if (was.typeOid !== column.typeOid || was.typeModifier !== column.typeModifier) {
    return { kind: 'rewritten', reason: `the type of column ${name} was changed` };
  }
  if (column.generated === 's' && was.defaultXmin !== column.defaultXmin) {
    return { kind: 'rewritten', reason: `the expression of column ${name} was changed` };
  }
  if (was.xmin === column.xmin) return null;
  const reason = `column ${name} was rewritten`;
  // A setting was changed, and perhaps the values beside it.
  if (was.settings !== column.settings) return isVacuum ? null : { kind: 'truncated', reason };
  // A rewrite of any kind takes the missing value out; only a change of type replaces the default beside it, if there is one.
  const hasLostMissing = was.hasMissing && !column.hasMissing && was.defaultXmin === column.defaultXmin;
  if (!hasLostMissing) return { kind: 'rewritten', reason };
  return hasEstimate ? null : { kind: 'truncated', reason };
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
