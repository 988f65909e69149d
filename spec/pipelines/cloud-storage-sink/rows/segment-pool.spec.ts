import { describe, expect, it } from '@jest/globals';
import { SEGMENT_BYTES, SegmentPool } from '../../../../pipelines/cloud-storage-sink/rows/segment-pool.ts';

describe('SegmentPool', () => {
  it('gives a released segment again, because fresh memory costs more to touch than to write', () => {
    const pool = new SegmentPool(10 * SEGMENT_BYTES);
    const segment = pool.take();
    pool.release([segment.subarray(0, 100)]);
    expect(pool.take()).toBe(segment);
  });

  it('never has two owners of one segment, also when one is released twice', () => {
    const pool = new SegmentPool(10 * SEGMENT_BYTES);
    const segment = pool.take();
    pool.release([segment, segment]);
    pool.release([segment]);
    expect(pool.take()).not.toBe(pool.take());
  });

  it('leaves buffers alone that are not its own', () => {
    const pool = new SegmentPool(10 * SEGMENT_BYTES);
    const foreign = Buffer.alloc(SEGMENT_BYTES);
    pool.release([foreign, Buffer.alloc(0)]);
    expect(pool.take()).not.toBe(foreign);
  });

  it('keeps no more for later than it may', () => {
    const pool = new SegmentPool(20 * SEGMENT_BYTES);
    const held = [pool.take(), pool.take()];
    const busy = Array.from({ length: 40 }, () => pool.take());
    pool.release(busy);
    const again = Array.from({ length: 40 }, () => pool.take());
    expect(again.filter((segment) => busy.includes(segment))).toHaveLength(20);
    expect(held).toHaveLength(2);
  });

  it('keeps what a file needed for the next one, and lets it go when the next one did not need it', () => {
    const pool = new SegmentPool(20 * SEGMENT_BYTES);
    const encoding = pool.take();
    const known = new Set<Buffer>();
    const keptBehind = (count: number) => {
      const taken = Array.from({ length: count }, () => pool.take());
      const kept = taken.filter((segment) => known.has(segment)).length;
      for (const segment of taken) known.add(segment);
      pool.release(taken);
      return kept;
    };
    expect([10, 10, 2, 10].map(keptBehind)).toEqual([0, 10, 2, 3]);
    expect(known.has(encoding)).toBe(false);
  });
});
