import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { compareUtf8, openStore } from '../../../lib/stores/index.ts';
import { s3LocationOf } from '../../../lib/stores/s3-location.ts';

/** spec storage-sink §7.4 */
describe('openStore', () => {
  it.each([
    ['', 'failed to open cloud storage sink, empty SinkURI'],
    ['/just/a/path', 'it is no URL'],
    ['gcs://bucket/x', "can't create cloud storage sink with unsupported scheme: gcs"],
    ['azblob://bucket/x', "can't create cloud storage sink with unsupported scheme: azblob"],
    ['kafka://host/topic', "can't create cloud storage sink with unsupported scheme: kafka"],
    ['file://host/dir', 'host'],
    ['file:///dir#1', '%23'],
    ['file:///a%2Fb', 'encoded / characters'],
    ['s3:///prefix', 'it names no bucket'],
    ['s3://bucket/%zz', 'no valid escape'],
  ])('refuses %s, saying why', async (uri, reason) => {
    await expect(openStore(uri)).rejects.toMatchObject({ code: 'MR_INVALID_URI', message: expect.stringContaining(reason) });
  });

  it('refuses credentials in a URI and does not repeat them', async () => {
    const failure = await openStore('s3://AKIAKEY:s3cr3t@bucket/prefix').catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'MR_INVALID_URI' });
    expect(String(failure)).not.toMatch(/AKIAKEY|s3cr3t/);
  });

  it.each([
    ['force-path-style=yes', 'force-path-style'],
    ['conditional-writes=1', 'conditional-writes'],
    ['endpoint=localhost:9000', 'endpoint'],
  ])('refuses %s, naming the option', async (query, option) => {
    const failure = openStore(`s3://bucket/prefix?${query}`);
    await expect(failure).rejects.toMatchObject({ code: 'MR_INVALID_OPTION', details: expect.objectContaining({ option }) });
  });

  it('leaves the sink its own options', async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-open-'));
    const store = await openStore(`${pathToFileURL(root).href}?protocol=csv&flush-interval=1s`);
    expect(store.uri).toBe(pathToFileURL(root).href);
    await store.close();
    await rm(root, { recursive: true });
  });

  it('keeps a memory store under its name, so that a second run finds what the first wrote', async () => {
    const first = await openStore('memory://kept/a');
    await first.put('x', [Buffer.from('1')]);
    await first.close();
    expect((await (await openStore('memory://kept/a')).get('x'))?.toString()).toBe('1');
    expect(await (await openStore('memory://kept/b')).get('x')).toBeNull();
  });

  it('has a store that keeps nothing', async () => {
    const store = await openStore('noop://');
    await store.put('a', [Buffer.from('1')]);
    expect(await store.putIfAbsent('a', [Buffer.from('1')])).toBe(true);
    expect(await store.get('a')).toBeNull();
    expect(await store.exists('a')).toBe(false);
    for await (const { key } of store.list('')) throw new Error(`lists ${key}`);
    await expect(store.put('../a', [])).rejects.toMatchObject({ code: 'MR_STORE_INVALID_KEY' });
  });
});

describe('s3LocationOf', () => {
  const of = (uri: string, environment = {}) => s3LocationOf(new URL(uri), environment);

  it('takes bucket and prefix, unescaped, without empty components', () => {
    expect(of('s3://My.Bucket/a%20b//c/')).toMatchObject({ bucket: 'My.Bucket', prefix: 'a b/c/', shown: 's3://My.Bucket/a b/c' });
    expect(of('s3://bucket')).toMatchObject({ bucket: 'bucket', prefix: '', shown: 's3://bucket/' });
  });

  it.each([
    ['s3://b/p', {}, { endpoint: null, region: null, forcePathStyle: false }],
    ['s3://b/p?region=eu-west-1', {}, { endpoint: null, region: 'eu-west-1', forcePathStyle: false }],
    ['s3://b/p?endpoint=http://h:9000', {}, { endpoint: 'http://h:9000', region: 'us-east-1', forcePathStyle: true }],
    ['s3://b/p?endpoint=http://h:9000&force-path-style=false', {}, { forcePathStyle: false }],
    ['s3://b/p', { AWS_ENDPOINT_URL: 'http://e' }, { endpoint: 'http://e', forcePathStyle: true }],
    ['s3://b/p', { AWS_ENDPOINT_URL: 'http://e', AWS_ENDPOINT_URL_S3: 'http://s' }, { endpoint: 'http://s' }],
    ['s3://b/p?endpoint=http://h', { AWS_ENDPOINT_URL: 'http://e', AWS_REGION: 'r' }, { endpoint: 'http://h', region: 'r' }],
  ])('reads %s with %j', (uri, environment, expected) => {
    expect(of(uri, environment)).toMatchObject(expected);
  });
});

describe('compareUtf8', () => {
  it('orders as the bytes do, where UTF-16 code units would not', () => {
    const texts = ['', 'a', 'aa', 'b', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{1f600}', '\u{1f600}a', '\u{10ffff}'];
    expect(texts.toReversed().sort(compareUtf8)).toEqual(texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });
});
