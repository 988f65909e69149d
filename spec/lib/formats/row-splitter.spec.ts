import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RowSplitter } from '../../../lib/formats/row-splitter.ts';

describe('RowSplitter', () => {
  it('holds what was pushed and not yet done with, whatever the chunks', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 50 })), { maxLength: 30 }), (steps) => {
        const splitter = new RowSplitter();
        let left = Buffer.alloc(0);
        for (const [chunk, done] of steps) {
          splitter.push(chunk);
          left = Buffer.concat([left, chunk]);
          expect(splitter.bytes.subarray(splitter.from, splitter.to)).toEqual(left);
          const taken = Math.min(done, left.length);
          splitter.advance(splitter.from + taken);
          left = left.subarray(taken);
        }
      }),
    );
  });

  it('has what is left when a chunk’s memory is used again for the next', () => {
    const splitter = new RowSplitter();
    const chunk = Buffer.from('row 1|ro');
    splitter.push(chunk);
    splitter.advance(6);
    chunk.write('w 2|row ');
    splitter.push(chunk);
    expect(splitter.bytes.toString('utf8', splitter.from, splitter.to)).toBe('row 2|row ');
  });

  it('grows with the row under way, not with the stream', () => {
    const splitter = new RowSplitter();
    for (let i = 0; i < 10_000; i++) {
      splitter.push(Buffer.alloc(1000));
      splitter.advance(splitter.to - 10);
    }
    expect(splitter.bytes.length).toBeLessThan(5000);
  });
});
