import { describe, expect, it } from '@jest/globals';
import {
  type DmlEvent,
  ddlEvent,
  dmlEvent,
  RowBlockWriter,
  resolvedEvent,
  syncpointEvent,
  type Table,
  truncateEvent,
} from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { cloudStorage, listTables, readTable, rebuildTable } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { openWorld, runSink, settle, type Transaction, table } from '../../support/sink-world.ts';

const USERS = { schema: 'public', table: 'users' };
const users = (version: bigint, columns = ['id', 'name']) => table('users', version, columns, ['id']);

function row(commitTs: bigint, of: Table, name = 'x'): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(commitTs);
  return dmlEvent(writer.insert({ id: String(commitTs), name }).build());
}

function rows(of: Table, ...commitTs: bigint[]): DmlEvent {
  const writer = new RowBlockWriter(of);
  for (const ts of commitTs) writer.beginTransaction(ts).insert({ id: String(ts), name: 'x' });
  return dmlEvent(writer.build());
}

function transaction(commitTs: bigint, ...make: (() => DmlEvent)[]): Transaction {
  return { commitTs, events: () => make.map((fn) => fn()) };
}

async function idsOf(store: MemoryStore, upTo?: bigint): Promise<string[]> {
  const ids: string[] = [];
  for await (const changes of readTable(store, USERS, upTo === undefined ? {} : { upTo })) {
    for (const { op, data } of changes) ids.push(`${op}${data?.['id'] ?? ''}`);
  }
  return ids;
}

const NONE = { dateSeparator: 'none' } as const;

describe('a target that is written to with other options than before', () => {
  it.each([
    [6, 20],
    [20, 6],
  ])('file-index-digit %i, then %i: an orphan of the old width takes no rows from readers', async (before, after) => {
    const store = new MemoryStore();
    const table1 = users(7n);
    await runSink(store, [transaction(9n, () => row(9n, table1))], { ...NONE, fileIndexDigit: before });
    const index = await store.get('public/users/7/meta/CDC.index');
    await runSink(store, [transaction(10n, () => row(10n, table1))], { ...NONE, fileIndexDigit: before }, { checkpointTs: 9n });
    await store.put('public/users/7/meta/CDC.index', [index!]);
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":9}')]);
    const replay = [transaction(20n, () => rows(table1, 10n, 20n))];
    const { error } = await runSink(store, replay, { ...NONE, fileIndexDigit: after }, { checkpointTs: 9n });
    if (error !== null) expect(error).toMatchObject({ code: 'MR_TARGET_OF_ANOTHER_FORMAT' });
    else expect(await idsOf(store)).toEqual(['I9', 'I10', 'I20']);
  });

  it('date-separator changed twice over an orphan: its rows are shown once', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const history = [transaction(10n, () => row(10n, users(7n))), transaction(20n, () => row(20n, users(7n)))];
    await runSink(store, history, { dateSeparator: 'day' }, { clock });
    await store.delete('public/users/7/1970-01-01/meta/CDC.index');
    for (const dateSeparator of ['none', 'day', 'month']) {
      expect((await runSink(store, history, { dateSeparator }, { clock })).error).toBeNull();
    }
    expect(await idsOf(store)).toEqual(['I10', 'I20']);
  });
});

describe('a writer that does not know that another has taken over', () => {
  it('#4177, tiflow #9592, #9618: ends without touching what the other one published', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const stale = await openWorld(store, {}, clock);
    stale.send(row(10n, users(7n)));
    clock.advance(5000);
    await settle();
    stale.send(row(20n, users(7n)), row(30n, users(7n)));
    const history = [transaction(20n, () => row(20n, users(7n)))];
    expect((await runSink(store, history, NONE, { checkpointTs: 10n })).error).toBeNull();
    clock.advance(5000);
    await settle();
    expect(stale.end).toMatchObject({ code: 'MR_STALE_EPOCH' });
    await stale.close();
    expect(await idsOf(store)).toEqual(['I10', 'I20']);
  });

  it('writes over a sidecar whose data file a crash kept from coming', async () => {
    const store = new MemoryStore();
    await store.put('public/users/7/meta/CDC00000000000000000001.positions', [Buffer.from('left behind')]);
    expect((await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE)).error).toBeNull();
    expect(await idsOf(store)).toEqual(['I10']);
  });
});

