import { describe, expect, it } from '@jest/globals';
import { asapScheduler, queueScheduler } from 'rxjs';
import { type Clock, clockOf } from '../../../lib/flow/index.ts';
import { type CheckpointStore, memoryCheckpoint } from '../../../lib/index.ts';
import { type Disk, type DiskFile, MemoryStore, type ObjectStore } from '../../../lib/stores/index.ts';
import {
  describeCheckpointStore,
  describeClock,
  describeDisk,
  describeObjectStore,
  SimDisk,
  Simulation,
  VirtualClock,
} from '../../../lib/testing/index.ts';
import { failuresOf } from './failures-of.ts';

/** The same part with some of its methods replaced. */
function broken<T extends object>(part: T, how: Partial<T>): T {
  return new Proxy(part, {
    get: (target, name) => {
      const value: unknown = Reflect.get(name in how ? how : target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('describeObjectStore notices', () => {
  it.each<[string, (store: ObjectStore) => Partial<ObjectStore>, RegExp]>([
    ['putIfAbsent that writes over', (store) => ({ putIfAbsent: (key, body) => store.put(key, body).then(() => true) }), /^putIfAbsent/],
    [
      'putIf that looks, then writes',
      (store) => ({
        putIf: async (key, body, expected) => {
          const present = await store.getVersioned(key);
          if ((present?.version ?? null) !== expected) return null;
          await store.put(key, body);
          return (await store.getVersioned(key))!.version;
        },
      }),
      /^I9: of many that expect/,
    ],
    [
      'bodies that are seen before they are whole',
      (store) => ({
        put: async (key, body) => {
          await store.put(key, []);
          await store.put(key, body);
        },
      }),
      /^tidb 71162/,
    ],
    [
      'a list in no order',
      (store) => ({
        async *list(prefix) {
          const infos = [];
          for await (const info of store.list(prefix)) infos.unshift(info);
          yield* infos;
        },
      }),
      /^lists in UTF-8 byte order/,
    ],
    ['keys that leave the store', (store) => ({ delete: (key) => store.delete(key.replace('../', '')) }), /^refuses the key "\.\.\/a"/],
  ])('%s', async (_, how, title) => {
    const failures = await failuresOf((runner) =>
      describeObjectStore(
        'broken',
        async () => {
          const whole = new MemoryStore();
          const store = broken<ObjectStore>(whole, how(whole));
          return { store, another: async () => store, largeBytes: 100_000, close: async () => {} };
        },
        runner,
      ),
    );
    expect(failures).toContainEqual(expect.stringMatching(title));
    expect(failures.length).toBeLessThan(10);
  });
});

describe('describeCheckpointStore notices', () => {
  it.each<[string, (store: CheckpointStore) => Partial<CheckpointStore>, RegExp]>([
    [
      'digits that are lost',
      (store) => ({
        save: (pipeline, { checkpointTs, sourceState }) =>
          store.save(pipeline, { checkpointTs: checkpointTs === null ? null : BigInt(Number(checkpointTs)), sourceState }),
      }),
      /every digit/,
    ],
    [
      'a snapshot that is not complete taken for one that ended at 0',
      (store) => ({ save: (pipeline, saved) => store.save(pipeline, { ...saved, checkpointTs: saved.checkpointTs ?? 0n }) }),
      /^I5/,
    ],
    [
      'saves that overtake each other',
      (store) => {
        let delay = 20;
        return {
          save: async (pipeline, saved) => {
            const copy = structuredClone(saved);
            for (let turn = delay--; turn > 0; turn--) await null;
            await store.save(pipeline, copy);
          },
        };
      },
      /^I8: saves that overlap/,
    ],
    [
      'names that are one in a file system',
      (store) => ({ save: (name, saved) => store.save(name.toLowerCase(), saved) }),
      /^keeps pipelines/,
    ],
  ])('%s', async (_, how, title) => {
    const failures = await failuresOf((runner) =>
      describeCheckpointStore(
        'broken',
        async () => {
          const whole = memoryCheckpoint();
          const store = broken(whole, how(whole));
          return { store, again: async () => store, close: async () => {} };
        },
        runner,
      ),
    );
    expect(failures).toContainEqual(expect.stringMatching(title));
  });
});

describe('describeDisk notices', () => {
  const opened = (disk: Disk, how: (file: DiskFile) => Partial<DiskFile>): Partial<Disk> => ({
    open: async (path, flags) => {
      const file = await disk.open(path, flags);
      return broken(file, how(file));
    },
  });

  it.each<[string, (disk: Disk) => Partial<Disk>, RegExp]>([
    ['a sync that does nothing', (disk) => opened(disk, () => ({ sync: async () => {} })), /^I8/],
    ['names that no sync keeps', () => ({ syncFolder: async () => {} }), /^I8/],
    ['pieces that are lost', (disk) => opened(disk, (file) => ({ write: ([first]) => file.write(first ? [first] : []) })), /^gives back/],
    ['a lock that holds nobody', () => ({ lock: async () => ({ release: async () => {} }) }), /^gives a lock/],
    ['a folder made twice', (disk) => ({ makeFolder: (path) => disk.makeFolder(path).then(() => true) }), /^makes a folder once/],
  ])('%s', async (_, how, title) => {
    // Of some crashes only some lose what was not synced.
    const failures = new Set<string>();
    for (let seed = 1; seed <= 10; seed++) {
      const found = await failuresOf((runner) =>
        describeDisk(
          'broken',
          async () => {
            const whole = new SimDisk(new Simulation(seed));
            await whole.makeFolder('/root');
            await whole.syncFolder('/');
            return { disk: broken<Disk>(whole, how(whole)), root: '/root', crash: () => whole.crash(), close: async () => {} };
          },
          runner,
        ),
      );
      for (const failure of found) failures.add(failure);
    }
    expect([...failures]).toContainEqual(expect.stringMatching(title));
  });
});

describe('describeClock notices', () => {
  it.each<[string, (clock: VirtualClock) => Clock, RegExp]>([
    ['one that calls at once', () => clockOf(queueScheduler), /never at once/],
    ['one that stands still', (clock) => broken<Clock>(clock, { now: () => 0 }), /^has moved on/],
    [
      'one whose calls cannot be taken back',
      (clock) =>
        broken<Clock>(clock, {
          after: (ms, fn) => {
            clock.after(ms, fn);
            return () => {};
          },
        }),
      /^does not call/,
    ],
    ['one that sleeps through an abort', (clock) => broken<Clock>(clock, { sleep: (ms) => clock.sleep(ms) }), /^wakes a sleeper/],
    [
      'one that waits no longer than a timer counts',
      (clock) => broken<Clock>(clock, { after: (ms, fn) => clock.after(ms | 0, fn) }),
      /^waits for longer/,
    ],
    ['one whose operators wait for nothing', (clock) => broken<Clock>(clock, { scheduler: asapScheduler }), /^has moved on|^carries/],
    ['one that draws always the same', (clock) => broken<Clock>(clock, { random: () => 0.5 }), /^draws/],
  ])('%s', async (_, how, title) => {
    const failures = await failuresOf((runner) =>
      describeClock(
        'broken',
        async () => {
          const clock = new VirtualClock();
          return { clock: how(clock), pass: (ms) => clock.advance(ms) };
        },
        runner,
      ),
    );
    expect(failures).toContainEqual(expect.stringMatching(title));
  });
});
