import { describe, expect, it } from '@jest/globals';
import { ByteWriter, dmlEvent, type RowBlock } from '../../../../lib/events/index.ts';
import { canalJson } from '../../../../lib/formats/canal-json.ts';
import { csv } from '../../../../lib/formats/csv.ts';
import type { RowEncoder } from '../../../../lib/formats/encoder.ts';
import { type EncodedRows, eventEncoder } from '../../../../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import { SEGMENT_BYTES, SegmentPool } from '../../../../pipelines/cloud-storage-sink/rows/segment-pool.ts';
import { blockOf, tableOf } from '../../../support/blocks.ts';

const TABLE = tableOf(['!id int8', 'note text']);
const WIDE = tableOf(['!id int8', ...Array.from({ length: 200 }, (_, i) => ({ name: `a column with a long name ${i}` }))]);
const FORMATS: [string, RowEncoder][] = [
  ['canal-json', canalJson({ now: () => 0 })],
  ['csv', csv({})],
];

const insertsOf = (sizes: readonly number[]) =>
  blockOf(
    TABLE,
    sizes.map((size, id) => ({ insert: [String(id), '\u0001'.repeat(size)] })),
  );

const BLOCKS: [string, RowBlock][] = [
  ['one row', insertsOf([3])],
  ['one row larger than a segment', insertsOf([SEGMENT_BYTES * 2])],
  ['large and small rows in turn', insertsOf(Array.from({ length: 60 }, (_, i) => (i % 7 === 0 ? SEGMENT_BYTES / 5 : i)))],
  ['many small rows', insertsOf(Array.from({ length: 5000 }, (_, i) => i % 40))],
  [
    'rows of many columns',
    blockOf(
      WIDE,
      Array.from({ length: 300 }, (_, id) => ({ insert: [String(id), ...Array(200).fill('x')] })),
    ),
  ],
];

describe.each(FORMATS)('eventEncoder, %s', (_, format) => {
  const bytesOf = ({ body }: EncodedRows) => Buffer.concat(body);
  const whole = (block: RowBlock) => {
    const writer = new ByteWriter();
    format.encode(block, writer);
    return writer.take();
  };

  it.each(BLOCKS)('gives the bytes of a block whole, in pieces: %s', (_name, block) => {
    const encode = eventEncoder(format, new SegmentPool(SEGMENT_BYTES));
    const rows = encode(dmlEvent(block)) as EncodedRows;
    expect(bytesOf(rows).equals(whole(block))).toBe(true);
    expect(rows.bytes).toBe(bytesOf(rows).length);
    const kept = rows.body.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
    expect(kept).toBeLessThanOrEqual(rows.bytes * 2);
  });

  it('leaves what is not released as it is, whatever it encodes after that', () => {
    const segments = new SegmentPool(100 * SEGMENT_BYTES);
    const encode = eventEncoder(format, segments);
    const held = BLOCKS.map(([, block]) => encode(dmlEvent(block)) as EncodedRows);
    for (let round = 0; round < 3; round++) {
      for (const [, block] of BLOCKS) segments.release((encode(dmlEvent(block)) as EncodedRows).body);
    }
    expect(held.map((rows, i) => bytesOf(rows).equals(whole(BLOCKS[i]![1])))).toEqual(BLOCKS.map(() => true));
  });
});
