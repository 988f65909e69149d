import { describe, expect, it } from '@jest/globals';
import {
  type DispatcherId,
  type DmlEvent,
  ddlEvent,
  dispatcherId,
  dmlEvent,
  RowBlockWriter,
  type Table,
} from '../../../lib/events/index.ts';
import { parseIndexFile, parseSchemaFile } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type CloudStorageOptions, readTable } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { column, openWorld, runSink, settle, type Transaction, table } from '../../support/sink-world.ts';

const users = (version: bigint, parts: Partial<Table> = {}) => table('users', version, ['id', 'name'], ['id'], parts);
const USERS = { schema: 'public', table: 'users' };
const SHORT = { dateSeparator: 'none', fileIndexDigit: 6 } as const;

/** Two partitions of one table, each a physical table with a dispatcher of its own. */
const partition = (tableId: number) => users(7n, { tableId, isPartition: true, dispatcher: dispatcherId(BigInt(tableId), 5n) });

/** A span of one table: another dispatcher of the same physical table. */
const span = (low: bigint) => users(7n, { tableId: 12, dispatcher: dispatcherId(low, 5n) });
const [SPAN_1, SPAN_2] = [dispatcherId(1n, 5n), dispatcherId(2n, 5n)];

function row(commitTs: bigint, of: Table): DmlEvent {
  return dmlEvent(
    new RowBlockWriter(of)
      .beginTransaction(commitTs)
      .insert({ id: String(commitTs), name: 'x' })
      .build(),
  );
}

function transaction(commitTs: bigint, ...tables: Table[]): Transaction {
  return { commitTs, events: () => tables.map((of) => row(commitTs, of)) };
}

async function keysOf(store: MemoryStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys.filter((key) => !/^meta/.test(key)).map((key) => key.replace(/_\d{10}\./, '_CHECKSUM.'));
}

async function idsOf(store: MemoryStore): Promise<(string | null | undefined)[]> {
  const ids: (string | null | undefined)[] = [];
  for await (const changes of readTable(store, USERS)) ids.push(...changes.map(({ data }) => data?.['id']));
  return ids;
}

async function filesOf(store: MemoryStore, history: readonly Transaction[], options: Partial<CloudStorageOptions>): Promise<string[]> {
  expect((await runSink(store, history, { ...SHORT, ...options })).error).toBeNull();
  return keysOf(store);
}

