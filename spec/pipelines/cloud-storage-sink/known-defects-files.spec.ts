import { describe, expect, it } from '@jest/globals';
import { of } from 'rxjs';
import {
  type ChangeEvent,
  type DdlEvent,
  Delivery,
  type DmlEvent,
  ddlEvent,
  dispatcherId,
  dmlEvent,
  RowBlockWriter,
  type Table,
  truncateEvent,
} from '../../../lib/events/index.ts';
import { isSchemaFilePath, parseSchemaFile, parseSchemaFilePath } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type VirtualTime, virtualTime } from '../../../lib/testing/index.ts';
import { projectColumns } from '../../../operators/index.ts';
import { readTable, rebuildTable, type TableName } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { openWorld, runSink, type Transaction, table } from '../../support/sink-world.ts';

const users = (version = 1n, columns = ['id', 'name']) => table('users', version, columns, ['id']);
const USERS = { schema: 'public', table: 'users' };
const NONE = { dateSeparator: 'none', fileIndexDigit: 6 } as const;

function row(commitTs: bigint, version: Table, ordinal = 0): DmlEvent {
  const writer = new RowBlockWriter(version).beginTransaction(commitTs, 0n, ordinal);
  return dmlEvent(writer.insert({ id: String(commitTs), name: 'x' }).build());
}

function ddl(version: Table, parts: Partial<DdlEvent> = {}): DdlEvent {
  const position = { commitTs: version.version, ordinal: 0 };
  return ddlEvent({ position, commitTimeUs: 0n, table: version, query: 'ALTER TABLE', action: 5, ...parts });
}

const truncate = (version: Table) =>
  truncateEvent({ position: { commitTs: version.version, ordinal: 0 }, commitTimeUs: 0n, table: version, query: 'TRUNCATE' });

const transaction = (commitTs: bigint, ...make: (() => ChangeEvent)[]): Transaction => ({
  commitTs,
  events: () => make.map((fn) => fn()),
});

async function objectsOf(store: MemoryStore): Promise<Map<string, string>> {
  const objects = new Map<string, string>();
  for await (const { key } of store.list('public/')) objects.set(key, String(await store.get(key)));
  return objects;
}

async function idsOf(store: MemoryStore, name: TableName = USERS): Promise<string[]> {
  const ids: string[] = [];
  for await (const changes of readTable(store, name)) for (const { op, data } of changes) ids.push(`${op}${data?.['id'] ?? ''}`);
  return ids;
}

const inTime = (body: (time: VirtualTime) => Promise<void>) => () => virtualTime(body);

/** spec storage-sink §12; titles begin with the number of the defect. */
describe('known defects: writes that fail', () => {
  const history = [transaction(10n, () => row(10n, users())), transaction(20n, () => row(20n, users()))];

  it.each(
    ['meta/CDC000001.positions', 'CDC000001.json', 'meta/CDC.index'].flatMap((name) =>
      (['before', 'after'] as const).map((when) => [when, name] as const),
    ),
  )('#4530: a write that fails %s the effect of %s acks nothing, and readers see its rows once after a restart', (when, name) =>
    virtualTime(async ({ clock }) => {
      const probe = new FaultStore(new MemoryStore());
      await runSink(probe, history, NONE, { clock });
      const at = 1 + probe.log.findIndex((operation) => operation.startsWith('put') && operation.endsWith(`/1/${name}`));
      expect(at).toBeGreaterThan(0);
      const store = new MemoryStore();
      const failed = await runSink(new FaultStore(store, { at, when }), history, NONE, { clock });
      expect(failed).toMatchObject({ error: { code: 'MR_SINK_WRITE_FAILED' }, checkpointTs: 9n });
      expect((await runSink(store, history, NONE, { clock, checkpointTs: 9n })).error).toBeNull();
      expect(await idsOf(store)).toEqual(['I10', 'I20']);
    }),
  );

  it(
    'tiflow #8153, #1239: a full store ends the run with its error, nothing hangs; with room again nothing is lost',
    inTime(async ({ clock }) => {
      const store = new MemoryStore();
      const putIfAbsent = store.putIfAbsent.bind(store);
      store.putIfAbsent = (key, body) => (/CDC\d+\.json$/.test(key) ? Promise.reject(new Error('ENOSPC')) : putIfAbsent(key, body));
      const world = await openWorld(store, { ...NONE, flushInterval: '1s' }, clock);
      let isFlushed = false;
      const change = ddl(users(20n));
      change.ack.addPostFlush(() => {
        isFlushed = true;
      });
      world.send(row(10n, users()));
      world.send(change);
      world.send(row(30n, users(20n)));
      await clock.sleep(1500);
      expect(world.end).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', details: { reason: 'ENOSPC' } });
      await world.close();
      expect(isFlushed).toBe(false);
      store.putIfAbsent = putIfAbsent;
      const again = [transaction(10n, () => row(10n, users())), transaction(20n, () => ddl(users(20n)))];
      expect((await runSink(store, again, NONE, { clock })).error).toBeNull();
      expect(await idsOf(store)).toEqual(['I10']);
    }),
  );
});

