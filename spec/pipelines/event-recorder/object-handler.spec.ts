import { describe, expect, it } from '@jest/globals';
import { createContext, type Logger } from '../../../lib/flow/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type ColumnSpec, type EventGroup, isRetryable } from '../../../pipelines/event-recorder/event.ts';
import { objectStoreEvents } from '../../../pipelines/event-recorder/handlers/object-store.ts';
import { eventsFromObjects } from '../../../pipelines/event-recorder/reading/from-objects.ts';
import type { EventFilter } from '../../../pipelines/event-recorder/reading/stored-event.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { all, FIRST_TRY, groupOf, HINTS, NOON_NS } from './events.ts';

const DAY_MS = 86_400_000;
const DAY_NS = BigInt(DAY_MS) * 1_000_000n;

async function keysOf(store: MemoryStore): Promise<string[]> {
  return (await all(store.list(''))).map(({ key }) => key);
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
    const [key, ...others] = await keysOf(store);
    expect(others).toEqual([]);
    expect(key).toMatch(
      /^events\/a\.b\/20261122T000000Z_20261123T000000Z\/20261122T054549\.123456790Z_20261122T054549\.123456790Z_[0-9a-f]{16}\.jsonl$/,
    );
    const base = `{"timestamp":"2026-11-22T05:45:49.123456790Z","type":"a.b","event_table":"events","event_id":"e0001"`;
    expect((await store.get(key!))?.toString()).toBe(
      `${base},"event_row":0,"event_seq":1,"payload":["é"],"b":"AP8=","u":18446744073709551615,"at":"1970-01-01T00:00:00.000Z","f":"NaN","j":{"a":1},"ok":true}\n` +
        `${base},"event_row":1,"event_seq":1,"payload":["é"]}\n`,
    );
  });

  it('G7: a group that is delivered again replaces its file; one that was cut otherwise is read once', async () => {
    const store = new MemoryStore('again');
    const handler = objectStoreEvents({ store });
    const group = groupOf([{ type: 'a', extraRows: [[], []] }, { type: 'a' }, { type: 'a' }]);
    await handler.deliver(group, FIRST_TRY);
    await handler.deliver(group, FIRST_TRY);
    expect(await keysOf(store)).toHaveLength(1);
    await handler.deliver({ ...group, events: group.events.slice(1) }, FIRST_TRY);
    expect(await keysOf(store)).toHaveLength(2);
    expect(await idsOf(store)).toEqual(['e0001', 'e0001/1', 'e0002', 'e0003']);
  });

  it('events of two windows stand in two files', async () => {
    const store = new MemoryStore('windows');
    const hints = { ...HINTS, timeWindow: '6h' };
    await objectStoreEvents({ store }).deliver(
      groupOf([{ type: 'a' }, { type: 'a', timestampNs: -1n }, { type: 'a' }], { hints }),
      FIRST_TRY,
    );
    expect((await keysOf(store)).map((key) => key.split('/')[2])).toEqual([
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
  });

  it('C5.31: removes 1,000 files with one delivery at most, and goes on with the next', async () => {
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    const store = new MemoryStore('many');
    const handler = objectStoreEvents({ store });
    await handler.open?.(createContext({ clock }));
    for (let n = 0; n < 1001; n++) {
      const at = `20200101T000000.${String(n).padStart(9, '0')}Z`;
      await store.put(`events/a/20200101T000000Z_20200102T000000Z/${at}_${at}_0123456789abcdef.jsonl`, [Buffer.from('\n')]);
    }
    const filesLeft = async (from: bigint) => {
      await handler.deliver(groupOf([{ type: 'a' }], { from, hints: { ...HINTS, ttl: '1d' } }), FIRST_TRY);
      return (await keysOf(store)).filter((key) => key.includes('/2020')).length;
    };
    expect([await filesLeft(1n), await filesLeft(2n)]).toEqual([1, 0]);
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
    store.put = () => Promise.reject(new Error('no room'));
    const error = await handler.deliver(group, FIRST_TRY).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED', message: expect.stringContaining('no room') });
    expect(isRetryable(error)).toBe(true);
    Reflect.deleteProperty(store, 'put');
    store.list = () => {
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
    store.put = () => new Promise(() => {});
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

describe('eventsFromObjects', () => {
  async function filled(): Promise<MemoryStore> {
    const store = new MemoryStore('filled');
    const handler = objectStoreEvents({ store });
    const at = (type: string, table: string, ns: bigint, from: bigint) =>
      handler.deliver(
        groupOf(
          [
            { type, table, timestampNs: NOON_NS + ns },
            { type, table, timestampNs: NOON_NS + ns + 5n },
          ],
          { from },
        ),
        FIRST_TRY,
      );
    await at('a', 'events', 0n, 1n);
    await at('b', 'events', 2n, 3n);
    await at('a', 'others', 1n, 5n);
    await at('a', 'events', 20n, 7n);
    return store;
  }

  it('gives the events of all tables and types in the order of their time', async () => {
    expect(await idsOf(await filled())).toEqual(['e0001', 'e0005', 'e0003', 'e0002', 'e0006', 'e0004', 'e0007', 'e0008']);
  });

  it.each<[EventFilter, string[]]>([
    [{ table: 'events' }, ['e0001', 'e0003', 'e0002', 'e0004', 'e0007', 'e0008']],
    [{ types: ['b'] }, ['e0003', 'e0004']],
    [{ types: ['none'] }, []],
    [{ sinceNs: NOON_NS + 6n }, ['e0006', 'e0004', 'e0007', 'e0008']],
  ])('gives only what %o asks for', async (filter, ids) => {
    expect(await idsOf(await filled(), filter)).toEqual(ids);
  });

  it('says which tables there are where one is asked for that is not there', async () => {
    await expect(idsOf(await filled(), { table: 'audit' })).rejects.toMatchObject({
      code: 'MR_EVENTS_UNREADABLE',
      message: expect.stringContaining('there are: events, others'),
    });
  });

  it('says which file holds no events, and leaves other objects alone', async () => {
    const store = await filled();
    await store.put('readme.txt', [Buffer.from('x')]);
    expect(await idsOf(store)).toHaveLength(8);
    const [key] = await keysOf(store);
    await store.put(key!, [Buffer.from('{"a":1}\n')]);
    await expect(idsOf(store)).rejects.toMatchObject({ code: 'MR_EVENTS_UNREADABLE', message: expect.stringContaining(key!) });
  });
});
