import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { createContext, type Logger } from '../../../lib/flow/index.ts';
import { describeFile, parsePositions } from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type ColumnSpec, type EventGroup, isRetryable } from '../../../pipelines/event-recorder/event.ts';
import { objectStoreEvents } from '../../../pipelines/event-recorder/handlers/object-store.ts';
import { eventsFromObjects } from '../../../pipelines/event-recorder/reading/from-objects.ts';
import type { EventFilter } from '../../../pipelines/event-recorder/reading/stored-event.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { all, FIRST_TRY, groupOf, HINTS, NOON_NS } from './events.ts';
import { publishedIds } from './published-events.ts';

const DAY_MS = 86_400_000;
const DAY_NS = BigInt(DAY_MS) * 1_000_000n;

async function keysOf(store: MemoryStore): Promise<string[]> {
  return (await all(store.list(''))).map(({ key }) => key);
}

async function dataIn(store: MemoryStore): Promise<string[]> {
  return (await keysOf(store)).filter((key) => key.endsWith('.jsonl'));
}

async function idsOf(store: MemoryStore, filter?: EventFilter): Promise<string[]> {
  return (await all(eventsFromObjects(store, filter))).map(({ id, row }) => (row === 0 ? id : `${id}/${row}`));
}

describe('objectStoreEvents', () => {
  it('C5.20: writes a group as one file of JSON lines, under its table, its type and its window of time', async () => {
    const store = new MemoryStore('one');
    const extraSchema: ColumnSpec[] = [
      { name: 'b', type: 'binary', semantic: 'field' },
      { name: 'u', type: 'uint64', semantic: 'field' },
      { name: 'at', type: 'timestampMs', semantic: 'field' },
      { name: 'f', type: 'float64', semantic: 'field' },
      { name: 'j', type: 'json', semantic: 'field' },
      { name: 'ok', type: 'boolean', semantic: 'field' },
    ];
    const rows = [[Buffer.from([0, 255]), 2n ** 64n - 1n, 0, Number.NaN, { a: 1 }, true], Array(6).fill(null)];
    await objectStoreEvents({ store }).deliver(groupOf([{ type: 'a.b', payload: ['é'], extraSchema, extraRows: rows }]), FIRST_TRY);
    const keys = await keysOf(store);
    const id = /CDC_([0-9a-f]{32})_000001\.jsonl$/.exec(keys[0]!)?.[1];
    const folder = 'events/a.b/20261122T000000Z_20261123T000000Z';
    expect(keys).toEqual([
      `${folder}/CDC_${id}_000001.jsonl`,
      `${folder}/meta/CDC_${id}.index`,
      `${folder}/meta/CDC_${id}_000001.positions`,
    ]);
    const [data, index, sidecar] = await Promise.all(keys.map((key) => store.get(key)));
    const base = `{"timestamp":"2026-11-22T05:45:49.123456790Z","type":"a.b","event_table":"events","event_id":"e0001"`;
    expect(index?.toString()).toBe(`CDC_${id}_000001.jsonl\n`);
    expect(parsePositions(sidecar!.toString(), 'x')).toEqual({
      ...describeFile([data!], [{ commitTs: 1n, first: 0, last: 1 }]),
      dispatcher: id,
    });
    expect(data?.toString()).toBe(
      `${base},"event_row":0,"event_seq":1,"payload":["é"],"b":"AP8=","u":18446744073709551615,"at":"1970-01-01T00:00:00.000Z","f":"NaN","j":{"a":1},"ok":true}\n` +
        `${base},"event_row":1,"event_seq":1,"payload":["é"]}\n`,
    );
  });

  it('each further file of a window is numbered, and the index names the newest', async () => {
    const store = new MemoryStore('numbered');
    const handler = objectStoreEvents({ store });
    for (const from of [1n, 3n, 5n]) await handler.deliver(groupOf([{ type: 'a' }, { type: 'a' }], { from }), FIRST_TRY);
    expect((await dataIn(store)).map((key) => key.slice(-12))).toEqual(['000001.jsonl', '000002.jsonl', '000003.jsonl']);
    const index = (await keysOf(store)).find((key) => key.endsWith('.index'));
    expect((await store.get(index!))?.toString()).toMatch(/_000003\.jsonl\n$/);
    expect(await publishedIds(store)).toEqual(['e0001', 'e0002', 'e0003', 'e0004', 'e0005', 'e0006']);
  });

  it('recorders write side by side, each under a numbering of its own', async () => {
    const store = new MemoryStore('side-by-side');
    const handlers = [1, 2].map(() => objectStoreEvents({ store }));
    for (const round of [0n, 1n]) {
      const groups = [1n, 2n].map((n) => groupOf([{ type: 'a' }], { from: 2n * round + n }));
      await Promise.all(handlers.map((handler, index) => handler.deliver(groups[index]!, FIRST_TRY)));
    }
    expect(new Set((await dataIn(store)).map((key) => key.slice(0, -13))).size).toBe(2);
    expect(await idsOf(store)).toEqual(['e0001', 'e0002', 'e0003', 'e0004']);
  });

  it('a handler that is closed and opened again begins another numbering: nobody knows what became of the calls before', async () => {
    const store = new MemoryStore('again');
    const handler = objectStoreEvents({ store });
    await handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY);
    await handler.close?.();
    await handler.open?.(createContext());
    await handler.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
    expect((await dataIn(store)).map((key) => key.slice(-12))).toEqual(['000001.jsonl', '000001.jsonl']);
    expect(await idsOf(store)).toEqual(['e0001', 'e0002']);
  });

  it('events of two windows stand in two files', async () => {
    const store = new MemoryStore('windows');
    const hints = { ...HINTS, timeWindow: '6h' };
    await objectStoreEvents({ store }).deliver(
      groupOf([{ type: 'a' }, { type: 'a', timestampNs: -1n }, { type: 'a' }], { hints }),
      FIRST_TRY,
    );
    expect((await dataIn(store)).map((key) => key.split('/')[2])).toEqual([
      '19691231T180000Z_19700101T000000Z',
      '20261122T000000Z_20261122T060000Z',
    ]);
    expect(await idsOf(store)).toEqual(['e0002', 'e0001', 'e0003']);
  });

  it('a table or a type with odd characters stays in its own folder', async () => {
    const store = new MemoryStore('odd');
    await objectStoreEvents({ store }).deliver(groupOf([{ type: '../x', table: '2026' }]), FIRST_TRY);
    expect((await keysOf(store))[0]).toMatch(/^%32026\/%2E\.%2Fx\//);
    expect(await all(eventsFromObjects(store))).toMatchObject([{ table: '2026', type: '../x' }]);
  });

  it('C5.31: windows beyond the ttl are removed whole, at most once a window; other types keep theirs', async () => {
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    const store = new MemoryStore('ttl');
    const handler = objectStoreEvents({ store });
    await handler.open?.(createContext({ clock }));
    const old = (type: string, days: bigint, from: bigint): EventGroup =>
      groupOf([{ type, timestampNs: NOON_NS - days * DAY_NS }], { from, hints: { ...HINTS, ttl: type === 'short' ? '7d' : '90d' } });
    await handler.deliver(old('short', 7n, 1n), FIRST_TRY);
    await handler.deliver(old('short', 9n, 2n), FIRST_TRY);
    await handler.deliver(old('long', 9n, 3n), FIRST_TRY);
    expect((await idsOf(store)).toSorted()).toEqual(['e0001', 'e0002', 'e0003']);
    clock.advance(DAY_MS);
    await handler.deliver(old('short', 0n, 4n), FIRST_TRY);
    expect((await idsOf(store)).toSorted()).toEqual(['e0003', 'e0004']);
    // Data, sidecars and indexes.
    expect((await keysOf(store)).filter((key) => key.startsWith('events/short/'))).toHaveLength(3);
    // And an event of a time that was removed finds its place.
    await handler.deliver(old('short', 9n, 5n), FIRST_TRY);
    expect((await idsOf(store)).toSorted()).toEqual(['e0003', 'e0004', 'e0005']);
  });

  it('C5.31: removes 1,000 objects with one delivery at most, and goes on with the next', async () => {
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    const store = new MemoryStore('many');
    const handler = objectStoreEvents({ store });
    await handler.open?.(createContext({ clock }));
    for (let n = 0; n < 1001; n++) {
      const number = String(n).padStart(6, '0');
      await store.put(`events/a/20200101T000000Z_20200102T000000Z/CDC_${'0'.repeat(32)}_${number}.jsonl`, [Buffer.from('\n')]);
    }
    const filesLeft = async (from: bigint) => {
      await handler.deliver(groupOf([{ type: 'a' }], { from, hints: { ...HINTS, ttl: '1d' } }), FIRST_TRY);
      return (await keysOf(store)).filter((key) => key.includes('/2020')).length;
    };
    expect([await filesLeft(1n), await filesLeft(2n)]).toEqual([1, 0]);
  });

  it('C5.31: on a file system not even the folder of a removed window stays', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-events-ttl-'));
    try {
      const handler = objectStoreEvents({ uri: pathToFileURL(dir).href });
      const clock = manualClock();
      clock.advance(Number(NOON_NS / 1_000_000n));
      await handler.open?.(createContext({ clock }));
      await handler.deliver(groupOf([{ type: 'a', timestampNs: NOON_NS - 9n * DAY_NS }]), FIRST_TRY);
      expect(await readdir(join(dir, 'events/a'))).toEqual(['20261113T000000Z_20261114T000000Z']);
      await handler.deliver(groupOf([{ type: 'a' }], { from: 2n, hints: { ...HINTS, ttl: '7d' } }), FIRST_TRY);
      expect(await readdir(join(dir, 'events/a'))).toEqual(['20261122T000000Z_20261123T000000Z']);
      await handler.close?.();
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('C5.31: a window of another width is kept while it may hold what is not beyond the ttl', async () => {
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    const store = new MemoryStore('widths');
    const handler = objectStoreEvents({ store });
    await handler.open?.(createContext({ clock }));
    const deliver = (days: bigint, from: bigint, timeWindow: string) =>
      handler.deliver(
        groupOf([{ type: 'a', timestampNs: NOON_NS - days * DAY_NS }], { from, hints: { ...HINTS, ttl: '7d', timeWindow } }),
        FIRST_TRY,
      );
    // From 3 November to 3 December, and from 4 October on.
    await deliver(8n, 1n, '30d');
    await deliver(28n, 2n, '30d');
    await deliver(0n, 3n, '1d');
    expect(await idsOf(store)).toEqual(['e0001', 'e0003']);
  });

  it('a store that fails is tried again; a clean-up that fails is a warning, and tried again a minute later', async () => {
    const warned: object[] = [];
    const logger: Logger = { debug() {}, info() {}, error() {}, warn: (details) => void warned.push(details) };
    const store = new MemoryStore('fails');
    const handler = objectStoreEvents({ store });
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    await handler.open?.(createContext({ logger, clock }));
    const group = groupOf([{ type: 'a' }], { hints: { ...HINTS, ttl: '90d' } });
    store.putIfAbsent = () => Promise.reject(new Error('no room'));
    const error = await handler.deliver(group, FIRST_TRY).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED', message: expect.stringContaining('no room') });
    expect(isRetryable(error)).toBe(true);
    Reflect.deleteProperty(store, 'putIfAbsent');
    store.folders = () => {
      throw new Error('no list');
    };
    await handler.deliver(group, FIRST_TRY);
    clock.advance(59_999);
    await handler.deliver(group, FIRST_TRY);
    expect(warned).toMatchObject([{ folder: 'events/a', reason: 'no list' }]);
    clock.advance(1);
    await handler.deliver(group, FIRST_TRY);
    expect(warned).toHaveLength(2);
  });

  it('a call that is given up rejects though the store never answers', async () => {
    const store = new MemoryStore('hangs');
    store.putIfAbsent = () => new Promise(() => {});
    const giveUp = new AbortController();
    const delivered = objectStoreEvents({ store }).deliver(groupOf([{ type: 'a' }]), { signal: giveUp.signal, attempt: 1 });
    giveUp.abort();
    await expect(delivered).rejects.toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
  });

  it('opens what a URI names with the first group', async () => {
    const handler = objectStoreEvents({ uri: 'memory://object-handler' });
    await handler.deliver(groupOf([{ type: 'a' }]), FIRST_TRY);
    await handler.close?.();
    const reader = objectStoreEvents({ uri: 'memory://object-handler' });
    await reader.close?.();
  });

  it.each<[object]>([[{}], [{ uri: 'file:///x', store: new MemoryStore('x') }], [{ uri: 'ftp://x' }]])('refuses %j at once', (options) => {
    expect(() => objectStoreEvents(options)).toThrow(/MR_INVALID/);
  });

  it('refuses a URI beside a store without repeating its credentials', () => {
    const options = { uri: 's3://b/x?access-key=A&secret-access-key=hunter2', store: new MemoryStore('x') };
    expect(() => objectStoreEvents(options)).toThrow('option uri is s3://b/x?access-key=***&secret-access-key=***; it must be');
  });
});
