import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ObjectDraft, ObjectStore } from '../stores/object-store.ts';

type It = (
  title: string,
  body: (store: ObjectStore, fixture: { another(): Promise<ObjectStore>; readonly largeBytes?: number }) => Promise<void>,
) => void;

/** What every object store must do whose objects can be begun before they have a key; of others there is nothing to show. */
export function draftCases(it: It): void {
  const drafts = (title: string, body: (begin: () => ObjectDraft, ...fixture: Parameters<Parameters<It>[1]>) => Promise<void>) =>
    it(`draft: ${title}`, async (store, fixture) => {
      const first = store.draft?.() ?? null;
      await first?.discard();
      if (first !== null) await body(() => store.draft!()!, store, fixture);
    });

  drafts(
    'shows nothing of an object before it has its key, and then all of it',
    async (begin, store, { another, largeBytes = LARGE_BYTES }) => {
      const second = await another();
      const whole = randomBytes(largeBytes);
      const draft = begin();
      for (let at = 0; at < whole.length; at += PIECE_BYTES) {
        await draft.write([whole.subarray(at, at + 7), whole.subarray(at + 7, at + PIECE_BYTES)]);
      }
      assert.deepEqual([await keysOf(store), await keysOf(second)], [[], []]);
      assert.equal(await draft.putIfAbsent('a/b'), true);
      assert.equal((await second.get('a/b'))?.equals(whole), true);
      assert.deepEqual(await keysOf(second), ['a/b']);
      await second.close();
    },
  );

  drafts('needs the memory of what is written no more, once that is answered', async (begin, store) => {
    const piece = Buffer.from('abc');
    const draft = begin();
    for (const text of ['abc', 'def']) {
      piece.write(text);
      await draft.write([piece]);
    }
    piece.fill(0);
    await draft.putIfAbsent('k');
    assert.equal(String(await store.get('k')), 'abcdef');
  });

  drafts('writes over nothing, and says so', async (begin, store) => {
    await store.put('taken', [Buffer.from('first')]);
    const draft = begin();
    await draft.write([Buffer.from('second')]);
    assert.equal(await draft.putIfAbsent('taken'), false);
    assert.equal(String(await store.get('taken')), 'first');
    assert.deepEqual(await keysOf(store), ['taken']);
  });

  drafts('may have nothing in it', async (begin, store) => {
    assert.equal(await begin().putIfAbsent('empty'), true);
    assert.equal((await store.get('empty'))?.length, 0);
  });

  drafts('leaves nothing when it is discarded, and the object when it was put', async (begin, store) => {
    const [dropped, put] = [begin(), begin()];
    await dropped.write([Buffer.from('x')]);
    await put.write([Buffer.from('y')]);
    await put.putIfAbsent('y');
    for (const draft of [dropped, dropped, put]) await draft.discard();
    assert.deepEqual(await keysOf(store), ['y']);
  });

  drafts('is put once, and not when it was discarded', async (begin, store) => {
    const [put, dropped] = [begin(), begin()];
    await put.write([Buffer.from('x')]);
    await dropped.write([Buffer.from('y')]);
    assert.equal(await put.putIfAbsent('a'), true);
    await dropped.discard();
    for (const draft of [put, dropped]) {
      await draft.write([Buffer.from('z')]);
      await assert.rejects(draft.putIfAbsent('b'));
    }
    assert.deepEqual(await keysOf(store), ['a']);
  });

  drafts('several are written side by side, and I9: of those that want one key exactly one gets it', async (begin, store) => {
    const all = Array.from({ length: 5 }, () => begin());
    for (let round = 0; round < 3; round++) await Promise.all(all.map((draft, i) => draft.write([Buffer.from(String(i))])));
    const won = await Promise.all(all.map((draft) => draft.putIfAbsent('race')));
    if (store.capabilities.putIfAbsent === 'atomic') {
      assert.equal(won.filter(Boolean).length, 1);
      assert.equal(String(await store.get('race')), String(won.indexOf(true)).repeat(3));
    }
  });
}

const LARGE_BYTES = 17 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024 + 1;

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}
