import { createHash, randomBytes } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type ObjectStore, openStore } from '../../../lib/stores/index.ts';
import { openS3Store, type S3StoreOptions } from '../../../lib/stores/s3.ts';
import { instantClock } from '../../support/instant-clock.ts';
import { type Fault, type S3Server, startS3 } from '../../support/s3.ts';
import { crc32Of } from '../../support/s3-multipart.ts';

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
  const store = await openS3Store(new URL(uri), { clock: instantClock(), ...options });
  opened.push(store);
  return store;
}

const body = [Buffer.from('{"id":'), Buffer.from('1}\n')];
const content = '{"id":1}\n';
const puts = () => server.requests.filter(({ method }) => method === 'PUT').length;

const PASSING: [string, Fault][] = [
  ['a connection that breaks before the request has an effect', { kind: 'cut', when: 'before' }],
  ['a connection that breaks after it', { kind: 'cut', when: 'after' }],
  ['500', { kind: 'status', status: 500, code: 'InternalError' }],
  ['502 without a word of S3', { kind: 'status', status: 502 }],
  ['503 SlowDown', { kind: 'status', status: 503, code: 'SlowDown' }],
  ['429', { kind: 'status', status: 429, code: 'TooManyRequests' }],
  ['400 RequestTimeout', { kind: 'status', status: 400, code: 'RequestTimeout' }],
  ['409 OperationAborted', { kind: 'status', status: 409, code: 'OperationAborted' }],
];

const METHODS = ['PUT', 'GET', 'HEAD', 'DELETE'];
/** The answer to a HEAD has no body that could say what was bad. */
const isBareBadRequest = (method: string, fault: Fault) => method === 'HEAD' && fault.kind === 'status' && fault.status === 400;

describe('s3: what passes by itself is repeated', () => {
  it.each(PASSING)('%s is survived by every operation', async (_, fault) => {
    const store = await open();
    for (const method of METHODS) if (!isBareBadRequest(method, fault)) server.inject(fault, { method, key: 'cdc/a', times: 2 });
    await store.put('a', body);
    expect((await store.get('a'))?.toString()).toBe(content);
    expect(await store.exists('a')).toBe(true);
    await store.delete('a');
    expect(await store.exists('a')).toBe(false);
    server.inject(fault, { method: 'GET', key: 'cdc/', times: 2 });
    for await (const { key } of store.list('')) throw new Error(`lists ${key}`);
  });

  it.each(PASSING)('%s at the first request of all is survived', async (_, fault) => {
    server.inject(fault, { times: 2 });
    const store = await open();
    expect(await store.get('a')).toBeNull();
  });

  it.each(PASSING)('%s that stays is an error with operation, key, attempts and no secret', async (_, fault) => {
    const store = await open({ retries: 2 });
    server.inject(fault, { times: Number.POSITIVE_INFINITY });
    const failure = await store.put('t/a', body).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'MR_STORE_UNAVAILABLE',
      details: expect.objectContaining({ operation: 'put', key: 't/a', uri: 's3://lake/cdc', attempts: 3 }),
    });
    expect(String(failure)).not.toContain('S3RVER');
    expect(puts()).toBe(3);
  });

  it('waits longer each time, so that a store in need is left alone', async () => {
    const clock = instantClock();
    const store = await open({ clock, retries: 6, retryBaseMs: 100, retryCapMs: 800 });
    server.inject({ kind: 'status', status: 503, code: 'SlowDown' }, { times: Number.POSITIVE_INFINITY });
    await expect(store.get('a')).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE' });
    expect(clock.sleptMs).toHaveLength(6);
    for (const [i, most] of [100, 200, 400, 800, 800, 800].entries()) expect(clock.sleptMs[i]).toBeLessThanOrEqual(most);
  });

  it('gives up a connection on which nothing moves, and asks again', async () => {
    const store = await open({ idleTimeoutMs: 300 });
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { method: 'PUT' });
    await store.put('a', body);
    release();
    expect(puts()).toBe(2);
    expect((await store.get('a'))?.toString()).toBe(content);
  });

  it('asks for the rest of an object when the connection breaks in the middle of it', async () => {
    const store = await open();
    const large = randomBytes(600_000);
    await store.put('large', [large]);
    for (const bytes of [250_000, 0, 100_000]) server.inject({ kind: 'truncate', bytes }, { method: 'GET', key: 'large' });
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await store.read('large'))!) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(large)).toBe(true);
    const ranges = server.requests.filter(({ key, method }) => method === 'GET' && key === 'cdc/large').map(({ headers }) => headers.range);
    expect(ranges.slice(1).every((range) => /^bytes=\d+-$/.test(range ?? 'none'))).toBe(true);
    expect(ranges.length).toBeGreaterThan(1);
  });

  it.each([
    ['brings nothing', 0, 0],
    ['has brought something, and then nothing', 250_000, 250_000],
  ])('gives up an object whose every answer breaks off when it %s, waiting longer each time', async (_, first, brought) => {
    const clock = instantClock();
    const store = await open({ clock, retries: 4, retryBaseMs: 100, retryCapMs: 800 });
    await store.put('large', [randomBytes(600_000)]);
    server.inject({ kind: 'truncate', bytes: first }, { method: 'GET', key: 'large' });
    server.inject({ kind: 'truncate', bytes: 0 }, { method: 'GET', key: 'large', times: Number.POSITIVE_INFINITY });
    let bytes = 0;
    const reading = async () => {
      for await (const chunk of (await store.read('large'))!) bytes += chunk.length;
    };
    await expect(reading()).rejects.toMatchObject({
      code: 'MR_STORE_UNAVAILABLE',
      details: { operation: 'get', key: 'large', attempts: 5 },
    });
    expect(bytes).toBe(brought);
    expect(clock.sleptMs).toHaveLength(4);
  });

  it('never takes a part of an object for the whole', async () => {
    const store = await open();
    const large = randomBytes(600_000);
    await store.put('large', [large]);
    server.inject({ kind: 'truncate', bytes: 300_000 }, { method: 'GET', key: 'large' });
    expect((await store.get('large'))?.equals(large)).toBe(true);
  });

  it('sends a large body again from its first piece', async () => {
    const store = await open();
    const pieces = Array.from({ length: 400 }, () => randomBytes(8192));
    server.inject({ kind: 'cut', when: 'after' }, { method: 'PUT' });
    server.inject({ kind: 'status', status: 503, code: 'SlowDown' }, { method: 'PUT' });
    await store.put('large', pieces);
    expect((await store.get('large'))?.equals(Buffer.concat(pieces))).toBe(true);
    expect(puts()).toBe(3);
  });

  it('protects each body with its checksum', async () => {
    const store = await open();
    await store.put('a', body);
    expect(server.requests.at(-1)?.headers['content-md5']).toBe(createHash('md5').update(content).digest('base64'));
  });
});

