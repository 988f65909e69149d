import { crc32 } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter, type Table } from '../../../lib/events/index.ts';
import { describeFile, stringifyPositions } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type Change, listTables, readTable, rebuildTable, TargetReader } from '../../../pipelines/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { column, runSink, type Transaction, table } from '../../support/sink-world.ts';

const NONE = { dateSeparator: 'none' } as const;
const USERS = { schema: 'public', table: 'users' };
const users = (version = 1n) => table('users', version, ['id', 'name'], ['id']);

function inserts(commitTs: bigint, ids: readonly string[], of: Table = users()): Transaction {
  const write = () => {
    const rows = new RowBlockWriter(of).beginTransaction(commitTs);
    for (const id of ids) rows.insert({ id, name: 'x' });
    return rows.build();
  };
  return { commitTs, events: () => [dmlEvent(write())] };
}

function ddl(of: Table, parts: { startsEmpty?: boolean; query?: string } = {}): Transaction {
  const position = { commitTs: of.version, ordinal: 0 };
  return { commitTs: of.version, events: () => [ddlEvent({ position, commitTimeUs: 0n, table: of, query: 'ALTER', action: 5, ...parts })] };
}

async function written(history: readonly Transaction[], options = {}): Promise<MemoryStore> {
  const store = new MemoryStore();
  expect((await runSink(store, history, { ...NONE, ...options })).error).toBeNull();
  return store;
}

async function setCheckpoint(store: MemoryStore, checkpointTs: bigint): Promise<void> {
  await store.put('metadata', [Buffer.from(`{"checkpoint-ts":${checkpointTs}}`)]);
}

const told = ({ table: name, op, commitTs, ordinal, data }: Change) => `${name} ${op} ${commitTs}/${ordinal} ${data?.['id'] ?? ''}`.trim();

async function read(store: MemoryStore, name = USERS): Promise<string[]> {
  const lines: string[] = [];
  for await (const changes of readTable(store, name)) lines.push(...changes.map(told));
  return lines;
}

async function round(reader: TargetReader): Promise<string[]> {
  const lines: string[] = [];
  for await (const { changes } of reader.poll()) lines.push(...changes.map(told));
  return lines;
}

interface Row {
  readonly commitTs: number;
  readonly ordinal: number;
  readonly id: string;
}

/** Writes a published data file by hand, as another writer of the layout would. */
async function putFile(store: MemoryStore, directory: string, stem: string, rows: readonly Row[], index = 'CDC'): Promise<void> {
  const lines = rows.map(({ commitTs, id }) => {
    const data = [{ id, name: 'x' }];
    return `${JSON.stringify({ id: 0, type: 'INSERT', old: null, data, _tidb: { commitTs } })}\r\n`;
  });
  const content = Buffer.from(lines.join(''));
  const runs = rows.map(({ commitTs, ordinal }) => ({ commitTs: BigInt(commitTs), first: ordinal, last: ordinal }));
  await store.put(`${directory}/meta/${stem}.positions`, [Buffer.from(stringifyPositions(describeFile([content], runs)))]);
  await store.put(`${directory}/${stem}.json`, [content]);
  await store.put(`${directory}/meta/${index}.index`, [Buffer.from(`${stem}.json\n`)]);
}

/** A target with the table's schema file and one row at 10. */
async function seeded(): Promise<MemoryStore> {
  return written([inserts(10n, ['a'])]);
}

const stemOf = (number: number) => `CDC${String(number).padStart(20, '0')}`;
const DIRECTORY = 'public/users/1';

