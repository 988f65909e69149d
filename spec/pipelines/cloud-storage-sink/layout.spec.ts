import { describe, expect, it } from '@jest/globals';
import { type DdlEvent, type DmlEvent, ddlEvent, dmlEvent, RowBlockWriter, type Table } from '../../../lib/events/index.ts';
import { parseSchemaFile } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { readTable, rebuildTable } from '../../../pipelines/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { openWorld, runSink, settle, type Transaction, table } from '../../support/sink-world.ts';

const users = (version: bigint, columns = ['id', 'name']) => table('users', version, columns, ['id']);
const USERS = { schema: 'public', table: 'users' };

function row(commitTs: bigint, of: Table): DmlEvent {
  return dmlEvent(
    new RowBlockWriter(of)
      .beginTransaction(commitTs)
      .insert({ id: String(commitTs), name: 'x' })
      .build(),
  );
}

function ddl(of: Table, parts: Partial<DdlEvent> = {}): DdlEvent {
  return ddlEvent({
    position: { commitTs: of.version, ordinal: 0 },
    commitTimeUs: 0n,
    table: of,
    query: 'ALTER TABLE',
    action: 5,
    ...parts,
  });
}

function transaction(commitTs: bigint, ...make: (() => DmlEvent | DdlEvent)[]): Transaction {
  return { commitTs, events: () => make.map((fn) => fn()) };
}

async function keysOf(store: MemoryStore, prefix = 'public/'): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

async function idsOf(store: MemoryStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const changes of readTable(store, USERS)) for (const { op, data } of changes) ids.push(`${op}${data?.['id'] ?? ''}`);
  return ids;
}

const NONE = { dateSeparator: 'none' } as const;

