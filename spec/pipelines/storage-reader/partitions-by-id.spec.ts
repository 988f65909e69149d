import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dispatcherId, dmlEvent, RowBlockWriter, type Table, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { listTables, rebuildTable, TargetReader } from '../../../pipelines/index.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const USERS = { schema: 'public', table: 'users' };
const BY_ID = { dateSeparator: 'day', useTableIdAsPath: true, fileIndexDigit: 6 } as const;

/** A partition of `users`: a physical table with a dispatcher of its own. */
function partition(tableId: number, version = 7n, columns = ['id', 'name']): Table {
  return table('users', version, columns, ['id'], { tableId, isPartition: true, dispatcher: dispatcherId(BigInt(tableId), 5n) });
}

function row(commitTs: bigint, of: Table, ordinal: number) {
  const writer = new RowBlockWriter(of).beginTransaction(commitTs, 0n, ordinal);
  return dmlEvent(
    writer.insert(Object.fromEntries(of.columns.map(({ name }) => [name, name === 'id' ? `${commitTs}/${ordinal}` : 'x']))).build(),
  );
}

/** One transaction with a row of each of these, in this order. */
function inserts(commitTs: bigint, ...of: Table[]): Transaction {
  return { commitTs, events: () => of.map((piece, ordinal) => row(commitTs, piece, ordinal)) };
}

async function round(reader: TargetReader): Promise<string[]> {
  const ids: string[] = [];
  for await (const { changes } of reader.poll()) ids.push(...changes.map(({ op, data }) => `${op}${data?.['id'] ?? ''}`));
  return ids;
}

async function capture(store: MemoryStore, history: readonly Transaction[], checkpointTs = 0n): Promise<void> {
  expect((await runSink(store, history, BY_ID, { checkpointTs })).error).toBeNull();
}

const [A, B] = [31, 32];

/** spec storage-sink §5.1: below an id there is no partition level; each partition is a folder of its own. */
describe('a reader of partitions under use-table-id-as-path', () => {
  it('puts them together into one table, in the order of positions', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, partition(A), partition(B)), inserts(20n, partition(B)), inserts(30n, partition(A))]);
    expect(await listTables(store)).toEqual([USERS]);
    expect(await round(new TargetReader(store))).toEqual(['I10/0', 'I10/1', 'I20/0', 'I30/0']);
    expect((await rebuildTable(store, USERS)).rowCount).toBe(4);
  });

  it('goes on from its cursor with what is new of each of them', async () => {
    const store = new MemoryStore();
    const history = [inserts(10n, partition(A), partition(B)), inserts(20n, partition(B)), inserts(30n, partition(A), partition(B))];
    await capture(store, history.slice(0, 1));
    const reader = new TargetReader(store);
    expect(await round(reader)).toEqual(['I10/0', 'I10/1']);
    await capture(store, history.slice(0, 2), 10n);
    const { cursor } = reader;
    expect([await round(reader), await round(new TargetReader(store, { cursor }))]).toEqual([['I20/0'], ['I20/0']]);
    await capture(store, history, 20n);
    expect(await round(reader)).toEqual(['I30/0', 'I30/1']);
  });

  it('takes a schema change that each of them has for one', async () => {
    const store = new MemoryStore();
    const wider = (id: number) => partition(id, 15n, ['id', 'name', 'email']);
    const change: Transaction = {
      commitTs: 15n,
      events: () =>
        [A, B].map((id) =>
          ddlEvent({ position: { commitTs: 15n, ordinal: 0 }, commitTimeUs: 0n, table: wider(id), query: 'ALTER', action: 5 }),
        ),
    };
    await capture(store, [inserts(10n, partition(A), partition(B)), change, inserts(20n, wider(A), wider(B))]);
    const table = await rebuildTable(store, USERS);
    expect([table.rowCount, table.columns.map(({ ColumnName }) => ColumnName)]).toEqual([4, ['id', 'name', 'email']]);
    expect(await round(new TargetReader(store))).toEqual(['I10/0', 'I10/1', 'I20/0', 'I20/1']);
  });

  it('clears the table once when all of them are truncated', async () => {
    const store = new MemoryStore();
    const truncation: Transaction = {
      commitTs: 15n,
      events: () =>
        [A, B].map((id) =>
          truncateEvent({ position: { commitTs: 15n, ordinal: 0 }, commitTimeUs: 0n, table: partition(id, 15n), query: 'TRUNCATE users' }),
        ),
    };
    await capture(store, [inserts(10n, partition(A), partition(B)), truncation, inserts(20n, partition(A, 15n), partition(B, 15n))]);
    expect(await round(new TargetReader(store))).toEqual(['I10/0', 'I10/1', 'T', 'I20/0', 'I20/1']);
    expect((await rebuildTable(store, USERS)).rowCount).toBe(2);
  });

  it('refuses two descriptions of one version, which no columns fit', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, partition(A)), inserts(20n, partition(B, 7n, ['id', 'email']))]);
    await expect(rebuildTable(store, USERS)).rejects.toMatchObject({
      code: 'MR_TARGET_DAMAGED',
      details: { reason: 'version 7 has two schema files' },
    });
  });
});
