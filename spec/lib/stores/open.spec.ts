import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { compareUtf8, openS3Store, openStore, type S3LocationOptions } from '../../../lib/stores/index.ts';
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
    ['access-key=AKIAKEY', 'secret-access-key', 'given with access-key'],
    ['access-key=AKIAKEY&secret-access-key=', 'secret-access-key', 'given with access-key'],
    ['access-key=AKIAKEY&session-token=s3cr3t', 'secret-access-key', 'given with access-key'],
    ['secret-access-key=s3cr3t', 'access-key', 'given with secret-access-key'],
    ['session-token=s3cr3t', 'session-token', 'without access-key and secret-access-key'],
    ['access-key=AKIAKEY%0A&secret-access-key=s3cr3t', 'access-key', 'visible ASCII'],
    ['access-key=AKIAKEY&secret-access-key=s3cr3tä', 'secret-access-key', 'visible ASCII'],
    ['access-key=AKIAKEY&secret-access-key=s3cr3t&session-token=s3cr3t%00', 'session-token', 'visible ASCII'],
  ])('refuses half credentials, and those that no header can carry, without repeating them: %s', async (query, option, bound) => {
    const failure = await openStore(`s3://bucket/prefix?region=r&${query}`).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'MR_INVALID_OPTION', details: { option, bound: expect.stringContaining(bound) } });
    expect(inspect(failure)).not.toMatch(/AKIAKEY|s3cr3t/);
  });

  it.each([
    ['force-path-style=yes', 'force-path-style', 'true or false'],
    ['conditional-writes=1', 'conditional-writes', 'true or false'],
    ['endpoint=localhost:9000', 'endpoint', 'http'],
    ['region=eu west', 'region', 'eu-west-1'],
    ['region=example.com/x', 'region', 'letters'],
    ['checksum=sha1', 'checksum', 'one of crc32, md5'],
    ['sse=AES128', 'sse', 'one of AES256, aws:kms, aws:kms:dsse'],
    ['sse-kms-key-id=k', 'sse-kms-key-id', 'sse=aws:kms'],
    ['sse=AES256&sse-kms-key-id=k', 'sse-kms-key-id', 'sse is AES256'],
    ['storage-class=cheap', 'storage-class', 'one of STANDARD, STANDARD_IA'],
    ['storage-class=DEEP_ARCHIVE', 'storage-class', 'one of STANDARD, STANDARD_IA'],
    ['acl=everybody', 'acl', 'one of private'],
    ['flush-concurrency=many', 'flush-concurrency', '1 to 512'],
    ['flush-concurrency=1.5', 'flush-concurrency', '1 to 512'],
  ])('refuses %s, naming the option, its value and the bound', async (query, option, bound) => {
    const value = new URLSearchParams(query).get(option);
    const refusal = { code: 'MR_INVALID_OPTION', details: { option, value, bound: expect.stringContaining(bound) } };
    await expect(openStore(`s3://bucket/prefix?${query}`)).rejects.toMatchObject(refusal);
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

describe('the options of an S3 store', () => {
  const url = 's3://b/p?endpoint=http://h';

  it.each([
    ['', 1],
    ['4', 4],
    ['512', 512],
    ['0', 1],
    ['513', 1],
    ['-3', 1],
  ])('take flush-concurrency=%s for %i: outside 1 to 512 it is 1 (spec storage-sink §7.2)', (value, expected) => {
    expect(s3LocationOf(new URL(`${url}&flush-concurrency=${value}`), {}).flushConcurrency).toBe(expected);
  });

  it('come from the URI, else from the object', () => {
    const options = { region: 'eu-west-1', forcePathStyle: true, sse: 'aws:kms', sseKmsKeyId: 'alias/x', storageClass: 'STANDARD_IA' };
    expect(s3LocationOf(new URL(`${url}&force-path-style=false&storage-class=STANDARD&acl=private`), {}, options)).toMatchObject({
      region: 'eu-west-1',
      forcePathStyle: false,
      placement: { sse: 'aws:kms', 'sse-kms-key-id': 'alias/x', 'storage-class': 'STANDARD', acl: 'private' },
    });
  });

  it.each<[why: string, query: string, options: S3LocationOptions, expected: object | null]>([
    ['none: the SDK looks for them', '', {}, null],
    ['empty ones count as none', '&access-key=&secret-access-key=&session-token=', {}, null],
    ['of the URI', '&access-key=A&secret-access-key=S', {}, { accessKeyId: 'A', secretAccessKey: 'S' }],
    [
      'of the URI, encoded',
      '&access-key=A&secret-access-key=a%2Bb%2Fc%3D%26%25&session-token=t%2B%2F%3D%3D',
      {},
      { accessKeyId: 'A', secretAccessKey: 'a+b/c=&%', sessionToken: 't+/==' },
    ],
    ['of the URI, not encoded', '&access-key=A&secret-access-key=a+b/c=', {}, { accessKeyId: 'A', secretAccessKey: 'a+b/c=' }],
    [
      'of the object',
      '',
      { accessKey: 'A', secretAccessKey: 'a+b/c=', sessionToken: 't' },
      { accessKeyId: 'A', secretAccessKey: 'a+b/c=', sessionToken: 't' },
    ],
    [
      'of the URI alone where both have some: no token of the one goes with a key of the other',
      '&access-key=A&secret-access-key=S',
      { accessKey: 'B', secretAccessKey: 'b', sessionToken: 't' },
      { accessKeyId: 'A', secretAccessKey: 'S' },
    ],
  ])('have credentials: %s', (_, query, options, expected) => {
    expect(s3LocationOf(new URL(url + query), {}, options).credentials).toEqual(expected);
  });

  it('choose the checksum that the place is known to have', () => {
    expect(s3LocationOf(new URL('s3://b/p'), {}).checksum).toBe('crc32');
    expect(s3LocationOf(new URL(url), {}).checksum).toBe('md5');
    expect(s3LocationOf(new URL(`${url}&checksum=crc32`), {}).checksum).toBe('crc32');
  });

  it.each([
    [{ partBytes: 1024 }, 'partBytes', '5 MiB'],
    [{ multipartBytes: -1 }, 'multipartBytes', '5 GiB'],
    [{ abandonedAfterMs: 1000 }, 'abandonedAfterMs', 'one hour'],
  ])('are refused outside their bounds: %j', async (options, option, bound) => {
    const refusal = { code: 'MR_INVALID_OPTION', details: expect.objectContaining({ option, bound: expect.stringContaining(bound) }) };
    await expect(openS3Store(url, options)).rejects.toMatchObject(refusal);
  });

  it.each(['not a url', 'file:///x', ''])('need an s3:// URI, not %j', async (uri) => {
    await expect(openS3Store(uri)).rejects.toMatchObject({ code: 'MR_INVALID_URI' });
  });
});

describe('compareUtf8', () => {
  it('orders as the bytes do, where UTF-16 code units would not', () => {
    const texts = ['', 'a', 'aa', 'b', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{1f600}', '\u{1f600}a', '\u{10ffff}'];
    expect(texts.toReversed().sort(compareUtf8)).toEqual(texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });
});