/** spec storage-sink §9, §12 */
describe('what consumers of the layout have tripped over', () => {
  it('#4334: rows under a new name are not shown before the version that gave the table that name', async () => {
    const renamed = table('people', 20n, ['id', 'name'], ['id']);
    const store = await written([inserts(10n, ['a']), ddl(renamed, { startsEmpty: true }), inserts(30n, ['b'], renamed)]);
    const reader = new TargetReader(store);
    const shown: string[][] = [];
    for (const checkpointTs of [10n, 19n, 20n, 29n, 30n]) {
      await setCheckpoint(store, checkpointTs);
      const parts: string[] = [];
      for await (const { table: name, version, changes } of reader.poll()) parts.push(`${name} v${version.version}`, ...changes.map(told));
      shown.push(parts);
    }
    expect(shown).toEqual([['users v1', 'users v1', 'users I 10/0 a'], [], ['people v20'], [], ['people v20', 'people I 30/0 b']]);
  });

  it('#4334: rows whose schema file is missing are not shown, in whatever folder they are', async () => {
    const store = await seeded();
    await putFile(store, 'public/people/20', stemOf(1), [{ commitTs: 5, ordinal: 0, id: 'b' }]);
    expect(await listTables(store)).toEqual([USERS]);
    await expect(read(store, { schema: 'public', table: 'people' })).rejects.toMatchObject({ code: 'MR_UNKNOWN_TABLE' });
  });

  it('#4430, #4431: a schema file beyond the checkpoint waits for the rows before it, however early it is there', async () => {
    const store = await written([
      inserts(10n, ['a']),
      inserts(20n, ['b']),
      ddl(users(30n), { startsEmpty: true }),
      inserts(40n, ['c'], users(30n)),
    ]);
    await setCheckpoint(store, 9n);
    const reader = new TargetReader(store);
    expect(await round(reader)).toEqual([]);
    await setCheckpoint(store, 15n);
    expect(await round(reader)).toEqual(['users I 10/0 a']);
    await setCheckpoint(store, 40n);
    expect(await round(reader)).toEqual(['users I 20/0 b', 'users T 30/0', 'users I 40/0 c']);
  });

  it('#5713, #5824: rows that fell back into a later file stand in their place, each once', async () => {
    const store = await seeded();
    await putFile(store, DIRECTORY, stemOf(2), [
      { commitTs: 20, ordinal: 0, id: 'b' },
      { commitTs: 30, ordinal: 0, id: 'c' },
    ]);
    await putFile(store, DIRECTORY, stemOf(3), [
      { commitTs: 10, ordinal: 0, id: 'a' },
      { commitTs: 20, ordinal: 0, id: 'b' },
      { commitTs: 30, ordinal: 0, id: 'c' },
      { commitTs: 30, ordinal: 1, id: 'd' },
    ]);
    await putFile(store, DIRECTORY, stemOf(4), [
      { commitTs: 30, ordinal: 0, id: 'c' },
      { commitTs: 30, ordinal: 1, id: 'd' },
      { commitTs: 40, ordinal: 0, id: 'e' },
    ]);
    await setCheckpoint(store, 40n);
    const expected = ['users I 10/0 a', 'users I 20/0 b', 'users I 30/0 c', 'users I 30/1 d', 'users I 40/0 e'];
    expect(await read(store)).toEqual(expected);
    const reader = new TargetReader(store);
    const lines: string[] = [];
    for (let checkpointTs = 10n; checkpointTs <= 40n; checkpointTs += 5n) {
      await setCheckpoint(store, checkpointTs);
      lines.push(...(await round(reader)));
    }
    expect(lines).toEqual(expected);
  });

  it('#5713, #5824: and across data folders, where the clock was set back between two writes', async () => {
    const clock = manualClock();
    const day = { dateSeparator: 'day' } as const;
    const store = new MemoryStore();
    const history = [inserts(10n, ['a']), inserts(20n, ['b']), inserts(30n, ['c'])];
    clock.advance(24 * 3_600_000);
    await runSink(store, history.slice(0, 1), day, { clock });
    await runSink(store, history.slice(0, 2), day, { clock: manualClock(), checkpointTs: 10n });
    await runSink(store, history, day, { clock, checkpointTs: 0n });
    expect(await read(store)).toEqual(['users I 10/0 a', 'users I 20/0 b', 'users I 30/0 c']);
  });

  it('#3784, #3785: an index that is ahead of its data is an error naming the file, and nothing is lost when it comes', async () => {
    const store = await seeded();
    await putFile(store, DIRECTORY, stemOf(2), [{ commitTs: 20, ordinal: 0, id: 'b' }]);
    await setCheckpoint(store, 20n);
    const path = `${DIRECTORY}/${stemOf(2)}.json`;
    const content = (await store.get(path))!;
    await store.delete(path);
    const reader = new TargetReader(store);
    const lines: string[] = [];
    await expect(
      (async () => {
        for await (const { changes } of reader.poll()) lines.push(...changes.map(told));
      })(),
    ).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED', details: { path, reason: expect.stringContaining('missing') } });
    await store.put(path, [content]);
    expect([...lines, ...(await round(reader))]).toEqual(['users I 10/0 a', 'users I 20/0 b']);
  });

  it('#3784, #3785: the newest file goes missing behind what was read: the next round says so', async () => {
    const store = await seeded();
    const reader = new TargetReader(store);
    await round(reader);
    await putFile(store, DIRECTORY, stemOf(2), [{ commitTs: 20, ordinal: 0, id: 'b' }]);
    await store.delete(`${DIRECTORY}/${stemOf(2)}.json`);
    await setCheckpoint(store, 20n);
    await expect(round(reader)).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED' });
  });

  it('shows nothing of a file that is cut or changed, not even the rows before the damage', async () => {
    const store = await seeded();
    const rows = Array.from({ length: 5_000 }, (_, i) => ({ commitTs: 20, ordinal: i, id: `row ${i}` }));
    await putFile(store, DIRECTORY, stemOf(2), rows);
    await setCheckpoint(store, 20n);
    const path = `${DIRECTORY}/${stemOf(2)}.json`;
    const content = (await store.get(path))!;
    for (const damaged of [content.subarray(0, content.length - 90), Buffer.from(content.toString().replace('row 4999', 'row 499x'))]) {
      await store.put(path, [damaged]);
      const lines: string[] = [];
      await expect(
        (async () => {
          for await (const changes of readTable(store, USERS)) lines.push(...changes.map(told));
        })(),
      ).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED', details: { path } });
      expect(lines).toEqual(['users I 10/0 a']);
    }
  });

  it('a missing file that a restart had written again is an error all the same', async () => {
    const store = await seeded();
    await putFile(store, DIRECTORY, stemOf(2), [{ commitTs: 10, ordinal: 0, id: 'a' }]);
    const path = `${DIRECTORY}/${stemOf(2)}.json`;
    await store.delete(path);
    await expect(read(store)).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED', details: { path } });
  });

  it('tiflow #10137, #10138: passes over files that the layout does not have', async () => {
    const store = await seeded();
    const strangers = [
      'notes.txt',
      'public/README',
      'public/users/notes.json',
      'public/users/1/CDC.json',
      'public/users/1/CDCx.json',
      'public/users/1/meta/CDC.index.bak',
      'public/users/1/meta/CDC00000000000000000009.json',
      `${DIRECTORY}/${stemOf(7)}.positions`,
      'public/users/1/latest/CDC00000000000000000001.json',
      'public/users/meta/schema_1.json',
      'public/meta/schema_1_0000000001.json',
      '77/strange',
    ];
    for (const key of strangers) await store.put(key, [Buffer.from('?')]);
    expect(await listTables(store)).toEqual([USERS]);
    expect(await read(store)).toEqual(['users I 10/0 a']);
  });

  it('tiflow #9288: a schema file whose checksum is not that of its content is an error naming it, not a panic', async () => {
    const store = await seeded();
    const [path] = await schemaFilesOf(store);
    await store.put(path!, [Buffer.from(String(await store.get(path!)).replace('"name"', '"nome"'))]);
    await expect(read(store)).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED', details: { path } });
  });

  it('hyp 1: text that is no UTF-8 in a schema file is no checksum error, in our form or in that of upstream', async () => {
    const odd = table('users', 1n, ['id', column('name', 1, { defaultText: 'a\ufffdb' })], ['id']);
    const lone = table('users', 1n, ['id', column('name', 1, { defaultText: 'a\ud800b' })], ['id']);
    for (const made of [odd, lone]) expect(await read(await written([inserts(10n, ['a'], made)]))).toEqual(['users I 10/0 a']);
    const store = await written([inserts(10n, ['a'], odd)]);
    const [path] = await schemaFilesOf(store);
    const escaped = String(await store.get(path!)).replaceAll('\ufffd', '\\ufffd');
    const hashed = escaped.replace('"Version": 1', '"Version": 0').replace(/^ {4}"(?:TableVersion|Query|Type)".*\n/gm, '');
    await store.delete(path!);
    await store.put(`public/users/meta/schema_1_${String(crc32(hashed)).padStart(10, '0')}.json`, [Buffer.from(escaped)]);
    expect(await read(store)).toEqual(['users I 10/0 a']);
    expect((await rebuildTable(store, USERS)).columns[1]!.ColumnDefault).toBe('a\ufffdb');
  });

  it('#1943, #1948: rows of an earlier version that a restart writes behind a TRUNCATE are known by their positions', async () => {
    const store = await written([inserts(10n, ['a']), ddl(users(20n), { startsEmpty: true }), inserts(30n, ['b'], users(20n))]);
    const reader = new TargetReader(store);
    expect(await round(reader)).toEqual(['users I 10/0 a', 'users T 20/0', 'users I 30/0 b']);
    await putFile(store, DIRECTORY, stemOf(2), [{ commitTs: 10, ordinal: 0, id: 'a' }]);
    await setCheckpoint(store, 40n);
    expect(await round(reader)).toEqual([]);
    expect(await read(store)).toEqual(['users I 10/0 a', 'users T 20/0', 'users I 30/0 b']);
  });

  it('a table that was snapshotted again begins anew: with its own rows alone', async () => {
    const again = users(20n);
    const store = await written([inserts(10n, ['a', 'b']), ddl(again, { startsEmpty: true }), inserts(21n, ['b'], again)]);
    expect(await read(store)).toEqual(['users I 10/0 a', 'users I 10/1 b', 'users T 20/0', 'users I 21/0 b']);
    expect([...(await rebuildTable(store, USERS)).rows()]).toEqual([['b', 'x']]);
  });
});