/** spec storage-sink §5 */
describe('what the cloud storage sink writes where', () => {
  it('is exactly this, and nothing else', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    const keys = await keysOf(store, '');
    expect(keys.map((key) => key.replace(/_\d{10}\./, '_CHECKSUM.'))).toEqual([
      'meta/epoch.json',
      'meta/source.json',
      'metadata',
      'public/users/7/CDC00000000000000000001.json',
      'public/users/7/meta/CDC.index',
      'public/users/7/meta/CDC00000000000000000001.positions',
      'public/users/7/meta/open.folder',
      'public/users/meta/schema_7_CHECKSUM.json',
    ]);
    expect(String(await store.get('metadata'))).toBe('{"checkpoint-ts":10}');
    expect(String(await store.get('public/users/7/meta/CDC.index'))).toBe('CDC00000000000000000001.json\n');
  });

  it.each([
    ['none', 'public/users/7/CDC000001.json'],
    ['year', 'public/users/7/1970/CDC000001.json'],
    ['month', 'public/users/7/1970-01/CDC000001.json'],
    ['day', 'public/users/7/1970-01-01/CDC000001.json'],
  ])('has a date folder of the write in UTC: %s', async (dateSeparator, path) => {
    const store = new MemoryStore();
    const { reports } = await runSink(
      store,
      [transaction(10n, () => row(10n, users(7n)))],
      { dateSeparator, fileIndexDigit: 6 },
      { clock: manualClock() },
    );
    expect(reports.map((report) => report.path)).toEqual([path]);
  });

  it('begins at 1 in the folder of a new day', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const world = await openWorld(store, { dateSeparator: 'day', fileIndexDigit: 6 }, clock);
    for (const commitTs of [10n, 11n, 12n]) {
      world.send(row(commitTs, users(7n)));
      clock.advance(12 * 3_600_000);
      await settle();
    }
    await world.close();
    expect(world.reports.map(({ path }) => path)).toEqual([
      'public/users/7/1970-01-01/CDC000001.json',
      'public/users/7/1970-01-01/CDC000002.json',
      'public/users/7/1970-01-02/CDC000001.json',
    ]);
  });

  it('(!) §5.1, hyp 4: escapes names in paths, so that none leaves its folder', async () => {
    const store = new MemoryStore();
    const odd = table('../a/b%2', 1n, ['id'], ['id'], { schema: '2024-01-01' });
    await runSink(store, [transaction(10n, () => row(10n, odd))], NONE);
    expect((await keysOf(store, '%'))[0]).toBe('%32024-01-01/%2E.%2Fa%2Fb%252/1/CDC00000000000000000001.json');
    expect((await rebuildTable(store, { schema: '2024-01-01', table: '../a/b%2' })).rowCount).toBe(1);
  });

  it('goes on numbering after a restart', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n, () => row(10n, users(7n))), transaction(11n, () => row(11n, users(7n)))];
    await runSink(store, history.slice(0, 1), NONE);
    const { reports } = await runSink(store, history, NONE, { checkpointTs: 10n });
    expect(reports.map(({ path }) => path)).toEqual(['public/users/7/CDC00000000000000000002.json']);
    expect(await idsOf(store)).toEqual(['I10', 'I11']);
  });

  it('#4177, tiflow #8256: never overwrites a data file: one that somebody else wrote ends the run, unacked', async () => {
    const store = new MemoryStore();
    const putIfAbsent = store.putIfAbsent.bind(store);
    store.putIfAbsent = async (key, body) => {
      if (key.endsWith('.json') && key.includes('CDC')) await store.put(key, [Buffer.from('foreign')]);
      return putIfAbsent(key, body);
    };
    const run = await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    expect(run.error).toMatchObject({ code: 'MR_FOREIGN_FILE' });
    expect(run.checkpointTs).toBe(9n);
    expect(String(await store.get('public/users/7/CDC00000000000000000001.json'))).toBe('foreign');
  });

  it.each<[what: string, sidecar: string | null]>([
    ['without a sidecar', null],
    ['with a sidecar of another file', '{"v":1,"rows":1,"bytes":7,"crc32":1,"runs":[["10",0,0]]}'],
    ['with a damaged sidecar', '{"v":1'],
  ])('neither shows nor overwrites a file behind the index %s', async (_, sidecar) => {
    const store = new MemoryStore();
    const path = 'public/users/7/CDC00000000000000000001.json';
    await store.put(path, [Buffer.from('foreign')]);
    if (sidecar !== null) await store.put('public/users/7/meta/CDC00000000000000000001.positions', [Buffer.from(sidecar)]);
    const run = await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    expect(run.error).toMatchObject({ code: 'MR_FOREIGN_FILE', details: { path } });
    expect(String(await store.get(path))).toBe('foreign');
    expect(await store.exists('public/users/7/meta/CDC.index')).toBe(false);
  });

  it('publishes a whole file that a crash left behind the index, and readers see its rows once', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n, () => row(10n, users(7n)))];
    await runSink(store, history, NONE);
    await store.delete('public/users/7/meta/CDC.index');
    const { reports } = await runSink(store, history, NONE);
    expect(reports.map(({ path }) => path)).toEqual(['public/users/7/CDC00000000000000000002.json']);
    expect(await idsOf(store)).toEqual(['I10']);
  });
});