/** spec storage-sink §5.1, §5.3, §5.4 */
describe('options that shape paths', () => {
  it.each<[option: string, of: Table, options: Partial<CloudStorageOptions>, folder: string, schemaFolder: string, name: string]>([
    ['file-index-digit', users(7n), {}, 'public/users/7', 'public/users', ''],
    ['enable-partition-separator, for a partition', partition(31), {}, 'public/users/7/31', 'public/users', ''],
    ['enable-partition-separator, for a table of one piece', users(7n, { tableId: 31 }), {}, 'public/users/7', 'public/users', ''],
    ['use-table-id-as-path', users(7n, { tableId: 31 }), { useTableIdAsPath: true }, '31/7', '31', ''],
    ['use-table-id-as-path, for a partition', partition(31), { useTableIdAsPath: true }, '31/7', '31', ''],
    ['enable-table-across-nodes', span(1n), { enableTableAcrossNodes: true }, 'public/users/7', 'public/users', `_${SPAN_1}`],
    [
      'all of them',
      span(1n),
      { enableTableAcrossNodes: true, useTableIdAsPath: true, enablePartitionSeparator: false },
      '12/7',
      '12',
      `_${SPAN_1}`,
    ],
  ])('%s: what is written, and nothing else', async (_, of, options, folder, schemaFolder, name) => {
    const store = new MemoryStore();
    const stem = name === '' ? 'CDC000001' : `CDC${name}_000001`;
    const written = [
      `${folder}/${stem}.json`,
      `${folder}/meta/CDC${name}.index`,
      `${folder}/meta/${stem}.positions`,
      ...(options.enableTableAcrossNodes === true ? [] : [`${folder}/meta/open.folder`]),
      `${schemaFolder}/meta/schema_7_CHECKSUM.json`,
    ];
    expect((await filesOf(store, [transaction(10n, of)], options)).sort()).toEqual(written.sort());
    expect(String(await store.get(`${folder}/meta/CDC${name}.index`))).toBe(`${stem}.json\n`);
    expect(await idsOf(store)).toEqual(['10']);
  });

  it('tiflow #12179: output-field-header: each csv file begins with one line of names, however many blocks it has', async () => {
    const store = new MemoryStore();
    const options = { ...SHORT, protocol: 'csv', terminator: '\n', csv: { outputFieldHeader: true } };
    await runSink(store, [transaction(10n, users(7n), users(7n)), transaction(20n, users(7n))], options);
    await runSink(store, [transaction(30n, users(7n))], options, { checkpointTs: 20n });
    const header = 'ticdc-meta$operation,ticdc-meta$table,ticdc-meta$schema,ticdc-meta$commit-ts,id,name\n';
    for (const [file, rows] of [
      ['CDC000001.csv', 3],
      ['CDC000002.csv', 1],
    ] as const) {
      const content = String(await store.get(`public/users/7/${file}`));
      expect(content.startsWith(header)).toBe(true);
      expect(content.split('\n')).toHaveLength(1 + rows + 1);
    }
    expect(await idsOf(store)).toEqual(['10', '10', '20', '30']);
  });

  it('#3784, #3785: writes sidecar, data and index of each file in this order, or readers lose rows', async () => {
    const store = new FaultStore(new MemoryStore());
    for (const checkpointTs of [9n, 10n]) await runSink(store, [transaction(checkpointTs + 1n, users(7n))], SHORT, { checkpointTs });
    const writes = store.log.filter((operation) => /^put.*\/7\//.test(operation)).map((operation) => operation.split('/7/')[1]);
    const ofFile = (name: string) => ['meta/open.folder', `meta/${name}.positions`, `${name}.json`, 'meta/CDC.index'];
    expect(writes).toEqual([...ofFile('CDC000001'), ...ofFile('CDC000002')]);
  });

  it('puts a partition in front of the date', async () => {
    const options = { dateSeparator: 'month', fileIndexDigit: 6 };
    const { reports } = await runSink(new MemoryStore(), [transaction(10n, partition(31))], options, { clock: manualClock() });
    expect(reports.map(({ path }) => path)).toEqual(['public/users/7/31/1970-01/CDC000001.json']);
  });

  it('output-column-id: schema files carry column numbers, and their checksum counts them', async () => {
    const [plain, numbered] = [new MemoryStore(), new MemoryStore()];
    await runSink(plain, [transaction(10n, users(7n))], SHORT);
    await runSink(numbered, [transaction(10n, users(7n))], { ...SHORT, outputColumnId: true });
    const schemaFile = async (store: MemoryStore) => {
      for await (const { key } of store.list('public/users/meta/')) return key;
      return '';
    };
    const [of, ofNumbered] = [await schemaFile(plain), await schemaFile(numbered)];
    expect(ofNumbered).not.toBe(of);
    const { TableColumns } = parseSchemaFile(String(await numbered.get(ofNumbered)), ofNumbered);
    expect(TableColumns.map(({ ColumnId }) => ColumnId)).toEqual(['1', '2']);
    expect(await idsOf(numbered)).toEqual(['10']);
  });

  it.each<[option: string, before: Partial<CloudStorageOptions>, after: Partial<CloudStorageOptions>]>([
    ['use-table-id-as-path', {}, { useTableIdAsPath: true }],
    ['enable-table-across-nodes', { enableTableAcrossNodes: true }, {}],
    ['enable-partition-separator', {}, { enablePartitionSeparator: false }],
    ['output-column-id', {}, { outputColumnId: true }],
    ['file-index-digit', {}, { fileIndexDigit: 7 }],
  ])('a target keeps its %s: with another one a run would not find what is there', async (_, before, after) => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n, users(7n))], { ...SHORT, ...before });
    const { error } = await runSink(store, [transaction(20n, users(7n))], { ...SHORT, ...after }, { checkpointTs: 10n });
    expect(error).toMatchObject({ code: 'MR_TARGET_OF_ANOTHER_FORMAT' });
  });
});

