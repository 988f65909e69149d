import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type Change, listTables, readTable } from '../../../pipelines/index.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const USERS = { schema: 'public', table: 'users' };
const FILE = 'public/users/1/CDC00000000000000000001.json';
const SIDECAR = 'public/users/1/meta/CDC00000000000000000001.positions';

/** A transaction that inserts `count` rows. */
function inserts(commitTs: bigint, count: number): Transaction {
  const write = () => {
    const rows = new RowBlockWriter(users).beginTransaction(commitTs);
    for (let i = 0; i < count; i++) rows.insert({ id: `${commitTs}-${i}`, name: 'x' });
    return rows.build();
  };
  return { commitTs, events: () => [dmlEvent(write())] };
}

async function targetOf(...history: Transaction[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  expect((await runSink(store, history, { dateSeparator: 'none' })).error).toBeNull();
  return store;
}

async function read(store: MemoryStore, upTo?: bigint): Promise<string[]> {
  const changes: Change[] = [];
  for await (const batch of readTable(store, USERS, upTo === undefined ? {} : { upTo })) changes.push(...batch);
  return changes.map(({ op, commitTs, ordinal }) => `${op} ${commitTs}/${ordinal}`);
}

/** spec storage-sink §9.1, §9.2 */
describe('readTable', () => {
  it('gives changes as they were, with positions, old and data', async () => {
    const store = await targetOf({
      commitTs: 10n,
      events: () => [
        dmlEvent(
          new RowBlockWriter(users)
            .beginTransaction(10n, 0n, 3)
            .insert({ id: '1', name: null })
            .update(null, { id: '1' })
            .delete({ id: '1' })
            .build(),
        ),
      ],
    });
    const changes: Change[] = [];
    for await (const batch of readTable(store, USERS)) changes.push(...batch);
    const at = (ordinal: number) => ({ ...USERS, commitTs: 10n, ordinal });
    expect(changes).toEqual([
      { ...at(3), op: 'I', old: null, data: { id: '1', name: null } },
      { ...at(4), op: 'U', old: {}, data: { id: '1' } },
      { ...at(5), op: 'D', old: { id: '1' }, data: null },
    ]);
  });

  it('shows nothing beyond the checkpoint, in the middle of a file too', async () => {
    const store = await targetOf(inserts(10n, 2), inserts(20n, 1));
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":19}')]);
    expect(await read(store)).toEqual(['I 10/0', 'I 10/1']);
    expect(await read(store, 30n)).toEqual(['I 10/0', 'I 10/1']);
  });

  it('shows nothing beyond what is asked for', async () => {
    const store = await targetOf(inserts(10n, 1), inserts(20n, 1));
    expect(await read(store, 10n)).toEqual(['I 10/0']);
  });

  it('shows a table from its first version on, and none without a checkpoint', async () => {
    const store = await targetOf(inserts(10n, 1));
    expect(await listTables(store)).toEqual([USERS]);
    expect(await listTables(store, { upTo: 0n })).toEqual([]);
    await store.delete('metadata');
    expect(await listTables(store)).toEqual([]);
    await expect(read(store)).rejects.toMatchObject({ code: 'MR_UNKNOWN_TABLE' });
  });

  it('shows each position once, wherever a restart cut its files', async () => {
    const history = [inserts(10n, 2), inserts(20n, 3), inserts(30n, 2)];
    const store = await targetOf(...history);
    for (const checkpointTs of [0n, 10n, 20n]) {
      await runSink(store, history, { dateSeparator: 'none', fileSize: 1024 }, { checkpointTs });
    }
    expect(await read(store)).toEqual(['I 10/0', 'I 10/1', 'I 20/0', 'I 20/1', 'I 20/2', 'I 30/0', 'I 30/1']);
  });

  it('P10: shows a TRUNCATE at its own position', async () => {
    const truncated = table('users', 20n, ['id', 'name'], ['id']);
    const store = await targetOf(inserts(10n, 1), {
      commitTs: 20n,
      events: () => [
        truncateEvent({ position: { commitTs: 20n, ordinal: 7 }, commitTimeUs: 0n, table: truncated, query: 'TRUNCATE TABLE users' }),
      ],
    });
    expect(await read(store)).toEqual(['I 10/0', 'T 20/7']);
  });

  it('does not show a version whose schema file is gone, nor a file that no index names', async () => {
    const store = await targetOf(inserts(10n, 1));
    await store.put('public/users/99/CDC00000000000000000001.json', [Buffer.from('{}')]);
    await store.put('public/users/99/meta/CDC.index', [Buffer.from('CDC00000000000000000001.json\n')]);
    await store.put('public/users/1/CDC00000000000000000002.json', [Buffer.from('not JSON')]);
    expect(await read(store)).toEqual(['I 10/0']);
  });

  it.each<[what: string, damage: (store: MemoryStore) => Promise<void>]>([
    ['a data file is missing', (store) => store.delete(FILE)],
    ['a data file is cut', async (store) => store.put(FILE, [(await store.get(FILE))!.subarray(0, -10)])],
    ['a data file was changed', async (store) => store.put(FILE, [Buffer.from(String(await store.get(FILE)).replace('"x"', '"y"'))])],
    ['a data file has a row more', async (store) => store.put(FILE, [(await store.get(FILE))!, (await store.get(FILE))!])],
    ['a sidecar is missing', (store) => store.delete(SIDECAR)],
    [
      'a sidecar is of other rows',
      async (store) => store.put(SIDECAR, [Buffer.from(String(await store.get(SIDECAR)).replace('"10"', '"11"'))]),
    ],
    [
      'a schema file is not what its name says',
      async (store) => {
        for await (const { key } of store.list('public/users/meta/schema_')) {
          await store.put(key, [Buffer.from(String(await store.get(key)).replace('"name"', '"nome"'))]);
        }
      },
    ],
  ])('says so when %s', async (_, damage) => {
    const store = await targetOf(inserts(10n, 2), inserts(20n, 1));
    await damage(store);
    await expect(read(store)).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED' });
  });

  it('reads csv with the options that the target remembers', async () => {
    const store = new MemoryStore();
    const csv = { delimiter: '|', quote: '', null: 'NULL', outputOldValue: true, outputFieldHeader: true, binaryEncodingMethod: 'hex' };
    const { error } = await runSink(store, [inserts(10n, 2)], { protocol: 'csv', terminator: '\n', csv });
    expect(error).toBeNull();
    expect(await read(store)).toEqual(['I 10/0', 'I 10/1']);
  });
});
