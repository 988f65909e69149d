import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../lib/errors.ts';
import { type Clock, systemClock } from '../../../lib/flow/index.ts';
import { MemoryStore, type ObjectBody, type ObjectStore, type ObjectVersion, openFsStore } from '../../../lib/stores/index.ts';
import { seededRandom } from '../../../lib/testing/random.ts';
import { EVERY_ROW, historyOf, SMALL_FILES } from '../../support/once-world.ts';
import { publishedRows, publishedState } from '../../support/published.ts';
import { runSink, settle } from '../../support/sink-world.ts';
import { type Stage, turnStore } from '../../support/turn-store.ts';

const ONCE = { hasOrdinals: true };
const BY_DAY = { ...SMALL_FILES, dateSeparator: 'day' } as const;
/** All in one folder, whatever the day. */
const ANY_DAY: Days = { options: SMALL_FILES, first: () => 21, second: 21 };

/** On which days of November 2026 two writers live. */
interface Days {
  readonly options: typeof SMALL_FILES;
  /** Of the first one, by the calls of its store so far. */
  readonly first: (calls: number) => number;
  readonly second: number;
  /** Of the second one, where they differ. */
  readonly nextOptions?: typeof SMALL_FILES;
}

function clockOn(day: () => number): Clock {
  return { ...systemClock, now: () => Date.UTC(2026, 10, day()) };
}

/** The error of a writer that another has overtaken, if it had anything left to write. */
function expectGivenUp(error: unknown, where: object): void {
  if (error !== null)
    expect({ ...where, code: isMillraceError(error) ? error.code : String(error) }).toEqual({ ...where, code: 'MR_STALE_EPOCH' });
}

/** A writer that is begun again when it meets a file that the one before had still under way. */
async function restarted(store: ObjectStore, { options, second, nextOptions = options }: Days): Promise<unknown> {
  const clock = clockOn(() => second);
  for (let run = 1; ; run++) {
    const { error } = await runSink(store, historyOf(3), nextOptions, { ...ONCE, clock });
    if (run === 3 || !isMillraceError(error, 'MR_FOREIGN_FILE')) return error;
  }
}

/** What runs have said of where they write, by which a third writer knows what to close. */
async function openFolders(store: ObjectStore): Promise<Record<string, string>> {
  const said: Record<string, string> = {};
  for await (const { key } of store.list('')) if (key.endsWith('/meta/open.folder')) said[key] = String(await store.get(key));
  return said;
}

/** A writer that is held up at one call of its store, while another begins and comes to its end; then it goes on. */
async function overtaken(store: ObjectStore, at: number, stage: Stage, days = ANY_DAY): Promise<boolean> {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let reached = () => {};
  const isReached = new Promise<void>((resolve) => {
    reached = resolve;
  });
  let calls = 0;
  const slow = turnStore(store, (number, when) => {
    calls = number;
    if (number !== at || when !== stage) return;
    reached();
    return held;
  });
  const first = runSink(slow, historyOf(2), days.options, { ...ONCE, clock: clockOn(() => days.first(calls)) });
  const isHeld = await Promise.race([isReached.then(() => true), first.then(() => false)]);
  if (!isHeld) return false;
  expect({ at, stage, error: await restarted(store, days) }).toEqual({ at, stage, error: null });
  const before = await publishedState(store);
  const foldersBefore = await openFolders(store);
  release();
  expectGivenUp((await first).error, { at, stage });
  expect({ at, stage, state: await publishedState(store) }).toEqual({ at, stage, state: before });
  expect({ at, stage, rows: await publishedRows(store) }).toEqual({ at, stage, rows: EVERY_ROW });
  expect({ at, stage, folders: await openFolders(store) }).toEqual({ at, stage, folders: foldersBefore });
  return true;
}