describe('s3: how objects are kept', () => {
  const parameters = { sse: 'aws:kms', 'sse-kms-key-id': 'alias/lake', 'storage-class': 'STANDARD_IA', acl: 'bucket-owner-full-control' };
  const headers = {
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': 'alias/lake',
    'x-amz-storage-class': 'STANDARD_IA',
    'x-amz-acl': 'bucket-owner-full-control',
  };

  it('each new object carries the options of the URI, a large one at its beginning', async () => {
    const store = await open({ multipartBytes: 5 * 1024 * 1024 }, server.uri('cdc', parameters));
    await store.put('a', body);
    expect(server.requests.at(-1)?.headers).toMatchObject(headers);
    await store.putIfAbsent('b', body);
    expect(server.requests.at(-1)?.headers).toMatchObject(headers);
    await store.put('c', [randomBytes(6 * 1024 * 1024)]);
    expect(server.requests.find(({ operation }) => operation === 'CreateMultipartUpload')?.headers).toMatchObject(headers);
    expect(server.requests.find(({ operation }) => operation === 'UploadPart')?.headers).not.toHaveProperty('x-amz-storage-class');
  });

  it('without options it is the bucket that says how', async () => {
    const store = await open();
    await store.put('a', body);
    for (const name of Object.keys(headers)) expect(server.requests.at(-1)?.headers).not.toHaveProperty(name);
  });

  it.each([
    ['KMS.NotFoundException', 400, 'sse-kms-key-id', 'alias/lake'],
    ['KMS.DisabledException', 400, 'sse-kms-key-id', 'alias/lake'],
    ['InvalidStorageClass', 400, 'storage-class', 'STANDARD_IA'],
    ['AccessControlListNotSupported', 400, 'acl', 'bucket-owner-full-control'],
    ['InvalidEncryptionAlgorithmError', 400, 'sse', 'aws:kms'],
  ])('%s names the option and its value', async (code, status, option, value) => {
    const store = await open({}, server.uri('cdc', parameters));
    server.inject({ kind: 'status', status, code }, { method: 'PUT' });
    await expect(store.put('a', body)).rejects.toMatchObject({
      code: 'MR_STORE_OPTION_REFUSED',
      details: expect.objectContaining({ option, value, uri: 's3://lake/cdc', reason: expect.stringContaining(code) }),
    });
  });

  it('such an answer is none about options that were not given', async () => {
    const store = await open();
    server.inject({ kind: 'status', status: 400, code: 'InvalidStorageClass' }, { method: 'PUT' });
    await expect(store.put('a', body)).rejects.toMatchObject({ code: 'MR_STORE_FAILED' });
  });

  it('with checksum=crc32 the store is told the sum, and what it gives back is compared', async () => {
    const store = await open({}, server.uri('cdc', { checksum: 'crc32' }));
    // The last piece is empty and has no memory behind it, for which Node answers a sum of 0.
    await store.put('a', [...body, Buffer.from(new ArrayBuffer(0))]);
    expect(server.requests.at(-1)?.headers['x-amz-checksum-crc32']).toBe(crc32Of(Buffer.from(content)));
    expect((await store.get('a'))?.toString()).toBe(content);
    server.checksums.set('cdc/a', crc32Of(Buffer.from('something else')));
    await expect(store.get('a')).rejects.toMatchObject({ code: 'MR_STORE_FAILED', message: expect.stringContaining('hecksum') });
    const reading = async () => {
      for await (const _ of (await store.read('a'))!);
    };
    await expect(reading()).rejects.toMatchObject({ code: 'MR_STORE_FAILED', message: expect.stringContaining('hecksum') });
  });
});

