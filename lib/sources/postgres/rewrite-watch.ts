import type { CatalogColumn, CatalogLeaf, CatalogTable } from './catalog.ts';

/**
 * What the catalog shows of changes to rows that send no row events (P6). Pure: two readings of one table are compared.
 *
 * A new file node alone means nothing: VACUUM FULL, CLUSTER and TRUNCATE (which is streamed) make one too. With it, these do: a type that changed; a column
 * whose catalog row was written again though nothing in it changed (`ALTER … TYPE … USING`); a new column that has a default and no missing value (a
 * value of its own for each row). VACUUM FULL writes the row of a column that had a missing value again, without the value: that is let pass where it was VACUUM
 * FULL. The TOAST table tells which it was: only a rewrite by ALTER TABLE makes a new one. Where there is none, the row estimate does, as well as it can: a
 * rewrite with VACUUM FULL behind it passes for VACUUM FULL. What a rewrite and a TRUNCATE beside a harmless change leave behind alike, the stream decides.
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
  const emptied = emptiedPartitions(before, now);
  const apart = truncatedApart(emptied);
  const reason =
    renameOf(before, now) ??
    columnMoveOf(before, now) ??
    partitionMoveOf(before, now) ??
    readingOf(before, now) ??
    (apart.length === 0 ? null : truncatedAlone(apart));
  if (reason !== null) return { kind: 'rewritten', reason };
  return rewriteOf(before, now) ?? (emptied.length === 0 ? FINE : { kind: 'truncated', reason: truncatedAlone(emptied) });
}

/**
 * Whether a TRUNCATE or a rewrite was committed while this was read: file nodes are those of now, the rest is of the moment before. Such a reading says nothing;
 * the next one does.
 */
export function isTorn({ snapshotFileNode, fileNode, partitions }: CatalogTable): boolean {
  return snapshotFileNode !== fileNode || partitions.some((leaf) => leaf.snapshotFileNode !== leaf.fileNode);
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
  const isAltered = isRewrittenByAlter(before, now, changed);
  const estimated = (now.kind === 'p' ? changed : [now]).every(({ rowsEstimated }) => rowsEstimated >= 0);
  const hasEstimate = isAltered === null ? estimated : !isAltered;
  const isVacuum = isAltered === null ? estimated && now.analyzedAt <= before.readAt : !isAltered;
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
    } else if (isAltered !== false) {
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

/** Whether ALTER TABLE made the new file nodes: then their TOAST tables are new too. Null where there are none to tell. */
function isRewrittenByAlter(before: CatalogTable, now: CatalogTable, changed: readonly CatalogLeaf[]): boolean | null {
  const toasts = new Map(before.partitions.map(({ oid, toastOid }) => [oid, toastOid]));
  const pairs =
    now.kind === 'p'
      ? changed.map(({ oid, toastOid }) => [toasts.get(oid) ?? 0, toastOid] as const)
      : [[before.toastOid, now.toastOid] as const];
  const isKnown = ([was, is]: readonly [number, number]) => was > 0 && is > 0;
  if (pairs.some((pair) => isKnown(pair) && pair[0] !== pair[1])) return true;
  return pairs.every(isKnown) ? false : null;
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

/** A TRUNCATE of the whole table empties all partitions in one transaction: those that another one emptied after it were truncated alone. */
function truncatedApart(emptied: readonly CatalogLeaf[]): CatalogLeaf[] {
  const fresh = emptied.filter(({ rowsEstimated }) => rowsEstimated < 0);
  const earliest = fresh.reduce((low, { xmin }) => Math.min(low, Number(xmin)), Number.POSITIVE_INFINITY);
  return fresh.filter(({ xmin }) => Number(xmin) > earliest);
}

function truncatedAlone(partitions: readonly CatalogLeaf[]): string {
  return `partition ${partitions.map(({ name }) => name).join(', ')} was truncated alone`;
}
