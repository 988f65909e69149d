import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { systemClock } from '../../../lib/flow/index.ts';
import { MemoryStore, type ObjectStore, openFsStore } from '../../../lib/stores/index.ts';
import { readTable } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { EVERY_ROW, historyOf, SMALL_FILES, users } from '../../support/once-world.ts';
import { publishedRows } from '../../support/published.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const ONCE = { hasOrdinals: true };

/** On that day of November 2026. */
function onDay(day: number) {
  return { ...ONCE, clock: { ...systemClock, now: () => Date.UTC(2026, 10, day) } };
}

/** The calls of a run that nothing disturbs: `put …` and so on. */
async function callsOf(store: ObjectStore): Promise<string[]> {
  const counted = new FaultStore(store);
  expect((await runSink(counted, historyOf(2), SMALL_FILES, ONCE)).error).toBeNull();
  return counted.log;
}

/** A writer that is killed at a call, and another that is begun where its checkpoint was, from a source that cuts its blocks elsewhere. */
async function killedAt(store: ObjectStore, at: number, when: 'before' | 'after'): Promise<string[]> {
  const { error, checkpointTs } = await runSink(new FaultStore(store, { at, when }), historyOf(2), SMALL_FILES, ONCE);
  expect(error).not.toBeNull();
  const again = await runSink(store, historyOf(3), SMALL_FILES, { ...ONCE, checkpointTs });
  expect({ at, when, error: again.error }).toEqual({ at, when, error: null });
  return publishedRows(store);
}

function transaction(commitTs: bigint, of = users()): Transaction {
  const events = () => [
    dmlEvent(
      new RowBlockWriter(of)
        .beginTransaction(commitTs)
        .insert({ id: `${commitTs}`, name: 'x' })
        .build(),
    ),
  ];
  return { commitTs, events };
}

