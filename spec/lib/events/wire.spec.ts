import { describe, expect, it } from '@jest/globals';
import {
  ByteWriter,
  type ColumnValue,
  LENGTH_NULL,
  LENGTH_UNCHANGED,
  rowEnd,
  TupleIndex,
  tupleEnd,
  writeTuple,
} from '../../../lib/events/index.ts';
import { type Change, writeChange } from './rows.ts';

function tupleOf(values: readonly ColumnValue[]): Buffer {
  const writer = new ByteWriter(1);
  writeTuple(writer, values);
  return writer.take();
}

describe('TupleIndex', () => {
  it('says where each value is, and tells null from unchanged from empty', () => {
    const bytes = Buffer.concat([Buffer.from('xx'), tupleOf(['ab', null, undefined, '', 'é'])]);
    const tuple = new TupleIndex();
    expect(tuple.read(bytes, 2)).toBe(bytes.length);
    expect(Array.from(tuple.lengths.subarray(0, tuple.count))).toEqual([2, LENGTH_NULL, LENGTH_UNCHANGED, 0, 2]);
    expect(bytes.toString('utf8', tuple.starts[4], tuple.starts[4]! + 2)).toBe('é');
  });

  it('is used again for wider and narrower tuples', () => {
    const tuple = new TupleIndex();
    for (const width of [3, 40, 0, 1600, 1]) {
      const values = Array.from({ length: width }, (_, i) => `${i}`);
      const bytes = tupleOf(values);
      expect(tuple.read(bytes, 0)).toBe(bytes.length);
      expect(values.map((_, i) => bytes.toString('utf8', tuple.starts[i], tuple.starts[i]! + tuple.lengths[i]!))).toEqual(values);
      expect(tuple.count).toBe(width);
    }
  });
});

describe('the end of a row', () => {
  it.each<[string, Change]>([
    ['an insert', { row: ['1', null] }],
    ['an update with an old image', { old: ['1', 'x'.repeat(70_000)], row: ['1', undefined] }],
    ['an update by key', { key: ['1', null], row: ['2', ''] }],
    ['a delete', { key: ['1', null] }],
    ['a delete with a full image', { old: ['1', 'x'] }],
    ['a row without columns', { row: [] }],
  ])('is found behind all images of %s', (_, change) => {
    const writer = new ByteWriter(1);
    writer.writeText('N');
    const { op, offset } = writeChange(writer, change);
    const end = writer.length;
    writer.writeText('N\0\0');
    expect(rowEnd(writer.buffer, offset, op)).toBe(end);
  });

  it('of a tuple is behind its last value', () => {
    const bytes = tupleOf(['a', null, undefined, 'b']);
    expect(tupleEnd(bytes, 0)).toBe(bytes.length);
  });
});
