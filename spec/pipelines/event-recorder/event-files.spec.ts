import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MemoryStore, type ObjectStore } from '../../../lib/stores/index.ts';
import type { EventGroup, EventHandler } from '../../../pipelines/event-recorder/event.ts';
import { objectStoreEvents } from '../../../pipelines/event-recorder/handlers/object-store.ts';
import { eventsFromObjects } from '../../../pipelines/event-recorder/reading/from-objects.ts';
import { type Stage, turnStore } from '../../support/turn-store.ts';
import { all, FIRST_TRY, groupOf, HINTS, NOON_NS } from './events.ts';
import { publishedIds } from './published-events.ts';

const FIRST = groupOf([{ type: 'a' }]);
/** Two events of one window, one of another. */
const GROUP = groupOf([{ type: 'a' }, { type: 'a' }, { type: 'a', timestampNs: 0n }, { type: 'a' }], { from: 2n });
const NEXT = groupOf([{ type: 'a' }], { from: 6n });
const EACH_ONCE = ['e0001', 'e0002', 'e0003', 'e0004', 'e0005', 'e0006'];

/** Whatever runs without waiting for anything but memory has come to its end. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

function part({ events, ...group }: EventGroup, from: number, to: number): EventGroup {
  return { ...group, events: events.slice(from, to) };
}

/** How a group comes again: whole, or in the halves that look for one that is to blame. */
const AGAIN: [how: string, groups: EventGroup[]][] = [
  ['whole', [GROUP]],
  ['in halves', [part(GROUP, 0, 2), part(GROUP, 2, 4)]],
  ['without one that was refused', [{ ...GROUP, events: GROUP.events.filter((_, n) => n !== 1) }, part(GROUP, 1, 2)]],
];

