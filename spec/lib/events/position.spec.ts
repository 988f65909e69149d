import { describe, expect, it } from '@jest/globals';
import { comparePositions, formatPosition, MAX_ORDINAL } from '../../../lib/events/index.ts';

describe('comparePositions', () => {
  const ascending = [
    { commitTs: 0n, ordinal: 0 },
    { commitTs: 0n, ordinal: MAX_ORDINAL },
    { commitTs: 1n, ordinal: 0 },
    { commitTs: 1n, ordinal: 1 },
    { commitTs: 1n, ordinal: Number.POSITIVE_INFINITY },
    { commitTs: (1n << 53n) + 1n, ordinal: 5 },
    { commitTs: (1n << 53n) + 2n, ordinal: 4 },
    { commitTs: (1n << 64n) - 1n, ordinal: 0 },
  ];

  it('orders by commitTs, then by ordinal, exactly', () => {
    ascending.forEach((a, i) => {
      ascending.forEach((b, j) => {
        expect(Math.sign(comparePositions(a, b))).toBe(Math.sign(i - j));
      });
    });
  });

  it('finds two marks behind all ordinals of one commitTs equal, or position ≤ last would not drop the second', () => {
    const mark = { commitTs: 7n, ordinal: Number.POSITIVE_INFINITY };
    expect(comparePositions(mark, { ...mark })).toBe(0);
  });

  it('prints both', () => {
    expect(formatPosition({ commitTs: 1n << 60n, ordinal: 7 })).toBe('1152921504606846976/7');
  });
});
