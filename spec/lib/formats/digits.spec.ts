import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { U64_ROOM, writeU64 } from '../../../lib/formats/digits.ts';

describe('writeU64', () => {
  it('writes every u64 digit by digit, beyond 2^53 too', () => {
    const target = Buffer.alloc(U64_ROOM);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (value) => {
        expect(target.toString('latin1', 0, writeU64(value, target, 0))).toBe(String(value));
      }),
      { examples: [[0n], [9n], [10n], [(1n << 53n) - 1n], [1n << 53n], [(1n << 64n) - 1n]] },
    );
  });
});
