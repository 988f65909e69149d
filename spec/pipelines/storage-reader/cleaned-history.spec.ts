import { describe, expect, it } from '@jest/globals';
import { MillraceError } from '../../../lib/errors.ts';
import { type Table, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type VirtualClock, virtualTime } from '../../../lib/testing/index.ts';
import { readTable, rebuildTable, StoredTarget, type TableChanges, TableImage, TargetReader } from '../../../pipelines/index.ts';
import { type CleanedWorld, cleanedWorld, DAY_MS, daysOf, USERS, users } from '../../support/cleaned-world.ts';
import { table } from '../../support/sink-world.ts';

const logs = () => table('logs', 1n, ['id', 'name'], ['id']);

async function partsOf(reader: TargetReader): Promise<TableChanges[]> {
  const parts: TableChanges[] = [];
  for await (const part of reader.poll()) parts.push(part);
  return parts;
}

async function idsOf(reader: TargetReader): Promise<string[]> {
  return (await partsOf(reader)).flatMap(({ changes }) => changes.map(({ op, data }) => `${op}${data?.['id'] ?? ''}`));
}

/** Rows 10 to 12 of `users` on the first three days, and 20 on the sixth. The next night's clean-up removes the first three. */
async function sixDays(clock: VirtualClock, store: MemoryStore, of: Table = users()): Promise<CleanedWorld> {
  const on = await cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 2 7 1 *' });
  for (const day of [0, 1, 2]) {
    await on.noonOf(day);
    await on.commit(BigInt(day + 10), of);
  }
  await on.noonOf(5);
  await on.commit(20n, of);
  return on;
}

const night = (clock: VirtualClock) => clock.advance(DAY_MS);

function world(test: (on: CleanedWorld, store: MemoryStore) => Promise<void>, of?: Table): Promise<void> {
  return virtualTime(async ({ clock }) => {
    const store = new MemoryStore();
    const on = await sixDays(clock, store, of);
    await test(on, store);
    await on.world.close();
  });
}

