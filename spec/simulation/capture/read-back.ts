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
      const expected = origin.changesOf(table).filter(({ commitTs }) => commitTs <= checkpointTs).flatMap((change) => linesOf(table, change));
      const seen = await seenLines(target, table);
      const difference = differenceOf(expected, origin.mayRepeat ? [...new Set(seen)] : seen);
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
      const lines = [...rows()].map((row) => rowText(Object.fromEntries(names.map((name, i) => [name, row[i] ?? null]))));
      const difference = differenceOf(expected.map(rowText).sort(), lines.sort());
      if (difference !== null) broken('rows', `${table.fullName}: ${difference}`);
    }
  } catch (error) {
    broken('rows', reasonOf(error));
  }
}

function nameOf({ schema, name }: ExpectedTable): TableName {
  return { schema, table: name };
}

function linesOf(table: ExpectedTable, { commitTs, ordinal, op, old, data }: OriginChange): string[] {
  const at = `${commitTs}/${ordinal}`;
  const { rows } = table.changes[table.indexOf(commitTs, ordinal)]!;
  if (op === 'T') return [`${at} T`];
  if (op === 'D') return [`${at} D ${keyText(table, old)}`];
  // What the new row lacks is taken from the old one (P9).
  const row = rowText({ ...old, ...data });
  return rows === 1 ? [`${at} ${op} ${row}`] : [`${at} D ${keyText(table, old)}`, `${at} I ${row}`];
}

async function seenLines(target: StoredTarget, table: ExpectedTable): Promise<string[]> {
  const lines: string[] = [];
  try {
    for await (const batch of readTable(target, nameOf(table))) for (const change of batch) lines.push(lineOf(table, change));
  } catch (error) {
    if (!isMillraceError(error, 'MR_UNKNOWN_TABLE')) throw error;
  }
  return lines;
}

function lineOf(table: ExpectedTable, { commitTs, ordinal, op, old, data }: Change): string {
  const at = `${commitTs}/${ordinal}`;
  if (op === 'T') return `${at} T`;
  return op === 'D' ? `${at} D ${keyText(table, old ?? data)}` : `${at} ${op} ${rowText(data)}`;
}

function keyText({ key }: ExpectedTable, row: OriginRow | null): string {
  return JSON.stringify(key.map((name) => row?.[name]));
}

function rowText(row: OriginRow | null): string {
  return JSON.stringify(Object.entries(row ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Null when there is none. */
function differenceOf(expected: readonly string[], seen: readonly string[]): string | null {
  const length = Math.max(expected.length, seen.length);
  for (let i = 0; i < length; i++) {
    if (expected[i] !== seen[i]) return `change ${i} is ${seen[i] ?? 'missing'}, and ${expected[i] ?? 'nothing'} was committed there`;
  }
  return null;
}
