import { describe, expect, it } from '@jest/globals';
import { ddlEvent, dmlEvent, RowBlockWriter, type Table } from '../../../lib/events/index.ts';
import { MemoryStore, type ObjectBody } from '../../../lib/stores/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { cleanedWorld } from '../../support/cleaned-world.ts';
import { EventLog } from '../../support/event-log.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { historyOf, SMALL_FILES, users } from '../../support/once-world.ts';
import { openWorld, runSink, settle, type Transaction } from '../../support/sink-world.ts';

const row = (commitTs: bigint, of: Table = users()) =>
  dmlEvent(
    new RowBlockWriter(of)
      .beginTransaction(commitTs)
      .insert({ id: `${commitTs}`, name: 'x' })
      .build(),
  );
const transaction = (commitTs: bigint, of?: Table): Transaction => ({ commitTs, events: () => [row(commitTs, of)] });

describe('what the cloud storage sink tells', () => {
  it('of a target: that it was taken over, with the number of the writer, and of each schema file', async () => {
    const store = new MemoryStore();
    const log = new EventLog();
    await runSink(store, [transaction(10n)], {}, { events: log.of('world') });
    await runSink(store, [transaction(20n)], {}, { checkpointTs: 10n, events: log.of('world') });
    expect(log.told('target_opened')).toEqual([
      { pipeline: 'world', uri: store.uri, epoch: 1, is_new: true },
      { pipeline: 'world', uri: store.uri, epoch: 2, is_new: false },
    ]);
    expect(log.told('schema_file_written')).toEqual([
      { pipeline: 'world', table: 'public.users', version: '7', path: expect.stringMatching(/^public\/users\/meta\/schema_7_\d+\.json$/) },
    ]);
  });

  it('of what an earlier run left: whole files that are published, and rows that are there already', async () => {
    const counted = new FaultStore(new MemoryStore());
    await runSink(counted, historyOf(2), SMALL_FILES, { hasOrdinals: true });
    const told = new EventLog();
    for (const [index, call] of counted.log.entries()) {
      if (!/CDC.*\.(json|index)$/.test(call)) continue;
      const store = new MemoryStore();
      const { checkpointTs } = await runSink(new FaultStore(store, { at: index + 1, when: 'after' }), historyOf(2), SMALL_FILES, {
        hasOrdinals: true,
      });
      await runSink(store, historyOf(3), SMALL_FILES, { hasOrdinals: true, checkpointTs, events: told.of('world') });
    }
    expect(told.told('file_adopted')[0]).toMatchObject({ path: expect.stringMatching(/CDC\d+\.json$/), rows: expect.any(Number) });
    expect(told.told('published_rows_skipped')[0]).toMatchObject({ table: expect.stringMatching(/^public\./), rows: expect.any(Number) });
  });

  it('of stale rows, which it does not write', async () => {
    const store = new MemoryStore();
    await runSink(store, [transaction(30n, users(25n))]);
    const log = new EventLog();
    await runSink(store, [transaction(31n, users(7n))], {}, { checkpointTs: 30n, events: log.of('world') });
    expect(log.told('stale_rows_discarded')).toEqual([{ pipeline: 'world', table: 'public.users', version: '7', rows: 1 }]);
  });

  it('I9: that another run has taken over, once', async () => {
    const store = new MemoryStore();
    const clock = manualClock();
    const log = new EventLog();
    const stale = await openWorld(store, {}, clock, {}, log.of('world', clock));
    stale.send(row(10n));
    clock.advance(5000);
    await settle();
    stale.send(row(20n));
    await runSink(store, [transaction(20n)], { dateSeparator: 'none' }, { checkpointTs: 10n });
    clock.advance(5000);
    await settle();
    expect(stale.end).toMatchObject({ code: 'MR_STALE_EPOCH' });
    await stale.close();
    expect(log.told('target_fenced_off')).toEqual([{ pipeline: 'world', uri: store.uri, epoch: 1, other_epoch: 2 }]);
  });

  it('of clean-up, done or failed', async () => {
    await virtualTime(async ({ clock }) => {
      const log = new EventLog();
      const store = new MemoryStore();
      const world = await cleanedWorld(clock, store, {}, log.of('world', clock));
      for (const day of [0, 1, 2, 3]) {
        await world.noonOf(day);
        await world.commit(BigInt(day + 10));
      }
      await clock.advance(14 * 3600 * 1000);
      expect(log.told('clean_up_done').at(-1)).toMatchObject({ before: '1970-01-03', files: 3, directories: 1 });
      store.delete = () => Promise.reject(new Error('no more deletes'));
      await world.noonOf(5);
      await world.commit(20n);
      await clock.advance(14 * 3600 * 1000);
      expect(log.told('clean_up_failed')).toMatchObject([{ error: expect.stringContaining('no more deletes') }]);
      await world.world.close();
    });
  });

  it('of a file that took long to write', async () => {
    await virtualTime(async ({ clock }) => {
      class SlowStore extends MemoryStore {
        override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
          if (key.includes('CDC')) await clock.sleep(31_000);
          return super.putIfAbsent(key, body);
        }
      }
      const log = new EventLog();
      await runSink(new SlowStore(), [transaction(10n)], {}, { clock, events: log.of('world', clock) });
      expect(log.all.filter(({ type }) => type === 'slow_operation')).toMatchObject([
        {
          payload: { table: 'public.users', path: expect.stringMatching(/CDC/), rows: 1 },
          extraRows: [[31_000n, 30_000, 'write_file', null]],
        },
      ]);
    });
  });

  it('of a schema change that waited long for the rows before it, and took long to write', async () => {
    await virtualTime(async ({ clock }) => {
      class SlowStore extends MemoryStore {
        override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
          if (key.includes('CDC') || key.includes('schema_20')) await clock.sleep(31_000);
          return super.putIfAbsent(key, body);
        }
        override async put(key: string, body: ObjectBody): Promise<void> {
          if (key.includes('schema_20')) await clock.sleep(31_000);
          await super.put(key, body);
        }
      }
      const log = new EventLog();
      const altered = () =>
        ddlEvent({ position: { commitTs: 20n, ordinal: 0 }, commitTimeUs: 0n, table: users(20n), query: 'ALTER TABLE', action: 5 });
      const history = [transaction(10n), { commitTs: 20n, events: () => [altered()] }];
      await runSink(new SlowStore(), history, {}, { clock, events: log.of('world', clock) });
      const slow = log.all.filter(({ type }) => type === 'slow_operation');
      expect(new Map(slow.map(({ extraRows, payload }) => [extraRows![0]![2], payload]))).toEqual(
        new Map<string, object>([
          ['write_file', expect.objectContaining({ table: 'public.users' })],
          ['drain', { pipeline: 'world', dispatcher: users().dispatcher }],
          ['write_schema', { pipeline: 'world', table: 'public.users', version: '20' }],
        ]),
      );
    });
  });
});
