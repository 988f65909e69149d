import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { systemClock } from '../../../lib/flow/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { readTable } from '../../../pipelines/index.ts';
import { EVERY_ROW, historyOf, SMALL_FILES, users } from '../../support/once-world.ts';
import { publishedRows } from '../../support/published.ts';
import { runSink, settle, type Transaction } from '../../support/sink-world.ts';
import { type Stage, turnStore } from '../../support/turn-store.ts';

const ONCE = { hasOrdinals: true };

/** A store that holds one call, the `nth` that fits, until it is let go. */
function held(store: MemoryStore, call: RegExp, stage: Stage, nth = 1) {
  let release = () => {};
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isHeld = false;
  let fitting = 0;
  const slow = turnStore(store, (_, when, name) => {
    if (isHeld || when !== stage || !call.test(name) || ++fitting < nth) return;
    isHeld = true;
    return until;
  });
  return { slow, release, isHeld: () => isHeld };
}

async function idsOf(store: MemoryStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const changes of readTable(store, { schema: 'public', table: 'users' })) {
    ids.push(...changes.map(({ op, data }) => `${op} ${data?.['id'] ?? ''}`));
  }
  return ids;
}

describe('writes of a run that is over and that come late', () => {
  it('a data file behind the next run’s sidecar of its number: the sidecar keeps what describes it, and no row is twice', async () => {
    const store = new MemoryStore();
    const first = held(store, /^putIfAbsent .*users.*1\.json$/, 'before');
    const ofFirst = runSink(first.slow, historyOf(2), SMALL_FILES, ONCE);
    while (!first.isHeld()) await settle();
    const second = held(store, /^putIf .*users.*1\.positions$/, 'after');
    const ofSecond = runSink(second.slow, historyOf(3), SMALL_FILES, ONCE);
    while (!second.isHeld()) await settle();
    first.release();
    await ofFirst;
    // Published by the first, described by the second as what may have come instead.
    expect(JSON.parse(String(await store.get('public/users/7/meta/CDC00000000000000000001.positions')))).toMatchObject({
      or: [{ rows: 2 }],
    });
    expect(await publishedRows(store)).toEqual(expect.arrayContaining(['10/0 10.0', '10/1 10.1']));
    await store.put('metadata', [Buffer.from('{"checkpoint-ts":10}')]);
    expect(await idsOf(store)).toEqual(['I 10.0', 'I 10.1']);
    second.release();
    expect((await ofSecond).error).toMatchObject({ code: 'MR_FOREIGN_FILE' });
    expect((await runSink(store, historyOf(4), SMALL_FILES, ONCE)).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('a file that is published between the look of the next run and its first write there: that run ends, and the one behind it drops the rows', async () => {
    const store = new MemoryStore();
    const first = held(store, /^putIfAbsent .*users.*1\.json$/, 'before');
    const ofFirst = runSink(first.slow, historyOf(2), SMALL_FILES, ONCE);
    while (!first.isHeld()) await settle();
    const second = held(store, /^getVersioned .*users.*CDC\.index$/, 'before', 2);
    const ofSecond = runSink(second.slow, historyOf(3), SMALL_FILES, ONCE);
    while (!second.isHeld()) await settle();
    first.release();
    expect((await ofFirst).error).toMatchObject({ code: 'MR_STALE_EPOCH' });
    second.release();
    expect((await ofSecond).error).toMatchObject({ code: 'MR_FOREIGN_FILE' });
    expect((await runSink(store, historyOf(4), SMALL_FILES, ONCE)).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('a file that is published in the folder of the day before, which nobody saw come, when the next run has looked: that run ends, and the one behind it drops the rows', async () => {
    const store = new MemoryStore();
    const on = (day: number) => ({ ...ONCE, clock: { ...systemClock, now: () => Date.UTC(2026, 10, day) } });
    const byDay = { ...SMALL_FILES, dateSeparator: 'day' } as const;
    const first = held(store, /^putIf .*users.*1\.positions$/, 'before');
    const ofFirst = runSink(first.slow, historyOf(2), byDay, on(21));
    while (!first.isHeld()) await settle();
    // The first is of the look.
    const second = held(store, /^getVersioned .*users.*open\.folder$/, 'before', 2);
    const ofSecond = runSink(second.slow, historyOf(3), byDay, on(22));
    while (!second.isHeld()) await settle();
    first.release();
    expect((await ofFirst).error).toMatchObject({ code: 'MR_STALE_EPOCH' });
    second.release();
    expect((await ofSecond).error).toMatchObject({ code: 'MR_FOREIGN_FILE' });
    expect((await runSink(store, historyOf(4), byDay, on(22))).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('files of a version that was abandoned: it stays removed, for readers and for the next run', async () => {
    const store = new MemoryStore();
    const snapshot = (version: bigint, abandons: readonly bigint[] = []): Transaction => ({
      commitTs: version,
      events: () => [
        ddlEvent({ position: { commitTs: version, ordinal: 0 }, commitTimeUs: 0n, table: users(version), startsEmpty: true, abandons }),
        dmlEvent(
          new RowBlockWriter(users(version))
            .beginTransaction(version)
            .insert({ id: `${version}`, name: 'x' })
            .build(),
        ),
      ],
    });
    await runSink(store, [snapshot(10n)], SMALL_FILES, ONCE);
    const abandoned: [string, Buffer][] = [];
    for await (const { key } of store.list('public/users/')) abandoned.push([key, (await store.get(key))!]);
    await runSink(store, [snapshot(20n, [10n])], SMALL_FILES, ONCE);
    for (const [key, content] of abandoned) await store.put(key, [content]);
    expect(await idsOf(store)).toEqual(['I 20']);
    const later: Transaction = {
      commitTs: 30n,
      events: () => [dmlEvent(new RowBlockWriter(users(20n)).beginTransaction(30n).insert({ id: '30', name: 'x' }).build())],
    };
    await runSink(store, [later], SMALL_FILES, { ...ONCE, checkpointTs: 20n });
    expect(await idsOf(store)).toEqual(['I 20', 'I 30']);
  });
});