describe('an end while something is under way', () => {
  it('tiflow #8698, #9162, #10044: unsubscribing in the middle of a write: the file becomes whole before close resolves, and nothing is acked', async () => {
    const store = new GateStore();
    const clock = manualClock();
    const world = await openWorld(store, {}, clock);
    store.hold(/CDC\d+\.json$/);
    const event = row(10n, users(7n));
    const heard: string[] = [];
    event.ack.addPostFlush(() => heard.push('flushed'));
    world.send(event);
    clock.advance(5000);
    await settle();
    expect(store.waiting).toBe(1);
    const closing = world.close().then(() => heard.push('closed'));
    await settle();
    expect(heard).toEqual([]);
    store.release();
    await closing;
    expect(heard).toEqual(['closed']);
    expect(String(await store.get('public/users/7/meta/CDC.index'))).toBe('CDC00000000000000000001.json\n');
  });

  it.each([
    [
      'schema change',
      ddlEvent({ position: { commitTs: 20n, ordinal: 0 }, commitTimeUs: 0n, table: users(20n), query: 'ALTER', action: 5 }),
    ],
    ['TRUNCATE', truncateEvent({ position: { commitTs: 20n, ordinal: 0 }, commitTimeUs: 0n, table: users(20n), query: 'TRUNCATE' })],
  ])('a drain with a marker in flight completes behind the %s and the rows that wait for it', async (_, block) => {
    const store = new GateStore();
    const world = await openWorld(store, {}, manualClock());
    store.hold(/CDC\d+\.json$/);
    world.send(row(10n, users(7n)));
    world.send(block);
    world.send(row(20n, users(20n)), resolvedEvent(20n));
    await world.complete();
    expect(world.end).toBeNull();
    expect(store.written.filter((key) => key.includes('schema_20_') || key.includes('/20/'))).toEqual([]);
    store.release();
    for (let turn = 0; turn < 10 && world.end === null; turn++) await settle();
    expect(world.end).toBe('complete');
    const behind = (key: RegExp) => store.written.findIndex((one) => key.test(one));
    expect(behind(/schema_20_\d+\.json$/)).toBeGreaterThan(behind(/users\/7\/meta\/CDC\.index$/));
    expect(behind(/users\/20\/CDC/)).toBeGreaterThan(behind(/schema_20_\d+\.json$/));
    expect(world.reports.map(({ rows: count, reason }) => `${count} ${reason}`)).toEqual(['1 barrier', '0 barrier', '1 close']);
    expect(world.context.progress.checkpointTs).toBe(20n);
    await world.close();
  });

  it('(!) §4.1, hyp 7: a table that fails while a marker of another is in flight: the run ends, the marker is never acked', async () => {
    const store = new GateStore();
    const world = await openWorld(store, {}, manualClock());
    const putIfAbsent = store.putIfAbsent.bind(store);
    store.putIfAbsent = (key, body) => (key.startsWith('public/other') ? Promise.reject(new Error('lost')) : putIfAbsent(key, body));
    store.hold(/users.*CDC\d+\.json$/);
    const other = table('other', 1n, ['id', 'name'], ['id']);
    world.send(row(10n, users(7n)), row(10n, other));
    const syncpoint = syncpointEvent(11n);
    let isFlushed = false;
    syncpoint.ack.addPostFlush(() => {
      isFlushed = true;
    });
    world.send(syncpoint);
    await settle();
    expect(world.end).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', details: { table: 'public.other' } });
    store.release();
    await world.close();
    expect(isFlushed).toBe(false);
    expect(world.context.progress.checkpointTs).toBe(0n);
  });
});

