import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { ALL_DISPATCHERS, type DrainMarker, drainMarker, TwoStageAck } from '../../lib/events/index.ts';
import { createContext } from '../../lib/flow/index.ts';
import { type Weighed, watermarkBackpressure } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

interface Item extends Weighed {
  readonly name: string;
}

/** Items go in by size; what was passed on and whose enqueue ack ran is written down. */
function run(high: number, low: number) {
  const { gauge, ...rest } = createContext();
  const source = new Subject<Item | DrainMarker>();
  const log: string[] = [];
  const items = new Map<string, Item>();
  const subscription = source
    .pipe(watermarkBackpressure<Item>({ high, low }).withContext({ gauge, ...rest }))
    .subscribe((item) => log.push(item.type === 'marker' ? 'marker' : (item as Item).name));
  const send = (name: string, bytes: number, onEnqueued = () => {}) => {
    const ack = new TwoStageAck();
    ack.addPostEnqueue(() => {
      log.push(`ack ${name}`);
      onEnqueued();
    });
    items.set(name, { name, bytes, ack });
    source.next(items.get(name)!);
  };
  return { source, send, log, gauge, items, subscription };
}

/** spec storage-sink §2.4, §2.5, §3 */
describe('watermarkBackpressure', () => {
  it('sends the source to sleep and wakes it, in time', () => {
    eventMarbles(({ cold, context, expectObservable, expectAcks }) => {
      const item = (name: string, bytes: number): Item => ({ name, bytes, ack: new TwoStageAck() });
      const show = (item: Item | DrainMarker) => ('name' in item ? `${item.name}, ${item.bytes} bytes` : 'marker');
      const values = { a: item('a', 60), b: item('b', 60), c: item('c', 10) };
      const source = cold('a-b-c-----|', values, undefined, { show });
      const expected = '   a-b-c-----|';
      //                   b is too much; released: 50 at 7, 50 at 9
      const acks = '       x--------(yz)';
      for (const at of [7, 9]) context.clock.after(at, () => context.gauge.release(50));
      expectObservable(source.pipe(watermarkBackpressure<Item>({ high: 100, low: 50 }).withContext(context)), { show }).toBe(expected, {
        a: 'a, 60 bytes',
        b: 'b, 60 bytes',
        c: 'c, 10 bytes',
      });
      expectAcks(source).toBe(acks, { x: 'enqueued:a', y: 'enqueued:b', z: 'enqueued:c' });
    });
  });

  it('passes items at once and acks them below the high mark', () => {
    const { send, log, gauge } = run(100, 50);
    send('a', 60);
    send('b', 40);
    expect(log).toEqual(['a', 'ack a', 'b', 'ack b']);
    expect(gauge.level).toBe(100);
  });

  it('WatermarkSuppressesWake: passes items above the high mark and holds their acks until the low one', () => {
    const { send, log, gauge } = run(600, 300);
    send('a', 366);
    send('b', 466);
    expect(log).toEqual(['a', 'ack a', 'b']);
    gauge.release(366);
    expect(log).toEqual(['a', 'ack a', 'b']);
    gauge.release(466);
    expect(log).toEqual(['a', 'ack a', 'b', 'ack b']);
  });

  it('I4: holds every later ack while it holds one, also below the high mark, and runs them in order', () => {
    const { send, log, gauge } = run(100, 50);
    send('a', 101);
    gauge.release(41);
    send('b', 1);
    send('c', 1);
    expect(log).toEqual(['a', 'b', 'c']);
    gauge.release(12);
    expect(log).toEqual(['a', 'b', 'c', 'ack a', 'ack b', 'ack c']);
    send('d', 1);
    expect(log.slice(6)).toEqual(['d', 'ack d']);
  });

  it.each([
    ['above high holds', 101, 'held'],
    ['at high does not', 100, 'acked'],
  ])('%s', (_, bytes, outcome) => {
    const { send, log } = run(100, 50);
    send('a', bytes);
    expect(log.includes('ack a') ? 'acked' : 'held').toBe(outcome);
  });

  it.each([
    ['at low runs', 50, 'acked'],
    ['above low does not', 49, 'held'],
  ])('%s', (_, released, outcome) => {
    const { send, log, gauge } = run(99, 50);
    send('a', 100);
    gauge.release(released);
    expect(log.includes('ack a') ? 'acked' : 'held').toBe(outcome);
  });

  it('lets the flush of a held item wake its own source, once, and no other', () => {
    const { send, log, gauge, items } = run(100, 50);
    send('a', 101);
    send('b', 1);
    items.get('a')!.ack.postFlush();
    expect(log).toEqual(['a', 'b', 'ack a']);
    gauge.release(102);
    expect(log).toEqual(['a', 'b', 'ack a', 'ack b']);
  });

  it('acks an item that was made durable while it was passed on, and takes it off', () => {
    const context = createContext();
    const source = new Subject<Item>();
    const acked: string[] = [];
    source.pipe(watermarkBackpressure<Item>({ high: 100, low: 50 }).withContext(context)).subscribe((item) => {
      context.gauge.release((item as Item).bytes);
      item.ack.postFlush();
    });
    const ack = new TwoStageAck();
    ack.addPostEnqueue(() => acked.push('a'));
    source.next({ name: 'a', bytes: 500, ack });
    expect([acked, context.gauge.level]).toEqual([['a'], 0]);
  });

  it('holds what a woken source sends at once when that is too much again', () => {
    const { send, log, gauge } = run(100, 50);
    send('a', 101, () => send('c', 200));
    send('b', 1);
    gauge.release(102);
    expect(log).toEqual(['a', 'b', 'ack a', 'c', 'ack b']);
    gauge.release(200);
    expect(log.slice(5)).toEqual(['ack c']);
  });

  it('passes drain markers untouched, because a held marker would hold a schema change for ever', () => {
    const { source, send, log, gauge } = run(100, 50);
    send('a', 101);
    source.next(drainMarker(ALL_DISPATCHERS));
    expect(log).toEqual(['a', 'marker']);
    expect(gauge.level).toBe(101);
  });

  it('listens to the gauge no longer when it is unsubscribed', () => {
    const { send, log, gauge, subscription } = run(100, 50);
    send('a', 101);
    subscription.unsubscribe();
    gauge.release(101);
    expect(log).toEqual(['a']);
  });

  it.each([
    [{ high: 0, low: 0 }, 'high'],
    [{ high: 100, low: -1 }, 'low'],
    [{ high: 100, low: 100 }, 'low'],
    [{ high: Number.NaN, low: 1 }, 'high'],
    [{ high: 1.5, low: 1 }, 'high'],
  ])('refuses %j at once', (options, option) => {
    expect(() => watermarkBackpressure(options)).toThrow(new RegExp(`MR_INVALID_OPTION: option ${option} `));
  });

  operatorLaws({
    make: () => watermarkBackpressure<Item>({ high: 100, low: 50 }),
    items: () => [60, 60].map((bytes) => ({ name: 'a', bytes, ack: new TwoStageAck() })),
    show: (item) => (item as Item).name,
  });
});