describe('s3: putIfAbsent when answers get lost', () => {
  it.each([
    ['was written', { kind: 'cut', when: 'after' } as Fault],
    ['was not written', { kind: 'cut', when: 'before' } as Fault],
  ])('is ours when the object %s and the connection broke', async (_, fault) => {
    const store = await open();
    expect(await store.putIfAbsent('first', body)).toBe(true);
    server.inject(fault, { method: 'PUT', key: 'claim' });
    expect(await store.putIfAbsent('claim', body)).toBe(true);
    expect((await store.get('claim'))?.toString()).toBe(content);
    expect(await store.putIfAbsent('claim', body)).toBe(false);
  });

  it('is ours when the lost request takes effect only after the next one was prepared', async () => {
    const store = await open();
    expect(await store.putIfAbsent('first', body)).toBe(true);
    server.inject({ kind: 'cut', when: 'after' }, { method: 'PUT', key: 'claim' });
    // The look in between fails and is repeated: what it then finds is our own object.
    server.inject({ kind: 'status', status: 500 }, { method: 'HEAD', key: 'claim' });
    expect(await store.putIfAbsent('claim', body)).toBe(true);
  });

  it("is the other's when another writer was faster, even with the same bytes", async () => {
    const store = await open();
    const other = await open();
    expect(await store.putIfAbsent('first', body)).toBe(true);
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'cut', when: 'before' }, { method: 'PUT', key: 'claim' });
    server.inject({ kind: 'hold', until }, { method: 'HEAD', key: 'claim' });
    const ours = store.putIfAbsent('claim', body);
    await other.put('claim', body);
    release();
    expect(await ours).toBe(false);
  });

  it('repeats on 409 ConditionalRequestConflict, which says nothing about who won', async () => {
    const store = await open();
    server.inject({ kind: 'status', status: 409, code: 'ConditionalRequestConflict' }, { method: 'PUT', key: 'claim', times: 2 });
    expect(await store.putIfAbsent('claim', body)).toBe(true);
  });

  it('finds out that a store does not honour conditions, before it relies on them', async () => {
    server.conditions = 'ignored';
    const store = await open();
    await expect(store.putIfAbsent('claim', body)).rejects.toMatchObject({ code: 'MR_STORE_NOT_CONDITIONAL' });
    await store.put('taken', [Buffer.from('theirs')]);
    expect(await store.putIfAbsent('taken', body)).toBe(false);
    expect((await store.get('taken'))?.toString()).toBe('theirs');
  });

  it('finds out once: the second object is sent once', async () => {
    const store = await open();
    await store.putIfAbsent('1', body);
    const before = server.requests.length;
    await store.putIfAbsent('2', body);
    expect(server.requests.length - before).toBe(1);
  });

  it('says so when a store refuses the condition as unknown', async () => {
    server.conditions = 'unsupported';
    const store = await open();
    const failure = store.putIfAbsent('claim', body);
    await expect(failure).rejects.toMatchObject({
      code: 'MR_STORE_NOT_CONDITIONAL',
      remedy: expect.stringContaining('conditional-writes=false'),
    });
  });

  it('looks first where it was told that conditions are not honoured', async () => {
    server.conditions = 'unsupported';
    const store = await open({}, server.uri('cdc', { 'conditional-writes': 'false' }));
    expect(store.capabilities.putIfAbsent).toBe('probe');
    expect(await store.putIfAbsent('claim', body)).toBe(true);
    expect(await store.putIfAbsent('claim', body)).toBe(false);
  });
});

