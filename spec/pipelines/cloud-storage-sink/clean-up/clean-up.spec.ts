import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { MemoryStore, openFsStore } from '../../../../lib/stores/index.ts';
import { cleanUp, expiryDay } from '../../../../pipelines/cloud-storage-sink/clean-up/clean-up.ts';
import { type CleanedMark, NOTHING_CLEANED, readCleanedMark } from '../../../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';
import { DAY_MS, daysOf, keysOf } from '../../../support/cleaned-world.ts';

/** spec storage-sink §9.3 */
describe('the first day that stays', () => {
  it.each<[what: string, commitMs: number, nowMs: number, days: number, expected: string]>([
    ['the boundary day stays: strictly before it goes', 10 * DAY_MS, 10 * DAY_MS, 3, '1970-01-08'],
    ['late on that day it is the same', 11 * DAY_MS - 1, 11 * DAY_MS - 1, 3, '1970-01-08'],
    ['by the commit time, however late it is (tiflow #9609)', 5 * DAY_MS, 300 * DAY_MS, 1, '1970-01-05'],
    ['but never beyond what the writer takes for yesterday', 300 * DAY_MS, 10 * DAY_MS, 1, '1970-01-10'],
    ['before 1970 there is nothing', 10 * DAY_MS, 10 * DAY_MS, 300, '1970-01-01'],
  ])('%s', (_, commitMs, nowMs, days, expected) => {
    expect(expiryDay(commitMs, nowMs, days)).toBe(expected);
  });
});

describe('clean-up on a file system', () => {
  it('removes the folders that it has emptied, and leaves what is not its own', async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-clean-up-'));
    const store = await openFsStore(root);
    try {
      const body = [Buffer.from('{"v":1,"rows":1,"bytes":1,"crc32":0,"runs":[["5",0,0]]}')];
      for (const [day, version] of [
        ['1970-01-01', 1],
        ['1970-01-02', 1],
        ['1970-01-02', 2],
        ['1970-01-09', 2],
      ] as const) {
        const directory = `public/users/${version}/${day}`;
        await store.put(`${directory}/CDC000001.json`, body);
        await store.put(`${directory}/meta/CDC000001.positions`, body);
        await store.put(`${directory}/meta/CDC.index`, [Buffer.from('CDC000001.json\n')]);
      }
      await store.put('public/users/2/1970-01-02/notes.txt', body);
      const kept: string[] = [];
      const job = {
        store,
        mark: NOTHING_CLEANED,
        before: '1970-01-05',
        publishedTs: 5n,
        isStopped: () => false,
        onKept: (path: string) => kept.push(path),
      };
      expect(await cleanUp(job)).toMatchObject({ files: 9, directories: 3 });
      expect(await readdir(join(root, 'public/users'))).toEqual(['2']);
      expect(await readdir(join(root, 'public/users/2'))).toEqual(['1970-01-02', '1970-01-09']);
      expect(await readdir(join(root, 'public/users/2/1970-01-02'))).toEqual(['notes.txt']);
      expect(kept).toEqual([]);
      await store.put('public/users/1/1970-01-09/CDC000001.json', body);
    } finally {
      await store.close();
      await rm(root, { recursive: true, force: true });
    }
  });
});

const sidecar = (commitTs: number) => `"rows":1,"bytes":1,"crc32":0,"runs":[["${commitTs}",0,0]]`;

/** A store with these files, and a run that removes what is before the fifth and published up to 50. */
async function given(
  files: readonly (readonly [key: string, content: string])[],
  mark: CleanedMark = NOTHING_CLEANED,
  directoriesAtOnce = 100,
) {
  const store = new MemoryStore();
  for (const [key, content] of files) await store.put(key, [Buffer.from(content)]);
  const kept: string[] = [];
  const onKept = (path: string, reason: string) => kept.push(`${path}: ${reason}`);
  const removed = await cleanUp({ store, mark, before: '1970-01-05', publishedTs: 50n, isStopped: () => false, onKept, directoriesAtOnce });
  return { store, kept, removed };
}

