import { isMillraceError, reasonOf } from '../../../lib/errors.ts';
import { type Change, readTable, rebuildTable, StoredTarget, type TableName } from '../../../pipelines/index.ts';
import type { ExpectedTable } from './expected.ts';
import type { Origin, OriginChange, OriginRow } from './origin.ts';
import type { Rule } from './rules.ts';
import type { WatchedStore } from './watched-store.ts';

export interface ReadBackOptions {
  readonly store: WatchedStore;
  readonly origin: Origin;
  broken(rule: Rule, reason: string): void;
}

/** What a reader sees of every table up to the target's checkpoint must be what was committed up to there: each change once, in order, and nothing else. */
export async function readBack({ store, origin, broken }: ReadBackOptions): Promise<void> {
  try {
    const target = await StoredTarget.open(store);
    const { checkpointTs } = target;
    if (checkpointTs === null) return;
    for (const table of origin.tables) {
      // What begins beyond is not there yet.
      if (table.from === null || table.from - 1n > checkpointTs) continue;
      const due = shownUpTo(table, origin.changesOf(table), checkpointTs);
      const seen = await seenOf(target, table, origin.mayRepeat);
      const difference = differenceOf(due, seen, (expected, shown) => isSame(table, expected, shown));
      if (difference !== null) broken('reader', `${table.fullName} up to ${checkpointTs}: ${difference}`);
    }
  } catch (error) {
    broken('reader', reasonOf(error));
  }
}

/** Everything has come: the rows rebuilt from the files are those of the database. */
export async function readRows({ store, origin, broken }: ReadBackOptions): Promise<void> {
  try {
    for (const table of origin.tables) {
      const expected = origin.rowsOf(table);
      if (expected === null || table.changes.length === 0) continue;
      const { columns, rows } = await rebuildTable(store, nameOf(table));
      const names = columns.map(({ ColumnName }) => ColumnName);
      const rebuilt = [...rows()].map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] ?? null])));
      const difference = differenceOf(byKey(table, expected), byKey(table, rebuilt), isSameRow);
      if (difference !== null) broken('rows', `${table.fullName}: ${difference}`);
    }
  } catch (error) {
    broken('rows', reasonOf(error));
  }
}

function byKey({ key }: ExpectedTable, rows: readonly OriginRow[]): readonly OriginRow[] {
  const textOfKey = (row: OriginRow) => key.map((name) => row[name]).join('\u0000');
  return [...rows].sort((a, b) => (textOfKey(a) < textOfKey(b) ? -1 : 1));
}

function nameOf({ schema, name }: ExpectedTable): TableName {
  return { schema, table: name };
}

/** The rows that the changes up to a commitTs are to a reader. */
function shownUpTo(table: ExpectedTable, changes: readonly OriginChange[], checkpointTs: bigint): OriginChange[] {
  const shown: OriginChange[] = [];
  for (const change of changes) {
    const { commitTs, ordinal, op, old, data } = change;
    if (commitTs > checkpointTs) continue;
    if (op !== 'U') {
      shown.push(change);
      continue;
    }
    // What the new row lacks is taken from the old one (P9).
    const row = old === null || data === null ? data : over(old, data);
    if (table.changes[table.indexOf(commitTs, ordinal)]!.rows === 1) shown.push({ commitTs, ordinal, op, old, data: row });
    else shown.push({ commitTs, ordinal, op: 'D', old, data: null }, { commitTs, ordinal, op: 'I', old: null, data: row });
  }
  return shown;
}

/** Not by a spread, which takes several times as long and leaves rows of many hidden classes. */
function over(old: OriginRow, data: OriginRow): OriginRow {
  const row: Record<string, string | null> = {};
  for (const name in old) row[name] = old[name]!;
  for (const name in data) row[name] = data[name]!;
  return row;
}

async function seenOf(target: StoredTarget, table: ExpectedTable, mayRepeat: boolean): Promise<Change[]> {
  const seen: Change[] = [];
  try {
    for await (const batch of readTable(target, nameOf(table))) seen.push(...batch);
  } catch (error) {
    if (!isMillraceError(error, 'MR_UNKNOWN_TABLE')) throw error;
  }
  if (!mayRepeat) return seen;
  const places = new Set<string>();
  return seen.filter(({ commitTs, ordinal }) => {
    const isNew = !places.has(`${commitTs}/${ordinal}`);
    places.add(`${commitTs}/${ordinal}`);
    return isNew;
  });
}

function isSame({ key }: ExpectedTable, expected: OriginChange, seen: Change): boolean {
  const { commitTs, ordinal, op, old, data } = seen;
  if (expected.commitTs !== commitTs || expected.ordinal !== ordinal || expected.op !== op) return false;
  if (op === 'T') return true;
  // Formats differ in what they keep of a deleted row beside its key.
  if (op === 'D') return hasSame(key, expected.old ?? {}, old ?? data ?? {});
  return expected.data !== null && data !== null && isSameRow(expected.data, data);
}

function isSameRow(a: OriginRow, b: OriginRow): boolean {
  let more = 0;
  for (const name in a) {
    if (a[name] !== b[name]) return false;
    more++;
  }
  for (const _ in b) more--;
  return more === 0;
}

function hasSame(names: readonly string[], a: OriginRow, b: OriginRow): boolean {
  for (const name of names) if (a[name] !== b[name]) return false;
  return true;
}

/** Null when there is none. */
function differenceOf<A, B>(expected: readonly A[], seen: readonly B[], areSame: (a: A, b: B) => boolean): string | null {
  const length = Math.max(expected.length, seen.length);
  for (let i = 0; i < length; i++) {
    if (i < expected.length && i < seen.length && areSame(expected[i]!, seen[i]!)) continue;
    return `number ${i} is ${textOf(seen[i])}, and ${textOf(expected[i])} is what there was`;
  }
  return null;
}

function textOf(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part));
}