describe('options that no reader could take apart are refused before anything is written', () => {
  it.each([
    [{ protocol: 'canal-json', terminator: '{' }],
    [{ protocol: 'csv', terminator: ',' }],
    [{ protocol: 'csv', terminator: '"' }],
    [{ protocol: 'csv', terminator: '0x' }],
    [{ protocol: 'csv', terminator: '|', csv: { null: '|' } }],
  ])('%j', (options) => {
    expect(() => cloudStorage({ store: new MemoryStore(), ...options })).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION' }));
  });

  it.each([';', 'NULL'])('a column called %j does not break a header', async (name) => {
    const store = new MemoryStore();
    const odd = table('users', 7n, ['id', name], ['id']);
    const make = () =>
      dmlEvent(
        new RowBlockWriter(odd)
          .beginTransaction(10n)
          .insert({ id: '1', [name]: 'x' })
          .build(),
      );
    const csv = { outputFieldHeader: true, null: 'NULL' };
    expect((await runSink(store, [transaction(10n, make)], { protocol: 'csv', terminator: ';', csv })).error).toBeNull();
    expect(await idsOf(store)).toEqual(['I1']);
  });
});

describe('clock hazards', () => {
  it('midnight, and a clock that goes back behind it: readers get position order', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const now = clock.now;
    let shift = 0;
    const shifted = { ...clock, now: () => now() + shift };
    const world = await openWorld(store, { dateSeparator: 'day' }, shifted);
    let commitTs = 10n;
    for (const day of [1, 2, 1, 3, 2]) {
      shift = day * 86_400_000;
      world.send(row(commitTs++, users(7n)));
      clock.advance(5000);
      await settle();
    }
    await world.sink.publishCheckpoint(20n, true);
    await world.close();
    expect(world.reports.map(({ path }) => path.split('/')[3])).toEqual([
      '1970-01-02',
      '1970-01-03',
      '1970-01-02',
      '1970-01-04',
      '1970-01-03',
    ]);
    expect(await idsOf(store)).toEqual(['I10', 'I11', 'I12', 'I13', 'I14']);
  });

  it('metadata goes on when the clock is set back', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const now = clock.now;
    let shift = 86_400_000;
    const world = await openWorld(store, {}, { ...clock, now: () => now() + shift });
    await world.sink.publishCheckpoint(10n, false);
    shift = 0;
    await world.sink.publishCheckpoint(20n, false);
    clock.advance(2000);
    await settle();
    expect(String(await store.get('metadata'))).toBe('{"checkpoint-ts":20}');
    await world.close();
  });
});

describe('schema changes that a stage drops', () => {
  it('rows are never stale because a later version filled its file first', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const world = await openWorld(store, { ...NONE, fileSize: 1024 }, clock);
    world.send(row(10n, users(10n)));
    world.send(row(20n, users(20n), 'y'.repeat(2000)));
    await settle();
    clock.advance(5000);
    await settle();
    await world.sink.publishCheckpoint(20n, true);
    await world.close();
    expect(await idsOf(store)).toEqual(['I10', 'I20']);
  });

  it('A → B → A: readers get the rows of B', async () => {
    const store = new MemoryStore();
    const history = [
      transaction(10n, () => row(10n, users(10n))),
      transaction(20n, () => row(20n, users(20n, ['id', 'name', 'age']))),
      transaction(30n, () => row(30n, users(30n))),
    ];
    expect((await runSink(store, history, NONE)).error).toBeNull();
    expect(await idsOf(store)).toEqual(['I10', 'I20', 'I30']);
  });

  it('A → B → A with rows of A that fill a file first: readers get the rows of B', async () => {
    const store = new MemoryStore();
    const history = [
      transaction(10n, () => row(10n, users(10n))),
      transaction(20n, () => row(20n, users(20n, ['id', 'name', 'age']))),
      transaction(30n, () => row(30n, users(30n), 'y'.repeat(2000))),
    ];
    expect((await runSink(store, history.slice(0, 1), NONE)).error).toBeNull();
    expect((await runSink(store, history, { ...NONE, fileSize: 1024 }, { checkpointTs: 10n })).error).toBeNull();
    expect(await idsOf(store)).toEqual(['I10', 'I20', 'I30']);
  });
});

