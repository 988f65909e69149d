import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { openS3Store, type S3StoreOptions } from '../../../lib/stores/s3.ts';
import { instantClock } from '../../support/instant-clock.ts';
import { type Fault, type S3Operation, type S3Server, startS3 } from '../../support/s3.ts';
import { crc32Of } from '../../support/s3-multipart.ts';

const MIB = 1024 * 1024;
const EVER = Number.POSITIVE_INFINITY;
/** Three parts: two of 5 MiB and a rest. */
const large = randomBytes(11 * MIB);
const PARTS = 3;
/** Two parts. */
const two = large.subarray(0, 5 * MIB + 100);
const error200 = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>said late</Message></Error>`;

let server: S3Server;
let opened: ObjectStore[];
beforeEach(async () => {
  opened = [];
  server = await startS3();
});
afterEach(async () => {
  for (const store of opened) await store.close();
  await server.close();
});

async function open(options: S3StoreOptions = {}, uri = server.uri('cdc')): Promise<ObjectStore> {
  const store = await openS3Store(uri, { clock: instantClock(), multipartBytes: 5 * MIB, partBytes: 5 * MIB, ...options });
  opened.push(store);
  return store;
}

const count = (operation: S3Operation) => server.requests.filter((seen) => seen.operation === operation).length;
const of = (operation: S3Operation) => server.requests.filter((seen) => seen.operation === operation);

/** spec storage-sink §1: close is the commit point. */
describe('s3: a large object', () => {
  it('tiflow #10098: goes in parts, each with its checksum, and is completed once', async () => {
    const store = await open();
    await store.put('large', [large.subarray(0, 7_000_000), Buffer.alloc(0), large.subarray(7_000_000)]);
    expect((await store.get('large'))?.equals(large)).toBe(true);
    expect([count('CreateMultipartUpload'), count('UploadPart'), count('CompleteMultipartUpload')]).toEqual([1, PARTS, 1]);
    const md5 = (from: number) =>
      createHash('md5')
        .update(large.subarray(from, from + 5 * MIB))
        .digest('base64');
    expect(of('UploadPart').map(({ headers }) => headers['content-md5'])).toEqual([0, 5 * MIB, 10 * MIB].map(md5));
    expect(server.uploads.open.size).toBe(0);
  });

  it('carries the CRC32 of each part and of the whole, and its length, where the store keeps them', async () => {
    const store = await open({ checksum: 'crc32' });
    await store.put('large', [large]);
    const crc = (from: number) => crc32Of(large.subarray(from, from + 5 * MIB));
    expect(of('UploadPart').map(({ headers }) => headers['x-amz-checksum-crc32'])).toEqual([0, 5 * MIB, 10 * MIB].map(crc));
    expect(of('CreateMultipartUpload')[0]?.headers).toMatchObject({
      'x-amz-checksum-algorithm': 'CRC32',
      'x-amz-checksum-type': 'FULL_OBJECT',
    });
    expect(of('CompleteMultipartUpload')[0]?.headers).toMatchObject({
      'x-amz-checksum-crc32': crc32Of(large),
      'x-amz-mp-object-size': String(large.length),
    });
  });

  it('goes in one request up to the bound', async () => {
    const store = await open();
    await store.put('just', [large.subarray(0, 5 * MIB)]);
    expect(count('CreateMultipartUpload')).toBe(0);
    await store.put('more', [large.subarray(0, 5 * MIB + 1)]);
    expect(count('UploadPart')).toBe(2);
  });

  it.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [512, 3],
  ])('has, at flush-concurrency %i, at most %i parts on their way, and asks for no more of its body', async (flushConcurrency, most) => {
    const store = await open({ flushConcurrency });
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { operation: 'UploadPart', times: EVER });
    let given = 0;
    const body = {
      bytes: large.length,
      async *chunks() {
        for (let at = 0; at < large.length; at += MIB) {
          given = at + MIB;
          yield large.subarray(at, at + MIB);
        }
      },
    };
    const putting = store.put('large', body);
    while (count('UploadPart') < most) await new Promise(setImmediate);
    expect(count('UploadPart')).toBe(most);
    expect(given).toBe(Math.min(large.length, most * 5 * MIB));
    release();
    await putting;
    expect((await store.get('large'))?.equals(large)).toBe(true);
  });

  it('tidb #71162: is not to be seen before its completion, by get, by list or by another store', async () => {
    const store = await open();
    const other = await open();
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { operation: 'CompleteMultipartUpload' });
    const putting = store.put('large', [large]);
    while (count('CompleteMultipartUpload') === 0) await new Promise(setImmediate);
    expect(await other.get('large')).toBeNull();
    for await (const { key } of other.list('')) throw new Error(`lists ${key}`);
    release();
    await putting;
    expect((await other.get('large'))?.length).toBe(large.length);
  });
});

const PASSING: [string, Fault][] = [
  ['a connection that breaks before', { kind: 'cut', when: 'before' }],
  ['a connection that breaks after', { kind: 'cut', when: 'after' }],
  ['500', { kind: 'status', status: 500, code: 'InternalError' }],
  ['503 SlowDown', { kind: 'status', status: 503, code: 'SlowDown' }],
];
const STEPS: S3Operation[] = ['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'];

describe('s3: a large object, when something passes by itself', () => {
  const everyStep = STEPS.flatMap((step) => PASSING.map(([name, fault]) => [step, name, fault] as const));
  it.each(everyStep)('%s survives %s', async (operation, _, fault) => {
    const store = await open();
    server.inject(fault, { operation, times: 2 });
    await store.put('large', [two]);
    expect((await store.get('large'))?.equals(two)).toBe(true);
  });

  it.each(everyStep)('%s survives %s, and who asked first has it, if absent', async (operation, _, fault) => {
    const store = await open({ flushConcurrency: 2 });
    expect(await store.putIfAbsent('first', [two])).toBe(true);
    server.inject(fault, { operation, times: 2 });
    expect(await store.putIfAbsent('large', [two])).toBe(true);
    expect(await store.putIfAbsent('large', [two])).toBe(false);
    expect((await store.get('large'))?.equals(two)).toBe(true);
  });

  it('one part that was cut in the middle is sent again alone', async () => {
    const store = await open();
    server.inject({ kind: 'cut', when: 'during', bytes: 2 * MIB }, { operation: 'UploadPart', part: 2 });
    await store.put('large', [large]);
    expect(of('UploadPart').map(({ query }) => query.get('partNumber'))).toEqual(['1', '2', '2', '3']);
    expect((await store.get('large'))?.equals(large)).toBe(true);
  });

  it.each([
    ['InternalError in it, before the effect', { kind: 'answer', when: 'before', body: error200('InternalError') } as Fault],
    ['InternalError in it, after the effect', { kind: 'answer', when: 'after', body: error200('InternalError') } as Fault],
    ['nothing in it, before the effect', { kind: 'answer', when: 'before', body: '' } as Fault],
    ['nothing in it, after the effect', { kind: 'answer', when: 'after', body: '' } as Fault],
    ['an error that ends in a line feed', { kind: 'answer', when: 'before', body: `${error200('InternalError')}\n` } as Fault],
  ])('a completion answered 200 with %s is not taken for done', async (_, fault) => {
    const store = await open();
    server.inject(fault, { operation: 'CompleteMultipartUpload' });
    await store.put('large', [large]);
    expect(count('CompleteMultipartUpload')).toBe(2);
    expect((await store.get('large'))?.equals(large)).toBe(true);
  });

  it('a wait between two attempts of a part is random and grows', async () => {
    for (const [chance, sleptMs] of [
      [0, [0, 0, 0, 0]],
      [0.5, [50, 100, 150, 150]],
    ] as const) {
      const clock = { ...instantClock(), random: () => chance };
      const store = await open({ clock, retries: 4, retryBaseMs: 100, retryCapMs: 300 });
      server.inject({ kind: 'status', status: 503, code: 'SlowDown' }, { operation: 'UploadPart', part: 2, times: 4 });
      await store.put('large', [large]);
      expect(clock.sleptMs).toEqual(sleptMs);
    }
  });

  it.each(['UploadPart', 'CompleteMultipartUpload'] as const)(
    'begins again when %s finds the upload aborted by another',
    async (operation) => {
      const store = await open();
      for (const key of ['put', 'absent']) {
        server.inject({ kind: 'status', status: 404, code: 'NoSuchUpload' }, { operation, key });
        if (key === 'put') await store.put(key, [large]);
        else expect(await store.putIfAbsent(key, [large])).toBe(true);
        expect((await store.get(key))?.equals(large)).toBe(true);
      }
      expect(server.uploads.open.size).toBe(0);
    },
  );
});

/** spec storage-sink §12 */
describe('s3: a large object that cannot be written', () => {
  it.each([
    ['CreateMultipartUpload', 'begin'],
    ['UploadPart', 'put part'],
    ['CompleteMultipartUpload', 'complete'],
  ] as const)('#3371: an error of %s is the error of the put; nothing is visible and no upload stays', async (operation, name) => {
    const store = await open({ retries: 1, flushConcurrency: 2 });
    await store.put('old', [Buffer.from('old')]);
    server.inject({ kind: 'status', status: 503, code: 'SlowDown' }, { operation, times: EVER });
    const failure = { code: 'MR_STORE_UNAVAILABLE', details: expect.objectContaining({ operation: name, attempts: 2 }) };
    await expect(store.put('old', [two])).rejects.toMatchObject(failure);
    await expect(store.put('new', [two])).rejects.toMatchObject(failure);
    expect((await store.get('old'))?.toString()).toBe('old');
    expect(await store.exists('new')).toBe(false);
    expect(server.uploads.open.size).toBe(0);
  });

  it.each([
    ['refused', { kind: 'status', status: 403, code: 'AccessDenied' } as Fault, 'MR_STORE_DENIED'],
    [
      'answered 200 with InvalidPart in it',
      { kind: 'answer', when: 'before', body: error200('InvalidPart') } as Fault,
      'MR_STORE_UNAVAILABLE',
    ],
    ['400 InvalidPart', { kind: 'status', status: 400, code: 'InvalidPart' } as Fault, 'MR_STORE_FAILED'],
  ])('#3374: a completion that is %s fails the put', async (_, fault, code) => {
    const store = await open({ retries: 1 });
    server.inject(fault, { operation: 'CompleteMultipartUpload', times: EVER });
    await expect(store.put('new', [two])).rejects.toMatchObject({ code });
    expect(await store.exists('new')).toBe(false);
    expect(server.uploads.open.size).toBe(0);
  });

  it('tiflow #12436: a completion whose answer never comes fails the put, though it may have had its effect', async () => {
    const store = await open({ retries: 1 });
    server.inject({ kind: 'cut', when: 'after' }, { operation: 'CompleteMultipartUpload', times: EVER });
    server.inject({ kind: 'status', status: 503 }, { method: 'HEAD', times: EVER });
    await expect(store.put('new', [two])).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE' });
    server.heal();
    expect((await store.get('new'))?.equals(two)).toBe(true);
  });

  it('stops the other parts when one fails for good', async () => {
    const store = await open({ flushConcurrency: 3 });
    server.inject({ kind: 'hold', until: new Promise(() => {}) }, { operation: 'UploadPart', part: 1 });
    server.inject({ kind: 'status', status: 403, code: 'AccessDenied' }, { operation: 'UploadPart', part: 2 });
    await expect(store.put('new', [two])).rejects.toMatchObject({ code: 'MR_STORE_DENIED' });
    expect(server.uploads.open.size).toBe(0);
  });

  it('says its own failure when the upload cannot be aborted either', async () => {
    const store = await open();
    server.inject({ kind: 'status', status: 403, code: 'AccessDenied' }, { operation: 'UploadPart' });
    server.inject({ kind: 'status', status: 500 }, { operation: 'AbortMultipartUpload', times: EVER });
    await expect(store.put('new', [two])).rejects.toMatchObject({ code: 'MR_STORE_DENIED' });
  });

  it('gives up when the upload is aborted again and again', async () => {
    const store = await open();
    server.inject({ kind: 'status', status: 404, code: 'NoSuchUpload' }, { operation: 'CompleteMultipartUpload', times: EVER });
    await expect(store.put('new', [two])).rejects.toMatchObject({ code: 'MR_STORE_FAILED' });
    expect(count('CreateMultipartUpload')).toBe(4);
  });
});

describe('s3: putIfAbsent of a large object', () => {
  it('is judged at its completion: who was faster meanwhile has it', async () => {
    const store = await open();
    const other = await open();
    await store.putIfAbsent('first', [two]);
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { operation: 'UploadPart', part: 2, key: 'claim' });
    const ours = store.putIfAbsent('claim', [two]);
    while (!server.requests.some(({ key, query }) => key.includes('claim') && query.get('partNumber') === '2'))
      await new Promise(setImmediate);
    expect(await other.putIfAbsent('claim', [Buffer.from('theirs')])).toBe(true);
    release();
    expect(await ours).toBe(false);
    expect((await store.get('claim'))?.toString()).toBe('theirs');
    expect(server.uploads.open.size).toBe(0);
  });

  it('begins again at 409 ConditionalRequestConflict, because the upload is spent', async () => {
    const store = await open();
    await store.putIfAbsent('first', [two]);
    server.inject({ kind: 'status', status: 409, code: 'ConditionalRequestConflict' }, { operation: 'CompleteMultipartUpload', times: 2 });
    expect(await store.putIfAbsent('claim', [two])).toBe(true);
    expect(of('CreateMultipartUpload').filter(({ key }) => key === 'cdc/claim')).toHaveLength(3);
    expect((await store.get('claim'))?.equals(two)).toBe(true);
  });

  it("is the other's when the conflict was with one that won", async () => {
    const store = await open();
    const other = await open();
    await store.putIfAbsent('first', [two]);
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { operation: 'UploadPart', part: 2, key: 'claim' });
    server.inject(
      { kind: 'status', status: 409, code: 'ConditionalRequestConflict' },
      { operation: 'CompleteMultipartUpload', key: 'claim' },
    );
    const ours = store.putIfAbsent('claim', [two]);
    while (!server.requests.some(({ key, query }) => key.includes('claim') && query.get('partNumber') === '2'))
      await new Promise(setImmediate);
    await other.put('claim', [Buffer.from('theirs')]);
    release();
    expect(await ours).toBe(false);
  });

  it('is ours when the answer got lost and the upload is not known any more', async () => {
    const store = await open();
    await store.putIfAbsent('first', [two]);
    server.inject({ kind: 'cut', when: 'after' }, { operation: 'CompleteMultipartUpload' });
    server.inject({ kind: 'status', status: 404, code: 'NoSuchUpload' }, { operation: 'CompleteMultipartUpload' });
    expect(await store.putIfAbsent('claim', [two])).toBe(true);
    expect(of('CreateMultipartUpload').filter(({ key }) => key === 'cdc/claim')).toHaveLength(1);
  });

  it('sends nothing of an object that is there', async () => {
    const store = await open();
    await store.putIfAbsent('large', [two]);
    const before = count('UploadPart');
    expect(await store.putIfAbsent('large', [two])).toBe(false);
    expect(count('UploadPart')).toBe(before);
  });

  it.each(['ignored', 'unsupported'] as const)(
    'goes in one request where conditions on completions are %s, and one of two writers wins',
    async (how) => {
      server.completions = how;
      const store = await open();
      const won = await Promise.all([store.putIfAbsent('claim', [two]), store.putIfAbsent('claim', [Buffer.from('small')])]);
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(of('UploadPart').filter(({ key }) => key === 'cdc/claim')).toHaveLength(0);
      expect(await store.putIfAbsent('claim', [two])).toBe(false);
    },
  );

  it('learns once whether completions honour the condition, on an object that no list shows, should it stay', async () => {
    const store = await open();
    server.inject({ kind: 'status', status: 403, code: 'AccessDenied' }, { method: 'DELETE', operation: 'other', key: 'conditional' });
    await store.putIfAbsent('a', [two]);
    await store.putIfAbsent('b', [two]);
    expect(of('CompleteMultipartUpload').map(({ key }) => key.replace(/-[0-9a-f-]{36}$/, ''))).toEqual([
      'cdc/.millrace-tmp/conditional',
      'cdc/.millrace-tmp/conditional',
      'cdc/a',
      'cdc/b',
    ]);
    const keys: string[] = [];
    for await (const { key } of store.list('')) keys.push(key);
    expect(keys).toEqual(['a', 'b']);
    expect(server.uploads.open.size).toBe(0);
  });
});
