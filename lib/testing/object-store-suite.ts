import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { isMillraceError } from '../errors.ts';
import type { ObjectStore, StreamedBody } from '../stores/object-store.ts';
import { draftCases } from './object-draft-suite.ts';
import { globalRunner, type TestRunner } from './runner.ts';

export interface ObjectStoreFixture {
  /** An empty store. */
  readonly store: ObjectStore;
  /** Another store on the same objects, as a second process would open it. */
  another(): Promise<ObjectStore>;
  /** More than this store writes in one request or by one call. Default 17 MiB. */
  readonly largeBytes?: number;
  close(): Promise<void>;
}

/**
 * What every object store must do. `make` gives an empty one for each test.
 *
 * @param runner functions of the test runner. Default: the global ones.
 */
export function describeObjectStore(name: string, make: () => Promise<ObjectStoreFixture>, runner: TestRunner = globalRunner()): void {
  const it = (title: string, body: (store: ObjectStore, fixture: ObjectStoreFixture) => Promise<void>) =>
    runner.it(title, async () => {
      const fixture = await make();
      try {
        await body(fixture.store, fixture);
      } finally {
        await fixture.store.close();
        await fixture.close();
      }
    });

  runner.describe(`object store: ${name}`, () => {
    it('has nothing at first', async (store) => {
      assert.equal(await store.get('a'), null);
      assert.equal(await store.read('a/b'), null);
      assert.equal(await store.exists('a'), false);
      assert.deepEqual(await keysOf(store, ''), []);
    });

    it('gives back what was put, joined from its pieces', async (store) => {
      await store.put('a/b.json', [bytes('one,'), bytes(''), bytes('two')]);
      assert.equal(text(await store.get('a/b.json')), 'one,two');
      assert.equal(text(await collect(store, 'a/b.json')), 'one,two');
      assert.equal(await store.exists('a/b.json'), true);
    });

    it('keeps an object without content, because an empty file is a file', async (store) => {
      await store.put('empty', []);
      await store.put('blank', [bytes('')]);
      assert.deepEqual(await list(store, ''), [
        { key: 'blank', size: 0 },
        { key: 'empty', size: 0 },
      ]);
      assert.equal((await store.get('empty'))?.length, 0);
      assert.equal((await collect(store, 'empty')).length, 0);
    });

    it('replaces an object as a whole: the shorter one has nothing of the longer', async (store) => {
      await store.put('x', [bytes('a long content')]);
      await store.put('x', [bytes('short')]);
      assert.equal(text(await store.get('x')), 'short');
    });

    it('putIfAbsent writes once and says so', async (store, { another }) => {
      const second = await another();
      assert.equal(await store.putIfAbsent('d/claim', [bytes('mine')]), true);
      assert.equal(await store.putIfAbsent('d/claim', [bytes('mine')]), false);
      assert.equal(await second.putIfAbsent('d/claim', [bytes('theirs')]), false);
      assert.equal(text(await second.get('d/claim')), 'mine');
      await store.delete('d/claim');
      assert.equal(await second.putIfAbsent('d/claim', [bytes('theirs')]), true);
      await second.close();
    });

    it('I9: of many writers at the same instant exactly one wins, and its bytes stand', async (store, { another }) => {
      const second = await another();
      if (store.capabilities.putIfAbsent === 'atomic') {
        const writers = Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? store : second));
        const won = await Promise.all(writers.map((writer, i) => writer.putIfAbsent('race/k', [bytes(`writer ${i}`)])));
        assert.equal(won.filter(Boolean).length, 1);
        assert.equal(text(await store.get('race/k')), `writer ${won.indexOf(true)}`);
      }
      await second.close();
    });

    it('putIf writes over the version that is expected, and over no other', async (store, { another }) => {
      const second = await another();
      const first = await store.putIf('d/owner', [bytes('a')], null);
      assert.ok(first !== null);
      assert.deepEqual(await second.getVersioned('d/owner'), { content: bytes('a'), version: first });
      assert.equal(await second.putIf('d/owner', [bytes('b')], null), null);
      const next = await second.putIf('d/owner', [bytes('b'), bytes('c')], first);
      assert.ok(next !== null && next !== first);
      assert.equal(await store.putIf('d/owner', [bytes('late')], first), null);
      assert.deepEqual(await store.getVersioned('d/owner'), { content: bytes('bc'), version: next });
      assert.equal(text(await store.get('d/owner')), 'bc');
      await second.close();
    });

    it('putIf of what is gone, or was never there, writes nothing', async (store) => {
      assert.equal(await store.getVersioned('d/owner'), null);
      const version = (await store.putIf('d/owner', [bytes('a')], null))!;
      assert.equal(await store.putIf('d/other', [bytes('b')], version), null);
      await store.delete('d/owner');
      assert.equal(await store.putIf('d/owner', [bytes('b')], version), null);
      assert.deepEqual(await keysOf(store, ''), []);
    });

    it('I9: of many that expect the same version exactly one writes, and a count by putIf loses nothing', async (store, { another }) => {
      const second = await another();
      if (store.capabilities.conditionalPut === 'atomic') {
        const writers = Array.from({ length: 6 }, (_, i) => (i % 2 === 0 ? store : second));
        const versions = await Promise.all(writers.map((writer, i) => writer.putIf('race/k', [bytes(`writer ${i}`)], null)));
        assert.equal(versions.filter((version) => version !== null).length, 1);
        assert.equal(text(await store.get('race/k')), `writer ${versions.findIndex((version) => version !== null)}`);
        await store.putIf('race/n', [bytes('0')], null);
        await Promise.all(writers.map((writer) => countUp(writer, 'race/n')));
        assert.equal(text(await store.get('race/n')), '6');
      }
      await second.close();
    });

    it('gives the folders below a folder, each once and in order, and nothing of what is deeper', async (store) => {
      const keys = ['t/2024/a/b', 't/2024/c', 't/2025-01/meta/x', 't/7/a', 't/CDC1', 't/CDC2', 't/meta/CDC.index', 't2/9/a', 'z'];
      for (const key of keys) await store.put(key, [bytes(key)]);
      const folders = async (prefix: string, before?: string) => {
        const found = [];
        for await (const name of store.folders(prefix, before)) found.push(name);
        return found;
      };
      assert.deepEqual(await folders('t/'), ['2024', '2025-01', '7', 'meta']);
      assert.deepEqual(await folders('t/', 'C'), ['2024', '2025-01', '7']);
      assert.deepEqual(await folders('t/', '2025'), ['2024']);
      assert.deepEqual(await folders(''), ['t', 't2']);
      assert.deepEqual(await folders('t/2024/'), ['a']);
      assert.deepEqual(await folders('nothing/'), []);
      await store.delete('t/7/a');
      assert.deepEqual(await folders('t/', 'C'), ['2024', '2025-01']);
      await assert.rejects(folders('t'), (error: unknown) => isMillraceError(error, 'MR_STORE_INVALID_KEY'));
    });

    it('gives a copy: neither side can change the object through its buffers', async (store) => {
      const piece = bytes('abc');
      await store.put('k', [piece]);
      piece.fill(0);
      const read = await store.get('k');
      assert.equal(text(read), 'abc');
      read?.fill(0);
      assert.equal(text(await store.get('k')), 'abc');
    });

    it('lists by plain prefix, which need not end at a folder', async (store) => {
      for (const key of ['s/t/1/CDC1', 's/t/1/CDC2', 's/t/12/CDC1', 's/t2/1/CDC1', 'metadata']) await store.put(key, [bytes(key)]);
      assert.deepEqual(await keysOf(store, 's/t/1'), ['s/t/1/CDC1', 's/t/1/CDC2', 's/t/12/CDC1']);
      assert.deepEqual(await keysOf(store, 's/t/1/'), ['s/t/1/CDC1', 's/t/1/CDC2']);
      assert.deepEqual(await keysOf(store, 's/t/1/CDC2'), ['s/t/1/CDC2']);
      assert.deepEqual(await keysOf(store, 's/t/1/CDC2/'), []);
      assert.deepEqual(await keysOf(store, 'nothing/here'), []);
      assert.deepEqual(await list(store, 'meta'), [{ key: 'metadata', size: 8 }]);
    });

    it('lists in UTF-8 byte order over folders and files alike', async (store) => {
      const sorted = [
        'a!',
        'a-b/c',
        'a/1',
        'a/b/c',
        'a/b0',
        'a0',
        'b',
        'é/x',
        '\uff5e',
        '\u{1f600}',
        '\u{1f600}/y'.replace('\u{1f600}', '\u{1f601}'),
      ];
      for (const key of sorted.toReversed()) await store.put(key, [bytes(key)]);
      assert.deepEqual(await keysOf(store, ''), sorted);
    });

    it('keeps keys exactly: spaces, percent signs, plus, quotes, control and 4-byte characters', async (store) => {
      const keys = [
        'a b/c d',
        'p%20q/%2F',
        'p/%',
        'one+two',
        'it\'s "q"&<x>',
        'tab\there',
        'ünï/\u{1f409}',
        '[x]*?#!',
        'dots.../...',
        '-',
        '~$\\^`{|}',
      ];
      for (const key of keys) await store.put(key, [bytes(key)]);
      assert.deepEqual(new Set(await keysOf(store, '')), new Set(keys));
      for (const key of keys) {
        assert.equal(text(await store.get(key)), key);
        assert.deepEqual(await keysOf(store, key), [key]);
      }
      for (const key of keys) await store.delete(key);
      assert.deepEqual(await keysOf(store, ''), []);
    });

    it('deletes, and does not mind when there is nothing', async (store) => {
      await store.put('a/b', [bytes('1')]);
      await store.delete('a/b');
      await store.delete('a/b');
      await store.delete('never/was');
      assert.equal(await store.exists('a/b'), false);
      await store.put('a/b', [bytes('2')]);
      assert.equal(text(await store.get('a/b')), '2');
    });

    it('an object is no folder and a folder is no object', async (store) => {
      await store.put('a/b/c', [bytes('1')]);
      assert.equal(await store.exists('a/b'), false);
      assert.equal(await store.get('a/b'), null);
      assert.equal(await store.read('a'), null);
      await store.delete('a/b');
      assert.deepEqual(await keysOf(store, ''), ['a/b/c']);
    });

    it('takes a large object in many pieces', async (store) => {
      const pieces = Array.from({ length: 2500 }, (_, i) => randomBytes(i % 7 === 0 ? 0 : 2048));
      await store.put('large', pieces);
      const whole = Buffer.concat(pieces);
      assert.equal((await store.get('large'))?.equals(whole), true);
      assert.equal((await collect(store, 'large')).equals(whole), true);
      assert.deepEqual(await list(store, ''), [{ key: 'large', size: whole.length }]);
    });

    draftCases(it);

    it('takes a body that is read while it is written, of any size', async (store, { largeBytes = LARGE_BYTES }) => {
      const sizes = [0, 3, largeBytes];
      for (const [i, size] of sizes.entries()) {
        const whole = randomBytes(size);
        await store.put(`put/${i}`, streamed(whole));
        assert.equal((await store.get(`put/${i}`))?.equals(whole), true);
        assert.equal(await store.putIfAbsent(`absent/${i}`, streamed(whole)), true);
        assert.equal(await store.putIfAbsent(`absent/${i}`, streamed(randomBytes(size))), false);
        assert.equal((await store.get(`absent/${i}`))?.equals(whole), true);
      }
      assert.deepEqual(
        await list(store, 'put/'),
        sizes.map((size, i) => ({ key: `put/${i}`, size })),
      );
    });

    it('tidb 71162: shows nothing of an object before all of it, and what stood there until then', async (store, {
      another,
      largeBytes = LARGE_BYTES,
    }) => {
      const second = await another();
      const whole = randomBytes(largeBytes);
      await store.put('replaced', [bytes('old')]);
      const looking = streamed(whole, async () => {
        assert.equal(await second.exists('new'), false);
        assert.equal(text(await second.get('replaced')), 'old');
        assert.deepEqual(await keysOf(second, ''), ['replaced']);
      });
      assert.equal(await store.putIfAbsent('new', looking), true);
      await store.delete('new');
      await store.put('replaced', looking);
      assert.equal((await second.get('replaced'))?.equals(whole), true);
      await second.close();
    });

    for (const kind of ['small', 'large']) {
      it(`leaves nothing of a ${kind} body that fails, that is too short or that is too long`, async (store, {
        largeBytes = LARGE_BYTES,
      }) => {
        const size = kind === 'small' ? 10 : largeBytes;
        const failing = streamed(randomBytes(size), () => Promise.reject(new Error('the spool is gone')));
        const short = { ...streamed(randomBytes(size)), bytes: size + 1 };
        const long = { ...streamed(randomBytes(size)), bytes: size - 1 };
        await store.put('old', [bytes('old')]);
        for (const body of [failing, short, long]) {
          await assert.rejects(store.put('new', body));
          await assert.rejects(store.putIfAbsent('new', body));
          await assert.rejects(store.put('old', body));
        }
        assert.deepEqual(await list(store, ''), [{ key: 'old', size: 3 }]);
        assert.equal(await store.putIfAbsent('new', [bytes('1')]), true);
      });
    }

    it('I9: of many writers of a large object exactly one wins, and its bytes stand', async (store, {
      another,
      largeBytes = LARGE_BYTES,
    }) => {
      const second = await another();
      if (store.capabilities.putIfAbsent === 'atomic') {
        const bodies = [0, 1, 2].map((first) => Buffer.alloc(largeBytes, first));
        const won = await Promise.all(bodies.map((body, i) => (i === 1 ? second : store).putIfAbsent('race/large', [body])));
        assert.equal(won.filter(Boolean).length, 1);
        assert.equal((await store.get('race/large'))?.equals(bodies[won.indexOf(true)]!), true);
      }
      await second.close();
    });

    it('writes many objects into new folders at once', async (store) => {
      const keys = Array.from({ length: 60 }, (_, i) => `t${i % 4}/v${i % 10}/CDC${String(i).padStart(3, '0')}`);
      await Promise.all(keys.map((key) => store.put(key, [bytes(key)])));
      assert.deepEqual(await keysOf(store, ''), keys.toSorted());
    });

    it('a reader that leaves early holds nothing up', async (store) => {
      await store.put('large', [randomBytes(3 * 1024 * 1024)]);
      for await (const chunk of (await store.read('large'))!) {
        assert.ok(chunk.length > 0);
        break;
      }
      assert.equal(await store.exists('large'), true);
    });

    for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/../../b', './a', 'a/.', 'a\0b', '\ud800', '.millrace-tmp/x']) {
      it(`refuses the key ${JSON.stringify(key)}, which could leave the store or mean nothing in another`, async (store) => {
        const isRefusal = (error: unknown) => isMillraceError(error, 'MR_STORE_INVALID_KEY');
        await assert.rejects(store.put(key, [bytes('x')]), isRefusal);
        await assert.rejects(store.putIfAbsent(key, [bytes('x')]), isRefusal);
        await assert.rejects(store.putIf(key, [bytes('x')], null), isRefusal);
        await assert.rejects(store.get(key), isRefusal);
        await assert.rejects(store.delete(key), isRefusal);
      });
    }
  });
}

