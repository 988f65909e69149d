import { describe, expect, it } from '@jest/globals';
import { dmlEvent, RowBlockWriter } from '../../../../lib/events/index.ts';
import { type Logger, silentLogger } from '../../../../lib/flow/index.ts';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import { virtualTime } from '../../../../lib/testing/index.ts';
import { CLEAN_UP_METRICS } from '../../../../pipelines/cloud-storage-sink/clean-up/clean-up-job.ts';
import { CLEANED_PATH, readCleanedMark } from '../../../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';
import { cleanedWorld, DAY_MS, daysOf, idsOf, keysOf, users } from '../../../support/cleaned-world.ts';
import { table } from '../../../support/sink-world.ts';

/** A store whose deletes can be held or made to fail, and that knows what was deleted, how many at once. */
class DeletingStore extends MemoryStore {
  readonly deleted: string[] = [];
  atOnce = 0;
  most = 0;
  /** What a delete waits for. */
  gate: Promise<void> = Promise.resolve();
  /** Deletes that succeed before all fail. */
  left = Number.POSITIVE_INFINITY;

  override async delete(key: string): Promise<void> {
    this.most = Math.max(this.most, ++this.atOnce);
    try {
      await this.gate;
      if (this.left-- <= 0) throw new Error('no more deletes today');
      this.deleted.push(key);
      await super.delete(key);
    } finally {
      this.atOnce--;
    }
  }
}

/** Errors that were logged. */
function remembering(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const note = (level: string) => (_: object, message: string) => void lines.push(`${level} ${message}`);
  return { logger: { ...silentLogger, info: note('info'), warn: note('warn'), error: note('error') }, lines };
}