const folder = (path: string, content: string): [string, string][] => [
  [`${path}/CDC000001.json`, ''],
  [`${path}/meta/CDC000001.positions`, content],
  [`${path}/meta/CDC.index`, 'CDC000001.json\n'],
];

describe('what clean-up takes for expired', () => {
  it('counts every description of a sidecar: which of them is of the file, the file alone can tell', async () => {
    const both = (other: number) => `{"v":1,${sidecar(10)},"or":[{${sidecar(other)}}]}`;
    const files = [...folder('s/later/1/1970-01-01', both(51)), ...folder('s/t/1/1970-01-01', both(20))];
    const { store, kept } = await given(files);
    expect(kept).toEqual(['s/later/1/1970-01-01: it has rows beyond the published checkpoint']);
    expect([...(await readCleanedMark(store)).folders]).toEqual([['s/t', { before: '1970-01-05', upTo: { commitTs: 20n, ordinal: 0 } }]]);
  });

  it('goes on where it was written down, whatever came back of it: a power failure can undo deletes', async () => {
    const [data, , index] = folder('s/t/1/1970-01-01', '');
    const upTo = { commitTs: 10n, ordinal: 0 };
    const mark = { floor: '1970-01-02', folders: new Map([['s/t', { before: '1970-01-02', upTo }]]) };
    const { store, kept } = await given([data!, index!, ...folder('s/t/1/1970-01-03', `{"v":1,${sidecar(20)}}`)], mark);
    expect([kept, (await keysOf(store)).filter((key) => key.startsWith('s/'))]).toEqual([[], []]);
  });

  it('goes on until nothing is left, also where it is more than is remembered at once', async () => {
    const days = ['s/a/1', 's/a/2', 's/b/1', 's/c/1', 's/d/1'].flatMap((of) => folder(`${of}/1970-01-01`, `{"v":1,${sidecar(10)}}`));
    const { store, removed } = await given(days, NOTHING_CLEANED, 2);
    expect(removed).toMatchObject({ files: 15, directories: 5 });
    expect(await keysOf(store)).toEqual(['meta/cleaned.json']);
  });

  it.each<[what: string, day: (path: string) => [string, string][], reason: string]>([
    [
      'has rows beyond the published checkpoint',
      (path) => folder(path, `{"v":1,${sidecar(51)}}`),
      'it has rows beyond the published checkpoint',
    ],
    ['has no sidecars', (path) => folder(path, '').filter(([key]) => !/positions/.test(key)), 'its files have no sidecars'],
    [
      'lacks the sidecar of the file that its index names',
      (path) => [
        ...folder(path, `{"v":1,${sidecar(20)}}`)
          .slice(1, 2)
          .map(([key, text]): [string, string] => [key.replace('1.pos', '2.pos'), text]),
        [`${path}/CDC000001.json`, ''],
        [`${path}/meta/CDC.index`, 'CDC000001.json\n'],
      ],
      'the file that its index names has no sidecar',
    ],
    [
      'lacks the sidecar of its newest file',
      (path) => [...folder(path, `{"v":1,${sidecar(20)}}`), [`${path}/CDC000002.json`, '']],
      'its newest file has no sidecar',
    ],
  ])('leaves a folder that %s, and what comes after it in that table', async (_, day, reason) => {
    const of = (name: string, commitTs: number) => folder(`s/t/1/${name}`, `{"v":1,${sidecar(commitTs)}}`);
    const { store, kept } = await given([...of('1970-01-01', 10), ...day('s/t/1/1970-01-02'), ...of('1970-01-03', 40)]);
    expect(kept.map((line) => line.startsWith(`s/t/1/1970-01-02: ${reason}`))).toEqual([true]);
    expect(await daysOf(store)).toEqual(['1970-01-02', '1970-01-03']);
    expect((await readCleanedMark(store)).folders.get('s/t')).toEqual({ before: '1970-01-02', upTo: { commitTs: 10n, ordinal: 0 } });
  });
});
