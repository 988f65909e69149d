import { describe, expect, it } from '@jest/globals';
import { map, of, Subject } from 'rxjs';
import { type InputResolved, mergeResolved } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** `a5`: input a has come to 5. */
const resolved = (text: string): InputResolved => ({ input: text[0]!, commitTs: BigInt(text.slice(1)) });

describe('mergeResolved', () => {
  it.each([
    ['is as far as the slowest', 'p-q-r-s-|', { p: 'a5', q: 'b9', r: 'a7', s: 'a20' }, '--x-y-z-|', { x: 5n, y: 7n, z: 9n }],
    ['waits until every input has been heard', 'p-q-r-|', { p: 'a5', q: 'a6', r: 'b9' }, '----x-|', { x: 6n }],
    ['is silent while the slowest stands still', 'p-q-r-s-|', { p: 'a5', q: 'b9', r: 'b10', s: 'b20' }, '--x-----|', { x: 5n }],
    ['is silent while one of two slowest stands still', 'p-q-r-s-|', { p: 'a5', q: 'b5', r: 'a9', s: 'b8' }, '--x---y-|', { x: 5n, y: 8n }],
    ['never goes back with an input that does', 'p-q-r-s-|', { p: 'a5', q: 'b9', r: 'a3', s: 'a6' }, '--x---y-|', { x: 5n, y: 6n }],
    ['is its input where there is one', 'p-q-r-|', { p: 'a5', q: 'a5', r: 'a6' }, 'x---y-|', { x: 5n, y: 6n }, 1],
    ['starts at 0', 'p-|', { p: 'a0' }, 'x-|', { x: 0n }, 1],
  ] as const)('%s', (_, diagram, inputs, expected, values, count: number = 2) => {
    eventMarbles(({ cold, expectObservable }) => {
      const source = cold(diagram, inputs as Readonly<Record<string, string>>).pipe(map(resolved));
      expectObservable(source.pipe(mergeResolved({ inputs: count }))).toBe(expected, values);
    });
  });

  it('keeps inputs apart by number or name', () => {
    const out: bigint[] = [];
    of<InputResolved[]>({ input: 1, commitTs: 5n }, { input: '1', commitTs: 7n })
      .pipe(mergeResolved({ inputs: 2 }))
      .subscribe((commitTs) => out.push(commitTs));
    expect(out).toEqual([5n]);
  });

  it('fails when another input is heard than it was made for, because the minimum would have been a lie', () => {
    const errors: unknown[] = [];
    of(...['a5', 'b6', 'c7'].map(resolved))
      .pipe(mergeResolved({ inputs: 2 }))
      .subscribe({ error: (error) => errors.push(error) });
    expect(errors).toMatchObject([{ code: 'MR_INVALID_OPTION', details: { option: 'inputs', value: 2 } }]);
  });

  it('goes on from where it is when what it emits makes an input move at once', () => {
    const source = new Subject<InputResolved>();
    const out: bigint[] = [];
    source.pipe(mergeResolved({ inputs: 1 })).subscribe((commitTs) => {
      out.push(commitTs);
      if (commitTs < 3n) source.next({ input: 'a', commitTs: commitTs + 1n });
    });
    source.next(resolved('a1'));
    expect(out).toEqual([1n, 2n, 3n]);
  });

  it.each([0, 1.5, -1])('refuses %s inputs at once', (inputs) => {
    expect(() => mergeResolved({ inputs })).toThrow(/MR_INVALID_OPTION: option inputs/);
  });

  operatorLaws({ make: () => mergeResolved({ inputs: 1 }), items: () => ['a5', 'a6'].map(resolved), show: (commitTs) => commitTs });
});