/** spec storage-sink §5.5, §5.6, §12 */
describe('tables with several dispatchers', () => {
  const two = [transaction(10n, partition(31), partition(32)), transaction(20n, partition(32)), transaction(30n, partition(31))];

  it('partitions number their files apart', async () => {
    const store = new MemoryStore();
    const world = await openWorld(store, { ...SHORT, fileSize: 1024, flushInterval: '100ms' }, manualClock());
    for (const { events } of two) for (const event of events()) world.send(event);
    await world.complete();
    await world.close();
    expect(world.reports.map(({ path }) => path).sort()).toEqual(['public/users/7/31/CDC000001.json', 'public/users/7/32/CDC000001.json']);
  });

  it('partitions by id stand beside each other, each with its schema file', async () => {
    const keys = await filesOf(new MemoryStore(), two, { useTableIdAsPath: true });
    expect(keys.filter((key) => /CDC0|schema/.test(key) && !key.endsWith('.positions')).sort()).toEqual([
      '31/7/CDC000001.json',
      '31/meta/schema_7_CHECKSUM.json',
      '32/7/CDC000001.json',
      '32/meta/schema_7_CHECKSUM.json',
    ]);
  });

  it('tiflow #8724: enable-partition-separator=false loses no rows: partitions that nothing would tell apart are refused', async () => {
    const store = new MemoryStore();
    const run = await runSink(store, two, { ...SHORT, enablePartitionSeparator: false });
    expect(run).toMatchObject({
      error: { code: 'MR_INVALID_OPTION', details: { option: 'enable-partition-separator' } },
      checkpointTs: 9n,
    });
    expect((await keysOf(store)).filter((key) => key.includes('CDC'))).toEqual([]);
  });

  it('enable-partition-separator=false puts partitions into one folder where names tell them apart', async () => {
    const options = { enablePartitionSeparator: false, enableTableAcrossNodes: true };
    const store = new MemoryStore();
    const keys = await filesOf(store, two, options);
    expect(keys.filter((key) => key.endsWith('.json') && key.includes('CDC')).sort()).toEqual(
      [31n, 32n].map((id) => `public/users/7/CDC_${dispatcherId(id, 5n)}_000001.json`),
    );
  });

  it('enable-table-across-nodes: two nodes write one table, and neither meets the files of the other', async () => {
    const store = new MemoryStore();
    const options = { ...SHORT, enableTableAcrossNodes: true, flushInterval: '100ms' };
    const clock = manualClock();
    const nodes = [await openWorld(store, options, clock), await openWorld(store, options, clock)];
    for (const commitTs of [10n, 20n]) {
      nodes.forEach((node, index) => {
        node.send(row(commitTs + BigInt(index), span(BigInt(index + 1))));
      });
      clock.advance(1000);
      await settle();
    }
    for (const node of nodes) await node.close();
    const pathsOf = (id: DispatcherId) => [1, 2].map((index) => `public/users/7/CDC_${id}_00000${index}.json`);
    expect(nodes.map(({ reports }) => reports.map(({ path }) => path))).toEqual([pathsOf(SPAN_1), pathsOf(SPAN_2)]);
    expect(nodes.map(({ end }) => end)).toEqual([null, null]);
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":21}')]);
    expect(await idsOf(store)).toEqual(['10', '11', '20', '21']);
  });

  it('enable-table-across-nodes: each dispatcher goes on with its own numbers after a restart', async () => {
    const store = new MemoryStore();
    const options = { ...SHORT, enableTableAcrossNodes: true };
    await runSink(store, [transaction(10n, span(1n), span(2n)), transaction(20n, span(1n))], options);
    const { reports } = await runSink(store, [transaction(30n, span(2n), span(1n))], options, { checkpointTs: 20n });
    expect(reports.map(({ path }) => path).sort()).toEqual([SPAN_1, SPAN_2].map((id) => `public/users/7/CDC_${id}_000002.json`));
  });

  it('(!) §5.6, hyp 10: dispatchers that share a folder share its numbering; the index never goes back', async () => {
    const store = new MemoryStore();
    const published: number[] = [];
    const putIf = store.putIf.bind(store);
    store.putIf = async (key, ...rest) => {
      const version = await putIf(key, ...rest);
      if (key.endsWith('.index')) published.push(parseIndexFile(String(await store.get(key)), '.json', key));
      return version;
    };
    const clock = manualClock();
    const world = await openWorld(store, { ...SHORT, flushInterval: '100ms' }, clock);
    for (const low of [1n, 2n, 1n, 2n, 2n, 1n]) {
      world.send(row(10n + low, span(low)), row(20n + low, span(3n - low)));
      clock.advance(1000);
      await settle();
    }
    await world.close();
    expect(published).toEqual(published.map((_, index) => index + 1));
    expect(published.length).toBeGreaterThan(6);
  });

  it('a table with more dispatchers than are remembered goes on where each of them was', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const world = await openWorld(store, { ...SHORT, flushInterval: '100ms' }, clock);
    for (const commitTs of [10n, 20n]) {
      world.send(...Array.from({ length: 300 }, (_, id) => row(commitTs, partition(id + 1))));
      for (let turn = 0; turn < 30; turn++) {
        clock.advance(100);
        await settle();
      }
    }
    await world.close();
    expect(world.reports.filter(({ path }) => path.endsWith('/CDC000002.json'))).toHaveLength(300);
  });
});

