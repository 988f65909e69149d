import { describe, expect, it } from '@jest/globals';
import { requireNumber } from '../../../lib/flow/index.ts';

describe('requireNumber', () => {
  it.each([
    [1, 1, 10, false],
    [10, 1, 10, false],
    [1.5, 1, 10, true],
    [Number.POSITIVE_INFINITY, 0, Number.POSITIVE_INFINITY, false],
  ])('passes %s of %s … %s', (value, min, max, fraction) => {
    expect(requireNumber('size', value, min, max, fraction)).toBe(value);
  });

  it.each([
    [0, 1, 10, false, 'a whole number from 1 to 10'],
    [11, 1, 10, false, 'a whole number from 1 to 10'],
    [1.5, 1, 10, false, 'a whole number from 1 to 10'],
    [0.5, 1, 10, true, 'a number from 1 to 10'],
    [Number.NaN, 1, 10, true, 'a number from 1 to 10'],
    [Number.POSITIVE_INFINITY, 1, undefined, false, 'a whole number of at least 1'],
    ['5' as unknown as number, 1, 10, false, 'a whole number from 1 to 10'],
  ])('refuses %s of %s … %s, saying the bound', (value, min, max, fraction, bound) => {
    expect(() => requireNumber('size', value, min, max, fraction)).toThrow(`option size is ${value}; it must be ${bound}`);
  });
});
