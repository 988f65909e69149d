import { describe, expect, it } from '@jest/globals';
import { Ring } from '../../../lib/flow/index.ts';

describe('Ring', () => {
  it('gives back what went in, oldest first, while it grows and goes round', () => {
    const ring = new Ring<number>();
    const out: (number | undefined)[] = [];
    let next = 0;
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < round; i++) ring.push(next++);
      for (let i = 0; i < round - 2; i++) out.push(ring.shift());
    }
    while (ring.length > 0) out.push(ring.shift());
    expect(out).toEqual(Array.from({ length: next }, (_, index) => index));
  });

  it('shows the oldest without taking it', () => {
    const ring = new Ring<string>();
    expect(ring.peek()).toBeUndefined();
    ring.push('a');
    ring.push('b');
    expect([ring.peek(), ring.length]).toEqual(['a', 2]);
  });

  it('is empty when it was emptied', () => {
    const ring = new Ring<string>();
    for (let i = 0; i < 20; i++) ring.push(`${i}`);
    ring.clear();
    expect([ring.length, ring.shift(), ring.peek()]).toEqual([0, undefined, undefined]);
    ring.push('a');
    expect(ring.shift()).toBe('a');
  });
});
