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

  it('keeps no more for later than it may, and little when none is in use but the one that is encoded to', () => {
    const pool = new SegmentPool(20 * SEGMENT_BYTES);
    const held = [pool.take(), pool.take()];
    const busy = Array.from({ length: 40 }, () => pool.take());
    pool.release(busy);
    const again = Array.from({ length: 40 }, () => pool.take());
    const keptWhileBusy = again.filter((segment) => busy.includes(segment)).length;
    pool.release([held[0]!, ...again]);
    const seen = [...held, ...busy, ...again];
    const keptWhenIdle = Array.from({ length: 40 }, () => pool.take()).filter((segment) => seen.includes(segment)).length;
    expect([keptWhileBusy, keptWhenIdle]).toEqual([20, (4 * 1024 * 1024) / SEGMENT_BYTES]);
  });
});
