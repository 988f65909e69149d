import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../../lib/events/index.ts';
import { type Clock, systemClock } from '../../../../lib/flow/index.ts';
import { parsePositions } from '../../../../lib/formats/storage-layout/index.ts';
import { MemoryStore, type ObjectStore } from '../../../../lib/stores/index.ts';
import { virtualTime } from '../../../../lib/testing/index.ts';
import { cleanUp } from '../../../../pipelines/cloud-storage-sink/clean-up/clean-up.ts';
import { NOTHING_CLEANED, readCleanedMark } from '../../../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';
import { readTable } from '../../../../pipelines/index.ts';
import { cleanedWorld, DAY_MS, daysOf, keysOf } from '../../../support/cleaned-world.ts';
import { historyOf, SMALL_FILES, users } from '../../../support/once-world.ts';
import { runSink, type Transaction, table } from '../../../support/sink-world.ts';
import { turnStore } from '../../../support/turn-store.ts';

const SHORT = { dateSeparator: 'day', fileIndexDigit: 6 } as const;
const OPEN_FOLDER = 'public/users/7/meta/open.folder';

function onDay(day: number | (() => number)): { clock: Clock; hasOrdinals: true } {
  const today = typeof day === 'number' ? () => day : day;
  return { clock: { ...systemClock, now: () => Date.UTC(2026, 10, today()) }, hasOrdinals: true };
}

function rowAt(commitTs: bigint): Transaction {
  const events = () => {
    const row = new RowBlockWriter(users()).beginTransaction(commitTs);
    return [dmlEvent(row.insert({ id: String(commitTs), name: 'x' }).build())];
  };
  return { commitTs, events };
}

async function said(store: ObjectStore): Promise<unknown> {
  return JSON.parse(String(await store.get(OPEN_FOLDER)));
}

async function shownIds(store: ObjectStore): Promise<unknown[]> {
  const ids: unknown[] = [];
  for await (const changes of readTable(store, { schema: 'public', table: 'users' })) ids.push(...changes.map(({ data }) => data?.['id']));
  return ids;
}

/** A run that dies at its first call of that name. */
async function diesAt(store: ObjectStore, call: string, history: readonly Transaction[], day: number): Promise<void> {
  const dying = turnStore(store, (_, stage, name) => {
    if (stage === 'before' && name.startsWith(call)) throw new Error('down');
  });
  expect((await runSink(dying, history, SHORT, onDay(day))).error).not.toBeNull();
}

