import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter, type Table, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type Change, type TableChanges, TableImage, TargetReader } from '../../../pipelines/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { column, runSink, type Transaction, table } from '../../support/sink-world.ts';

const NONE = { dateSeparator: 'none' } as const;
const users = (version = 1n, columns: Parameters<typeof table>[2] = ['id', 'name']) => table('users', version, columns, ['id']);

/** A transaction that inserts these ids. */
function inserts(commitTs: bigint, ids: readonly string[], of: Table = users()): Transaction {
  const write = () => {
    const rows = new RowBlockWriter(of).beginTransaction(commitTs);
    for (const id of ids) rows.insert({ id, name: 'x' });
    return rows.build();
  };
  return { commitTs, events: () => [dmlEvent(write())] };
}

function truncates(commitTs: bigint): Transaction {
  const position = { commitTs, ordinal: 0 };
  return { commitTs, events: () => [truncateEvent({ position, commitTimeUs: 0n, table: users(commitTs), query: 'TRUNCATE users' })] };
}

/** A store that counts what is asked of it. */
class CountingStore extends MemoryStore {
  readonly asked: string[] = [];

  override async get(key: string): Promise<Buffer | null> {
    this.asked.push(`get ${key}`);
    return super.get(key);
  }

  override async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    const chunks = await super.read(key);
    this.asked[this.asked.length - 1] = `read ${key}`;
    return chunks;
  }

  override list(prefix: string) {
    this.asked.push(`list ${prefix}`);
    return super.list(prefix);
  }
}

/** Writes `history` behind `checkpointTs`, as a run does that is started there. */
async function capture(store: MemoryStore, history: readonly Transaction[], checkpointTs = 0n, options = {}): Promise<void> {
  expect((await runSink(store, history, { ...NONE, ...options }, { checkpointTs })).error).toBeNull();
}

async function setCheckpoint(store: MemoryStore, checkpointTs: bigint): Promise<void> {
  await store.put('metadata', [Buffer.from(`{"checkpoint-ts":${checkpointTs}}`)]);
}

function told({ table: name, version, changes }: TableChanges): string[] {
  const line = ({ op, commitTs, ordinal, data, old }: Change) =>
    `${name} ${op} ${commitTs}/${ordinal} ${data?.['id'] ?? old?.['id'] ?? ''}`;
  return changes.length === 0 ? [`${name} v${version.version}`] : changes.map((change) => line(change).trim());
}

async function round(reader: TargetReader, options = {}): Promise<string[]> {
  const lines: string[] = [];
  for await (const part of reader.poll(options)) lines.push(...told(part));
  return lines;
}

