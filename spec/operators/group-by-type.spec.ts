import { describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import { ALL_DISPATCHERS, type DrainMarker, drainMarker } from '../../lib/events/index.ts';
import { type Flush, groupByType, type TypeGroup } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

interface Item {
  readonly name: string;
  readonly bytes: number;
}

/** `a1 b1 a2` is a batch of three items; the letter is the type, an item has 10 bytes. */
function batch(text: string): Flush<Item> {
  const events = text.split(' ').flatMap((name) => (name === '' ? [] : [{ name, bytes: 10 }]));
  return { key: 'all', events, bytes: 10 * events.length, reason: 'size' };
}

/** `a: a1 a2 (20 bytes)`, or `marker`. */
function showGroup(group: TypeGroup<Item> | DrainMarker): string {
  return 'events' in group ? `${group.type}: ${group.events.map(({ name }) => name).join(' ')} (${group.bytes} bytes)` : 'marker';
}

const type = ({ name }: Item) => name[0]!;
const M = drainMarker(ALL_DISPATCHERS);

function expectGroups(diagram: string, batches: Record<string, string>, expected: string, groups: Record<string, string>) {
  eventMarbles(({ cold, context, expectObservable }) => {
    const source = cold<string | DrainMarker>(diagram, { ...batches, M });
    const flushes = source.pipe(map((value) => (typeof value === 'string' ? batch(value) : value)));
    expectObservable(flushes.pipe(groupByType({ type }).withContext(context)), { show: showGroup }).toBe(expected, { M, ...groups });
  });
}

/** spec event-recorder C2 */
describe('groupByType', () => {
  it('splits each batch into one group for each type', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const source = cold<string>('-x------y-|', { x: 'a1 b1 a2', y: 'b2' });
      const expected = '           -(pq)---r-|';
      const batches = source.pipe(map(batch));
      expectObservable(batches.pipe(groupByType({ type }).withContext(context)), { show: showGroup }).toBe(expected, {
        p: 'a: a1 a2 (20 bytes)',
        q: 'b: b1 (10 bytes)',
        r: 'b: b2 (10 bytes)',
      });
    });
  });

  it('gives the groups in the order in which the types first occur, the same in every run (upstream: hash order)', () => {
    expectGroups('(x|)', { x: 'c1 a1 b1 a2 c2' }, '(pqr|)', {
      p: 'c: c1 c2 (20 bytes)',
      q: 'a: a1 a2 (20 bytes)',
      r: 'b: b1 (10 bytes)',
    });
  });

  it('keeps nothing between batches, so that a type waits for no other batch', () => {
    expectGroups('x---y---|', { x: 'a1', y: 'a2' }, 'p---q---|', { p: 'a: a1 (10 bytes)', q: 'a: a2 (10 bytes)' });
  });

  it('passes a drain marker behind the groups of the batches before it', () => {
    expectGroups('(xM)---y|', { x: 'a1 b1', y: 'a2' }, '(pqM)--r|', {
      p: 'a: a1 (10 bytes)',
      q: 'b: b1 (10 bytes)',
      r: 'a: a2 (10 bytes)',
    });
  });

  it('emits nothing for an empty batch', () => {
    expectGroups('x--|', { x: '' }, '---|', {});
  });

  it('takes any name for a type, also one that an object would have', () => {
    const out: string[] = [];
    const names = ['__proto__', 'constructor', '__proto__'];
    const events = names.map((name) => ({ name, bytes: 1 }));
    eventMarbles(({ cold, context }) => {
      cold<Flush<Item>>('x|', { x: { key: '', events, bytes: 3, reason: 'size' } })
        .pipe(groupByType<Item>({ type: ({ name }) => name }).withContext(context))
        .subscribe((group) => out.push(showGroup(group as TypeGroup<Item>)));
    });
    expect(out).toEqual(['__proto__: __proto__ __proto__ (2 bytes)', 'constructor: constructor (1 bytes)']);
  });

  operatorLaws({ make: () => groupByType<Item>({ type }), items: () => [batch('a1 b1')], show: showGroup });
});
