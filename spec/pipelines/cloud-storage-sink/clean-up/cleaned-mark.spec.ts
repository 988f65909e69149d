import { describe, expect, it } from '@jest/globals';
import type { ObjectBody, ObjectVersion } from '../../../../lib/stores/index.ts';
import { MemoryStore } from '../../../../lib/stores/index.ts';
import {
  CLEANED_PATH,
  type CleanedFolder,
  extendCleanedMark,
  readCleanedMark,
} from '../../../../pipelines/cloud-storage-sink/clean-up/cleaned-mark.ts';

function cleaned(before: string, commitTs: bigint, ordinal = 0): CleanedFolder {
  return { before, upTo: { commitTs, ordinal } };
}

describe('the mark of what clean-up has removed', () => {
  it('is read as it was written', async () => {
    const store = new MemoryStore();
    expect(await readCleanedMark(store)).toEqual({ floor: '', folders: new Map() });
    const folders = new Map([['public/users', cleaned('2026-11-10', 2n ** 63n, 4)]]);
    await extendCleanedMark(store, '2026-11-11', folders);
    expect(await readCleanedMark(store)).toEqual({ floor: '2026-11-11', folders });
  });

  it('never goes back, in a day or a position, and keeps what it knows of other tables', async () => {
    const store = new MemoryStore();
    await extendCleanedMark(
      store,
      '2026-11-11',
      new Map([
        ['public/users', cleaned('2026-11-11', 9n)],
        ['31', cleaned('2026-11-01', 2n)],
      ]),
    );
    await extendCleanedMark(store, '2026-11-10', new Map([['public/users', cleaned('2026-11-10', 8n)]]));
    await extendCleanedMark(store, '2026-11-10', new Map([['31', cleaned('2026-11-01', 2n, 1)]]));
    expect(await readCleanedMark(store)).toEqual({
      floor: '2026-11-11',
      folders: new Map([
        ['public/users', cleaned('2026-11-11', 9n)],
        ['31', cleaned('2026-11-01', 2n, 1)],
      ]),
    });
  });

  it('loses nothing that another run writes down at the same moment (I9)', async () => {
    const store = new MemoryStore();
    const putIf = store.putIf.bind(store);
    store.putIf = async (key: string, body: ObjectBody, expected: ObjectVersion | null) => {
      store.putIf = putIf;
      await extendCleanedMark(store, '2026-11-12', new Map([['public/users', cleaned('2026-11-12', 12n)]]));
      return putIf(key, body, expected);
    };
    await extendCleanedMark(
      store,
      '2026-11-10',
      new Map([
        ['public/logs', cleaned('2026-11-10', 7n)],
        ['public/users', cleaned('2026-11-10', 5n)],
      ]),
    );
    expect(await readCleanedMark(store)).toEqual({
      floor: '2026-11-12',
      folders: new Map([
        ['public/users', cleaned('2026-11-12', 12n)],
        ['public/logs', cleaned('2026-11-10', 7n)],
      ]),
    });
  });

  it.each(['{}', '{"v":2}', '{"v":1,"floor":"2026-11-10"}', '{"v":1,"floor":"","folders":{"a/b":{"before":"x","upTo":[1,2]}}}', 'no'])(
    'that says nothing readable is an error, not nothing: %s',
    async (content) => {
      const store = new MemoryStore();
      await store.put(CLEANED_PATH, [Buffer.from(content)]);
      await expect(readCleanedMark(store)).rejects.toMatchObject({ code: 'MR_STORAGE_FILE_MALFORMED', details: { path: CLEANED_PATH } });
    },
  );
});