describe('s3: what does not pass is said at once', () => {
  it.each([
    ['403 AccessDenied', { kind: 'status', status: 403, code: 'AccessDenied' } as Fault, 'MR_STORE_DENIED'],
    ['403 SignatureDoesNotMatch', { kind: 'status', status: 403, code: 'SignatureDoesNotMatch' } as Fault, 'MR_STORE_DENIED'],
    ['400 ExpiredToken', { kind: 'status', status: 400, code: 'ExpiredToken' } as Fault, 'MR_STORE_DENIED'],
    ['404 NoSuchBucket', { kind: 'status', status: 404, code: 'NoSuchBucket' } as Fault, 'MR_STORE_NO_BUCKET'],
    ['400 InvalidRequest', { kind: 'status', status: 400, code: 'InvalidRequest' } as Fault, 'MR_STORE_FAILED'],
  ])('%s', async (_, fault, code) => {
    server.inject(fault);
    await expect(open()).rejects.toMatchObject({ code });
    const store = await open();
    const before = server.requests.length;
    server.inject(fault, { times: 10 });
    await expect(store.put('a', body)).rejects.toMatchObject({ code });
    await expect(store.get('a')).rejects.toMatchObject({ code });
    expect(server.requests.length - before).toBe(2);
  });

  it('a bucket that is not there', async () => {
    await expect(open({}, server.uri().replace('s3://lake', 's3://no-such-bucket'))).rejects.toMatchObject({
      code: 'MR_STORE_NO_BUCKET',
      message: expect.stringContaining('no-such-bucket'),
    });
  });

  it('an endpoint where nobody listens', async () => {
    const free = createServer();
    const port = await new Promise<number>((resolve) => free.listen(0, '127.0.0.1', () => resolve((free.address() as AddressInfo).port)));
    await new Promise((resolve) => free.close(resolve));
    const failure = open({}, `s3://lake/cdc?endpoint=http://127.0.0.1:${port}`);
    await expect(failure).rejects.toMatchObject({ code: 'MR_STORE_UNAVAILABLE', message: expect.stringContaining('ECONNREFUSED') });
  });

  it('no credentials', async () => {
    const saved = { ...process.env };
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) delete process.env[name];
    Object.assign(process.env, { AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_CONFIG_FILE: '/dev/null' });
    try {
      await expect(open()).rejects.toMatchObject({ code: 'MR_STORE_DENIED' });
    } finally {
      for (const name of ['AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE']) delete process.env[name];
      Object.assign(process.env, saved);
    }
  });

  it('a close while the store is away: nothing waits on', async () => {
    const store = await openS3Store(new URL(server.uri('cdc')));
    server.inject({ kind: 'hold', until: new Promise(() => {}) }, { method: 'GET', key: 'a' });
    const reading = expect(store.get('a')).rejects.toMatchObject({ code: expect.stringMatching(/^MR_STORE_/) });
    while (!server.requests.some(({ method, key }) => method === 'GET' && key === 'cdc/a')) await new Promise(setImmediate);
    await store.close();
    await reading;
  });
});

describe('s3: lists', () => {
  it('go on over pages, in order, more than 1000 keys', async () => {
    const store = await open();
    const keys = Array.from({ length: 1100 }, (_, i) => `t/${i % 3}/CDC${String(i).padStart(6, '0')}`).sort();
    await server.seed(keys.map((key) => `cdc/${key}`));
    const before = server.requests.length;
    const found: string[] = [];
    for await (const { key } of store.list('t/')) found.push(key);
    expect(found).toEqual(keys);
    expect(server.requests.length - before).toBe(2);
  });

  it('survive a fault between two pages without losing or repeating a key', async () => {
    server.pageSize = 2;
    const store = await open();
    const keys = ['a 1', 'b%', 'c/ü', 'd', 'e'];
    for (const key of keys) await store.put(key, [Buffer.from('1')]);
    const found: string[] = [];
    for await (const { key } of store.list('')) {
      found.push(key);
      server.inject({ kind: 'cut', when: 'after' }, { method: 'GET' });
    }
    expect(found).toEqual(keys);
  });

  it('do not see what lies beside the prefix', async () => {
    const beside = await open({}, server.uri('cdc-old'));
    const root = await open({}, server.uri());
    const store = await open();
    await beside.put('a', body);
    await store.put('b', body);
    const keysOf = async (from: ObjectStore) => {
      const found: string[] = [];
      for await (const { key } of from.list('')) found.push(key);
      return found;
    };
    expect(await keysOf(store)).toEqual(['b']);
    expect(await keysOf(root)).toEqual(['cdc-old/a', 'cdc/b']);
  });
});

it('s3: AWS_ENDPOINT_URL says where the store is', async () => {
  process.env['AWS_ENDPOINT_URL'] = server.endpoint;
  try {
    const store = await openStore('s3://lake/env');
    opened.push(store);
    await store.put('a', body);
    expect(server.requests.at(-1)).toMatchObject({ method: 'PUT', key: 'env/a' });
  } finally {
    delete process.env['AWS_ENDPOINT_URL'];
  }
});