describe('exactly once in the files, where the source numbers its changes', () => {
  it('memory: a writer that is killed at any call leaves each row in one published file, when the next has come to its end', async () => {
    const calls = await callsOf(new MemoryStore());
    expect(calls.filter((call) => /CDC\d+\.json$/.test(call) && call.startsWith('putIfAbsent')).length).toBeGreaterThan(4);
    for (let at = 1; at <= calls.length; at++) {
      for (const when of ['before', 'after'] as const) {
        expect({ at, when, rows: await killedAt(new MemoryStore(), at, when) }).toEqual({ at, when, rows: EVERY_ROW });
      }
    }
  }, 180_000);

  it('fs: a writer that is killed between sidecar, data and index leaves each row in one published file', async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-once-'));
    try {
      const calls = await callsOf(await openFsStore(join(root, 'counted')));
      for (const [index, call] of calls.entries()) {
        if (!/^put.*CDC/.test(call)) continue;
        for (const when of ['before', 'after'] as const) {
          const rows = await killedAt(await openFsStore(join(root, `${index} ${when}`)), index + 1, when);
          expect({ call, when, rows }).toEqual({ call, when, rows: EVERY_ROW });
        }
      }
    } finally {
      await rm(root, { recursive: true });
    }
  }, 180_000);

  it('a second kill, at any call of the restart, changes nothing', async () => {
    const calls = await callsOf(new MemoryStore());
    const dataPuts = calls.flatMap((call, index) => (/^putIfAbsent.*users.*CDC\d+\.json$/.test(call) ? [index + 1] : []));
    for (let second = 1; second <= 40; second++) {
      const store = new MemoryStore();
      const at = dataPuts[second % dataPuts.length]!;
      const first = await runSink(new FaultStore(store, { at, when: 'after' }), historyOf(2), SMALL_FILES, ONCE);
      const fault = new FaultStore(store, { at: second, when: second % 2 === 0 ? 'before' : 'after' });
      const { checkpointTs } = await runSink(fault, historyOf(3), SMALL_FILES, { ...ONCE, checkpointTs: first.checkpointTs });
      const last = await runSink(store, historyOf(4), SMALL_FILES, { ...ONCE, checkpointTs });
      expect({ second, error: last.error, rows: await publishedRows(store) }).toEqual({ second, error: null, rows: EVERY_ROW });
    }
  }, 120_000);

  it('a writer that comes in another date folder knows what stands in the last one', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n), transaction(20n), transaction(30n)];
    await runSink(store, history.slice(0, 2), { dateSeparator: 'month' }, ONCE);
    await runSink(store, history.slice(0, 2), { dateSeparator: 'day' }, ONCE);
    await runSink(store, history, { dateSeparator: 'none' }, ONCE);
    expect(await publishedRows(store)).toEqual(['10/0 10', '20/0 20', '30/0 30']);
  });

  it('a writer that comes when the clock was set back, and right again, knows what stands in both folders', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n), transaction(20n), transaction(30n)];
    await runSink(store, history.slice(0, 1), { dateSeparator: 'day' }, onDay(22));
    await runSink(store, history.slice(0, 2), { dateSeparator: 'day' }, onDay(21));
    await runSink(store, history, { dateSeparator: 'day' }, onDay(22));
    expect(await publishedRows(store)).toEqual(['10/0 10', '20/0 20', '30/0 30']);
  });

  it('a writer knows what stands in the folder that the last one wrote to, however far the clock was set back', async () => {
    const store = new MemoryStore();
    const history = [transaction(10n), transaction(20n), transaction(30n), transaction(40n)];
    for (const [runs, day] of [24, 25, 21, 25].entries()) {
      expect((await runSink(store, history.slice(0, runs + 1), { dateSeparator: 'day' }, onDay(day))).error).toBeNull();
    }
    expect(await publishedRows(store)).toEqual(['10/0 10', '20/0 20', '30/0 30', '40/0 40']);
  });

  it('a foreign file behind the index of an earlier folder takes nothing from what is published there', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n)], { dateSeparator: 'day' }, onDay(21));
    await store.put('public/users/7/2026-11-21/CDC00000000000000000002.json', [Buffer.from('of somebody')]);
    expect((await runSink(store, [transaction(10n), transaction(20n)], { dateSeparator: 'day' }, onDay(22))).error).toBeNull();
    expect(await publishedRows(store)).toEqual(['10/0 10', '20/0 20']);
  });

  it('dispatchers that share one numbering are told apart: what one has published takes nothing from the other', async () => {
    const store = new MemoryStore();
    const other = table('users', 7n, ['id', 'name'], ['id'], { dispatcher: 'f'.repeat(32) as never });
    await runSink(store, [transaction(30n, other)], SMALL_FILES, ONCE);
    const { error } = await runSink(store, [transaction(10n), transaction(30n, other), transaction(40n)], SMALL_FILES, ONCE);
    expect(error).toBeNull();
    expect(await publishedRows(store)).toEqual(['10/0 10', '30/0 30', '40/0 40']);
  });

  it('a version of its own has a beginning of its own', async () => {
    const store = new MemoryStore();
    const wider = table('users', 25n, ['id', 'name', 'age'], ['id']);
    await runSink(store, [transaction(10n), transaction(20n)], SMALL_FILES, ONCE);
    await runSink(store, [transaction(20n), transaction(30n, wider)], SMALL_FILES, ONCE);
    await runSink(store, [transaction(20n), transaction(30n, wider), transaction(40n, wider)], SMALL_FILES, ONCE);
    expect(await publishedRows(store)).toEqual(['10/0 10', '20/0 20', '30/0 30', '40/0 40']);
  });

  it('sidecars from before they named the dispatcher tell nothing, so nothing is dropped, and readers see each row once', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n)], SMALL_FILES, ONCE);
    const sidecar = 'public/users/7/meta/CDC00000000000000000001.positions';
    await store.put(sidecar, [Buffer.from(String(await store.get(sidecar)).replace(/"dispatcher":"\w+",/, ''))]);
    await runSink(store, [transaction(10n), transaction(20n)], SMALL_FILES, ONCE);
    expect(await publishedRows(store)).toEqual(['10/0 10', '10/0 10', '20/0 20']);
    expect(await shownRows(store)).toEqual(['10', '20']);
  });
});

describe('where the source does not number its changes', () => {
  it('files can hold a row again, and readers see each position once', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(10n)], SMALL_FILES);
    await runSink(store, [transaction(10n), transaction(20n)], SMALL_FILES);
    expect(await publishedRows(store)).toEqual(['10/0 10', '10/0 10', '20/0 20']);
    expect(await shownRows(store)).toEqual(['10', '20']);
  });

  it('a repetition within one file is a second change of its position: readers see both', async () => {
    const store = new MemoryStore();
    const twice: Transaction = { commitTs: 10n, events: () => [...transaction(10n).events(), ...transaction(10n).events()] };
    await runSink(store, [twice], SMALL_FILES);
    expect(await publishedRows(store)).toEqual(['10/0 10', '10/0 10']);
    expect(await shownRows(store)).toEqual(['10', '10']);
  });
});

async function shownRows(store: ObjectStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const changes of readTable(store, { schema: 'public', table: 'users' })) ids.push(...changes.map(({ data }) => data!['id']!));
  return ids;
}
