import { describe, expect, it } from '@jest/globals';
import { concatMap, delay, map, type Observable, of, Subject, tap } from 'rxjs';
import { ALL_DISPATCHERS, type DispatcherId, type DrainMarker, dispatcherId, drainMarker } from '../../lib/events/index.ts';
import { createContext, operator } from '../../lib/flow/index.ts';
import { flushBy, shardBy } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

interface Item {
  readonly dispatcher: DispatcherId;
  readonly name: string;
  readonly bytes: number;
}

/** Item `2x` is of dispatcher 2, so of shard 0 when there are two. */
const item = (name: string): Item => ({ dispatcher: dispatcherId(BigInt(name[0]!), 0n), name, bytes: 10 });
const key = ({ dispatcher }: { dispatcher: DispatcherId }) => dispatcher;
const labelled = (shard: number) => (source: Observable<Item>) => source.pipe(map(({ name }) => `${name} in ${shard}`));

/** spec storage-sink §1 */
describe('shardBy', () => {
  it('lets a slow shard hold up its own items only, which keep their order', () => {
    eventMarbles(({ cold, expectObservable }) => {
      const source = cold('(abc)-|', { a: '1a', b: '2a', c: '1b' });
      //                   shard 1 takes 7 ms an item
      const expected = '   b------a------(c|)';
      const slowOne = (shard: number) => (items: Observable<Item>) =>
        shard === 0 ? items.pipe(map(({ name }) => name)) : items.pipe(concatMap(({ name }) => of(name).pipe(delay(7))));
      expectObservable(source.pipe(map(item), shardBy({ shards: 2, key }, slowOne))).toBe(expected, { a: '1a', b: '2a', c: '1b' });
    });
  });

  it('sends a dispatcher to one shard, the same always', () => {
    const log: string[] = [];
    of(...['1a', '2a', '3a', '1b', '2b'].map(item))
      .pipe(shardBy({ shards: 2, key }, labelled))
      .subscribe((text) => log.push(text));
    expect(log).toEqual(['1a in 1', '2a in 0', '3a in 1', '1b in 1', '2b in 0']);
  });

  it('gives operators the context of the run', () => {
    const context = createContext();
    const seen: boolean[] = [];
    const chain = () => operator<Item, Item>('spy', {}, (bound) => tap(() => seen.push(bound === context)));
    of(item('1a'))
      .pipe(shardBy({ shards: 2, key }, chain).withContext(context))
      .subscribe();
    expect(seen).toEqual([true]);
  });

  it('shows describe the operator that it runs in each shard', () => {
    const { options, parts } = shardBy({ shards: 3, key }, () => operator<Item, Item>('spy', {}, () => (source) => source));
    expect([options, parts.map(({ operatorName }) => operatorName)]).toEqual([{ shards: 3 }, ['spy']]);
  });

  describe('a marker of all dispatchers', () => {
    const run = (shards: number) => {
      const source = new Subject<Item | DrainMarker>();
      const markers: DrainMarker[] = [];
      source.pipe(shardBy<Item | DrainMarker, Item | DrainMarker>({ shards, key }, () => (items) => items)).subscribe((out) => {
        if (!('name' in out)) markers.push(out);
      });
      const marker = drainMarker(ALL_DISPATCHERS);
      let flushed = 0;
      marker.ack.addPostFlush(() => flushed++);
      source.next(marker);
      return { markers, flushed: () => flushed };
    };

    it.each([1, 2, 5])('DDLDrainAcrossDispatchersBeforeWrite: goes to each of %s shards and is flushed when all are', (shards) => {
      const { markers, flushed } = run(shards);
      expect(markers.map(({ dispatcher }) => dispatcher)).toEqual(Array(shards).fill(ALL_DISPATCHERS));
      for (const marker of markers) {
        expect(flushed()).toBe(0);
        marker.ack.postFlush();
      }
      expect(flushed()).toBe(1);
    });

    it('counts a shard once, however often its marker is flushed', () => {
      const { markers, flushed } = run(2);
      markers[0]!.ack.postFlush();
      markers[0]!.ack.postFlush();
      expect(flushed()).toBe(0);
      markers[1]!.ack.postFlush();
      expect(flushed()).toBe(1);
    });
  });

  it('passes the marker of one dispatcher to its shard, as it is', () => {
    const marker = drainMarker(item('1a').dispatcher);
    const out: unknown[] = [];
    of(marker)
      .pipe(
        shardBy<DrainMarker, [number, DrainMarker]>({ shards: 2, key }, (shard) =>
          map((passed) => [shard, passed] as [number, DrainMarker]),
        ),
      )
      .subscribe((passed) => out.push(passed));
    expect(out).toEqual([[1, marker]]);
  });

  it('lets every shard let go of what it holds before it fails with its source', () => {
    const source = new Subject<Item>();
    const log: string[] = [];
    const gather = () => flushBy<Item>({ key: ({ name }) => name, intervalMs: 10, bytes: 100 });
    source.pipe(shardBy<Item, unknown>({ shards: 2, key }, gather)).subscribe({
      next: (flush) => log.push((flush as { key: string }).key),
      error: (error) => log.push(`${error}`),
    });
    for (const name of ['1a', '2a']) source.next(item(name));
    source.error('broken');
    expect(log.sort()).toEqual(['1a', '2a', 'broken']);
  });

  it('fails when one shard fails, and lets go of the source and the others', () => {
    const source = new Subject<Item>();
    const log: string[] = [];
    const breakable = (shard: number) => (items: Observable<Item>) =>
      items.pipe(
        map(({ name }) => {
          if (shard === 1) throw new Error(name);
          return name;
        }),
      );
    source
      .pipe(shardBy({ shards: 2, key }, breakable))
      .subscribe({ next: (name) => log.push(name), error: (error) => log.push(`${error}`) });
    for (const name of ['2a', '1a', '2b']) source.next(item(name));
    expect(log).toEqual(['2a', 'Error: 1a']);
    expect(source.observed).toBe(false);
  });

  it('keeps the order of a shard when what it emits makes another item arrive at once', () => {
    const source = new Subject<Item>();
    const log: string[] = [];
    source.pipe(shardBy({ shards: 1, key }, labelled)).subscribe((text) => {
      log.push(text);
      if (log.length === 1) source.next(item('1b'));
    });
    source.next(item('1a'));
    expect(log).toEqual(['1a in 0', '1b in 0']);
  });

  it.each([0, 1.5, 1025])('refuses %s shards at once', (shards) => {
    expect(() => shardBy({ shards, key }, labelled)).toThrow(/MR_INVALID_OPTION: option shards/);
  });

  operatorLaws({ make: () => shardBy({ shards: 2, key }, labelled), items: () => ['1a', '2a', '1b'].map(item), show: (text) => text });
});
