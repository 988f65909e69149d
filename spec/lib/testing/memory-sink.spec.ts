import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import type { Delivery } from '../../../lib/events/index.ts';
import {
  deliveryOf,
  MarbleTables,
  type MemorySink,
  type MemorySinkOptions,
  memorySink,
  type VirtualTime,
  virtualTime,
} from '../../../lib/testing/index.ts';

const tables = new MarbleTables({ log: { columns: ['at', 'what'], replicaIdentity: 'full' } });

async function open(options: MemorySinkOptions, { context }: VirtualTime) {
  const sink = memorySink(options);
  const opened = await sink.open({ pipeline: 'test', context });
  const deliveries = new Subject<Delivery>();
  const reports: string[] = [];
  const writing = opened.write(deliveries).subscribe({
    next: ({ table, rows, reason }) => reports.push(`${table} ${rows} ${reason}`),
    error: (error: unknown) => reports.push(`# ${String(error)}`),
    complete: () => reports.push('|'),
  });
  const acks: string[] = [];
  const send = (text: string) => {
    const delivery = deliveryOf(text, tables);
    delivery.ack.addPostEnqueue(() => acks.push(`enqueued ${text}`));
    delivery.ack.addPostFlush(() => acks.push(`flushed ${text}`));
    deliveries.next(delivery);
  };
  return { sink, send, acks, reports, writing, deliveries };
}

const timesOf = (sink: MemorySink) => sink.pieces.map(({ atMs, table, changes }) => `${atMs} ${table} ${changes.length}`);

describe('memorySink', () => {
  it('gathers each table from its first row for the interval, and starts anew', () =>
    virtualTime(async (time) => {
      const { sink, send } = await open({ flushIntervalMs: 100 }, time);
      send('a@5');
      await time.clock.advance(60);
      send('[a@6,b@6]');
      await time.clock.advance(60);
      send('a@7');
      await time.clock.advance(1000);
      expect(timesOf(sink)).toEqual(['100 public.a 2', '160 public.b 1', '220 public.a 1']);
    }));

  it('writes a table at once when it has gathered enough rows', () =>
    virtualTime(async (time) => {
      const { sink, send, reports } = await open({ flushIntervalMs: 1000, flushRows: 3 }, time);
      send('[a@5.0..1,b@5.2]');
      send('a@6');
      await time.clock.advance(0);
      expect(timesOf(sink)).toEqual(['0 public.a 3']);
      expect(reports).toEqual(['public.a 3 size']);
    }));

  it('above its bound it writes everything, and the source waits for that', () =>
    virtualTime(async (time) => {
      const { send, acks, reports } = await open({ flushIntervalMs: 1000, maxRows: 2, writeMs: 50 }, time);
      for (const text of ['a@5', 'b@5.1', 'a@6']) send(text);
      expect(acks).toEqual(['enqueued a@5', 'enqueued b@5.1']);
      await time.clock.advance(50);
      expect(acks).toEqual(['enqueued a@5', 'enqueued b@5.1', 'flushed a@5', 'flushed a@6', 'enqueued a@6', 'flushed b@5.1']);
      expect(reports).toEqual(['public.a 2 quota', 'public.b 1 quota']);
    }));

  it('lets the tables wait for nobody but themselves: one write each at a time', () =>
    virtualTime(async (time) => {
      const { sink, send } = await open({ writeMs: 30 }, time);
      for (const text of ['a@5', 'a@6', 'b@6.1']) send(text);
      await time.clock.advance(100);
      expect(timesOf(sink)).toEqual(['30 public.a 1', '30 public.b 1', '60 public.a 1']);
    }));

  it('shows the rows that are left: updates, deletes, a TRUNCATE, and unchanged values as they were', () =>
    virtualTime(async (time) => {
      const { sink, send } = await open({}, time);
      send('a@5.0{id:1,note:x}');
      send('a@5.1{id:2,note:y}');
      send('a@6{>id:1,note:?}');
      send('a@7{id:2>}');
      send('a@8{id:3,note:z}');
      await time.clock.advance(0);
      expect(sink.rows('a')).toEqual([
        { id: '1', note: 'x' },
        { id: '3', note: 'z' },
      ]);
      send('truncate:a@9');
      send('a@9.1{id:4,note:null}');
      await time.clock.advance(0);
      expect(sink.rows('public.a')).toEqual([{ id: '4', note: null }]);
      expect(sink.rows('nothing')).toEqual([]);
    }));

  it('finds a row without a key by all of its values', () =>
    virtualTime(async (time) => {
      const { sink, send } = await open({}, time);
      send('log@5.0{at:1,what:x}');
      send('log@5.1{at:1,what:x}');
      send('log@6{at:1,what:x>}');
      send('log@7{at:1,what:x>at:2,what:y}');
      await time.clock.advance(0);
      expect(sink.rows('log')).toEqual([{ at: '2', what: 'y' }]);
    }));

  it('tells which write it was that failed, acks nothing of it, and writes nothing further', () =>
    virtualTime(async (time) => {
      const { sink, send, acks, reports } = await open({ writeMs: 10 }, time);
      sink.failNext('disk full');
      for (const text of ['a@5', 'a@6', 'b@6.1']) send(text);
      await time.clock.advance(1000);
      expect(acks.filter((ack) => ack.startsWith('flushed'))).toEqual([]);
      expect(reports).toEqual([expect.stringContaining('MR_SINK_WRITE_FAILED')]);
      expect(reports[0]).toMatch(/public\.a.*5\/0.*disk full/);
      expect(sink.pieces).toEqual([]);
    }));

  it('writes nothing after it was let go', () =>
    virtualTime(async (time) => {
      const { sink, send, acks, writing } = await open({ flushIntervalMs: 100, writeMs: 50 }, time);
      send('a@5');
      await time.clock.advance(120);
      writing.unsubscribe();
      await time.clock.advance(1000);
      expect([sink.pieces.length, acks]).toEqual([0, ['enqueued a@5']]);
    }));

  it('shows changes of all tables in position order, each table as it was written', () =>
    virtualTime(async (time) => {
      const { sink, send } = await open({ flushIntervalMs: 10 }, time);
      for (const text of ['[a@5,b@5.1,a@5.2]', 'b@6']) send(text);
      await time.clock.advance(10);
      expect(sink.changes().map(({ table, commitTs, ordinal }) => `${table}@${commitTs}.${ordinal}`)).toEqual([
        'public.a@5.0',
        'public.b@5.1',
        'public.a@5.2',
        'public.b@6.0',
      ]);
    }));
});