describe('two writers of one target', () => {
  it('I9: one that is overtaken at any call, before or after its effect, publishes nothing further and takes nothing back', async () => {
    let calls = 0;
    while (await overtaken(new MemoryStore(), calls + 1, 'before')) {
      calls++;
      await overtaken(new MemoryStore(), calls, 'after');
    }
    expect(calls).toBeGreaterThan(50);
  }, 180_000);

  it.each<[string, Days]>([
    ['the next one begins when it is over', { options: BY_DAY, first: () => 21, second: 22 }],
    ['it is over as soon as the first one goes on', { options: BY_DAY, first: (calls) => (calls < 40 ? 21 : 22), second: 22 }],
    ['the clock of the next one is behind', { options: BY_DAY, first: (calls) => (calls < 40 ? 21 : 22), second: 21 }],
    ['a day goes by that has no writer', { options: BY_DAY, first: (calls) => (calls < 40 ? 21 : 22), second: 24 }],
    ['the next one has no date folders', { options: BY_DAY, first: () => 21, second: 21, nextOptions: SMALL_FILES }],
    ['only the next one has date folders', { options: SMALL_FILES, first: () => 21, second: 21, nextOptions: BY_DAY }],
  ])(
    'I9: nor does one that is overtaken over midnight, though its file goes to another folder: %s',
    async (_, days) => {
      let calls = 0;
      while (await overtaken(new MemoryStore(), calls + 1, 'before', days)) calls++;
      expect(calls).toBeGreaterThan(50);
    },
    180_000,
  );

  it('I9: the same on a file system, where each writer has opened the store for itself', async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-writers-'));
    try {
      // Of the writes of two files, the first of each table: sidecar, data, index.
      for (let at = 9; at <= 26; at++) await overtaken(await openFsStore(join(root, String(at))), at, at % 2 === 0 ? 'before' : 'after');
    } finally {
      await rm(root, { recursive: true });
    }
  }, 120_000);

  it.each([
    ['in one folder', SMALL_FILES],
    ['over midnight, by clocks that differ', BY_DAY],
    ['with enable-table-across-nodes, without an epoch', { ...SMALL_FILES, enableTableAcrossNodes: true }],
  ])(
    'I9: in whatever order their calls come, no row is published twice, and a third writer brings what is missing: %s',
    async (_, options) => {
      for (let seed = 1; seed <= 60; seed++) {
        const store = new MemoryStore();
        const random = seededRandom(seed);
        let day = 20;
        const due: (() => void)[] = [];
        const turn = () => new Promise<void>((resolve) => due.push(resolve));
        let running = 2;
        const ended = [2, 3].map((rowsPerBlock) =>
          runSink(turnStore(store, turn), historyOf(rowsPerBlock), options, {
            ...ONCE,
            clock: clockOn(() => day + (rowsPerBlock % 2)),
          }).finally(() => {
            running--;
          }),
        );
        while (running > 0) {
          await settle();
          if (random() < 0.03) day++;
          due.splice(Math.floor(random() * due.length), 1)[0]?.();
        }
        for (const { error } of await Promise.all(ended)) {
          const code = error === null ? null : isMillraceError(error) ? error.code : String(error);
          expect([null, 'MR_STALE_EPOCH', 'MR_FOREIGN_FILE']).toContain(code);
        }
        const rows = await publishedRows(store);
        expect({ seed, repeated: rows.filter((row, i) => row === rows[i - 1]) }).toEqual({ seed, repeated: [] });
        expect((await runSink(store, historyOf(4), options, { ...ONCE, clock: clockOn(() => day) })).error).toBeNull();
        expect({ seed, rows: await publishedRows(store) }).toEqual({ seed, rows: EVERY_ROW });
      }
    },
    120_000,
  );

  it('with enable-table-across-nodes there is no epoch: several processes may write, each the files of its dispatchers', async () => {
    const store = new MemoryStore();
    const options = { ...SMALL_FILES, enableTableAcrossNodes: true };
    const tablesOf = (name: string) =>
      historyOf(2).map(({ commitTs, events }) => ({
        commitTs,
        events: () => events().filter((event) => event.type === 'dml' && event.rows.table.name === name),
      }));
    const [users, notes] = await Promise.all(['users', 'notes'].map((name) => runSink(store, tablesOf(name), options, ONCE)));
    expect([users?.error, notes?.error]).toEqual([null, null]);
    expect(await store.exists('meta/epoch.json')).toBe(false);
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });
});

/** A store that looks and then writes. */
class ProbingStore extends MemoryStore {
  override readonly capabilities = { putIfAbsent: 'probe', conditionalPut: 'probe' } as const;

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const present = await this.getVersioned(key);
    if ((present?.version ?? null) !== expected) return null;
    await this.#pause?.(key);
    await this.put(key, body);
    return (await this.getVersioned(key))!.version;
  }

  #pause: ((key: string) => Promise<void>) | null = null;

  /** Between the look and the write of the keys that fit. */
  pause(key: RegExp, until: Promise<void>): void {
    this.#pause = (given) => (key.test(given) ? until : Promise.resolve());
  }
}

describe('two writers of one target whose store only probes', () => {
  it('one alone still writes each row once, over restarts', async () => {
    const store = new ProbingStore();
    await runSink(store, historyOf(2).slice(0, 3), SMALL_FILES, ONCE);
    await runSink(store, historyOf(3), SMALL_FILES, ONCE);
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });

  it('an index that comes late goes back: rows are hidden until the next start finds their files and publishes them again', async () => {
    const store = new ProbingStore();
    let release = () => {};
    store.pause(
      /users.*CDC\.index$/,
      new Promise((resolve) => {
        release = resolve;
      }),
    );
    const first = runSink(store, historyOf(2), SMALL_FILES, ONCE);
    while (!(await store.exists('public/users/7/CDC00000000000000000001.json'))) await settle();
    await settle();
    store.pause(/^$/, Promise.resolve());
    expect((await runSink(store, historyOf(3), SMALL_FILES, ONCE)).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
    release();
    expect((await first).error).not.toBeNull();
    expect((await publishedRows(store)).length).toBeLessThan(EVERY_ROW.length);
    expect((await runSink(store, historyOf(3), SMALL_FILES, ONCE)).error).toBeNull();
    expect(await publishedRows(store)).toEqual(EVERY_ROW);
  });
});