/** spec storage-sink §5.5 */
describe.each<
  [options: string, of: (version: bigint) => Table, options: Partial<CloudStorageOptions>, folder: (version: bigint) => string]
>([
  ['by name', users, {}, (version) => `public/users/${version}`],
  ['by id', users, { useTableIdAsPath: true }, (version) => `${users(1n).tableId}/${version}`],
  ['of a partition', (version) => ({ ...partition(31), version }), {}, (version) => `public/users/${version}/31`],
  ['with column ids', users, { outputColumnId: true }, (version) => `public/users/${version}`],
])('the effective version of a table %s', (_, of, given, folder) => {
  const options = { ...SHORT, ...given };
  const wide = (version: bigint): Table => ({ ...of(version), columns: [...of(version).columns, column('age', 2)] });
  const written = async (history: Transaction[], checkpointTs: bigint, store: MemoryStore) => {
    const { reports, error } = await runSink(store, history, options, { checkpointTs });
    expect(error).toBeNull();
    return reports.map(({ path }) => path.slice(0, path.lastIndexOf('/')));
  };

  it.each<[rule: string, stored: [bigint, 'same' | 'other'][], now: bigint, effective: bigint | null]>([
    ['nothing is there: its own', [], 7n, 7n],
    ['its own is there', [[7n, 'same']], 7n, 7n],
    ['an earlier one with the same columns: goes on there', [[7n, 'same']], 9n, 7n],
    ['an earlier one with other columns: its own', [[7n, 'other']], 9n, 9n],
    [
      'A → B → A: its own, or readers would take the rows for repeated ones',
      [
        [7n, 'same'],
        [8n, 'other'],
      ],
      9n,
      9n,
    ],
    ['a later one with the same columns: stale (#1943, #1948)', [[12n, 'same']], 9n, null],
    ['a later one with other columns: its own', [[12n, 'other']], 9n, 9n],
    [
      'an earlier and a later one with the same columns: stale',
      [
        [7n, 'same'],
        [12n, 'same'],
      ],
      9n,
      null,
    ],
  ])('%s', async (_, stored, now, effective) => {
    const store = new MemoryStore();
    let commitTs = 0n;
    for (const [version, columns] of stored) {
      commitTs += 10n;
      const stored = columns === 'same' ? of(version) : wide(version);
      const position = { commitTs, ordinal: 0 };
      const change = () => ddlEvent({ position, commitTimeUs: 0n, table: stored, query: 'ALTER TABLE', action: 5 });
      const at = commitTs;
      await written([{ commitTs: at, events: () => [change(), row(at, stored)] }], at - 1n, store);
    }
    const before = await keysOf(store);
    const rows = await written([transaction(50n, of(now))], 49n, store);
    expect(rows).toEqual(effective === null ? [] : [folder(effective)]);
    const schemaFiles = (keys: string[]) => keys.filter((key) => key.includes('schema_')).length;
    expect(schemaFiles(await keysOf(store)) - schemaFiles(before)).toBe(effective === now && !stored.some(([of]) => of === now) ? 1 : 0);
    expect(String(await store.get('metadata'))).toBe('{"checkpoint-ts":50}');
  });
});