/** The ids in the files that indexes name, as often as they are there. */
async function publishedIds(store: ObjectStore): Promise<string[]> {
  const texts: string[] = [];
  for await (const { key } of store.list('public/users/7/')) {
    if (!key.endsWith('.index')) continue;
    const last = Number(/\d+/.exec(String(await store.get(key)))![0]);
    const folder = key.slice(0, key.lastIndexOf('/meta/'));
    for (let n = 1; n <= last; n++) texts.push(String(await store.get(`${folder}/CDC${String(n).padStart(6, '0')}.json`)));
  }
  return Array.from(texts.join('').matchAll(/"data":\[\{"id":"(\d+)"/g), ([, id]) => id!);
}

/** A target of three runs: on the 21st, on the 22nd, and with the clock set back, on the 21st. */
async function thereAndBack(options: object = {}): Promise<MemoryStore> {
  const store = new MemoryStore();
  const history = [rowAt(10n), rowAt(20n), rowAt(30n)];
  for (const [runs, day] of [21, 22, 21].entries()) {
    const { error } = await runSink(store, history.slice(0, runs + 1), { ...SHORT, ...options }, onDay(day));
    expect(error).toBeNull();
  }
  return store;
}

describe('the folder that a run says it writes to', () => {
  it('costs calls of the store when the folder changes, and none per file', async () => {
    for (const [lastDay, folders] of [
      [21, 1],
      [22, 2],
    ] as const) {
      const store = new MemoryStore();
      const calls: string[] = [];
      const counted = turnStore(store, (_, stage, call) => {
        if (stage === 'before') calls.push(call);
      });
      const day = () => (calls.filter((call) => call.startsWith('putIfAbsent public/users')).length < 4 ? 21 : lastDay);
      await runSink(counted, historyOf(2), { ...SMALL_FILES, dateSeparator: 'day' }, onDay(day));
      expect(calls.filter((call) => call.startsWith('putIfAbsent public/users')).length).toBeGreaterThan(5);
      expect(calls.filter((call) => call === `putIf ${OPEN_FOLDER}`)).toHaveLength(folders);
      expect(calls.filter((call) => call === `getVersioned ${OPEN_FOLDER}`)).toHaveLength(folders);
      expect(await said(store)).toEqual({ v: 1, epoch: 1, run: expect.stringMatching(/^[0-9a-f]+$/), date: `2026-11-${lastDay}` });
    }
  });

  it('is closed by the next run that writes elsewhere, with an empty file that no index names', async () => {
    const store = new MemoryStore();
    await runSink(store, [rowAt(10n)], SHORT, onDay(21));
    await runSink(store, [rowAt(10n), rowAt(20n)], SHORT, onDay(22));
    const folder = 'public/users/7/2026-11-21';
    expect(String(await store.get(`${folder}/meta/CDC.index`))).toBe('CDC000001.json\n');
    expect(await store.get(`${folder}/CDC000002.json`)).toEqual(Buffer.alloc(0));
    const sidecar = `${folder}/meta/CDC000002.positions`;
    expect(parsePositions(String(await store.get(sidecar)), sidecar)).toMatchObject({ rows: 0, bytes: 0, runs: [] });
    expect(await shownIds(store)).toEqual(['10', '20']);
    expect(await said(store)).toMatchObject({ epoch: 2, date: '2026-11-22' });
  });

  it('is not closed where the next run goes on in it', async () => {
    const store = new MemoryStore();
    for (const runs of [1, 2]) await runSink(store, [rowAt(10n), rowAt(20n)].slice(0, runs), SHORT, onDay(21));
    expect(String(await store.get('public/users/7/2026-11-21/meta/CDC.index'))).toBe('CDC000002.json\n');
    expect(await shownIds(store)).toEqual(['10', '20']);
  });

  it('I9: is said by no run that was overtaken: the next one would take a folder for closed that it has looked into before the last file came', async () => {
    const store = new MemoryStore();
    let today = 21;
    let wasOvertaken = false;
    const overtaken = turnStore(store, async (_, stage, call) => {
      if (call.startsWith('putIf public/users') && call.endsWith('CDC.index') && stage === 'after') today = 22;
      if (today === 21 || wasOvertaken || call !== `getVersioned ${OPEN_FOLDER}`) return;
      wasOvertaken = true;
      await runSink(store, [], { ...SMALL_FILES, dateSeparator: 'day' }, onDay(22));
    });
    const { error } = await runSink(
      overtaken,
      historyOf(2),
      { ...SMALL_FILES, dateSeparator: 'day' },
      onDay(() => today),
    );
    expect([wasOvertaken, error]).toEqual([true, expect.objectContaining({ code: 'MR_STALE_EPOCH' })]);
    expect(await said(store)).toMatchObject({ epoch: 1, date: '2026-11-21' });
  });

  it('takes files again when the clock was set back, behind the empty one, which readers pass over', async () => {
    const store = await thereAndBack();
    expect(String(await store.get('public/users/7/2026-11-21/meta/CDC.index'))).toBe('CDC000003.json\n');
    expect(await shownIds(store)).toEqual(['10', '20', '30']);
  });

  it('is closed with a line of names where csv files have one, so that the empty file is one of its kind', async () => {
    const store = await thereAndBack({ protocol: 'csv', terminator: '\n', csv: { outputFieldHeader: true } });
    const closing = String(await store.get('public/users/7/2026-11-21/CDC000002.csv'));
    expect(closing).toBe('ticdc-meta$operation,ticdc-meta$table,ticdc-meta$schema,ticdc-meta$commit-ts,id,name\n');
    expect(await shownIds(store)).toEqual(['10', '20', '30']);
  });

  it('is looked into behind any number of files by which runs closed it and broke off', async () => {
    const store = new MemoryStore();
    const history = [rowAt(10n), rowAt(20n)];
    await runSink(store, history.slice(0, 1), SHORT, onDay(21));
    for (let i = 0; i < 65; i++) await diesAt(store, `putIf ${OPEN_FOLDER}`, history, 22);
    expect((await runSink(store, history, SHORT, onDay(22))).error).toBeNull();
    expect(await publishedIds(store)).toEqual(['10', '20']);
  });

  it('hides none before it when it was only closed: a run knows what stands in the last ones that have something', async () => {
    const store = new MemoryStore();
    const history = [rowAt(10n), rowAt(20n)];
    await runSink(store, history.slice(0, 1), SHORT, onDay(21));
    for (const day of [22, 23, 24]) await diesAt(store, `putIfAbsent public/users/7/2026-11-${day}/CDC`, history, day);
    expect((await runSink(store, history, SHORT, onDay(25))).error).toBeNull();
    expect(await publishedIds(store)).toEqual(['10', '20']);
  });

  it.each(['{}', '{"v":1,"run":1,"date":"2026-11-21"}', '{"v":1,"run":"a"}', 'x'])(
    'that nobody can read stops the run: %s',
    async (content) => {
      const store = new MemoryStore();
      await runSink(store, [rowAt(10n)], SHORT, onDay(21));
      await store.put(OPEN_FOLDER, [Buffer.from(content)]);
      const { error } = await runSink(store, [rowAt(10n), rowAt(20n)], SHORT, onDay(22));
      expect(error).toMatchObject({ code: 'MR_STORAGE_FILE_MALFORMED', details: { path: OPEN_FOLDER } });
    },
  );
});

describe('clean-up of folders that a next run has closed', () => {
  it('removes them whole, and says up to where rows are gone', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const first = await cleanedWorld(clock, store);
      await first.commit(10n);
      await first.world.close();
      await clock.advance(DAY_MS);
      const second = await cleanedWorld(clock, store);
      await second.commit(20n);
      expect(await store.exists('public/users/1/1970-01-01/CDC000002.json')).toBe(true);
      await second.noonOf(5);
      await second.commit(30n);
      await clock.advance(DAY_MS);
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      expect((await readCleanedMark(store)).folders.get('public/users')).toMatchObject({ upTo: { commitTs: 20n } });
      await second.world.close();
    });
  });

  it('leaves one whose rows lie beyond the published checkpoint', async () => {
    const store = new MemoryStore();
    await runSink(store, [rowAt(10n)], SHORT, onDay(21));
    await runSink(store, [rowAt(10n), rowAt(20n)], SHORT, onDay(22));
    const kept: string[] = [];
    const job = { store, mark: NOTHING_CLEANED, before: '2026-11-22', isStopped: () => false, onKept: (path: string) => kept.push(path) };
    expect(await cleanUp({ ...job, publishedTs: 9n })).toMatchObject({ directories: 0 });
    expect(kept).toEqual(['public/users/7/2026-11-21']);
    expect(await cleanUp({ ...job, publishedTs: 10n })).toMatchObject({ directories: 1 });
  });

  it.each([
    ['year', '1970'],
    ['month', '1970-01'],
  ])('never comes to one that is called by a %s: the next run closes it', async (dateSeparator, date) => {
    await virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const first = await cleanedWorld(clock, store, { dateSeparator, fileExpirationDays: 0 });
      await first.commit(10n);
      await first.world.close();
      const second = await cleanedWorld(clock, store);
      await second.noonOf(5);
      await second.commit(20n, table('logs', 1n, ['id', 'name'], ['id']));
      await clock.advance(DAY_MS);
      await second.commit(30n);
      await second.world.close();
      expect(await store.exists(`public/users/1/${date}/CDC000002.json`)).toBe(true);
    });
  });

  it('is final: a run that comes later closes nothing in a folder that was cleaned up', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const first = await cleanedWorld(clock, store);
      await first.commit(10n);
      await first.noonOf(5);
      await first.commit(20n, table('logs', 1n, ['id', 'name'], ['id']));
      await clock.advance(DAY_MS);
      await first.world.close();
      const second = await cleanedWorld(clock, store);
      await second.commit(30n);
      expect((await keysOf(store)).filter((key) => key.includes('1970-01-01'))).toEqual([]);
      await second.world.close();
    });
  });
});
