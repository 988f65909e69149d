import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { systemClock } from '../../../lib/flow/index.ts';
import { openStore } from '../../../lib/stores/index.ts';
import { eventRecorder, eventsFromObjects, objectStoreEvents, type StoredEvent } from '../../../pipelines/index.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';
import { all } from './events.ts';
import { describeEventHandler } from './handler-suite.ts';

let server: S3Server;
beforeAll(async () => {
  server = await startS3();
});
afterAll(() => server.close());

async function storedAt(uri: string): Promise<StoredEvent[]> {
  const store = await openStore(uri, systemClock, 'read');
  return all(eventsFromObjects(store)).finally(() => store.close());
}

describeEventHandler('objectStoreEvents on S3', async () => {
  const uri = server.uri(randomUUID());
  const rows = async () => (await storedAt(uri)).map(({ table, type, id, row }) => `${table}/${type}/${id}/${row}`);
  return { handler: objectStoreEvents({ uri }), rows };
});

it('G1, G7: a put whose answer is lost and a bucket that refuses for a while leave each event in one file, once', async () => {
  const prefix = randomUUID();
  const uri = server.uri(prefix);
  const recorder = await eventRecorder({
    handler: objectStoreEvents({ uri }),
    batchEvents: 5,
    linger: 5,
    retry: { base: 10, cap: 50 },
    whenExhausted: 'keep',
  }).open();
  const delivered = async (count: number) => {
    while (recorder.status().delivered < count) await new Promise((resolve) => setImmediate(resolve));
  };
  const puts = () => server.requests.filter(({ method, key }) => method === 'PUT' && key.startsWith(prefix)).length;
  for (let n = 1; n <= 5; n++) recorder.record({ type: 'a', payload: n });
  await delivered(5);
  expect(puts()).toBe(1);
  server.inject({ kind: 'cut', when: 'after' }, { method: 'PUT', key: prefix });
  server.inject({ kind: 'status', status: 403, code: 'AccessDenied' }, { method: 'PUT', key: prefix, times: 3 });
  for (let n = 6; n <= 10; n++) recorder.record({ type: 'a', payload: n });
  expect(await recorder.close(60_000)).toMatchObject({ accepted: 10, delivered: 10, isComplete: true });
  server.heal();
  // What is refused is no question of the store's own retries: the recorder comes again.
  expect(recorder.status().failures).toBeGreaterThanOrEqual(3);
  expect(puts()).toBe(6);
  const stored = await storedAt(uri);
  expect(stored.map(({ line }) => (JSON.parse(line) as { payload: number }).payload)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const store = await openStore(uri, systemClock, 'read');
  expect(await all(store.list('')).finally(() => store.close())).toHaveLength(2);
});