describe('what readers are shown', () => {
  it('P10: a second TRUNCATE of a transaction, when the checkpoint is that very transaction', async () => {
    const store = new MemoryStore();
    const truncate = (version: bigint, ordinal: number) =>
      truncateEvent({ position: { commitTs: 40n, ordinal }, commitTimeUs: 0n, table: users(version), query: 'TRUNCATE' });
    const history: Transaction[] = [
      transaction(10n, () => row(10n, users(10n))),
      {
        commitTs: 40n,
        events: () => [
          truncate(40n, 0),
          dmlEvent(new RowBlockWriter(users(40n)).beginTransaction(40n, 0n, 1).insert({ id: 'a', name: 'x' }).build()),
          truncate(41n, 2),
          dmlEvent(new RowBlockWriter(users(41n)).beginTransaction(40n, 0n, 3).insert({ id: 'b', name: 'x' }).build()),
        ],
      },
    ];
    expect((await runSink(store, history, NONE)).checkpointTs).toBe(40n);
    expect(await idsOf(store)).toEqual(['I10', 'T', 'Ia', 'T', 'Ib']);
    expect([...(await rebuildTable(store, USERS)).rows()]).toEqual([['b', 'x']]);
  });

  it('a target inside the target, or a copy of a folder, keeps nobody from reading', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    for await (const { key } of store.list('public/')) await store.put(`copy/${key}`, [(await store.get(key))!]);
    expect(await listTables(store)).toEqual([USERS]);
    expect(await idsOf(store)).toEqual(['I10']);
  });

  it('a folder that two tables share, their names differing in case alone, is damage and not data', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    await runSink(store, [transaction(10n, () => row(10n, table('Users', 9n, ['id', 'name'], ['id'])))], NONE);
    for await (const { key } of store.list('public/Users/')) {
      await store.put(key.replace('Users', 'users'), [(await store.get(key))!]);
      await store.delete(key);
    }
    await expect(idsOf(store)).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED' });
  });

  it('files that were written while the folder was listed are passed over, whichever of them the list has', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    await runSink(store, [transaction(20n, () => row(20n, users(7n)))], NONE, { checkpointTs: 10n });
    await runSink(store, [transaction(30n, () => row(30n, users(7n)))], NONE, { checkpointTs: 20n });
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":10}')]);
    const list = store.list.bind(store);
    store.list = async function* (prefix) {
      for await (const info of list(prefix)) if (!info.key.includes('0002.json')) yield info;
    };
    expect(await idsOf(store)).toEqual(['I10']);
  });
});

describe.each(['canal-json', 'csv'])('odd tables, %s', (protocol) => {
  it('a table without columns: its rows count', async () => {
    const store = new MemoryStore();
    const bare = table('users', 7n, []);
    const write = () => new RowBlockWriter(bare).beginTransaction(10n).insert({}).insert({}).delete({}).build();
    const history: Transaction[] = [
      {
        commitTs: 7n,
        events: () => [ddlEvent({ position: { commitTs: 7n, ordinal: 0 }, commitTimeUs: 0n, table: bare, startsEmpty: true })],
      },
      { commitTs: 10n, events: () => [dmlEvent(write())] },
    ];
    expect((await runSink(store, history, { ...NONE, protocol })).error).toBeNull();
    expect((await rebuildTable(store, USERS)).rowCount).toBe(1);
  });

  it('an empty table is there', async () => {
    const store = new MemoryStore();
    const ddl = () => ddlEvent({ position: { commitTs: 7n, ordinal: 0 }, commitTimeUs: 0n, table: users(7n), startsEmpty: true });
    await runSink(store, [{ commitTs: 7n, events: () => [ddl()] }], { ...NONE, protocol });
    expect((await rebuildTable(store, USERS)).rowCount).toBe(0);
  });

  it('a row larger than file-size, spool-memory and spool-disk-quota goes through', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n, () => row(10n, users(7n), 'z'.repeat(3_000_000))), transaction(11n, () => row(11n, users(7n)))];
    const run = await runSink(store, history, { ...NONE, protocol, spoolMemory: '1MiB', spoolDiskQuota: '1MiB', fileSize: 1024 });
    expect(run).toMatchObject({ error: null, checkpointTs: 11n });
    expect(await idsOf(store)).toEqual(['I10', 'I11']);
  });
});
