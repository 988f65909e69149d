import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { systemClock } from '../../../lib/flow/index.ts';
import { openStore } from '../../../lib/stores/index.ts';
import { eventRecorder, eventsFromObjects, objectStoreEvents, type StoredEvent } from '../../../pipelines/index.ts';
import { type S3Server, startS3 } from '../../support/s3.ts';
import { all, FIRST_TRY, groupOf } from './events.ts';
import { describeEventHandler } from './handler-suite.ts';
import { publishedIds } from './published-events.ts';

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

it.each([
  ['sidecar', '.positions'],
  ['data', '.jsonl'],
  ['index', '.index'],
])(
  'G1, G7: a put of %s whose answer is lost, and a bucket that refuses for a while, leave each event in one published file, once',
  async (_, key) => {
    const uri = server.uri(randomUUID());
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
    for (let n = 1; n <= 5; n++) recorder.record({ type: 'a', payload: n });
    await delivered(5);
    server.inject({ kind: 'cut', when: 'after' }, { method: 'PUT', key });
    server.inject({ kind: 'status', status: 403, code: 'AccessDenied' }, { method: 'PUT', key, times: 3 });
    for (let n = 6; n <= 10; n++) recorder.record({ type: 'a', payload: n });
    expect(await recorder.close(60_000)).toMatchObject({ accepted: 10, delivered: 10, isComplete: true });
    server.heal();
    const stored = await storedAt(uri);
    expect(stored.map(({ line }) => (JSON.parse(line) as { payload: number }).payload)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const store = await openStore(uri, systemClock, 'read');
    expect(await publishedIds(store).finally(() => store.close())).toEqual(stored.map(({ id }) => id).sort());
  },
);

it('G7: a put that was given up and arrives late, behind those of the next call, finds its number taken', async () => {
  const uri = server.uri(randomUUID());
  const handler = objectStoreEvents({ uri });
  await handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY);
  let goOn = () => {};
  const until = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  server.inject({ kind: 'hold', until }, { method: 'PUT', key: '000002.jsonl' });
  const group = groupOf([{ type: 'a' }, { type: 'a' }], { from: 2n });
  const held = () => server.requests.filter(({ method, key }) => method === 'PUT' && key.endsWith('000002.jsonl')).length;
  const before = held();
  const giveUp = new AbortController();
  const call = handler.deliver(group, { signal: giveUp.signal, attempt: 1 });
  while (held() === before) await new Promise((resolve) => setImmediate(resolve));
  giveUp.abort();
  await expect(call).rejects.toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
  await handler.deliver({ ...group, events: group.events.slice(0, 1) }, FIRST_TRY);
  goOn();
  await handler.deliver({ ...group, events: group.events.slice(1) }, FIRST_TRY);
  await handler.deliver(groupOf([{ type: 'a' }], { from: 4n }), FIRST_TRY);
  await handler.close?.();
  const store = await openStore(uri, systemClock, 'read');
  expect(await publishedIds(store).finally(() => store.close())).toEqual(['e0001', 'e0002', 'e0003', 'e0004']);
});