describe('known defects: table versions', () => {
  it.each<[what: string, event: () => ChangeEvent]>([
    ['schema change', () => ddl(users(20n, ['id', 'name', 'age']))],
    ['schema change that starts empty', () => ddl(users(20n), { startsEmpty: true })],
    ['TRUNCATE', () => truncate(users(20n))],
  ])('tiflow #11458: a replayed %s writes the same objects again, and readers see it once', (_, event) =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const history = [transaction(10n, () => row(10n, users())), transaction(20n, event)];
      expect((await runSink(store, history, NONE, { clock })).error).toBeNull();
      const [objects, shown] = [await objectsOf(store), await idsOf(store)];
      for (const checkpointTs of [10n, 19n]) {
        expect((await runSink(store, history, NONE, { clock, checkpointTs })).error).toBeNull();
        expect(await objectsOf(store)).toEqual(objects);
      }
      expect(await idsOf(store)).toEqual(shown);
    }),
  );

  it(
    '#4447, #1171, #1444, #2284: tables that swap names in one transaction: each schema file and each row is of its own table',
    inTime(async ({ clock }) => {
      const store = new MemoryStore();
      const a = (version: bigint, name: string) => named('a', 1, version, name, ['id', 'name']);
      const b = (version: bigint, name: string) => named('b', 2, version, name, ['id', 'name', 'age']);
      const history = [
        transaction(
          10n,
          () => ddl(a(10n, 'a')),
          () => ddl(b(10n, 'b')),
          () => row(10n, a(10n, 'a'), 1),
          () => row(10n, b(10n, 'b'), 2),
        ),
        transaction(
          20n,
          () => ddl(a(20n, 'tmp'), { startsEmpty: true }),
          () => ddl(b(20n, 'a'), { startsEmpty: true, position: { commitTs: 20n, ordinal: 1 } }),
          () => ddl(a(21n, 'b'), { startsEmpty: true, position: { commitTs: 20n, ordinal: 2 } }),
          () => row(20n, b(20n, 'a'), 3),
          () => row(20n, a(21n, 'b'), 4),
        ),
      ];
      expect((await runSink(store, history, NONE, { clock })).error).toBeNull();
      const columnsOf = async (name: string) => (await rebuildTable(store, { schema: 'public', table: name })).columns.length;
      expect([await columnsOf('a'), await columnsOf('b')]).toEqual([3, 2]);
      expect(await idsOf(store, { schema: 'public', table: 'a' })).toEqual(['I10', 'T', 'I20']);
      expect(await idsOf(store, { schema: 'public', table: 'b' })).toEqual(['I10', 'T', 'I20']);
    }),
  );

  it.each<[what: string, takes: (version: Table) => ChangeEvent[]]>([
    ['its schema change', (version) => [ddl(version, { startsEmpty: true }), row(30n, version, 1)]],
    ['its rows, the schema change being dropped by a stage', (version) => [row(30n, version)]],
  ])('#1943, #1948: rows are not stale because another table has taken their name meanwhile: %s', (_, takes) =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const y = (version: bigint) => named('y', 1, version, 'y', ['id', 'name']);
      const taker = named('x', 2, 30n, 'y', ['id', 'name']);
      const [first, ...rest] = [
        transaction(10n, () => row(10n, y(10n))),
        transaction(20n, () => row(20n, y(15n))),
        { commitTs: 30n, events: () => takes(taker) },
      ];
      expect((await runSink(store, [first!], NONE, { clock })).error).toBeNull();
      expect((await runSink(store, rest, NONE, { clock, checkpointTs: 10n })).error).toBeNull();
      expect((await idsOf(store, { schema: 'public', table: 'y' })).filter((id) => id !== 'T')).toEqual(['I10', 'I20', 'I30']);
    }),
  );

  it.each([0n, 7n, 2n ** 64n - 1n])(
    'tiflow #10284: rows of version %s have their schema file under the version of their folder',
    (version) =>
      virtualTime(async ({ clock }) => {
        const store = new MemoryStore();
        const commitTs = version < 10n ? 10n : version;
        const run = await runSink(store, [transaction(commitTs, () => row(commitTs, users(version)))], NONE, { clock });
        expect(run.reports.map(({ path }) => path)).toEqual([`public/users/${version}/CDC000001.json`]);
        const schemas = [...(await objectsOf(store)).keys()].filter(isSchemaFilePath);
        expect(schemas.map((path) => parseSchemaFilePath(path).version)).toEqual([version]);
        expect(await idsOf(store)).toEqual([`I${commitTs}`]);
      }),
  );

  it(
    'tiflow #10137, #10138: what a store leaves beside schema files while it writes them is none of them',
    inTime(async ({ clock }) => {
      const store = new MemoryStore();
      for (const left of [
        'schema_9_0000000001.json.tmp.123',
        'schema_9_0000000001.json.tmp',
        '.schema_9_0000000001.json',
        'schema_9.json',
      ]) {
        await store.put(`public/users/meta/${left}`, [Buffer.from('')]);
      }
      expect((await runSink(store, [transaction(10n, () => row(10n, users(7n)))], NONE, { clock })).error).toBeNull();
      expect(await idsOf(store)).toEqual(['I10']);
    }),
  );

  it(
    'tiflow #10668: a schema change of a partitioned table keeps to the layout, its partitions below it',
    inTime(async ({ clock }) => {
      const store = new MemoryStore();
      const partition = (tableId: number, version: bigint, columns?: string[]) => ({
        ...users(version, columns),
        tableId,
        isPartition: true,
        dispatcher: dispatcherId(BigInt(tableId), 5n),
      });
      const wide = ['id', 'name', 'age'];
      const history = [
        transaction(
          10n,
          () => row(10n, partition(31, 10n)),
          () => row(10n, partition(32, 10n), 1),
        ),
        transaction(
          20n,
          () => ddl(partition(31, 20n, wide)),
          () => ddl(partition(32, 20n, wide)),
          () => row(20n, partition(31, 20n, wide)),
          () => row(20n, partition(32, 20n, wide), 1),
        ),
      ];
      expect((await runSink(store, history, NONE, { clock })).error).toBeNull();
      const keys = [...(await objectsOf(store)).keys()].filter((key) => !/\.(positions?|folder)$/.test(key));
      const data = ['10', '20'].flatMap((version) =>
        ['31', '32'].flatMap((id) => [`public/users/${version}/${id}/CDC000001.json`, `public/users/${version}/${id}/meta/CDC.index`]),
      );
      expect(keys.filter((key) => !isSchemaFilePath(key)).sort()).toEqual(data.sort());
      expect(keys.filter(isSchemaFilePath).map((key) => key.replace(/_\d{10}\./, '.'))).toEqual([
        'public/users/meta/schema_10.json',
        'public/users/meta/schema_20.json',
      ]);
      expect(await idsOf(store)).toEqual(['I10', 'I10', 'I20', 'I20']);
    }),
  );

  it.each(['canal-json', 'csv'])('#5595: columns that were selected, and no others, are in schema file, header and rows: %s', (protocol) =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const wide = users(7n, ['id', 'secret', 'name']);
      const events = () => [
        dmlEvent(new RowBlockWriter(wide).beginTransaction(10n).insert({ id: '1', secret: 'hush', name: 'x' }).build()),
      ];
      const selected = () => {
        const out: ChangeEvent[] = [];
        of(new Delivery(events()))
          .pipe(projectColumns('public.users', ['id', 'name']))
          .subscribe((delivery) => out.push(...delivery.events));
        return out;
      };
      const history = [{ commitTs: 10n, events: selected }];
      const options = { ...NONE, protocol, csv: { outputFieldHeader: true } };
      expect((await runSink(store, history, options, { clock })).error).toBeNull();
      const objects = await objectsOf(store);
      for (const [key, content] of objects) expect([key, /secret|hush/.test(content)]).toEqual([key, false]);
      const [path, schema] = [...objects].find(([key]) => isSchemaFilePath(key))!;
      expect(parseSchemaFile(schema, path).TableColumns.map(({ ColumnName }) => ColumnName)).toEqual(['id', 'name']);
      expect([...(await rebuildTable(store, USERS)).rows()]).toEqual([['1', 'x']]);
    }),
  );
});

/** A table that is called `name` in this version. */
function named(source: string, tableId: number, version: bigint, name: string, columns: readonly string[]): Table {
  const names = { sourceName: name, name };
  return table(source, version, columns, ['id'], { tableId, dispatcher: dispatcherId(BigInt(tableId), 7n), ...names });
}
