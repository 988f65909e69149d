import assert from 'node:assert/strict';
import type { Checkpoint, CheckpointStore } from '../runtime/checkpoint.ts';
import { globalRunner, type TestRunner } from './runner.ts';

export interface CheckpointStoreFixture {
  /** An empty store. */
  readonly store: CheckpointStore;
  /** The store as the next start finds it, after `store` was closed. */
  again(): Promise<CheckpointStore>;
  close(): Promise<void>;
}

/**
 * What every checkpoint store must do. `make` gives an empty one for each test.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeCheckpointStore(
  name: string,
  make: () => Promise<CheckpointStoreFixture>,
  runner: TestRunner = globalRunner(),
): void {
  const it = (title: string, body: (store: CheckpointStore, restart: () => Promise<CheckpointStore>) => Promise<void>) =>
    runner.it(title, async () => {
      const { store, again, close } = await make();
      let current = store;
      const restart = async () => {
        await current.close?.();
        current = await again();
        return current;
      };
      try {
        await body(store, restart);
      } finally {
        await current.close?.();
        await close();
      }
    });

  runner.describe(`checkpoint store: ${name}`, () => {
    it('has none for a pipeline that never saved one', async (store) => {
      assert.equal(await store.load('orders'), null);
    });

    it('gives back the last one after a restart, every digit of it', async (store, restart) => {
      const state = {
        systemId: '7301',
        lsn: 18446744073709551615n,
        tables: [{ name: 'a "b"\u2028', done: true, size: 0.25 }],
        none: null,
        nested: { '2': 'b', '10': 'a' },
      };
      await store.save('orders', { checkpointTs: 1n, sourceState: null });
      await store.save('orders', { checkpointTs: 9007199254740993n, sourceState: state });
      const saved: Checkpoint = { checkpointTs: 9007199254740993n, sourceState: state };
      assert.deepEqual(await store.load('orders'), saved);
      assert.deepEqual(await (await restart()).load('orders'), saved);
    });

    it('I5: tells a first snapshot that is not complete from one that ended at 0', async (store, restart) => {
      await store.save('snapshotting', { checkpointTs: null, sourceState: { phase: 'snapshot' } });
      await store.save('done', { checkpointTs: 0n, sourceState: null });
      const next = await restart();
      assert.deepEqual(await next.load('snapshotting'), { checkpointTs: null, sourceState: { phase: 'snapshot' } });
      assert.deepEqual(await next.load('done'), { checkpointTs: 0n, sourceState: null });
    });

    it('keeps pipelines apart, whatever their names', async (store, restart) => {
      const names = ['a', 'A.b', 'a/b', '../a', 'a b', 'a%2Fb', 'ä', '.a', 'a.lock.1', '\u{1f409}'];
      for (const [i, name] of names.entries()) await store.save(name, { checkpointTs: BigInt(i), sourceState: name });
      const next = await restart();
      for (const [i, name] of names.entries()) assert.deepEqual(await next.load(name), { checkpointTs: BigInt(i), sourceState: name });
    });

    it('I8: saves that overlap end with the one that was asked for last', async (store, restart) => {
      await Promise.all(Array.from({ length: 20 }, (_, i) => store.save('p', { checkpointTs: BigInt(i), sourceState: { i } })));
      assert.deepEqual(await store.load('p'), { checkpointTs: 19n, sourceState: { i: 19 } });
      assert.deepEqual(await (await restart()).load('p'), { checkpointTs: 19n, sourceState: { i: 19 } });
    });

    it('takes a copy: what the caller changes afterwards is not saved', async (store) => {
      const tables = ['a'];
      const saving = store.save('p', { checkpointTs: 1n, sourceState: { tables } });
      tables.push('b');
      await saving;
      assert.deepEqual(await store.load('p'), { checkpointTs: 1n, sourceState: { tables: ['a'] } });
    });

    it('can be used again after it was closed', async (store) => {
      await store.save('p', { checkpointTs: 1n, sourceState: null });
      await store.close?.();
      await store.close?.();
      assert.deepEqual(await store.load('p'), { checkpointTs: 1n, sourceState: null });
    });
  });
}
