import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter, resolvedEvent } from '../../../../lib/events/index.ts';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { virtualTime } from '../../../../lib/testing/index.ts';
import { cleanedWorld, DAY_MS, daysOf, idsOf, keysOf, users } from '../../../support/cleaned-world.ts';
import { GateStore } from '../../../support/gate-store.ts';
import { table } from '../../../support/sink-world.ts';

describe('a writer and the folders that clean-up removes', () => {
  it("a cached index that points at a folder that is gone is not used: a table that was idle begins in the day's own", async () => {
    await virtualTime(async ({ clock }) => {
      const { store, ...on } = await cleanedWorld(clock, new MemoryStore());
      await on.commit(10n);
      await on.commit(11n);
      await on.noonOf(5);
      await on.commit(20n, table('logs', 1n, ['id', 'name'], ['id']));
      await clock.advance(DAY_MS);
      expect((await keysOf(store)).filter((key) => /users.*CDC/.test(key))).toEqual([]);
      await on.commit(30n);
      expect((await keysOf(store)).filter((key) => /users.*index/.test(key))).toEqual(['public/users/1/1970-01-07/meta/CDC.index']);
      expect(await idsOf(store)).toEqual(['30']);
      await on.world.close();
    });
  });

  it.each(['in one life', 'after a restart'])(
    'a clock that is set back brings no rows into folders that were cleaned up, %s',
    async (when) => {
      await virtualTime(async ({ clock }) => {
        const store = new MemoryStore();
        let backMs = 0;
        const now = clock.now.bind(clock);
        clock.now = () => now() - backMs;
        let on = await cleanedWorld(clock, store);
        await on.commit(10n);
        await clock.advance(5 * DAY_MS);
        await on.commit(20n);
        await clock.advance(DAY_MS);
        expect(await daysOf(store)).toEqual(['1970-01-06']);
        backMs = 6 * DAY_MS;
        if (when !== 'in one life') {
          await on.world.close();
          on = await cleanedWorld(clock, store);
        }
        await on.commit(30n, users(), 6 * DAY_MS);
        expect(await daysOf(store)).toEqual(['1970-01-05', '1970-01-06']);
        expect(await idsOf(store)).toEqual(['20', '30']);
        await on.world.close();
      });
    },
  );

  it('a clock that was far ahead and is set right does not hold up the next clean-up until it is there again', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      let aheadMs = 1000 * DAY_MS;
      const now = clock.now.bind(clock);
      clock.now = () => now() + aheadMs;
      const on = await cleanedWorld(clock, store);
      aheadMs = 0;
      await on.commit(10n);
      await clock.advance(5 * DAY_MS);
      await on.commit(20n);
      await clock.advance(DAY_MS);
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      await on.world.close();
    });
  });

  it('I9: what the run before cleans up until it is overtaken counts, also for a run that had begun to open the target then', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new GateStore();
      let backMs = 0;
      const now = clock.now.bind(clock);
      clock.now = () => now() - backMs;
      const before = await cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 * * * *' });
      await before.commit(10n);
      store.hold(/meta\/epoch/);
      const opening = cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 * * * *' });
      await clock.advance(1000);
      expect(store.waiting).toBe(1);
      await before.noonOf(5);
      await before.commit(20n);
      await clock.advance(3600_000);
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      backMs = 6 * DAY_MS;
      store.release();
      await clock.settle();
      const next = await opening;
      await next.commit(30n, users(), 6 * DAY_MS);
      expect(await daysOf(store)).toEqual(['1970-01-05', '1970-01-06']);
      expect(await idsOf(store)).toEqual(['20', '30']);
      await Promise.all([before.world.close(), next.world.close()]);
    });
  });

  it('rows that wait for a slow store through the night of the clean-up arrive, in a folder that stays', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new GateStore();
      const on = await cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 * * * *' });
      await on.commit(10n);
      await on.noonOf(1);
      store.hold(/CDC/);
      const row = new RowBlockWriter(users()).beginTransaction(20n).insert({ id: '20', name: 'x' });
      on.world.send(dmlEvent(row.build()), resolvedEvent(20n, BigInt(clock.now()) * 1000n));
      await on.noonOf(6);
      expect(await daysOf(store)).toEqual(['1970-01-01']);
      store.release();
      await clock.advance(5000);
      await on.publish();
      expect(await daysOf(store)).toEqual(['1970-01-01', '1970-01-02']);
      expect(await idsOf(store)).toEqual(['10', '20']);
      await on.world.close();
    });
  });
});