/** spec storage-sink §9.1, §9.2 */
describe('TargetReader', () => {
  it('gives in each round what is new since the last', async () => {
    const store = new MemoryStore();
    const reader = new TargetReader(store);
    const history = [inserts(10n, ['a', 'b']), inserts(20n, ['c'])];
    expect([await round(reader), reader.checkpointTs]).toEqual([[], null]);
    await capture(store, history.slice(0, 1));
    expect([await round(reader), reader.checkpointTs]).toEqual([['users v1', 'users I 10/0 a', 'users I 10/1 b'], 10n]);
    await capture(store, history, 10n);
    expect([await round(reader), reader.checkpointTs]).toEqual([['users I 20/0 c'], 20n]);
    expect(await round(reader)).toEqual([]);
  });

  it('goes on from its cursor in another process, whichever batch it was broken off behind', async () => {
    const store = new MemoryStore();
    const history = [inserts(10n, ['a', 'b']), inserts(20n, ['c']), truncates(30n), inserts(40n, ['d'], users(30n))];
    for (const [index, { commitTs }] of history.entries()) {
      await capture(store, history.slice(0, index + 1), index === 0 ? 0n : history[index - 1]!.commitTs);
      expect(commitTs).toBeGreaterThan(0n);
    }
    const whole = await round(new TargetReader(store));
    expect(whole).toEqual(['users v1', 'users I 10/0 a', 'users I 10/1 b', 'users I 20/0 c', 'users T 30/0', 'users I 40/0 d']);
    for (let batches = 1; batches < whole.length; batches++) {
      const lines: string[] = [];
      let cursor: string | null = null;
      for (let restart = 0; restart < whole.length; restart++) {
        const reader = new TargetReader(store, { cursor });
        let taken = 0;
        for await (const part of reader.poll()) {
          lines.push(...told(part));
          if (++taken === batches) break;
        }
        cursor = reader.cursor;
      }
      expect(lines).toEqual(whole);
    }
  });

  it('goes on behind the last batch after an error, itself too', async () => {
    const store = new MemoryStore();
    const history = [inserts(10n, ['a']), inserts(20n, ['b']), inserts(30n, ['c'])];
    await capture(store, history.slice(0, 1));
    await capture(store, history.slice(0, 2), 10n);
    await capture(store, history, 20n);
    const path = 'public/users/1/CDC00000000000000000002.json';
    const content = (await store.get(path))!;
    await store.delete(path);
    const reader = new TargetReader(store);
    const lines: string[] = [];
    await expect(
      (async () => {
        for await (const part of reader.poll()) lines.push(...told(part));
      })(),
    ).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED', details: { path } });
    expect(reader.checkpointTs).toBeNull();
    await store.put(path, [content]);
    expect([...lines, ...(await round(reader))]).toEqual(['users v1', 'users I 10/0 a', 'users I 20/0 b', 'users I 30/0 c']);
  });

  it('asks for one small object while the checkpoint stands, and reads only new files when it has moved', async () => {
    const store = new CountingStore();
    const history = [inserts(10n, ['a']), inserts(20n, ['b'])];
    await capture(store, history.slice(0, 1));
    const reader = new TargetReader(store);
    await round(reader);
    store.asked.length = 0;
    expect(await round(reader)).toEqual([]);
    expect(store.asked).toEqual(['get metadata']);
    await capture(store, history, 10n);
    store.asked.length = 0;
    await round(reader);
    expect(store.asked.filter((what) => what.includes('CDC'))).toEqual([
      'get public/users/1/meta/CDC.index',
      'get public/users/1/meta/CDC00000000000000000002.positions',
      'read public/users/1/CDC00000000000000000002.json',
    ]);
  });

  it('reads nothing of a table that has nothing new', async () => {
    const store = new CountingStore();
    const other = table('other', 1n, ['id', 'name'], ['id']);
    const history = [inserts(10n, ['a']), inserts(11n, ['a'], other), inserts(20n, ['b'])];
    await capture(store, history.slice(0, 2));
    const reader = new TargetReader(store);
    await round(reader);
    await capture(store, history, 11n);
    store.asked.length = 0;
    expect(await round(reader)).toEqual(['users I 20/0 b']);
    expect(store.asked.filter((what) => what.includes('other'))).toEqual([]);
  });

  it('remembers no more of a table than the version under way and its data folders', async () => {
    const store = new MemoryStore();
    const reader = new TargetReader(store);
    const sizes: number[] = [];
    const history: Transaction[] = [];
    for (let i = 1; i <= 6; i++) {
      const version = BigInt(i * 100);
      const from = history.at(-1)?.commitTs ?? 0n;
      history.push(truncates(version), inserts(version + 1n, ['a'], users(version)), inserts(version + 2n, ['b'], users(version)));
      await capture(store, history, from);
      await round(reader);
      sizes.push(reader.cursor.length);
    }
    expect(new Set(sizes).size).toBe(1);
  });

  it('forgets data folders that were cleaned up, and tables whose folder is gone', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const history = [inserts(10n, ['a']), inserts(20n, ['b']), inserts(30n, ['c']), inserts(40n, ['d'])];
    const day = { dateSeparator: 'day' } as const;
    await runSink(store, history.slice(0, 1), day, { clock });
    clock.advance(24 * 3_600_000);
    await runSink(store, history.slice(0, 2), day, { clock, checkpointTs: 10n });
    const reader = new TargetReader(store);
    await round(reader);
    expect(reader.cursor).toContain('"1970-01-01/CDC"');
    for await (const { key } of store.list('public/users/1/1970-01-01')) await store.delete(key);
    await runSink(store, history.slice(0, 3), day, { clock, checkpointTs: 20n });
    expect(await round(reader)).toEqual(['users I 30/0 c']);
    expect(reader.cursor).not.toContain('"1970-01-01/CDC"');
    for await (const { key } of store.list('public/')) await store.delete(key);
    await setCheckpoint(store, 40n);
    await round(reader);
    expect(JSON.parse(reader.cursor).tables).toEqual([]);
  });

  it('gives a folder that was cleaned up and made again from its first file on', async () => {
    const store = new MemoryStore();
    const history = [inserts(10n, ['a']), inserts(20n, ['b']), inserts(30n, ['c'])];
    await capture(store, history.slice(0, 1));
    await capture(store, history.slice(0, 2), 10n);
    const reader = new TargetReader(store);
    await round(reader);
    for await (const { key } of store.list('public/users/1/')) await store.delete(key);
    await capture(store, history, 20n);
    expect(await round(reader)).toEqual(['users I 30/0 c']);
  });

  it('takes up the rest of a file that lay half beyond the checkpoint', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, ['a']), inserts(20n, ['b']), inserts(30n, ['c'])]);
    const reader = new TargetReader(store);
    await setCheckpoint(store, 20n);
    expect(await round(reader)).toEqual(['users v1', 'users I 10/0 a', 'users I 20/0 b']);
    await setCheckpoint(store, 30n);
    expect(await round(reader)).toEqual(['users I 30/0 c']);
  });

  it('stays where it is when the checkpoint is set back, and when less is asked for', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, ['a']), inserts(20n, ['b'])]);
    const reader = new TargetReader(store);
    expect(await round(reader, { upTo: 10n })).toEqual(['users v1', 'users I 10/0 a']);
    expect(await round(reader)).toEqual(['users I 20/0 b']);
    await setCheckpoint(store, 5n);
    expect(await round(reader)).toEqual([]);
    expect(await round(new TargetReader(store, { cursor: reader.cursor }))).toEqual([]);
    expect(reader.checkpointTs).toBe(20n);
  });

  it('keeps a table up to date across rounds: TRUNCATE, new columns with their defaults, unchanged TOAST values', async () => {
    const store = new MemoryStore();
    const wide = users(40n, ['id', 'name', column('level', 2, { defaultText: 'low' })]);
    const changes = (of: Table, commitTs: bigint, write: (rows: RowBlockWriter) => RowBlockWriter): Transaction => ({
      commitTs,
      events: () => [dmlEvent(write(new RowBlockWriter(of).beginTransaction(commitTs)).build())],
    });
    const history: Transaction[] = [
      inserts(10n, ['a', 'b']),
      truncates(20n),
      inserts(30n, ['c', 'd'], users(20n)),
      {
        commitTs: 40n,
        events: () => [ddlEvent({ position: { commitTs: 40n, ordinal: 0 }, commitTimeUs: 0n, table: wide, query: 'ALTER', action: 5 })],
      },
      changes(wide, 50n, (rows) => rows.update(null, { id: 'c', level: 'high' }).insert({ id: 'e', name: 'x', level: null })),
    ];
    const image = new TableImage();
    let cursor: string | null = null;
    let checkpointTs = 0n;
    for (const [index, { commitTs }] of history.entries()) {
      await capture(store, history.slice(0, index + 1), checkpointTs);
      const reader: TargetReader = new TargetReader(store, { cursor });
      for await (const part of reader.poll()) image.apply(part);
      cursor = reader.cursor;
      checkpointTs = commitTs;
    }
    expect([...image.rows()].sort()).toEqual([
      ['c', 'x', 'high'],
      ['d', 'x', 'low'],
      ['e', 'x', null],
    ]);
    expect([image.rowCount, image.get(['d']), image.version?.query]).toEqual([3, ['d', 'x', 'low'], 'ALTER']);
  });

  it('chooses tables, and reads one that is chosen later from its beginning', async () => {
    const store = new MemoryStore();
    const other = table('other', 1n, ['id', 'name'], ['id']);
    await capture(store, [inserts(10n, ['a']), inserts(11n, ['b'], other)]);
    const reader = new TargetReader(store, { tables: ['public.users'] });
    expect(await round(reader)).toEqual(['users v1', 'users I 10/0 a']);
    expect(await round(new TargetReader(store, { cursor: reader.cursor }))).toEqual(['other v1', 'other I 11/0 b']);
    expect(() => new TargetReader(store, { tables: ['"'] })).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION' }));
  });

  it('refuses the cursor of another target', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, ['a'])]);
    const reader = new TargetReader(store);
    await round(reader);
    const { cursor } = reader;
    const anew = new MemoryStore();
    await capture(anew, [inserts(10n, ['a'], users(7n))]);
    await expect(round(new TargetReader(anew, { cursor }))).rejects.toMatchObject({ code: 'MR_CURSOR_OF_ANOTHER_TARGET' });
    const identity = String(await store.get('meta/source.json')).replace('"world"', '"elsewhere"');
    await store.put('meta/source.json', [Buffer.from(identity)]);
    await setCheckpoint(store, 30n);
    await expect(round(reader)).rejects.toMatchObject({ code: 'MR_CURSOR_OF_ANOTHER_TARGET' });
  });

  it.each([
    ['no JSON', 'x'],
    ['no object', '7'],
    ['of another version', '{"v":2}'],
    ['without a source', '{"v":1}'],
    ['without tables', '{"v":1,"source":null,"checkpointTs":null}'],
    ['with a checkpoint that is no integer', '{"v":1,"source":null,"checkpointTs":"x","tables":[]}'],
    ['with a table that is none', '{"v":1,"source":null,"checkpointTs":null,"tables":[null]}'],
    ['with a table without a name', '{"v":1,"source":null,"checkpointTs":null,"tables":[{"schema":"a"}]}'],
    [
      'with a position that is none',
      '{"v":1,"source":null,"checkpointTs":null,"tables":[{"schema":"a","table":"b","version":"1","at":["1"],"files":[]}]}',
    ],
    [
      'with a file number that is none',
      '{"v":1,"source":null,"checkpointTs":null,"tables":[{"schema":"a","table":"b","version":"1","at":null,"files":[["CDC",-1]]}]}',
    ],
  ])('refuses a cursor that is %s', (_, cursor) => {
    expect(() => new TargetReader(new MemoryStore(), { cursor })).toThrow(expect.objectContaining({ code: 'MR_CURSOR_MALFORMED' }));
  });

  it('refuses a second round while one is under way, and begins one after it was broken off', async () => {
    const store = new MemoryStore();
    await capture(store, [inserts(10n, ['a'])]);
    const reader = new TargetReader(store);
    for await (const _ of reader.poll()) {
      await expect(round(reader)).rejects.toMatchObject({ code: 'MR_READER_BUSY' });
      break;
    }
    expect(await round(reader)).toEqual(['users I 10/0 a']);
  });

  it('follows a target until it is told to stop', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const history = [inserts(10n, ['a']), inserts(20n, ['b'])];
    await capture(store, history.slice(0, 1));
    const stop = new AbortController();
    const lines: string[] = [];
    const sleep = clock.sleep.bind(clock);
    let rounds = 0;
    const written = {
      ...clock,
      now: () => clock.now(),
      sleep: async (ms: number, signal?: AbortSignal) => {
        expect(ms).toBe(500);
        if (++rounds === 1) await capture(store, history, 10n);
        else if (rounds === 3) stop.abort();
        const slept = sleep(ms, signal);
        clock.advance(ms);
        await slept;
      },
    };
    const reader = new TargetReader(store);
    for await (const part of reader.follow({ interval: '500ms', signal: stop.signal, clock: written })) lines.push(...told(part));
    expect(lines).toEqual(['users v1', 'users I 10/0 a', 'users I 20/0 b']);
    await expect(reader.follow({ interval: 1 }).next()).rejects.toMatchObject({ code: 'MR_INVALID_OPTION' });
  });
});
