import { describe, expect, it } from '@jest/globals';
import { Delivery, resolvedEvent } from '../../../../../lib/events/index.ts';
import { openStream, type PostgresStream, type StreamOptions } from '../../../../../lib/sources/postgres/stream.ts';
import type { SimPostgresParts } from '../../../../../lib/testing/simulator/postgres/index.ts';
import { outcomeOf, readEverything, type WorldParts } from './world.ts';

const FAULTS = { refuses: 0.1, breaks: 0.6, breaksAfterBytes: 8000, silent: 0.2, stalls: 0.1 };
const ALL_FAULTS = { faults: FAULTS, crashEveryMs: 1500, gapMs: 400 };
/** For many seeds: a test that was given up goes on beside the next, and on a busy machine they would all be given up, one after another. */
const MANY_MS = 300_000;

describe('simPostgres', () => {
  it('gives what was committed, each change at its place, when nothing goes wrong', async () => {
    for (let seed = 1; seed <= 5; seed++) await readEverything({ seed });
  });

  it(
    'gives each change at the same place however often the connection breaks and the node crashes (P1, P5, P7, I5, I8)',
    async () => {
      let starts = 0;
      let abandoned = 0;
      for (let seed = 1; seed <= 40; seed++) {
        const { parts } = await readEverything({ seed, ...ALL_FAULTS });
        starts += parts.durable.starts;
        abandoned += parts.durable.abandoned;
      }
      expect(starts).toBeGreaterThan(200);
      expect(abandoned).toBeGreaterThan(10);
    },
    MANY_MS,
  );

  it(
    'reads from where the slot begins, without a snapshot',
    async () => {
      for (let seed = 1; seed <= 15; seed++) await readEverything({ seed, ...ALL_FAULTS, fromSlot: true, source: { snapshot: 'never' } });
    },
    MANY_MS,
  );

  it(
    'cuts a large transaction into deliveries, and goes on within it after a connection is lost',
    async () => {
      const workload = { largeRows: 300, weights: { large: 20 } };
      let cut = 0;
      for (let seed = 1; seed <= 10; seed++) {
        const { parts } = await readEverything({ seed, ...ALL_FAULTS, changes: 1500, workload, source: { maxDeliveryBytes: 2000 } });
        cut += parts.durable.cut;
      }
      expect(cut).toBeGreaterThan(100);
    },
    MANY_MS,
  );

  it.each(['Down', 'Up'])(
    'goes on when the connection breaks at any byte (%s)',
    async (way) => {
      const short = { seed: 2, changes: 25, fromSlot: true, source: { snapshot: 'never' } } as const;
      for (let at = 1; at <= (way === 'Down' ? 700 : 150); at++) {
        await readEverything({ ...short, fateOf: (connection) => (connection === 0 ? { [`breaksAfter${way}`]: at } : {}) });
      }
    },
    MANY_MS,
  );

  it('leaves out unchanged TOAST values (P9)', async () => {
    for (let seed = 1; seed <= 10; seed++) await readEverything({ seed, faults: FAULTS, workload: { unchangedToast: true } });
  });

  it.each<[string, (parts: WorldParts) => void]>([
    ['the server crashes and forgets what it had not written down', ({ server }) => server.restart(500)],
    ['all connections break at once', ({ server }) => server.disconnect()],
    ['somebody else holds the slot for a while', ({ server }) => server.holdSlot('millrace', 4000)],
    ['the node stands still for longer than the server waits', ({ node }) => node.pause(30_000)],
  ])('goes on when %s', async (_what, disturb) => {
    for (let seed = 1; seed <= 8; seed++) await readEverything({ seed, gapMs: 300, disturb });
  });

  it.each<[string, string, (parts: WorldParts) => void]>([
    ['the slot is gone', 'MR_SLOT_GONE', ({ server }) => server.dropSlot('millrace')],
    ['the slot is invalidated', 'MR_SLOT_INVALIDATED', ({ server }) => server.invalidateSlot('millrace')],
    ['somebody else keeps the slot', 'MR_SLOT_ACTIVE', ({ server }) => server.holdSlot('millrace', 10_000_000)],
    [
      'the slot was confirmed beyond the checkpoint (P2, I6)',
      'MR_SLOT_ADVANCED',
      ({ server, node }) => {
        const slot = server.slots.get('millrace')!;
        server.slots.confirm(slot, server.database.walEnd);
        node.kill();
      },
    ],
  ])('fails loudly when %s', async (_what, code, disturb) => {
    expect(await outcomeOf({ seed: 3, gapMs: 300, disturb })).toBe(code);
  });

  it('tells the trace what goes wrong, until the simulation is calm', async () => {
    const disturb = ({ server }: WorldParts) => server.holdSlot('millrace', 10);
    const { trace } = await readEverything({ seed: 1, ...ALL_FAULTS, disturb });
    const lines = trace.lines();
    const calmMs = lines.find(({ what }) => what === 'calm')!.ms;
    const faults = lines.filter(({ who, isFault }) => who === 'postgres' && isFault);
    expect(faults.map(({ what }) => what)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^connection \d+ breaks, after bytes \d+ from the server and \d+ to it; told: \w+$/),
        'gives slot millrace to somebody else for 10 ms',
      ]),
    );
    expect(faults.filter(({ ms }) => ms > calmMs + 60_000)).toEqual([]);
  });

  it('is the same run for the same seed', async () => {
    const hashes = async (seed: number) => (await readEverything({ seed, ...ALL_FAULTS })).hash;
    expect(await hashes(7)).toBe(await hashes(7));
    expect(await hashes(7)).not.toBe(await hashes(8));
  });

  it.each<[string, Partial<SimPostgresParts>]>([
    ['P1: a stream that resolves L', { openStream: resolvingAtL }],
    ['I5: a snapshot that counts as complete once it was begun', { needsSnapshot: (table) => table.wantsSnapshot }],
    ['I1: a source that confirms what it has read', { openStream: confirmingWhatItReads }],
  ])('finds %s', async (_what, parts) => {
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 60 && outcomes.size === 0; seed++) {
      const outcome = await outcomeOf({ seed, ...ALL_FAULTS, source: { parts } });
      if (outcome !== 'fine') outcomes.add(outcome);
    }
    expect([...outcomes]).toHaveLength(1);
  });
});

function resolvingAtL(options: StreamOptions): PostgresStream {
  const stream = openStream(options);
  return { ...ofStream(stream), deliveries: later(stream.deliveries) };
}

async function* later(deliveries: AsyncIterable<Delivery>): AsyncIterable<Delivery> {
  for await (const { events, bytes } of deliveries) {
    yield new Delivery(
      events.map((event) => (event.type === 'resolved' ? resolvedEvent(event.commitTs + 1n) : event)),
      bytes,
    );
  }
}

function confirmingWhatItReads(options: StreamOptions): PostgresStream {
  const stream = openStream(options);
  return { ...ofStream(stream), deliveries: confirmed(stream) };
}

async function* confirmed(stream: PostgresStream): AsyncIterable<Delivery> {
  for await (const delivery of stream.deliveries) {
    for (const event of delivery.events) if (event.type === 'resolved') stream.confirm(event.commitTs);
    yield delivery;
  }
}

function ofStream(stream: PostgresStream): Omit<PostgresStream, 'deliveries'> {
  return { confirm: (ts) => stream.confirm(ts), status: () => stream.status(), close: () => stream.close() };
}
