import { describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import { type Evicted, type EvictIdleOptions, evictIdle, IdleKeys } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

interface Item {
  readonly name: string;
}

const item = (name: string): Item => ({ name });
const key = ({ name }: Item) => name[0]!;

/** `a1`, or `forget a after 10`. */
function show(value: Item | Evicted): string {
  return 'name' in value ? value.name : `forget ${value.key} after ${value.idleMs}`;
}

function expectEvictions(
  diagram: string,
  items: Record<string, string>,
  expected: string,
  shown: Record<string, string>,
  changes: Partial<EvictIdleOptions<Item>> = {},
) {
  eventMarbles(({ cold, context, expectObservable }) => {
    const source = cold<string>(diagram, items).pipe(map(item));
    expectObservable(source.pipe(evictIdle({ key, ttlMs: 10, ...changes }).withContext(context)), { show }).toBe(expected, {
      ...items,
      ...shown,
    });
  });
}

describe('evictIdle', () => {
  it('tells which keys have had no item for a while, before the item that comes then', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const source = cold<string>('ab---c--------d----|', { a: 'a1', b: 'b1', c: 'a2', d: 'c1' });
      //                                   a2: a begins anew; b has waited for 13 ms
      const expected = '           ab---c--------(xd)-|';
      const items = source.pipe(map(item));
      expectObservable(items.pipe(evictIdle({ key, ttlMs: 10 }).withContext(context)), { show }).toBe(expected, {
        a: 'a1',
        b: 'b1',
        c: 'a2',
        d: 'c1',
        x: 'forget b after 13',
      });
    });
  });

  it('evicts at exactly the ttl, and not a millisecond before', () => {
    expectEvictions('a---------b---|', { a: 'a1', b: 'b1' }, 'a---------(xb)|', { x: 'forget a after 10' });
    expectEvictions('a--------b-|', { a: 'a1', b: 'b1' }, 'a--------b-|', {});
  });

  it('begins a key anew that comes again behind its time: what was kept by it is gone', () => {
    expectEvictions('a 14ms b---|', { a: 'a1', b: 'a2' }, 'a 14ms (xb)|', { x: 'forget a after 15' });
  });

  it('gives several in the order in which they fell idle', () => {
    expectEvictions('abc 20ms d----|', { a: 'b1', b: 'a1', c: 'b2', d: 'c1' }, 'abc 20ms (xyd)|', {
      x: 'forget a after 22',
      y: 'forget b after 21',
    });
  });

  it('asks about a key that is busy a ttl later again, and tells how long it was idle in all', () => {
    let isBusy = true;
    eventMarbles(({ cold, context, expectObservable }) => {
      const source = cold<string>('a 11ms b 11ms c----|', { a: 'a1', b: 'b1', c: 'b2' }).pipe(map(item));
      context.clock.after(15, () => {
        isBusy = false;
      });
      const out = source.pipe(evictIdle({ key, ttlMs: 10, isBusy: (name) => name === 'a' && isBusy }).withContext(context));
      expectObservable(out, { show }).toBe('a 11ms b 11ms (xyc)|', {
        a: 'a1',
        b: 'b1',
        c: 'b2',
        x: 'forget a after 24',
        y: 'forget b after 12',
      });
    });
  });

  it('evicts nothing while nothing comes: there is no timer', () => {
    expectEvictions('a 100ms |', { a: 'a1' }, 'a 100ms |', {});
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses a ttl of %p ms at once', (ttlMs) => {
    expect(() => evictIdle({ key, ttlMs })).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION' }));
  });

  operatorLaws({ make: () => evictIdle({ key, ttlMs: 10 }), items: () => [item('a1'), item('b1')], show });
});

describe('IdleKeys', () => {
  it('is the same for state outside of a stream, and forgets what is taken off by hand', () => {
    const keys = new IdleKeys(10);
    keys.touch('a', 0);
    keys.touch('b', 1);
    keys.touch('c', 2);
    keys.forget('b');
    expect(keys.sweep(11)).toEqual([{ type: 'evicted', key: 'a', idleMs: 11 }]);
    expect(keys.size).toBe(1);
  });

  it('keeps to its order when the wall clock is set back', () => {
    const keys = new IdleKeys(10);
    keys.touch('a', 100);
    keys.touch('b', 50);
    expect(keys.sweep(109)).toEqual([]);
    expect(keys.sweep(110).map(({ key }) => key)).toEqual(['a', 'b']);
  });

  it('takes a step for each evicted key, not for each known one', () => {
    const keys = new IdleKeys(10);
    let asked = 0;
    const counting = new IdleKeys(10, () => {
      asked++;
      return false;
    });
    for (let i = 0; i < 10_000; i++) {
      counting.touch(String(i), i < 3 ? 0 : 5);
      keys.touch(String(i), 0);
    }
    expect(counting.sweep(10)).toHaveLength(3);
    expect(asked).toBe(3);
  });
});
