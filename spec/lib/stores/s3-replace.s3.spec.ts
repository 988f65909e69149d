import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type ObjectVersion, openS3Store } from '../../../lib/stores/index.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';

const body = (text: string) => [Buffer.from(text)];

describe('putIf on S3', () => {
  let server: S3Server;

  beforeAll(async () => {
    server = await startS3();
  });

  afterEach(() => {
    server.heal();
    server.replacements = 'honoured';
  });

  afterAll(() => server.close());

  it('is ours when the answer got lost', async () => {
    const store = await openS3Store(server.uri(randomUUID()), { retryBaseMs: 1 });
    const first = await store.putIf('k', body('1'), null);
    server.inject({ kind: 'cut', when: 'after' }, { method: 'PUT', key: '/k' });
    const second = await store.putIf('k', body('2'), first);
    expect(await store.getVersioned('k')).toEqual({ content: Buffer.from('2'), version: second });
    await store.close();
  });

  it.each(['ignored', 'unsupported'] as const)('finds out that If-Match is %s, before it relies on it', async (replacements) => {
    server.replacements = replacements;
    const store = await openS3Store(server.uri(randomUUID()), { retryBaseMs: 1 });
    await expect(store.putIf('k', body('1'), null)).rejects.toMatchObject({
      code: 'MR_STORE_NOT_CONDITIONAL',
      details: { condition: 'If-Match' },
    });
    await store.close();
  });

  it('does not go on unconditionally where the store gave no ETag', async () => {
    const store = await openS3Store(server.uri(randomUUID()), { retryBaseMs: 1 });
    await store.putIf('k', body('1'), null);
    await expect(store.putIf('k', body('2'), '' as ObjectVersion)).rejects.toMatchObject({
      code: 'MR_STORE_NOT_CONDITIONAL',
      details: { condition: 'If-Match' },
    });
    expect(await store.get('k')).toEqual(Buffer.from('1'));
    await store.close();
  });
});
