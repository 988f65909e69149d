import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type Change, listTables, readTable, rebuildTable } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { column, runSink, type Transaction, table } from '../../support/sink-world.ts';

const users = (version: bigint) => table('users', version, ['id', 'name'], ['id']);
const usersWithAge = (version: bigint) => table('users', version, ['id', 'name', column('age', 2, { defaultText: '18' })], ['id']);
const log = table('log', 10n, ['line', 'level']);

/** Schema changes, TRUNCATEs and several changes of one key, some of them inside one transaction, over two tables. */
const HISTORY: readonly Transaction[] = [
  {
    commitTs: 10n,
    events: () => [
      ddlEvent({ position: { commitTs: 10n, ordinal: 0 }, commitTimeUs: 0n, table: users(10n), startsEmpty: true }),
      ddlEvent({ position: { commitTs: 10n, ordinal: 0 }, commitTimeUs: 0n, table: log, startsEmpty: true }),
      dmlEvent(
        new RowBlockWriter(users(10n)).beginTransaction(10n).insert({ id: '1', name: 'Ann' }).insert({ id: '2', name: 'Bob' }).build(),
      ),
      dmlEvent(new RowBlockWriter(log).beginTransaction(10n).insert({ line: 'a', level: null }).insert({ line: 'a', level: null }).build()),
    ],
  },
  {
    commitTs: 20n,
    events: () => [
      dmlEvent(
        new RowBlockWriter(users(10n))
          .beginTransaction(20n)
          .update(null, { id: '1', name: 'Anna' })
          .update({ id: '1' }, { id: '3', name: 'Anna' })
          .delete({ id: '2' })
          .insert({ id: '2', name: 'Bea' })
          .build(),
      ),
      dmlEvent(
        new RowBlockWriter(log).beginTransaction(20n, 0n, 4).update({ line: 'a', level: null }, { line: 'a', level: 'info' }).build(),
      ),
    ],
  },
  {
    commitTs: 30n,
    events: () => [
      dmlEvent(new RowBlockWriter(users(10n)).beginTransaction(30n).insert({ id: '4', name: 'Cid' }).build()),
      ddlEvent({ position: { commitTs: 30n, ordinal: 1 }, commitTimeUs: 0n, table: usersWithAge(30n), query: 'ALTER TABLE', action: 5 }),
      dmlEvent(new RowBlockWriter(usersWithAge(30n)).beginTransaction(30n, 0n, 1).insert({ id: '5', name: 'Dee', age: '40' }).build()),
    ],
  },
  {
    commitTs: 40n,
    events: () => [
      truncateEvent({ position: { commitTs: 40n, ordinal: 0 }, commitTimeUs: 0n, table: usersWithAge(40n), query: 'TRUNCATE TABLE users' }),
      dmlEvent(new RowBlockWriter(usersWithAge(40n)).beginTransaction(40n, 0n, 1).insert({ id: '6', name: 'Eve', age: '1' }).build()),
      truncateEvent({ position: { commitTs: 40n, ordinal: 2 }, commitTimeUs: 0n, table: usersWithAge(41n), query: 'TRUNCATE TABLE users' }),
      dmlEvent(new RowBlockWriter(usersWithAge(41n)).beginTransaction(40n, 0n, 3).insert({ id: '7', name: 'Fay', age: '2' }).build()),
    ],
  },
  {
    commitTs: 50n,
    events: () => [
      ddlEvent({ position: { commitTs: 50n, ordinal: 0 }, commitTimeUs: 0n, table: users(50n), query: 'ALTER TABLE', action: 6 }),
      dmlEvent(new RowBlockWriter(users(50n)).beginTransaction(50n).insert({ id: '8', name: 'Gus' }).build()),
      dmlEvent(new RowBlockWriter(log).beginTransaction(50n, 0n, 1).delete({ line: 'a', level: 'info' }).build()),
    ],
  },
];

const USER_CHANGES = [
  '10/0 I {"id":"1","name":"Ann"}',
  '10/1 I {"id":"2","name":"Bob"}',
  '20/0 U {"id":"1","name":"Anna"}',
  '20/1 D null',
  '20/1 I {"id":"3","name":"Anna"}',
  '20/2 D null',
  '20/3 I {"id":"2","name":"Bea"}',
  '30/0 I {"id":"4","name":"Cid"}',
  '30/1 I {"id":"5","name":"Dee","age":"40"}',
  '40/0 T null',
  '40/1 I {"id":"6","name":"Eve","age":"1"}',
  '40/2 T null',
  '40/3 I {"id":"7","name":"Fay","age":"2"}',
  '50/0 I {"id":"8","name":"Gus"}',
];

async function changesOf(store: MemoryStore, name: string): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const batch of readTable(store, { schema: 'public', table: name })) changes.push(...batch);
  return changes;
}

async function shown(store: MemoryStore) {
  const changes = (await changesOf(store, 'users')).map(
    ({ commitTs, ordinal, op, data }) => `${commitTs}/${ordinal} ${op} ${JSON.stringify(data)}`,
  );
  const rebuilt = async (name: string) =>
    [...(await rebuildTable(store, { schema: 'public', table: name })).rows()].map((row) => row.join()).sort();
  return { changes, users: await rebuilt('users'), log: await rebuilt('log') };
}

const EXPECTED = { changes: USER_CHANGES, users: ['7,Fay', '8,Gus'], log: ['a,'] };

describe.each(['canal-json', 'csv'])('the cloud storage sink, %s', (protocol) => {
  it('shows every change once and rebuilds every table, without any crash', async () => {
    const store = new MemoryStore();
    const run = await runSink(store, HISTORY, { protocol });
    expect(run.error).toBeNull();
    expect(run.checkpointTs).toBe(50n);
    expect(await listTables(store)).toEqual([
      { schema: 'public', table: 'log' },
      { schema: 'public', table: 'users' },
    ]);
    expect(await shown(store)).toEqual(EXPECTED);
  });

  it('I8: shows every change once after a crash before or after any store operation and a restart', async () => {
    const counted = new FaultStore(new MemoryStore());
    await runSink(counted, HISTORY, { protocol });
    expect(counted.operations).toBeGreaterThan(50);
    for (let at = 1; at <= counted.operations; at++) {
      for (const when of ['before', 'after'] as const) {
        const store = new MemoryStore();
        const crashed = await runSink(new FaultStore(store, { at, when }), HISTORY, { protocol });
        expect(crashed.error).not.toBeNull();
        const { checkpointTs } = crashed;
        const restarted = await runSink(store, HISTORY, { protocol }, { checkpointTs });
        expect({ at, when, error: restarted.error }).toEqual({ at, when, error: null });
        expect({ at, when, ...(await shown(store)) }).toEqual({ at, when, ...EXPECTED });
      }
    }
  }, 180_000);

  it('I1: a checkpoint never passes what a reader is shown, wherever the store fails', async () => {
    const counted = new FaultStore(new MemoryStore());
    await runSink(counted, HISTORY, { protocol });
    for (let at = 1; at <= counted.operations; at++) {
      const store = new MemoryStore();
      const { checkpointTs } = await runSink(new FaultStore(store, { at, when: 'before' }), HISTORY, { protocol });
      if (checkpointTs < 10n) continue;
      await store.put('metadata', [Buffer.from(`{"checkpoint-ts":${checkpointTs}}`)]);
      const expected = USER_CHANGES.filter((change) => BigInt(change.split('/')[0]!) <= checkpointTs);
      expect({ at, checkpointTs, changes: (await shown(store)).changes }).toEqual({ at, checkpointTs, changes: expected });
    }
  });
});
