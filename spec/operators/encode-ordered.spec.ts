import { describe, expect, it } from '@jest/globals';
import { from, Subject } from 'rxjs';
import type { Clock } from '../../lib/flow/index.ts';
import { encodeOrdered } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** Encodes items whose promises the test settles one by one; what is started, emitted and ended is written down. */
function run(concurrency: number) {
  const source = new Subject<string>();
  const log: string[] = [];
  const settlers = new Map<string, { resolve: () => void; reject: () => void }>();
  const encode = (item: string) => {
    log.push(`start ${item}`);
    return new Promise<string>((resolve, reject) => {
      settlers.set(item, { resolve: () => resolve(item), reject: () => reject(new Error(item)) });
    });
  };
  const subscription = source
    .pipe(encodeOrdered({ concurrency, encode }))
    .subscribe({ next: (item) => log.push(item), error: (error) => log.push(`${error}`), complete: () => log.push('end') });
  const send = (...items: string[]) => {
    for (const item of items) source.next(item);
  };
  const settle = async (how: 'resolve' | 'reject', ...items: string[]) => {
    for (const item of items) settlers.get(item)![how]();
    await new Promise(setImmediate);
  };
  return { source, send, settle, log, subscription };
}

/** spec storage-sink §1 */
describe('encodeOrdered', () => {
  it('emits each item when it is encoded and everything before it is out', () => {
    eventMarbles(({ cold, clock, expectObservable }) => {
      const source = cold('a-b-c-d------|', { a: 'a, 6 ms', b: 'b, 2 ms', c: 'c, 1 ms', d: 'd, at once' });
      const expected = '   ------(abcd)-|';
      const encode = (item: string) => {
        const ms = Number(/\d+/.exec(item)?.[0] ?? 0);
        return ms === 0 ? item : later(clock, ms, item);
      };
      expectObservable(source.pipe(encodeOrdered({ concurrency: 4, encode }))).toBe(expected, {
        a: 'a, 6 ms',
        b: 'b, 2 ms',
        c: 'c, 1 ms',
        d: 'd, at once',
      });
    });
  });

  it('emits in the order of the items, whichever is encoded first', async () => {
    const { send, settle, log } = run(3);
    send('a', 'b', 'c');
    await settle('resolve', 'c', 'b');
    expect(log).toEqual(['start a', 'start b', 'start c']);
    await settle('resolve', 'a');
    expect(log.slice(3)).toEqual(['a', 'b', 'c']);
  });

  it('starts no more than its concurrency, counting what waits for its turn, so that results are bounded too', async () => {
    const { send, settle, log } = run(2);
    send('a', 'b', 'c', 'd');
    await settle('resolve', 'b');
    expect(log).toEqual(['start a', 'start b']);
    await settle('resolve', 'a');
    expect(log).toEqual(['start a', 'start b', 'a', 'b', 'start c', 'start d']);
  });

  it('emits synchronous results in the same turn, without a promise', () => {
    const log: string[] = [];
    from(['a', 'b'])
      .pipe(encodeOrdered({ concurrency: 1, encode: (item: string) => item.toUpperCase() }))
      .subscribe((item) => log.push(item));
    expect(log).toEqual(['A', 'B']);
  });

  it('keeps a synchronous result behind a promise that came before it', async () => {
    const log: string[] = [];
    from(['slow', 'fast'])
      .pipe(encodeOrdered<string, string>({ concurrency: 2, encode: (item) => (item === 'slow' ? Promise.resolve(item) : item) }))
      .subscribe((item) => log.push(item));
    expect(log).toEqual([]);
    await new Promise(setImmediate);
    expect(log).toEqual(['slow', 'fast']);
  });

  it('passes undefined, null and objects as they are', () => {
    const items = [undefined, null, { name: 'a' }];
    const log: unknown[] = [];
    from(items)
      .pipe(encodeOrdered({ concurrency: 1, encode: (item: unknown) => item }))
      .subscribe((item) => log.push(item));
    expect(log).toEqual(items);
  });

  it('ends behind the last item', async () => {
    const { source, send, settle, log } = run(1);
    send('a', 'b');
    source.complete();
    await settle('resolve', 'a');
    expect(log).toEqual(['start a', 'a', 'start b']);
    await settle('resolve', 'b');
    expect(log.slice(3)).toEqual(['b', 'end']);
  });

  it('fails in the turn of the item that failed, when everything before it is out', async () => {
    const { send, settle, log } = run(3);
    send('a', 'b', 'c');
    await settle('reject', 'b');
    expect(log).toEqual(['start a', 'start b', 'start c']);
    await settle('resolve', 'a', 'c');
    expect(log.slice(3)).toEqual(['a', 'Error: b']);
  });

  it('fails with what the encoder throws', () => {
    const log: string[] = [];
    from(['a'])
      .pipe(
        encodeOrdered({
          concurrency: 1,
          encode: () => {
            throw new Error('broken');
          },
        }),
      )
      .subscribe({ error: (error) => log.push(`${error}`) });
    expect(log).toEqual(['Error: broken']);
  });

  it('starts nothing more once it is unsubscribed, and a late result is nobody’s', async () => {
    const { send, settle, log, subscription } = run(1);
    send('a', 'b');
    subscription.unsubscribe();
    await settle('resolve', 'a');
    expect(log).toEqual(['start a']);
  });

  it('keeps the order when what it emits makes another item arrive at once', () => {
    const source = new Subject<number>();
    const log: number[] = [];
    source.pipe(encodeOrdered({ concurrency: 4, encode: (item: number) => item })).subscribe((item) => {
      if (item < 3) source.next(item + 1);
      log.push(item);
    });
    source.next(1);
    expect(log).toEqual([1, 2, 3]);
  });

  it('drains a long backlog without a stack of its length, in order', async () => {
    const source = new Subject<number>();
    const out: number[] = [];
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    source
      .pipe(encodeOrdered<number, number>({ concurrency: 1, encode: (item) => (item === 0 ? gate.then(() => item) : item) }))
      .subscribe((item) => out.push(item));
    const backlog = Array.from({ length: 20_000 }, (_, index) => index);
    for (const item of backlog) source.next(item);
    expect(out).toEqual([]);
    open();
    await new Promise(setImmediate);
    expect(out).toEqual(backlog);
  });

  it.each([0, -1, 1.5, 1025, Number.NaN])('refuses a concurrency of %s at once', (concurrency) => {
    expect(() => encodeOrdered({ concurrency, encode: (item) => item })).toThrow(/MR_INVALID_OPTION: option concurrency/);
  });

  operatorLaws({
    make: () => encodeOrdered({ concurrency: 2, encode: (item: number) => item * 2 }),
    items: () => [1, 2, 3],
    show: (item) => item,
  });
});

/** A promise that is kept by the clock: frames carry none of the real ones. */
function later<T>(clock: Clock, ms: number, value: T): Promise<T> {
  // biome-ignore lint/suspicious/noThenProperty: it stands for a promise
  return { then: (onKept: (value: T) => void) => clock.after(ms, () => onKept(value)) } as unknown as Promise<T>;
}
