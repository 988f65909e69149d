import { describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../lib/flow/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { EVERY_ROW, historyOf, SMALL_FILES } from '../../support/once-world.ts';
import { publishedRows } from '../../support/published.ts';
import { runSink, settle } from '../../support/sink-world.ts';

const ONCE = { hasOrdinals: true };
const INDEX = /^public\/users\/.*CDC\.index$/;
const dataFiles = ({ written }: GateStore) => written.filter((key) => /^public\/users\/.*\.json$/.test(key) && !key.includes('schema_'));

/** Runs the sink until the index of the first file of `users` waits, and everything has come that does not wait for it. */
async function heldAtIndex(store: GateStore) {
  store.hold(INDEX);
  const ended = runSink(store, historyOf(2), SMALL_FILES, ONCE);
  while (store.waiting === 0 || dataFiles(store).length < 2) await settle();
  for (let turn = 0; turn < 50; turn++) await settle();
  return { ended };
}

describe('a file that is written while the one before it is published', () => {
  it('is one, and no third; an index that comes then publishes what is there', async () => {
    const store = new GateStore();
    const { ended } = await heldAtIndex(store);
    expect(dataFiles(store)).toHaveLength(2);
    expect((await publishedRows(store)).filter((row) => !row.includes('note'))).toEqual([]);
    store.release();
    const { error, reports, checkpointTs } = await ended;
    expect([error, checkpointTs]).toEqual([null, 40n]);
    const ofUsers = reports.filter(({ table }) => table === 'public.users').map(({ path }) => path);
    expect(ofUsers).toEqual(dataFiles(store));
    expect(store.written.filter((key) => INDEX.test(key)).length).toBeLessThanOrEqual(ofUsers.length);
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('is whole behind the index when the process ends there, as the one before it is: the next run publishes both, and no row is twice', async () => {
    const store = new GateStore();
    const { ended } = await heldAtIndex(store);
    // What waits goes on when the next run is through, as a late write would.
    const late = store.takeWaiting();
    expect((await runSink(store, historyOf(3), SMALL_FILES, ONCE)).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
    for (const go of late) go();
    expect((await ended).error).toMatchObject({ code: 'MR_STALE_EPOCH' });
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('is not begun in another folder: there it would be published before the one that it follows', async () => {
    let day = 21;
    const clock = { ...systemClock, now: () => Date.UTC(2026, 10, day) };
    const store = new GateStore();
    store.hold(INDEX);
    const ended = runSink(store, historyOf(2), { ...SMALL_FILES, dateSeparator: 'day' }, { ...ONCE, clock });
    while (store.waiting === 0) await settle();
    day = 22;
    for (let turn = 0; turn < 50; turn++) await settle();
    expect(dataFiles(store).filter((key) => key.includes('2026-11-22'))).toEqual([]);
    store.release();
    expect((await ended).error).toBeNull();
    expect(dataFiles(store).some((key) => key.includes('2026-11-22'))).toBe(true);
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });
});
