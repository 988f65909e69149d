import { describe, expect, it } from '@jest/globals';
import { map, Subject } from 'rxjs';
import { ALL_DISPATCHERS, type DispatcherId, type DrainMarker, drainMarker } from '../../lib/events/index.ts';
import { type Clock, createContext, systemClock } from '../../lib/flow/index.ts';
import { dispatcherNamed } from '../../lib/testing/index.ts';
import { type Flush, type FlushByOptions, flushBy } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

interface Item {
  readonly dispatcher: DispatcherId;
  readonly key: string;
  readonly name: string;
  readonly bytes: number;
}

/** `a1:40` is item a1 of table a, 40 bytes (default 10); its key is the table, or, in `a/x1`, one of the table's keys. */
function item(text: string): Item {
  const [name = '', bytes = '10'] = text.split(':');
  const [key = name, part = ''] = name.replace(/\d+$/, '').split('/');
  return { dispatcher: dispatcherNamed(key), key: `${key}${part}`, name, bytes: Number(bytes) };
}

/** `a1 a2 by size`, or `marker`. */
function showFlush(flush: Flush<Item> | DrainMarker): string {
  return 'key' in flush ? `${flush.events.map(({ name }) => name).join(' ')} by ${flush.reason}` : 'marker';
}

const key = (item: Item) => item.key;
type Options = Omit<FlushByOptions<Item>, 'key'>;
const options = (changes: Partial<Options> = {}): FlushByOptions<Item> => ({
  key,
  intervalMs: 10,
  bytes: 100,
  ...changes,
});

/** Runs one diagram; letters stand for items, `M` for a marker of all, `D` for one of table a. */
function expectFlushes(
  diagram: string,
  letters: Record<string, string>,
  expected: string,
  flushes: Record<string, string>,
  changes: Partial<Options> = {},
) {
  eventMarbles(({ cold, context, expectObservable }) => {
    const markers = { M: drainMarker(ALL_DISPATCHERS), D: drainMarker(dispatcherNamed('a')) };
    const source = cold<string | DrainMarker>(diagram, { ...letters, ...markers });
    const items = source.pipe(map((value) => (typeof value === 'string' ? item(value) : value)));
    const out = items.pipe(flushBy(options(changes)).withContext(context));
    expectObservable(out, { show: showFlush }).toBe(expected, { ...markers, ...flushes });
  });
}

/** The same by hand, where one thing must come right behind another. */
function run(changes: Partial<Options> = {}, context = createContext()) {
  const source = new Subject<Item | DrainMarker>();
  const log: string[] = [];
  const subscription = source
    .pipe(flushBy(options(changes)).withContext(context))
    .subscribe({ next: (flush) => log.push(showFlush(flush)), error: (error) => log.push(`${error}`), complete: () => log.push('end') });
  const send = (...texts: string[]) => {
    for (const text of texts) source.next(item(text));
  };
  return { source, send, log, subscription, context };
}

