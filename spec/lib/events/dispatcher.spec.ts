import { describe, expect, it } from '@jest/globals';
import { dispatcherHalves, dispatcherId, dispatcherOfTable, shardOf } from '../../../lib/events/index.ts';

const MAX = (1n << 64n) - 1n;

describe('dispatcherId', () => {
  it.each([
    [0n, 0n, '0'.repeat(32)],
    [1n, 0n, '00000000000000000000000000000001'],
    [0n, 1n, '00000000000000010000000000000000'],
    [MAX, MAX, 'f'.repeat(32)],
    [0x0123_4567_89ab_cdefn, 0xfedc_ba98_7654_3210n, 'fedcba98765432100123456789abcdef'],
  ])('writes %i, %i as hexadecimal, high half first, and reads it back', (low, high, text) => {
    expect(dispatcherId(low, high)).toBe(text);
    expect(dispatcherHalves(dispatcherId(low, high))).toEqual({ low, high });
  });

  it('takes its halves modulo 2^64', () => {
    expect(dispatcherId(-1n, 1n << 64n)).toBe(dispatcherId(MAX, 0n));
  });

  it('is stable over restarts and differs by pipeline and table', () => {
    expect(dispatcherOfTable('orders', 16_385)).toBe('00125d9250be8b4c0000000000004001');
    expect(new Set([dispatcherOfTable('a', 1), dispatcherOfTable('a', 2), dispatcherOfTable('b', 1)]).size).toBe(3);
  });
});

/** spec storage-sink §1 */
describe('shardOf', () => {
  it.each([
    ['low alone', 7n, 0n, 4, 3],
    ['high, doubled', 0n, 3n, 4, 2],
    ['both, by exclusive or', 5n, 3n, 4, 3],
    ['the highest bit of high, which is shifted out', 1n, 1n << 63n, 16, 1],
    ['all bits, in unsigned arithmetic', MAX, 0n, 10, 5],
    ['2^64 − 2, doubled high of all bits', 0n, MAX, 10, 4],
  ])('takes %s', (_, low, high, shards, shard) => {
    expect(shardOf(dispatcherId(low, high), shards)).toBe(shard);
  });

  it.each([1, 0, -3])('is 0 for %i shards', (shards) => {
    expect(shardOf(dispatcherId(7n, 9n), shards)).toBe(0);
  });
});
