import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { openS3Store, type S3StoreOptions } from '../../../lib/stores/s3.ts';
import { instantClock } from '../../support/instant-clock.ts';
import { type Fault, type S3Operation, type S3Server, startS3 } from '../../support/s3.ts';

const MIB = 1024 * 1024;
const EVER = Number.POSITIVE_INFINITY;
const HOUR_MS = 3_600_000;
/** Two parts. */
const two = randomBytes(5 * MIB + 100);

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

describe('s3: uploads that a writer who died left behind', () => {
  const ago = (ms: number) => new Date(Date.now() - ms);
  const left = () => [...server.uploads.open.values()].map(({ key }) => key).sort();

  it('are aborted when a store opens for writing: below its prefix and older than a day, because a younger one may be of a writer that lives', async () => {
    server.uploads.pageSize = 2;
    for (const [key, begun] of [
      ['cdc/old', 25],
      ['cdc/t/older', 400],
      ['cdc/also', 48],
      ['cdc/young', 23],
      ['cdc-beside/old', 48],
      ['other/old', 48],
    ] as const) {
      server.uploads.begin(key, ago(begun * HOUR_MS));
    }
    await open();
    expect(left()).toEqual(['cdc-beside/old', 'cdc/young', 'other/old']);
  });

  it('stay where the store opens for reading, and in a bucket that is not told apart from others by a prefix', async () => {
    server.uploads.begin('cdc/old', ago(48 * HOUR_MS));
    await open({ access: 'read' });
    await open({}, server.uri());
    expect(left()).toEqual(['cdc/old']);
  });

  it.each([
    ['not allowed', { kind: 'status', status: 403, code: 'AccessDenied' } as Fault],
    ['not known', { kind: 'status', status: 501, code: 'NotImplemented' } as Fault],
    ['cut', { kind: 'cut', when: 'before' } as Fault],
  ])('hold nothing up when their list is %s', async (_, fault) => {
    server.inject(fault, { operation: 'ListMultipartUploads', times: EVER });
    const store = await open();
    await store.put('a', [two]);
  });

  it('cost a writer that lives only a repetition, should one of its be among them', async () => {
    const store = await open();
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.inject({ kind: 'hold', until }, { operation: 'UploadPart', part: 2 });
    const putting = store.put('slow', [two]);
    while (count('UploadPart') < 2) await new Promise(setImmediate);
    const clock = { ...instantClock(), now: () => Date.now() + 25 * HOUR_MS };
    await open({ clock });
    expect(left()).toEqual([]);
    release();
    await putting;
    expect((await store.get('slow'))?.equals(two)).toBe(true);
  });
});