/** spec storage-sink §9.3 */
describe('clean-up', () => {
  it('removes data folders of expired days at the times of its cron spec, and neither schema files nor metadata (tiflow #9609)', async () => {
    await virtualTime(async ({ clock }) => {
      const { store, ...world } = await cleanedWorld(clock, new MemoryStore());
      for (const day of [0, 1, 2, 3]) {
        await world.noonOf(day);
        await world.commit(BigInt(day + 10));
      }
      expect(await daysOf(store)).toEqual(['1970-01-02', '1970-01-03', '1970-01-04']);
      await clock.advance(14 * 3600 * 1000 - 5000 - 1);
      expect(await daysOf(store)).toHaveLength(3);
      await clock.advance(1);
      // It is the 5th, the published checkpoint is of the 4th: a day before is the boundary, and stays.
      expect(await daysOf(store)).toEqual(['1970-01-03', '1970-01-04']);
      const kept = (await keysOf(store)).filter((key) => !/\/1970-|^meta\//.test(key)).map((key) => key.replace(/_\d{10}/, ''));
      expect(kept).toEqual(['metadata', 'public/users/1/meta/open.folder', 'public/users/meta/schema_1.json']);
      expect(await store.exists('meta/source.json')).toBe(true);
      await world.world.close();
    });
  });

  it('(!) §9.3: runs again at every time of its spec, though upstream never reset its flag and ran once', async () => {
    await virtualTime(async ({ clock }) => {
      const world = await cleanedWorld(clock, new MemoryStore(), { fileCleanupCronSpec: '0 */30 * * * *' });
      for (let day = 0; day < 6; day++) {
        await world.noonOf(day);
        await world.commit(BigInt(day + 10));
        await clock.advance(1800_000);
        expect((await daysOf(world.store)).length).toBeLessThanOrEqual(2);
      }
      await world.world.close();
    });
  });

  it('counts its runs, files and bytes', async () => {
    await virtualTime(async ({ clock }) => {
      const { store, world, ...on } = await cleanedWorld(clock, new MemoryStore());
      await on.noonOf(0);
      await on.commit(10n);
      const sizes: number[] = [];
      for await (const { key, size } of store.list('public/users/1/')) if (!key.endsWith('.index')) sizes.push(size);
      await on.noonOf(5);
      await on.commit(20n);
      await clock.advance(DAY_MS);
      const { metrics } = world.context;
      const runs = (outcome: string) => metrics.counter(CLEAN_UP_METRICS.runs, { outcome }).value;
      expect([runs('done'), runs('skipped'), runs('failed')]).toEqual([6, 1, 0]);
      expect(metrics.counter(CLEAN_UP_METRICS.files, {}).value).toBe(3);
      expect(metrics.counter(CLEAN_UP_METRICS.bytes, {}).value).toBe(sizes[0]! + sizes[1]!);
      await world.close();
    });
  });

  it('goes by the commit time of the published checkpoint: a target that lags keeps its files', async () => {
    await virtualTime(async ({ clock }) => {
      const { store, ...world } = await cleanedWorld(clock, new MemoryStore());
      await world.noonOf(0);
      await world.commit(10n);
      await world.noonOf(20);
      // Old changes that arrive today stand under today's date; the checkpoint is of the day after the first.
      await world.commit(20n, users(), 1.5 * DAY_MS);
      await world.noonOf(25);
      expect(await daysOf(store)).toEqual(['1970-01-01', '1970-01-21']);
      await world.commit(30n);
      await world.noonOf(26);
      expect(await daysOf(store)).toEqual(['1970-01-26']);
      await world.world.close();
    });
  });

  it('removes nothing before a checkpoint of this run has been published, nor when none has moved (checkpoint-ts 0)', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new MemoryStore();
      const first = await cleanedWorld(clock, store);
      await first.commit(10n);
      await first.world.close();
      const second = await cleanedWorld(clock, store);
      await second.noonOf(20);
      expect(await daysOf(store)).toEqual(['1970-01-01']);
      await second.world.close();
    });
  });

  it('(!) §9.3: names that look like dates are no dates: only the date of the data folder counts', async () => {
    await virtualTime(async ({ clock }) => {
      const { store, ...world } = await cleanedWorld(clock, new MemoryStore());
      const names = [
        { schema: '1969-01-01', name: '1969-12-31' },
        { schema: 'backup_1969-01-01', name: 'log-1969-12-31' },
        { schema: 'public', name: 'a/1969-12-31/b' },
      ];
      const tables = names.map((parts, index) => table(`t${index}`, 1n, ['id', 'name'], ['id'], parts));
      await world.noonOf(9);
      for (const [index, of] of tables.entries()) await world.commit(BigInt(index + 10), of);
      const before = await keysOf(store);
      await world.noonOf(10);
      await world.commit(100n, tables[0]);
      await clock.advance(DAY_MS);
      for (const key of before) if (key !== 'metadata') expect(await store.exists(key)).toBe(true);
      await world.world.close();
    });
  });

  it.each(['none', 'year', 'month'])(
    'leaves folders that are called by other dates alone, from a time when date-separator was %s',
    async (dateSeparator) => {
      await virtualTime(async ({ clock }) => {
        const store = new MemoryStore();
        const first = await cleanedWorld(clock, store, { dateSeparator, fileExpirationDays: 0 });
        await first.commit(10n);
        await first.world.close();
        const old = (await keysOf(store)).filter((key) => /CDC/.test(key));
        const second = await cleanedWorld(clock, store);
        await second.noonOf(400);
        await second.commit(20n);
        await clock.advance(3 * DAY_MS);
        for (const key of old) expect(await store.exists(key)).toBe(true);
        expect(await idsOf(store)).toEqual(['10', '20']);
        await second.world.close();
      });
    },
  );

  it('leaves what has rows beyond the published checkpoint, and what comes after it in that table', async () => {
    await virtualTime(async ({ clock }) => {
      const { store, world, ...on } = await cleanedWorld(clock, new MemoryStore());
      const [logs, far] = [table('logs', 1n, ['id', 'name'], ['id']), 1000n];
      await on.noonOf(0);
      await on.commit(10n);
      await on.noonOf(1);
      // A table that joins late has rows far ahead of the others, which no checkpoint covers yet.
      world.send(dmlEvent(new RowBlockWriter(users()).beginTransaction(far).insert({ id: 'far', name: 'x' }).build()));
      await on.noonOf(2);
      await on.commit(12n);
      await on.noonOf(9);
      await on.commit(20n, logs);
      await clock.advance(DAY_MS);
      expect((await daysOf(store)).slice(0, 2)).toEqual(['1970-01-02', '1970-01-03']);
      await on.noonOf(12);
      await on.commit(far + 1n);
      await clock.advance(DAY_MS);
      expect(await daysOf(store)).toEqual(['1970-01-13']);
      expect((await readCleanedMark(store)).folders.get('public/users')).toEqual({
        before: '1970-01-12',
        upTo: { commitTs: far, ordinal: 0 },
      });
      await world.close();
    });
  });

  it('never overlaps itself: a time that comes while the last run goes on is left out, and the next is not', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const { lines, logger } = remembering();
      const { world, ...on } = await cleanedWorld(clock, store, { fileCleanupCronSpec: '0 0 * * * *' });
      Object.assign(world.context, { logger });
      await on.commit(10n);
      await on.noonOf(5);
      await on.commit(20n);
      lines.length = 0;
      let release = () => {};
      store.gate = new Promise((resolve) => {
        release = resolve;
      });
      await clock.advance(3 * 3600_000);
      expect(store.atOnce).toBe(1);
      expect(lines).toEqual(Array(2).fill('warn clean-up is due and the last run of it goes on: left out'));
      release();
      await clock.settle();
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      await world.close();
    });
  });

  it('deletes at most 32 objects at once, a table with thousands of them too', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const on = await cleanedWorld(clock, store);
      await on.commit(10n);
      const [data] = (await keysOf(store)).filter((key) => key.endsWith('.json') && /CDC/.test(key));
      const sidecar = (await keysOf(store)).find((key) => key.endsWith('.positions'))!;
      for (let number = 2; number <= 3100; number++) {
        for (const key of [data!, sidecar])
          await store.put(key.replace('000001', String(number).padStart(6, '0')), [(await store.get(key))!]);
      }
      await on.noonOf(5);
      await on.commit(20n);
      await clock.advance(DAY_MS);
      expect(store.most).toBe(32);
      expect(store.deleted).toHaveLength(2 * 3100 + 1);
      expect(await daysOf(store)).toEqual(['1970-01-06']);
      await on.world.close();
    });
  });

  it('writes down what goes, then removes indexes, then data, then sidecars', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const on = await cleanedWorld(clock, store);
      await on.commit(10n);
      await on.commit(11n, table('logs', 1n, ['id', 'name'], ['id']));
      let release = () => {};
      store.gate = new Promise((resolve) => {
        release = resolve;
      });
      await on.noonOf(5);
      await on.commit(20n);
      await clock.advance(DAY_MS);
      expect(store.deleted).toEqual([]);
      expect(String(await store.get(CLEANED_PATH))).toBe(
        '{"v":1,"floor":"1970-01-05","folders":{"public/logs":{"before":"1970-01-05","upTo":["11",0]},"public/users":{"before":"1970-01-05","upTo":["10",0]}}}\n',
      );
      release();
      await clock.settle();
      const kinds = store.deleted.map((key) => /[^.]+$/.exec(key)![0]);
      expect(kinds).toEqual(['index', 'index', 'json', 'positions', 'json', 'positions']);
      await on.world.close();
    });
  });

  it.each([0, 1, 2, 3, 4, 5])(
    'tiflow #9976, #10109: a failure after %i deletes is logged, hurts nobody, and the next run goes on',
    async (left) => {
      await virtualTime(async ({ clock }) => {
        const store = new DeletingStore();
        const { lines, logger } = remembering();
        const on = await cleanedWorld(clock, store);
        Object.assign(on.world.context, { logger });
        for (const day of [0, 1]) {
          await on.noonOf(day);
          await on.commit(BigInt(day + 10));
        }
        store.left = left;
        await on.noonOf(5);
        await on.commit(20n);
        await clock.advance(DAY_MS);
        expect(lines.filter((line) => /^error/.test(line))).toEqual(['error clean-up failed, the next run goes on: no more deletes today']);
        expect(on.world.end).toBeNull();
        // What is half gone is not read, and the history begins behind it.
        expect(await idsOf(store)).toEqual(['20']);
        store.left = Number.POSITIVE_INFINITY;
        await clock.advance(DAY_MS);
        expect(await daysOf(store)).toEqual(['1970-01-06']);
        expect(await idsOf(store)).toEqual(['20']);
        await on.world.close();
      });
    },
  );

  it('I9: a run that another has taken over from removes nothing', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const { lines, logger } = remembering();
      const stale = await cleanedWorld(clock, store);
      Object.assign(stale.world.context, { logger });
      await stale.commit(10n);
      await stale.noonOf(5);
      await stale.commit(20n);
      const next = await cleanedWorld(clock, store, { fileExpirationDays: 0 });
      await clock.advance(DAY_MS);
      expect(lines.at(-1)).toMatch(/^error clean-up failed, the next run goes on: MR_STALE_EPOCH/);
      expect([store.deleted, await store.exists(CLEANED_PATH)]).toEqual([[], false]);
      await Promise.all([stale.world.close(), next.world.close()]);
    });
  });

  it('ends between two batches when the sink closes, and the next run of the pipeline goes on', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const first = await cleanedWorld(clock, store);
      await first.commit(10n);
      await first.noonOf(5);
      await first.commit(20n);
      let release = () => {};
      store.gate = new Promise((resolve) => {
        release = resolve;
      });
      await clock.advance(DAY_MS);
      const closed = first.world.close();
      await clock.settle();
      release();
      await closed;
      expect(store.deleted.map((key) => /[^.]+$/.exec(key)![0])).toEqual(['index']);
      const second = await cleanedWorld(clock, store);
      await second.commit(30n);
      await clock.advance(DAY_MS);
      expect(await idsOf(store)).toEqual(['20', '30']);
      expect((await daysOf(store))[0]).toBe('1970-01-06');
      await second.world.close();
    });
  });

  it('does not hold up the end of a run whose store does not answer', async () => {
    await virtualTime(async ({ clock }) => {
      const store = new DeletingStore();
      const on = await cleanedWorld(clock, store);
      await on.commit(10n);
      await on.noonOf(5);
      await on.commit(20n);
      store.gate = new Promise(() => {});
      await clock.advance(DAY_MS);
      let isClosed = false;
      void on.world.close().then(() => {
        isClosed = true;
      });
      await clock.advance(5000);
      expect(isClosed).toBe(true);
    });
  });
});