async function schemaFilesOf(store: MemoryStore): Promise<string[]> {
  const paths: string[] = [];
  for await (const { key } of store.list('public/users/meta/schema_')) if (key.endsWith('.json')) paths.push(key);
  return paths;
}

/** spec storage-sink §5.1 */
describe('where readers find files', () => {
  const rows = (...positions: (readonly [commitTs: number, ordinal: number])[]) =>
    positions.map(([commitTs, ordinal]) => ({ commitTs, ordinal, id: `${commitTs}-${ordinal}` }));

  it('in data folders by date, in the order of positions and not of dates', async () => {
    const store = await seeded();
    await putFile(store, `${DIRECTORY}/2024-01-02`, stemOf(1), rows([20, 0], [40, 0]));
    await putFile(store, `${DIRECTORY}/2024-01-01`, stemOf(1), rows([30, 0], [50, 0]));
    await setCheckpoint(store, 50n);
    expect(await read(store)).toEqual(['users I 10/0 a', ...[20, 30, 40, 50].map((ts) => `users I ${ts}/0 ${ts}-0`)]);
  });

  it('by dispatcher in one folder: their rows are merged, also within a transaction', async () => {
    const store = await seeded();
    const [one, two] = ['12', '34_5'].map((dispatcher) => `CDC_${dispatcher}`);
    await putFile(store, DIRECTORY, `${one}_000001`, rows([20, 0], [20, 2], [30, 0]), one);
    await putFile(store, DIRECTORY, `${two}_000001`, rows([20, 1], [20, 3]), two);
    await putFile(store, DIRECTORY, `${two}_000002`, rows([30, 1]), two);
    await setCheckpoint(store, 30n);
    const expected = ['20/0', '20/1', '20/2', '20/3', '30/0', '30/1'];
    const seen = (lines: string[]) => lines.map((line) => line.split(' ')[2]);
    expect(seen(await read(store))).toEqual(['10/0', ...expected]);
    const reader = new TargetReader(store);
    const lines: string[] = [];
    for (const checkpointTs of [10n, 20n, 30n]) {
      await setCheckpoint(store, checkpointTs);
      const again = new TargetReader(store, { cursor: reader.checkpointTs === null ? null : reader.cursor });
      const news = await round(reader);
      expect(await round(again)).toEqual(news);
      lines.push(...news);
    }
    expect(seen(lines)).toEqual(['10/0', ...expected]);
  });

  it('a table that moved to another dispatcher: what both wrote is shown once, two changes of one position both', async () => {
    const store = await seeded();
    await putFile(store, DIRECTORY, 'CDC_1_000001', rows([20, 0], [20, 1], [30, 0]), 'CDC_1');
    await putFile(
      store,
      DIRECTORY,
      'CDC_2_000001',
      [...rows([20, 1], [30, 0]), { commitTs: 30, ordinal: 0, id: 'the other half' }, ...rows([40, 0])],
      'CDC_2',
    );
    await setCheckpoint(store, 40n);
    expect(await read(store)).toEqual([
      'users I 10/0 a',
      'users I 20/0 20-0',
      'users I 20/1 20-1',
      'users I 30/0 30-0',
      'users I 30/0 the other half',
      'users I 40/0 40-0',
    ]);
  });

  it('below the table id, the names being in the schema file: a table made again is one history', async () => {
    const store = await seeded();
    const moved = new MemoryStore();
    for await (const { key } of store.list('')) await moved.put(key.replace('public/users/', '4711/'), [(await store.get(key))!]);
    const again = await written([ddl(users(20n), { startsEmpty: true }), inserts(30n, ['b'], users(20n))]);
    for await (const { key } of again.list('public/')) {
      await moved.put(key.replace('public/users/', '4712/'), [(await again.get(key))!]);
    }
    await setCheckpoint(moved, 10n);
    expect(await listTables(moved)).toEqual([USERS]);
    expect(await read(moved)).toEqual(['users I 10/0 a']);
    await setCheckpoint(moved, 30n);
    expect(await listTables(moved)).toEqual([USERS]);
    expect(await read(moved)).toEqual(['users I 10/0 a', 'users T 20/0', 'users I 30/0 b']);
  });

  it('with numbers that have outgrown their width', async () => {
    const store = await seeded();
    for await (const { key } of store.list(`${DIRECTORY}/`)) await store.delete(key);
    await putFile(store, DIRECTORY, 'CDC999999', rows([10, 0]));
    await putFile(store, DIRECTORY, 'CDC1000000', rows([20, 0]));
    await putFile(store, DIRECTORY, 'CDC1000001', rows([30, 0]));
    await setCheckpoint(store, 30n);
    const cursor = JSON.stringify({
      v: 1,
      source: null,
      checkpointTs: null,
      tables: [{ ...USERS, version: '1', at: null, files: [['CDC', 999_998]] }],
    });
    expect(await round(new TargetReader(store, { cursor }))).toEqual(['users I 10/0 10-0', 'users I 20/0 20-0', 'users I 30/0 30-0']);
  });
});