/** spec storage-sink §9.3, hazards */
describe('a reader of a target that is cleaned up', () => {
  it('that comes for the first time is told where the history begins, and has all that is behind', () =>
    world(async ({ clock }, store) => {
      await night(clock);
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      const parts = await partsOf(new TargetReader(store));
      expect(parts.map(({ removedUpTo, changes }) => [removedUpTo ?? null, changes.map(({ data }) => data?.['id'])])).toEqual([
        [{ commitTs: 12n, ordinal: 0 }, []],
        [null, ['20']],
      ]);
    }));

  it('hears of no TRUNCATE that is missing with the changes around it: what it is given is behind the position that it is told', () =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const on = await cleanedWorld(clock, store);
      const truncate = async (commitTs: bigint) => {
        const position = { commitTs, ordinal: 0 };
        on.world.send(truncateEvent({ position, commitTimeUs: 0n, table: users(commitTs), query: 'TRUNCATE users' }));
        await clock.advance(5000);
      };
      await on.commit(10n);
      await truncate(11n);
      await on.commit(12n, users(11n));
      await on.noonOf(5);
      await on.commit(20n, users(11n));
      await truncate(21n);
      await on.commit(22n, users(21n));
      await night(clock);
      const reader = new TargetReader(store);
      // Nor does one that breaks off in between, and goes on from its cursor.
      for await (const { removedUpTo } of reader.poll()) if (removedUpTo !== undefined) break;
      const { cursor } = reader;
      expect(await idsOf(new TargetReader(store, { cursor }))).toEqual(['I20', 'T', 'I22']);
      expect(await idsOf(new TargetReader(store))).toEqual(['I20', 'T', 'I22']);
      await on.world.close();
    }));

  it('with a cursor behind what was removed is refused, with a remedy, and not given what is left as if it were all', () =>
    world(async ({ clock }, store) => {
      const early = new TargetReader(store);
      for await (const { changes } of early.poll()) if (changes.some(({ data }) => data?.['id'] === '11')) break;
      const { cursor } = early;
      await night(clock);
      for (const reader of [early, new TargetReader(store, { cursor })]) {
        await expect(partsOf(reader)).rejects.toMatchObject({
          code: 'MR_HISTORY_REMOVED',
          details: { table: 'public.users', position: '12/0', reason: 'this reader has come to 11/0' },
          remedy: expect.stringMatching(/without a cursor.*--resnapshot public\.users.*file-expiration-days/) as unknown,
        });
      }
    }));

  it('with a cursor behind what was removed is refused also where nothing new came since, so that there is nothing else to notice it by', () =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const on = await cleanedWorld(clock, store);
      await on.commit(10n);
      const reader = new TargetReader(store);
      await partsOf(reader);
      await on.commit(11n);
      await on.noonOf(5);
      await on.commit(20n, logs());
      await night(clock);
      expect((await store.exists('public/users/1/1970-01-01/meta/CDC.index')) === false).toBe(true);
      await expect(partsOf(reader)).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED', details: { table: 'public.users' } });
      await on.world.close();
    }));

  it("with a consumer's remembered keys of folders that are gone goes on: it has read what was in them", () =>
    world(async (on, store) => {
      const reader = new TargetReader(store);
      expect(await idsOf(reader)).toEqual(['I10', 'I11', 'I12', 'I20']);
      const { cursor } = reader;
      expect(cursor).toMatch(/1970-01-02/);
      await night(on.clock);
      await on.commit(30n);
      const later = new TargetReader(store, { cursor });
      expect([await idsOf(reader), await idsOf(later)]).toEqual([['I30'], ['I30']]);
      expect(later.cursor).not.toMatch(/1970-01-02/);
    }));

  it('is refused a table made of what is left, and told how to have it whole', () =>
    world(async ({ clock }, store) => {
      await night(clock);
      const refusal = { code: 'MR_HISTORY_REMOVED', details: { table: 'public.users', position: '12/0' } };
      await expect(rebuildTable(store, USERS)).rejects.toMatchObject(refusal);
      await expect(readTable(store, USERS).next()).rejects.toMatchObject(refusal);
      const [first] = await partsOf(new TargetReader(store));
      expect(() => new TableImage().apply(first!)).toThrow(/MR_HISTORY_REMOVED: clean-up has removed changes of public.users/);
    }));

  it('has a whole table where it was truncated behind what was removed, and not where before', () =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const on = await cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 2 * * *' });
      const truncate = async (commitTs: bigint) => {
        on.world.send(
          truncateEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table: users(commitTs), query: 'TRUNCATE users' }),
        );
        await clock.advance(5000);
      };
      await on.commit(10n);
      await truncate(11n);
      await on.commit(12n, users(11n));
      await on.noonOf(5);
      await on.commit(20n, users(11n));
      await night(clock);
      await expect(rebuildTable(store, USERS)).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED', details: { position: '12/0' } });
      await truncate(30n);
      await on.commit(31n, users(30n));
      expect((await rebuildTable(store, USERS)).rowCount).toBe(1);
      await expect(rebuildTable(store, USERS, { upTo: 29n })).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED' });
      await on.world.close();
    }));

  it('hears of it when files go between its list and its reading', () =>
    world(async ({ clock }, store) => {
      const target = await StoredTarget.open(store);
      await night(clock);
      await expect(readTable(target, USERS).next()).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED' });
    }));

  it('hears of it when files go between its look at the checkpoint and its list', () =>
    world(async ({ clock }, store) => {
      const before = new MemoryStore();
      for await (const { key } of store.list('')) await before.put(key, [(await store.get(key))!]);
      await night(clock);
      before.list = (prefix) => {
        before.get = (key) => store.get(key);
        return store.list(prefix);
      };
      await expect(rebuildTable(before, USERS)).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED' });
    }));

  it('whose files go while it reads hears of clean-up, not of damage; what it has read it goes on behind', () =>
    world(async ({ clock }, store) => {
      const reader = new TargetReader(store);
      const round = reader.poll();
      const given: string[] = [];
      const take = async () => {
        const { value, done } = await round.next();
        if (!done) given.push(...value.changes.map(({ data }) => String(data?.['id'])));
      };
      await take();
      await take();
      await night(clock);
      await expect(
        (async () => {
          for (let parts = 0; parts < 5; parts++) await take();
        })(),
      ).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED' });
      expect(given[0]).toBe('10');
      expect(given).not.toContain('20');
    }));

  it('whose file goes at the moment at which it is opened hears of clean-up, not of a store that fails', () =>
    world(async ({ clock }, store) => {
      const target = await StoredTarget.open(store);
      const read = store.read.bind(store);
      store.read = async (key) => {
        store.read = read;
        await night(clock);
        throw new MillraceError('MR_STORE_FAILED', { operation: 'read', key, uri: store.uri, reason: 'ENOENT' });
      };
      await expect(readTable(target, USERS).next()).rejects.toMatchObject({ code: 'MR_HISTORY_REMOVED' });
    }));

  it('does not hide damage behind clean-up: a file that is missing where nothing was removed is an error', () =>
    world(async ({ clock }, store) => {
      await night(clock);
      await store.delete('public/users/1/1970-01-06/CDC000001.json');
      await expect(partsOf(new TargetReader(store))).rejects.toMatchObject({ code: 'MR_TARGET_DAMAGED' });
    }));

  it('finds the tables apart: what was removed of one says nothing of another', () =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const on = await cleanedWorld(clock, store);
      await on.commit(10n);
      await on.noonOf(5);
      await on.commit(20n, logs());
      await night(clock);
      expect((await rebuildTable(store, { schema: 'public', table: 'logs' })).rowCount).toBe(1);
      await on.world.close();
    }));

  it('under use-table-id-as-path is told just the same', () =>
    virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const on = await cleanedWorld(clock, store, { useTableIdAsPath: true });
      await on.commit(10n);
      await on.noonOf(5);
      await on.commit(20n);
      await night(clock);
      const [first] = await partsOf(new TargetReader(store));
      expect(first!.removedUpTo).toEqual({ commitTs: 10n, ordinal: 0 });
      await on.world.close();
    }));
});
