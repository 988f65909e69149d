import { describe, expect, it } from '@jest/globals';
import { MemoryStore, type ObjectStore } from '../../../lib/stores/index.ts';
import { objectStoreEvents } from '../../../pipelines/event-recorder/handlers/object-store.ts';
import { eventsFromObjects } from '../../../pipelines/event-recorder/reading/from-objects.ts';
import type { EventFilter } from '../../../pipelines/event-recorder/reading/stored-event.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { all, FIRST_TRY, groupOf, HINTS, NOON_NS } from './events.ts';

async function keysOf(store: MemoryStore): Promise<string[]> {
  return (await all(store.list(''))).map(({ key }) => key);
}

async function idsOf(store: ObjectStore, filter?: EventFilter): Promise<string[]> {
  return (await all(eventsFromObjects(store, filter))).map(({ id, row }) => (row === 0 ? id : `${id}/${row}`));
}

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
    const key = (await keysOf(store)).find((one) => one.endsWith('_000001.jsonl'));
    await store.put(key!, [Buffer.from('{"a":1}\n')]);
    await expect(idsOf(store)).rejects.toMatchObject({ code: 'MR_EVENTS_UNREADABLE', message: expect.stringContaining(key!) });
  });

  it('spec storage-sink §9.1: files are visible only through the index of their numbering', async () => {
    const store = await filled();
    const ids = await idsOf(store);
    const folder = 'events/a/20261122T000000Z_20261123T000000Z';
    const index = (await keysOf(store)).find((key) => key.startsWith(`${folder}/meta/`) && key.endsWith('.index'));
    const id = /CDC_(\w+)\.index$/.exec(index!)![1]!;
    const lines = await store.get(`${folder}/CDC_${id}_000001.jsonl`);
    const unseen = Buffer.from(lines!.toString().replaceAll('e0001', 'e0101'));
    await store.put(`${folder}/CDC_${id}_000003.jsonl`, [unseen]);
    await store.put(`${folder}/CDC_${'0'.repeat(32)}_000001.jsonl`, [unseen]);
    expect(await idsOf(store)).toEqual(ids);
    await store.put(index!, [Buffer.from(`CDC_${id}_000003.jsonl\n`)]);
    expect(await idsOf(store)).toContain('e0101');
    await store.put(index!, [Buffer.from('x\n')]);
    await expect(idsOf(store)).rejects.toMatchObject({ code: 'MR_EVENTS_UNREADABLE', message: expect.stringContaining(index!) });
  });

  it('takes a file that is missing for one whose clean-up was faster', async () => {
    const store = await filled();
    for (const key of await keysOf(store)) if (/^events\/a\/.*_000001\.jsonl$/.test(key)) await store.delete(key);
    expect(await idsOf(store)).toEqual(['e0005', 'e0003', 'e0006', 'e0004', 'e0007', 'e0008']);
    expect(await idsOf(store, { sinceNs: NOON_NS + 6n })).toEqual(['e0006', 'e0004', 'e0007', 'e0008']);
  });

  it('gives the order of time though the clock was set back and producers bring times of their own', async () => {
    const store = new MemoryStore('back');
    const handler = objectStoreEvents({ store });
    const times = [50n, 10n, 60n, 30n, 20n, 70n, 70n];
    for (const [n, ns] of times.entries()) {
      const events = [ns, ns + 15n].map((at) => ({ type: 'a', timestampNs: NOON_NS + at }));
      await handler.deliver(groupOf(events, { from: BigInt(2 * n + 1) }), FIRST_TRY);
    }
    const read = await all(eventsFromObjects(store));
    const expected = times.flatMap((ns) => [ns, ns + 15n]).toSorted((a, b) => Number(a - b));
    expect(read.map(({ timestampNs }) => timestampNs - NOON_NS)).toEqual(expected);
    for (const since of [0n, 20n, 35n, 66n, 85n, 86n]) {
      const later = await all(eventsFromObjects(store, { sinceNs: NOON_NS + since }));
      expect(later.map(({ timestampNs }) => timestampNs - NOON_NS)).toEqual(expected.filter((ns) => ns >= since));
    }
  });

  it('opens a window when its turn comes, finds a time by halves, and holds no file that it has given', async () => {
    const store = new MemoryStore('many');
    const handler = objectStoreEvents({ store });
    const hints = { ...HINTS, timeWindow: '1h' };
    for (let n = 0n; n < 120n; n++) {
      const timestampNs = NOON_NS + n * 60_000_000_000n;
      await handler.deliver(groupOf([{ type: 'a', timestampNs }], { from: n + 1n, hints }), FIRST_TRY);
    }
    const counted = new FaultStore(store);
    const dataRead = () => counted.log.filter((call) => /^get .*\.jsonl$/.test(call)).length;
    for await (const { id } of eventsFromObjects(counted)) {
      expect(dataRead()).toBeLessThanOrEqual(Number(id.slice(1)) + 2);
    }
    expect(dataRead()).toBe(120);
    counted.log.length = 0;
    const sinceNs = NOON_NS + 115n * 60_000_000_000n;
    expect(await idsOf(counted, { sinceNs })).toEqual(['e0116', 'e0117', 'e0118', 'e0119', 'e0120']);
    expect(dataRead()).toBeLessThan(15);
    // Windows that are over are not looked into at all.
    expect(counted.log.filter((call) => call.startsWith('list '))).toHaveLength(1);
  });
});
