import { createHash, createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type ObjectStore, openS3Store, openStore } from '../../../lib/stores/index.ts';
import { type S3Server, type SeenRequest, startS3 } from '../../support/s3.ts';

/** Amazon's hold `+` and `/`; other stores' whatever somebody typed. */
const SECRET = 'a+b/c=&%?#~';
const KEY = 'AKIAHUNTER2';
const TOKEN = 'IQoJb3+/hunter2==';

let server: S3Server;
let opened: ObjectStore[];
beforeEach(async () => {
  opened = [];
  server = await startS3();
  server.allow(KEY);
});
afterEach(async () => {
  for (const store of opened) await store.close();
  await server.close();
});

async function open(parameters: Readonly<Record<string, string>>): Promise<ObjectStore> {
  const store = await openStore(server.uri('cdc', parameters));
  opened.push(store);
  return store;
}

const body = [Buffer.from('1')];

describe('s3: credentials of the URI', () => {
  it('sign every request, whatever the secret is made of, and let in', async () => {
    const store = await open({ 'access-key': KEY, 'secret-access-key': SECRET });
    await store.put('a b+c', body);
    expect((await store.get('a b+c'))?.toString()).toBe('1');
    for await (const { key } of store.list('')) expect(key).toBe('a b+c');
    expect(server.requests.length).toBeGreaterThan(3);
    for (const request of server.requests) {
      expect(signatureOf(request)).toEqual({ key: KEY, signature: signatureBy(SECRET, request) });
      expect(request.headers['x-amz-security-token']).toBeUndefined();
    }
    expect(store.uri).toBe('s3://lake/cdc');
  });

  it('send the session token with each request', async () => {
    const store = await open({ 'access-key': KEY, 'secret-access-key': SECRET, 'session-token': TOKEN });
    await store.put('a', body);
    expect(server.requests.map(({ headers }) => headers['x-amz-security-token'])).toEqual(server.requests.map(() => TOKEN));
  });

  it('are denied when they are wrong, even where the environment has right ones, and are not repeated', async () => {
    const store = await open({ 'access-key': 'AKIAWRONG', 'secret-access-key': 'hunter2' });
    const denied = await store.put('a', body).catch((error: unknown) => error);
    expect(denied).toMatchObject({ code: 'MR_STORE_DENIED', message: expect.stringContaining('InvalidAccessKeyId') });
    expect(String((denied as Error).stack)).not.toMatch(/AKIAWRONG|hunter2/);
  });
});

describe('s3: credentials as options', () => {
  it('sign requests as those of the URI do', async () => {
    const store = await openS3Store(server.uri('cdc'), { accessKey: KEY, secretAccessKey: SECRET, sessionToken: TOKEN });
    opened.push(store);
    await store.put('a', body);
    const request = server.requests.at(-1)!;
    expect(signatureOf(request)).toEqual({ key: KEY, signature: signatureBy(SECRET, request) });
    expect(request.headers['x-amz-security-token']).toBe(TOKEN);
  });

  it("come from the SDK's chain where there are none", async () => {
    const store = await open({});
    await store.put('a', body);
    const request = server.requests.at(-1)!;
    expect(signatureOf(request)).toEqual({ key: 'S3RVER', signature: signatureBy('S3RVER', request) });
  });
});

const HEADER = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d+\/[^/]+\/s3\/aws4_request), SignedHeaders=([^,]+), Signature=([\da-f]{64})$/;

function signatureOf({ headers }: SeenRequest): { key: string; signature: string } {
  const [, key, , , signature] = HEADER.exec(headers.authorization!)!;
  return { key: key!, signature: signature! };
}

/** AWS Signature Version 4 of a request that came, made with this secret. */
function signatureBy(secret: string, { method, url, headers }: SeenRequest): string {
  const [, , scope, signed] = HEADER.exec(headers.authorization!)!;
  const { pathname, searchParams } = new URL(url, 'http://host');
  const encode = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const query = [...searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort();
  const lines = signed!.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  const path = pathname.split('/').map((part) => encode(decodeURIComponent(part)));
  const request = [method, path.join('/'), query.join('&'), lines.join(''), signed, headers['x-amz-content-sha256']].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, createHash('sha256').update(request).digest('hex')].join('\n');
  const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  return hmac(scope!.split('/').reduce(hmac, Buffer.from(`AWS4${secret}`)), toSign).toString('hex');
}
