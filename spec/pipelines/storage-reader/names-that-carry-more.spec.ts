import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type Change, readTable, rebuildTable, type TableChanges, TargetReader } from '../../../pipelines/index.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const users = (version = 1n) => table('users', version, ['id', 'name'], ['id']);
const inserts = (commitTs: bigint, ids: readonly string[], of = users()): Transaction => ({
  commitTs,
  events: () => {
    const rows = new RowBlockWriter(of).beginTransaction(commitTs);
    for (const id of ids) rows.insert({ id, name: 'x' });
    return [dmlEvent(rows.build())];
  },
});
const truncates = (commitTs: bigint): Transaction => ({
  commitTs,
  events: () => [truncateEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table: users(commitTs), query: 'TRUNCATE users' })],
});

async function world() {
  const store = new MemoryStore();
  const history = [inserts(10n, ['1', '2']), truncates(20n), inserts(30n, ['3'], users(20n))];
  expect((await runSink(store, history, { dateSeparator: 'none' }, { checkpointTs: 0n })).error).toBeNull();
  const parts: TableChanges[] = [];
  for await (const part of new TargetReader(store).poll()) parts.push(part);
  return { store, parts };
}
const all = async (store: MemoryStore, name: { schema: string; table: string }) => {
  const changes: Change[] = [];
  for await (const batch of readTable(store, name)) changes.push(...batch);
  return changes.map(({ op, commitTs, ordinal, data }) => `${op} ${commitTs}/${ordinal} ${data?.['id'] ?? ''}`);
};

/** What the reader gives names its table, and much more beside. */
describe('a table that is named by what the reader gave', () => {
  it('is read as by its names alone', async () => {
    const { store, parts } = await world();
    const { schema, table: name } = parts[0]!;
    const part = parts.find(({ changes }) => changes.length > 0)!;
    const whole = await all(store, { schema, table: name });
    expect(whole).toEqual(['I 10/0 1', 'I 10/1 2', 'T 20/0 ', 'I 30/0 3']);
    expect(await all(store, part)).toEqual(whole);
    expect(await all(store, part.changes[0]!)).toEqual(whole);
  });

  it('is rebuilt as by its names alone', async () => {
    const { store, parts } = await world();
    const rebuilt = await rebuildTable(store, parts.find(({ changes }) => changes.length > 0)!);
    expect([...rebuilt.rows()]).toEqual([['3', 'x']]);
    expect(Object.keys(rebuilt).sort()).toEqual(['checkpointTs', 'columns', 'get', 'keyColumns', 'rowCount', 'rows', 'schema', 'table']);
  });
});