/** spec storage-sink §5.5 */
describe('table versions at the target', () => {
  const queryOf = async (store: MemoryStore, version: bigint) => {
    const [key] = (await keysOf(store, `public/users/meta/schema_${version}_`)).filter((path) => path.endsWith('.json'));
    const { Query, Type } = parseSchemaFile(String(await store.get(key!)), key!);
    return [Query, Type];
  };

  it('a schema change A → B → A makes a version each, with its rows in its own directory', async () => {
    const store = new MemoryStore();
    const versions = [users(10n), users(20n, ['id', 'name', 'age']), users(30n)];
    const history = versions.map((of) =>
      transaction(
        of.version,
        () => ddl(of),
        () => row(of.version, of),
      ),
    );
    const run = await runSink(store, history, NONE);
    expect(run.error).toBeNull();
    expect(run.reports.filter(({ rows }) => rows > 0).map(({ path }) => path.split('/')[2])).toEqual(['10', '20', '30']);
    expect(await queryOf(store, 30n)).toEqual(['ALTER TABLE', 5]);
    expect(await idsOf(store)).toEqual(['I10', 'I20', 'I30']);
  });

  it('rows of a version without a schema file bring one, without a query', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    expect(await queryOf(store, 7n)).toEqual(['', 0]);
  });

  it('tiflow #8881, #8890, #8891: rows go on in the directory of the newest older version with the same columns, after a restart', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    const { reports } = await runSink(store, [transaction(20n, () => row(20n, users(9n)))], NONE, { checkpointTs: 10n });
    expect(reports.map(({ path }) => path)).toEqual(['public/users/7/CDC00000000000000000002.json']);
    expect(await idsOf(store)).toEqual(['I10', 'I20']);
  });

  it('#1943, #1948: rows that a later version has replaced are discarded and count as flushed', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(30n, () => ddl(users(30n)))], NONE);
    const run = await runSink(store, [transaction(20n, () => row(20n, users(9n)))], NONE);
    expect(run).toMatchObject({ reports: [], checkpointTs: 20n, error: null });
    expect(await keysOf(store, 'public/users/9')).toEqual([]);
  });

  it('a version that is there with other columns ends the run: a stage was changed under it', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE);
    const change = [transaction(20n, () => row(20n, users(7n, ['id'])))];
    expect((await runSink(store, change, NONE, { checkpointTs: 10n })).error).toMatchObject({ code: 'MR_SCHEMA_CONFLICT' });
    const replay = [transaction(20n, () => ddl(users(7n, ['id'])))];
    expect((await runSink(store, replay, NONE, { checkpointTs: 10n })).error).toMatchObject({ code: 'MR_SCHEMA_CONFLICT' });
  });

  it('P5: removes what an unfinished snapshot left before the next one begins', async () => {
    const store = new MemoryStore();
    await runSink(
      store,
      [
        transaction(
          10n,
          () => ddl(users(10n)),
          () => row(10n, users(10n)),
        ),
      ],
      NONE,
    );
    const next = () => ddl(users(20n), { startsEmpty: true, abandons: [10n, 5n] });
    await runSink(store, [transaction(20n, next, () => row(20n, users(20n)))], NONE);
    expect((await keysOf(store)).filter((key) => key.includes('/10/') || key.includes('schema_10_'))).toEqual([]);
    expect(await idsOf(store)).toEqual(['I20']);
  });

  it('P6: a table made again under its name follows the old one in order, though it is another dispatcher', async () => {
    const store = new MemoryStore();
    const again = table('users', 20n, ['id', 'name'], ['id'], { tableId: 77, dispatcher: table('other', 1n, []).dispatcher });
    const history = [
      transaction(
        10n,
        () => ddl(users(10n)),
        () => row(10n, users(10n)),
      ),
      transaction(
        20n,
        () => ddl(again, { startsEmpty: true, action: 11 }),
        () => row(20n, again),
      ),
    ];
    expect((await runSink(store, history, NONE)).error).toBeNull();
    expect(await idsOf(store)).toEqual(['I10', 'T', 'I20']);
    expect([...(await rebuildTable(store, USERS)).rows()]).toEqual([['20', 'x']]);
  });

  it('two tables routed to one name end the run: their positions would mix', async () => {
    const store = new MemoryStore();
    const other = table('other', 1n, ['id', 'name'], ['id'], { name: 'users' });
    const run = await runSink(
      store,
      [
        transaction(
          10n,
          () => row(10n, users(7n)),
          () => row(10n, other),
        ),
      ],
      NONE,
    );
    expect(run.error).toMatchObject({ code: 'MR_TABLES_COLLIDE', details: { table: 'public.other', other: 'public.users' } });
  });
});
