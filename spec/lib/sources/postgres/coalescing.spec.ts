import { describe, expect, it } from '@jest/globals';
import { type Clock, Metrics, silentLogger } from '../../../../lib/flow/index.ts';
import { openStream } from '../../../../lib/sources/postgres/stream.ts';
import { SimDatabase, SimServer } from '../../../../lib/testing/simulator/postgres/index.ts';
import { virtualTime } from '../../../../lib/testing/virtual-time.ts';
import { MemorySchema } from '../../../support/memory-schema.ts';

/** A change's bytes: some of these within a few milliseconds are worth waiting for. */
const NOTE = 'x'.repeat(400);

/** What a consumer that keeps up sees of a stream over a link without delay. */
interface Reading {
  readonly clock: Clock;
  /** Commits a transaction of so many rows. */
  commit(rows: number, note?: string): void;
  /** Of each commit: how long it took to arrive, in ms. */
  readonly delaysMs: readonly number[];
  /** Deliveries that held rows. */
  readonly deliveries: readonly number[];
  /** When the stream left the socket alone, and how long. */
  readonly sleeps: readonly { readonly atMs: number; readonly ms: number }[];
}

/** `busyMs`: how long the consumer is at work on each delivery. */
function reading(test: (reading: Reading) => Promise<void>, busyMs = 0): Promise<void> {
  return virtualTime(async ({ clock }) => {
    const database = new SimDatabase({
      random: () => 0.5,
      now: () => clock.now(),
      tables: [{ name: 'public.t', columns: ['!id int4', 'note'] }],
    });
    // Nothing is late, and a read takes what there is.
    const server = new SimServer({ database, clock, random: () => 0.99, latencyMs: 0 });
    server.slots.create('slot');
    const sleeps: { atMs: number; ms: number }[] = [];
    const watched: Clock = {
      scheduler: clock.scheduler,
      now: () => clock.now(),
      after: (ms, fn) => clock.after(ms, fn),
      random: () => clock.random(),
      sleep: (ms, signal) => {
        sleeps.push({ atMs: clock.now(), ms });
        return clock.sleep(ms, signal);
      },
    };
    const abort = new AbortController();
    const stream = openStream({
      connect: () => server.connect(clock),
      slot: 'slot',
      publication: 'pub',
      resolver: new MemorySchema(),
      fromTs: database.walEnd - 1n,
      clock: watched,
      logger: silentLogger,
      metrics: new Metrics(),
      signal: abort.signal,
    });
    const committedMs = new Map<bigint, number>();
    const delaysMs: number[] = [];
    const deliveries: number[] = [];
    const consuming = (async () => {
      for await (const { events } of stream.deliveries) {
        let rows = 0;
        for (const event of events) {
          if (event.type !== 'dml') continue;
          rows += event.rows.rowCount;
          for (const { commitTs } of event.rows.transactions) delaysMs.push(clock.now() - committedMs.get(commitTs)!);
        }
        if (rows > 0) deliveries.push(rows);
        if (busyMs > 0) await clock.sleep(busyMs);
      }
    })();
    let id = 0;
    const commit = (rows: number, note = NOTE) => {
      const { commitTs } = database.transact((transaction) => {
        for (let i = 0; i < rows; i++) transaction.insert(database.table('public.t'), { id: String(++id), note });
      });
      committedMs.set(commitTs, clock.now());
    };
    await clock.sleep(100);
    await test({ clock, commit, delaysMs, deliveries, sleeps });
    abort.abort();
    await consuming;
    await stream.close();
  });
}

/** Calls `work` each millisecond. */
async function eachMs(clock: Clock, times: number, work: () => void): Promise<void> {
  for (let i = 0; i < times; i++) {
    work();
    await clock.sleep(1);
  }
}

describe('adaptive reads', () => {
  it('bring a lone change when it comes', () =>
    reading(async ({ clock, commit, delaysMs, sleeps }) => {
      for (let i = 0; i < 50; i++) {
        commit(1);
        await clock.sleep(20);
      }
      expect({ delaysMs, sleeps }).toEqual({ delaysMs: Array(50).fill(0), sleeps: [] });
    }));

  it('bring a few transactions one upon another when they come, for they are no load', () =>
    reading(async ({ clock, commit, delaysMs, sleeps }) => {
      for (let i = 0; i < 5; i++) {
        await eachMs(clock, 10, () => commit(1));
        await clock.sleep(20);
      }
      expect({ delaysMs, sleeps }).toEqual({ delaysMs: Array(50).fill(0), sleeps: [] });
    }));

  it('gather under load, so that a delivery holds the rows of several milliseconds and none waits longer than those', () =>
    reading(async ({ clock, commit, delaysMs, deliveries, sleeps }) => {
      await eachMs(clock, 300, () => commit(5));
      await clock.sleep(20);
      expect(deliveries.reduce((sum, rows) => sum + rows, 0)).toBe(1500);
      // Some reads to notice the load, then one in 3 ms instead of one each.
      expect(sleeps.length).toBeGreaterThan(60);
      expect(new Set(sleeps.map(({ ms }) => ms))).toEqual(new Set([3]));
      expect(deliveries.length).toBeLessThan(150);
      expect(Math.max(...delaysMs)).toBeLessThanOrEqual(3);
    }));

  it('stop gathering when it brings little: a trickle of small changes is hardly delayed', () =>
    reading(async ({ clock, commit, delaysMs, sleeps }) => {
      await eachMs(clock, 300, () => commit(1, 'x'));
      await clock.sleep(20);
      expect(delaysMs).toHaveLength(300);
      expect(delaysMs.filter((ms) => ms > 0).length).toBeLessThan(60);
      expect(sleeps.length).toBeLessThan(20);
    }));

  it('stop gathering when the load is over: the next change is read when it comes', () =>
    reading(async ({ clock, commit, delaysMs, sleeps }) => {
      await eachMs(clock, 100, () => commit(5));
      expect(sleeps.length).toBeGreaterThan(10);
      await clock.sleep(20);
      const [delays, slept] = [delaysMs.length, sleeps.length];
      for (let i = 0; i < 5; i++) {
        commit(1);
        await clock.sleep(20);
      }
      expect({ delays: delaysMs.slice(delays), sleeps: sleeps.slice(slept) }).toEqual({ delays: Array(5).fill(0), sleeps: [] });
    }));

  it('do not wait where the consumer is slow, for meanwhile packets gather by themselves', () =>
    reading(async ({ clock, commit, deliveries, sleeps }) => {
      await eachMs(clock, 300, () => commit(5));
      await clock.sleep(500);
      expect(deliveries.reduce((sum, rows) => sum + rows, 0)).toBe(1500);
      expect(sleeps).toEqual([]);
    }, 5));
});