/** spec storage-sink §1 */
describe('flushBy', () => {
  it('emits the batch of a key when it is large enough, or old enough, or has to go', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const M = drainMarker(ALL_DISPATCHERS);
      const source = cold<string | DrainMarker>('a-b-c---------d-M---|', { a: 'a1:60', b: 'b1', c: 'a2:60', d: 'a3', M });
      //                                             size    interval, 10 ms after b
      const expected = '                         ----x-------y---(zM)|';
      const items = source.pipe(map((value) => (typeof value === 'string' ? item(value) : value)));
      expectObservable(items.pipe(flushBy({ key, intervalMs: 10, bytes: 100 }).withContext(context)), { show: showFlush }).toBe(expected, {
        x: 'a1 a2 by size',
        y: 'b1 by interval',
        z: 'a3 by barrier',
        M,
      });
    });
  });

  describe('size', () => {
    it('emits a batch when it reaches the bytes, and may exceed them by one item', () => {
      expectFlushes('a-b-c-d-|', { a: 'a1:60', b: 'a2:39', c: 'a3:90', d: 'a4' }, '----x---(y|)', {
        x: 'a1 a2 a3 by size',
        y: 'a4 by close',
      });
    });

    it('tells of a batch that has grown and waits for more, in the array that is emitted in the end', () => {
      const source = new Subject<Item>();
      const grown: string[] = [];
      const arrays = new Map<string, readonly Item[]>();
      const emitted: (readonly Item[])[] = [];
      const onGrown = (items: readonly Item[], bytes: number) => {
        grown.push(`${items.map(({ name }) => name).join(' ')}: ${bytes}`);
        arrays.set(items[0]!.name, items);
      };
      source.pipe(flushBy(options({ bytes: 30, onGrown }))).subscribe((flush) => 'key' in flush && emitted.push(flush.events));
      for (const text of ['a1', 'b1:5', 'a2', 'a3', 'a4']) source.next(item(text));
      source.complete();
      expect(grown).toEqual(['a1: 10', 'b1: 5', 'a1 a2: 20', 'a4: 10']);
      expect(emitted.map((items) => arrays.get(items[0]!.name) === items)).toEqual([true, true, true]);
    });

    it('emits exactly at the bytes', () => {
      expectFlushes('a-b-|', { a: 'a1:60', b: 'a2:40' }, '--x-|', { x: 'a1 a2 by size' });
    });

    it('emits a batch of `count` items', () => {
      expectFlushes('a-b-c-|', { a: 'a1', b: 'a2', c: 'a3' }, '--x---(y|)', { x: 'a1 a2 by size', y: 'a3 by close' }, { count: 2 });
    });

    it('counts for each key by itself', () => {
      expectFlushes('a-b-c-|', { a: 'a1:60', b: 'b1:60', c: 'a2:60' }, '----x-(y|)', { x: 'a1 a2 by size', y: 'b1 by close' });
    });
  });

  describe('interval', () => {
    it('runs from the first item of the key, so that no row waits longer (upstream sweeps a shard)', () => {
      expectFlushes('a-b----------c-------|', { a: 'a1', b: 'b1', c: 'a2' }, '----------x-y--------(z|)', {
        x: 'a1 by interval',
        y: 'b1 by interval',
        z: 'a2 by close',
      });
    });

    it('is not put off by later items', () => {
      expectFlushes('a--b--c---------|', { a: 'a1', b: 'a2', c: 'a3' }, '----------x-----|', { x: 'a1 a2 a3 by interval' });
    });

    it('runs since an item waits, where it waited elsewhere before', () => {
      // In a queue since 4, here at 8.
      expectFlushes('8ms a-----------|', { a: 'a1' }, '14ms y-----|', { y: 'a1 by interval' }, { since: () => 4 });
      // What has waited for too long goes at once, with whatever comes along.
      expectFlushes('20ms (ab)---|', { a: 'a1', b: 'a2' }, '20ms y------|', { y: 'a1 a2 by interval' }, { since: () => 4 });
    });

    it('begins anew after a flush by size', () => {
      expectFlushes('a---b-c--------------|', { a: 'a1:60', b: 'a2:60', c: 'a3' }, '----x-----------y----|', {
        x: 'a1 a2 by size',
        y: 'a3 by interval',
      });
    });

    it('emits keys that are due together in the order in which they began', () => {
      expectFlushes('(ab)-----------|', { a: 'b1', b: 'a1' }, '----------(xy)-|', { x: 'b1 by interval', y: 'a1 by interval' });
    });

    it('has one timer for all keys, and none while nothing is pending', () => {
      const timers = { set: 0, cancelled: 0 };
      const clock: Clock = {
        ...systemClock,
        after: () => {
          timers.set++;
          return () => timers.cancelled++;
        },
      };
      const { send, source } = run({}, createContext({ clock }));
      send('a1', 'b1', 'c1');
      expect(timers).toEqual({ set: 1, cancelled: 0 });
      source.next(drainMarker(ALL_DISPATCHERS));
      expect(timers).toEqual({ set: 1, cancelled: 1 });
      send('a2');
      expect(timers).toEqual({ set: 2, cancelled: 1 });
    });

    it('waits for one interval at most when the wall clock is set back', () => {
      let nowMs = 1_000_000;
      const delays: number[] = [];
      let fire = () => {};
      const after = (delayMs: number, fn: () => void) => {
        delays.push(delayMs);
        fire = fn;
        return () => {};
      };
      const { send, log } = run({}, createContext({ clock: { ...systemClock, now: () => nowMs, after } }));
      send('a1');
      nowMs = 1_000_005;
      send('b1');
      nowMs = 0;
      fire();
      expect(log).toEqual(['a1 by interval']);
      fire();
      expect(log).toEqual(['a1 by interval', 'b1 by interval']);
      expect(Math.max(...delays)).toBe(10);
    });
  });

  describe('barrier', () => {
    it('lets go of what the marker’s dispatcher has, all its keys, then passes the marker', () => {
      expectFlushes('(abcD)-|', { a: 'a/x1', b: 'b1', c: 'a/y1' }, '(xyD)--(z|)', {
        x: 'a/x1 by barrier',
        y: 'a/y1 by barrier',
        z: 'b1 by close',
      });
    });

    it('lets go of everything for a marker of all', () => {
      expectFlushes('(abM)-|', { a: 'a1', b: 'b1' }, '(xyM)-|', { x: 'a1 by barrier', y: 'b1 by barrier' });
    });

    it('passes a marker that finds nothing', () => {
      expectFlushes('D-|', {}, 'D-|', {});
    });

    it('finds a dispatcher that shares its key with another', () => {
      const { source, log } = run();
      source.next({ ...item('b1'), key: 'shared' });
      source.next({ ...item('a1'), key: 'shared' });
      source.next(drainMarker(dispatcherNamed('a')));
      expect(log).toEqual(['b1 a1 by barrier', 'marker']);
    });
  });

  describe('quota', () => {
    it('lets go of everything when the gauge has risen above it, once for each rise', () => {
      const { send, log, context } = run({ quota: 50 });
      context.gauge.add(40);
      send('a1', 'b1');
      context.gauge.add(20);
      send('a2');
      expect(log).toEqual(['a1 a2 by quota', 'b1 by quota']);
      send('a3');
      expect(log.length).toBe(2);
      context.gauge.release(20);
      context.gauge.add(20);
      send('b2');
      expect(log.slice(2)).toEqual(['a3 by quota', 'b2 by quota']);
    });

    it('lets go in the other shards too, because theirs count as much', () => {
      const first = run({ quota: 50 });
      const second = run({ quota: 50 }, first.context);
      first.send('a1');
      first.context.gauge.add(60);
      second.send('b1');
      expect([first.log, second.log]).toEqual([['a1 by quota'], ['b1 by quota']]);
    });

    it('lets an item larger than the quota go at once, with what its key had before', () => {
      const { send, log } = run({ quota: 50 });
      send('b1', 'a1', 'a2:51');
      expect(log).toEqual(['a1 a2 by oversized']);
    });

    it('lets an item go at once that its owner calls oversized, whatever its bytes, and no other', () => {
      const { send, log } = run({ quota: 50, isOversized: ({ name }) => name === 'a2' });
      send('b1', 'a1:60', 'a2:1');
      expect(log).toEqual(['a1 a2 by oversized']);
    });

    it('lets go of everything when the gauge is pressed, whatever it says', () => {
      const { send, log, context } = run();
      send('a1', 'b1');
      context.gauge.press();
      expect(log).toEqual(['a1 by quota', 'b1 by quota']);
    });
  });

  describe('close', () => {
    it('loses nothing when the source ends', () => {
      expectFlushes('(ab)|', { a: 'a1', b: 'b1' }, '----(xy|)', { x: 'a1 by close', y: 'b1 by close' });
    });

    it('loses nothing when the source fails (RxJS’s own buffers drop the partial one)', () => {
      expectFlushes('(ab)#', { a: 'a1', b: 'b1' }, '----(xy#)', { x: 'a1 by close', y: 'b1 by close' });
    });

    it('drops what is pending when it is unsubscribed, and its timer', () => {
      eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
        const source = cold('a-------------', { a: item('a1') });
        const unsub = '      -----!';
        const subs = '       ^----!';
        const expected = '   ------';
        expectObservable(source.pipe(flushBy(options()).withContext(context)), unsub).toBe(expected);
        expectSubscriptions(source.subscriptions).toBe(subs);
      });
    });
  });

  describe('when an emission makes something arrive at once', () => {
    it('puts an item of the same key into the next batch', () => {
      const source = new Subject<Item>();
      const log: string[] = [];
      source.pipe(flushBy(options({ count: 1 }))).subscribe((flush) => {
        log.push(showFlush(flush));
        if (log.length === 1) source.next(item('a2'));
      });
      source.next(item('a1'));
      expect(log).toEqual(['a1 by size', 'a2 by size']);
    });

    it('emits each batch once when a barrier meets a barrier', () => {
      const source = new Subject<Item | DrainMarker>();
      const log: string[] = [];
      source.pipe(flushBy(options())).subscribe((flush) => {
        log.push(showFlush(flush));
        if (log.length === 1) source.next(drainMarker(ALL_DISPATCHERS));
      });
      source.next(item('a1'));
      source.next(item('b1'));
      source.next(drainMarker(ALL_DISPATCHERS));
      expect(log).toEqual(['a1 by barrier', 'b1 by barrier', 'marker', 'marker']);
    });

    it('emits each batch once when the source ends meanwhile', () => {
      const source = new Subject<Item | DrainMarker>();
      const log: string[] = [];
      source.pipe(flushBy(options())).subscribe({
        next: (flush) => {
          log.push(showFlush(flush));
          source.complete();
        },
        complete: () => log.push('end'),
      });
      source.next(item('a1'));
      source.next(item('b1'));
      source.next(drainMarker(ALL_DISPATCHERS));
      expect(log).toEqual(['a1 by barrier', 'b1 by close', 'end']);
    });
  });

  it('says the bytes of a batch', () => {
    const source = new Subject<Item>();
    const bytes: number[] = [];
    source.pipe(flushBy(options())).subscribe((flush) => bytes.push((flush as Flush<Item>).bytes));
    for (const text of ['a1:60', 'a2:70']) source.next(item(text));
    expect(bytes).toEqual([130]);
  });

  it.each([
    ['intervalMs', { intervalMs: 0 }],
    ['bytes', { bytes: 0 }],
    ['count', { count: 1.5 }],
    ['quota', { quota: -1 }],
  ])('refuses %s out of bounds at once', (option, changes) => {
    expect(() => flushBy(options(changes))).toThrow(new RegExp(`MR_INVALID_OPTION: option ${option} `));
  });

  operatorLaws({ make: () => flushBy(options({ count: 1 })), items: () => ['a1', 'b1'].map(item), show: showFlush });
});