const LARGE_BYTES = 17 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024 - 1;

/** @param meanwhile runs before the last piece is given. */
function streamed(whole: Buffer, meanwhile: () => Promise<void> = async () => {}): StreamedBody {
  return {
    bytes: whole.length,
    async *chunks() {
      const last = Math.max(0, whole.length - CHUNK_BYTES);
      for (let at = 0; at < last; at += CHUNK_BYTES) yield whole.subarray(at, Math.min(last, at + CHUNK_BYTES));
      await meanwhile();
      yield whole.subarray(last);
    },
  };
}

function bytes(content: string): Buffer {
  return Buffer.from(content);
}

function text(content: Uint8Array | null): string | null {
  return content === null ? null : Buffer.from(content).toString();
}

async function list(store: ObjectStore, prefix: string): Promise<{ key: string; size: number }[]> {
  const found = [];
  for await (const { key, size } of store.list(prefix)) found.push({ key, size });
  return found;
}

async function countUp(store: ObjectStore, key: string): Promise<void> {
  for (;;) {
    const { content, version } = (await store.getVersioned(key))!;
    if ((await store.putIf(key, [bytes(String(Number(content) + 1))], version)) !== null) return;
  }
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  return (await list(store, prefix)).map(({ key }) => key);
}

async function collect(store: ObjectStore, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.read(key)) ?? assert.fail(`${key} is not there`)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