describe('EventFiles', () => {
  describe.each(AGAIN)('G7: a group that comes again %s', (_, groups) => {
    it.each<Stage>(['before', 'after'])('stands once whichever call of the store failed, %s its effect', async (when) => {
      const run = async (at: number) => {
        const store = new MemoryStore();
        let made = 0;
        let from = Number.POSITIVE_INFINITY;
        const failing = turnStore(store, (number, stage) => {
          made = Math.max(made, number);
          if (number === from + at && stage === when) throw new Error('no answer');
        });
        const handler = objectStoreEvents({ store: failing });
        await handler.deliver(FIRST, FIRST_TRY);
        from = made;
        const isDelivered = await handler.deliver(GROUP, FIRST_TRY).then(
          () => true,
          () => false,
        );
        const calls = made - from;
        from = Number.POSITIVE_INFINITY;
        if (!isDelivered) for (const group of groups) await handler.deliver(group, FIRST_TRY);
        await handler.deliver(NEXT, FIRST_TRY);
        expect(await publishedIds(store)).toEqual(EACH_ONCE);
        return { made: calls, isDelivered };
      };
      const { made } = await run(Number.POSITIVE_INFINITY);
      for (let at = 1; at <= made; at++) expect(await run(at)).toMatchObject({ isDelivered: false });
    });

    it('stands once though the call that was given up goes on, at whatever moment', async () => {
      const run = async (at: number, goesOnAt: number) => {
        const store = new MemoryStore();
        let goOn = () => {};
        const held = new Promise<void>((resolve) => {
          goOn = resolve;
        });
        let phase: 'first' | 'given up' | 'again' = 'first';
        let calls = 0;
        const slow = turnStore(store, async (_number, stage) => {
          if (stage === 'after') return;
          calls++;
          if (phase === 'given up' && calls === at) await held;
          if (phase !== 'again' || calls !== goesOnAt) return;
          goOn();
          await settled();
        });
        const handler = objectStoreEvents({ store: slow });
        await handler.deliver(FIRST, FIRST_TRY);
        phase = 'given up';
        calls = 0;
        const giveUp = new AbortController();
        const call = handler.deliver(GROUP, { signal: giveUp.signal, attempt: 1 }).catch(() => 'given up');
        await settled();
        const made = calls;
        giveUp.abort();
        phase = 'again';
        calls = 0;
        const isCut = (await call) === 'given up';
        for (const group of isCut ? groups : []) await handler.deliver(group, FIRST_TRY);
        const ofRetry = calls;
        await handler.deliver(NEXT, FIRST_TRY);
        goOn();
        await settled();
        await handler.deliver(groupOf([{ type: 'a' }], { from: 7n }), FIRST_TRY);
        expect(await publishedIds(store)).toEqual([...EACH_ONCE, 'e0007']);
        return { made, ofRetry };
      };
      const { made } = await run(Number.POSITIVE_INFINITY, 0);
      let pairs = 0;
      for (let at = 1; at <= made; at++) {
        const { ofRetry } = await run(at, 0);
        for (let goesOnAt = 1; goesOnAt <= ofRetry; goesOnAt++, pairs++) await run(at, goesOnAt);
      }
      expect(pairs).toBeGreaterThan(50);
    });
  });

  it('G7: calls that were given up go on in whatever order, and each event stands once', async () => {
    const steps = fc.array(fc.record({ pick: fc.nat(), givesUp: fc.integer({ min: 0, max: 5 }) }), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const store = new MemoryStore();
        const waiting: (() => void)[] = [];
        const handler = objectStoreEvents({ store: turnStore(store, () => new Promise<void>((resolve) => waiting.push(resolve))) });
        const groups = [FIRST, part(GROUP, 0, 2), part(GROUP, 2, 4), NEXT];
        let step = 0;
        let isDone = false;
        const deliver = async (group: EventGroup) => {
          for (let attempt = 1; ; attempt++) {
            const abort = new AbortController();
            giveUp = () => abort.abort();
            const isDelivered = await handler.deliver(group, { signal: abort.signal, attempt }).then(
              () => true,
              () => false,
            );
            if (isDelivered) return;
          }
        };
        let giveUp = () => {};
        const all = (async () => {
          for (const group of groups) await deliver(group);
          isDone = true;
        })();
        while (!isDone || waiting.length > 0) {
          const { pick, givesUp } = list[step++] ?? { pick: 0, givesUp: 1 };
          if (givesUp === 0) giveUp();
          else waiting.splice(pick % Math.max(1, waiting.length), 1)[0]?.();
          await settled();
        }
        await all;
        expect(await publishedIds(store)).toEqual(EACH_ONCE);
      }),
      { numRuns: 150 },
    );
  });

  it('G1: recorders that share a handler lose nothing and write nothing twice, though their numbers are the same', async () => {
    const store = new MemoryStore();
    const handler = objectStoreEvents({ store });
    const named = (name: string, from: bigint): EventGroup => {
      const group = groupOf([{ type: 'a' }, { type: 'a' }], { from });
      return { ...group, events: group.events.map((event) => ({ ...event, id: `${name}${event.seq}` })) };
    };
    for (const from of [1n, 3n, 5n]) {
      await Promise.all(['x', 'y', 'z'].map((name) => handler.deliver(named(name, from), FIRST_TRY)));
    }
    const ids = ['x', 'y', 'z'].flatMap((name) => [1, 2, 3, 4, 5, 6].map((seq) => `${name}${seq}`));
    expect(await publishedIds(store)).toEqual(ids);
    expect((await all(eventsFromObjects(store))).map(({ id }) => id).sort()).toEqual(ids);
  });

  it('leaves a numbering where something stands that is not its own, and goes on under another', async () => {
    const store = new MemoryStore();
    const handler = objectStoreEvents({ store });
    await handler.deliver(FIRST, FIRST_TRY);
    const key = (await all(store.list(''))).map((object) => object.key).find((one) => one.endsWith('_000001.jsonl'))!;
    await store.put(key.replace('_000001', '_000002'), [Buffer.from('x')]);
    await handler.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
    expect(await publishedIds(store)).toEqual(['e0001', 'e0002']);
  });

  it('gives up for this time where every number is taken', async () => {
    const store = new MemoryStore();
    store.putIfAbsent = async () => false;
    const delivered = objectStoreEvents({ store }).deliver(FIRST, FIRST_TRY);
    await expect(delivered).rejects.toMatchObject({ code: 'MR_EVENT_TARGET_FAILED', cause: { code: 'MR_FOREIGN_FILE' } });
  });

  it('remembers the folders that it wrote to last, and begins another numbering in those that it has forgotten', async () => {
    const store = new MemoryStore();
    const handler = objectStoreEvents({ store });
    const minute = (n: bigint, seq: bigint) => ({ type: 'a', timestampNs: NOON_NS + n * 60_000_000_000n + seq });
    const deliverAll = (from: bigint) => {
      const inputs = Array.from({ length: 260 }, (_, n) => minute(BigInt(n), from));
      return handler.deliver(groupOf(inputs, { from, hints: { ...HINTS, timeWindow: '1m' } }), FIRST_TRY);
    };
    await deliverAll(1n);
    await handler.deliver(groupOf([minute(259n, 300n)], { from: 300n, hints: { ...HINTS, timeWindow: '1m' } }), FIRST_TRY);
    await deliverAll(400n);
    const files = (await all(store.list(''))).filter(({ key }) => key.endsWith('.jsonl'));
    expect(files.filter(({ key }) => key.endsWith('_000002.jsonl'))).toHaveLength(1);
    expect(new Set(await publishedIds(store)).size).toBe(521);
    expect(await publishedIds(store)).toHaveLength(521);
  });

  it('costs three writes a file and no reads, once its folder is open', async () => {
    const { handler, log } = logged(new MemoryStore());
    await handler.deliver(FIRST, FIRST_TRY);
    log.length = 0;
    await handler.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
    expect(log.map((call) => call.replace(/ .*\/(?:CDC_\w{32})/, ' '))).toEqual([
      'putIf _000002.positions',
      'putIfAbsent _000002.jsonl',
      'putIf .index',
    ]);
  });
});

function logged(store: ObjectStore): { handler: EventHandler; log: string[] } {
  const log: string[] = [];
  const handler = objectStoreEvents({
    store: turnStore(store, (_number, stage, name) => {
      if (stage === 'before') log.push(name);
    }),
  });
  return { handler, log };
}