/** spec storage-sink §5.6, §12 */
describe('choosing the number of a file', () => {
  const one = [transaction(10n, users(7n))];
  const withIndex = async (content: string) => {
    const store = new MemoryStore();
    await store.put('public/users/7/meta/CDC.index', [Buffer.from(content)]);
    return store;
  };

  it.each([
    ['CDC000041.json\n', 'public/users/7/CDC000042.json'],
    ['CDC999999.json\n', 'public/users/7/CDC1000000.json'],
    ['CDC1000000.json', 'public/users/7/CDC1000001.json'],
  ])('tiflow #8919: goes on behind what the index names, also where numbers outgrow their width: %j', async (content, path) => {
    const { reports, error } = await runSink(await withIndex(content), one, SHORT);
    expect([error, reports.map((report) => report.path)]).toEqual([null, [path]]);
  });

  it.each(['', 'CDC000041.csv\n', 'nonsense'])('an index file that says %j is an error, not number 1', async (content) => {
    const { error } = await runSink(await withIndex(content), one, SHORT);
    expect(error).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', message: expect.stringContaining('it names no .json data file') });
  });

  it('#5690: a folder whose index is gone does not make it go round for ever: what is whole is published, in few reads', async () => {
    const store = new MemoryStore();
    for (let commitTs = 10n; commitTs < 15n; commitTs++) {
      await runSink(store, [transaction(commitTs, users(7n))], SHORT, { checkpointTs: commitTs - 1n });
    }
    await store.delete('public/users/7/meta/CDC.index');
    const probed = new FaultStore(store);
    const { reports, error } = await runSink(probed, [transaction(20n, users(7n))], SHORT, { checkpointTs: 14n });
    expect([error, reports.map(({ path }) => path)]).toEqual([null, ['public/users/7/CDC000006.json']]);
    expect(probed.log.filter((operation) => operation.startsWith('exists public/users/7/CDC'))).toHaveLength(6);
    expect(await idsOf(store)).toEqual(['10', '11', '12', '13', '14', '20']);
  });

  it('probes once where the index is right', async () => {
    const store = new MemoryStore();
    await runSink(store, one, SHORT);
    const probed = new FaultStore(store);
    await runSink(probed, [transaction(20n, users(7n)), transaction(30n, users(7n))], SHORT, { checkpointTs: 10n });
    expect(probed.log.filter((operation) => operation.startsWith('exists public/users/7/CDC'))).toHaveLength(1);
  });

  it('hyp 11: a schema file that could not be written is not taken for written', async () => {
    const store = new MemoryStore();
    const put = store.put.bind(store);
    store.put = async (key, body) => {
      if (key.includes('schema_')) throw new Error('no');
      return put(key, body);
    };
    const failed = await runSink(store, one, SHORT);
    expect(failed).toMatchObject({ error: { code: 'MR_SINK_WRITE_FAILED' }, checkpointTs: 9n });
    expect((await keysOf(store)).filter((key) => key.startsWith('public'))).toEqual([]);
    store.put = put;
    expect((await filesOf(store, one, {})).filter((key) => key.endsWith('.json'))).toEqual([
      'public/users/7/CDC000001.json',
      'public/users/meta/schema_7_CHECKSUM.json',
    ]);
  });

  it('hyp 12: a reader learns the width of numbers from the target', async () => {
    for (const fileIndexDigit of [6, 13, 20]) {
      const store = new MemoryStore();
      await runSink(store, one, { ...SHORT, fileIndexDigit });
      expect(await idsOf(store)).toEqual(['10']);
    }
  });

  it('hyp 6: a routed table is written and read by its target’s names', async () => {
    const store = new MemoryStore();
    const routed = users(7n, { schema: 'lake', name: 'people' });
    await runSink(store, [transaction(10n, routed)], SHORT);
    const rows: unknown[] = [];
    for await (const changes of readTable(store, { schema: 'lake', table: 'people' })) rows.push(...changes);
    expect(rows).toHaveLength(1);
    expect(String(await store.get('lake/people/7/CDC000001.json'))).toContain('"database":"lake","table":"people"');
  });
});