describe('memory of a reader', () => {
  it('a file larger than what is kept is read twice: compared first, then given', async () => {
    const store = await seeded();
    const long = 'x'.repeat(1_000_000);
    await putFile(
      store,
      DIRECTORY,
      stemOf(2),
      Array.from({ length: 18 }, (_, i) => ({ commitTs: 20, ordinal: i, id: `${i}${long}` })),
    );
    await setCheckpoint(store, 20n);
    const path = `${DIRECTORY}/${stemOf(2)}.json`;
    const read = store.read.bind(store);
    let reads = 0;
    store.read = async (key) => {
      if (key === path) reads++;
      return read(key);
    };
    let rows = 0;
    for await (const changes of readTable(store, USERS)) rows += changes.length;
    expect([rows, reads]).toEqual([19, 2]);
    await store.put(path, [Buffer.concat([(await store.get(path))!, Buffer.from('{}')])]);
    rows = 0;
    const reading = async () => {
      for await (const changes of readTable(store, USERS)) rows += changes.length;
    };
    await expect(reading()).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED' });
    expect(rows).toBe(1);
  });

  it('opens a file of many data folders only when its turn comes', async () => {
    const store = await seeded();
    const folders = 40;
    for (let i = 0; i < folders; i++) {
      const date = new Date(Date.UTC(2024, 0, 1 + i)).toISOString().slice(0, 10);
      await putFile(store, `${DIRECTORY}/${date}`, stemOf(1), [{ commitTs: 20 + i, ordinal: 0, id: date }]);
    }
    await setCheckpoint(store, 100n);
    const read = store.read.bind(store);
    let opened = 0;
    store.read = async (key) => {
      opened++;
      return read(key);
    };
    const opens: number[] = [];
    for await (const changes of readTable(store, USERS)) if (changes.length > 0) opens.push(opened);
    expect(opens).toEqual(Array.from({ length: folders + 1 }, (_, i) => i + 1));
  });

  it('lets go of the file under way when it is broken off', async () => {
    const store = await seeded();
    await putFile(
      store,
      DIRECTORY,
      stemOf(2),
      Array.from({ length: 18 }, (_, i) => ({ commitTs: 20, ordinal: i, id: `${i}${'x'.repeat(1_000_000)}` })),
    );
    await setCheckpoint(store, 20n);
    const read = store.read.bind(store);
    let open = 0;
    store.read = async (key) => {
      const chunks = await read(key);
      if (chunks === null) return null;
      open++;
      return (async function* () {
        try {
          yield* chunks;
        } finally {
          open--;
        }
      })();
    };
    let batches = 0;
    for await (const _ of readTable(store, USERS)) if (++batches === 3) break;
    expect(open).toBe(0);
  });
});
