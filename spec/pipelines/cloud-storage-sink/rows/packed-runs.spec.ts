import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RowBlockBuilder } from '../../../../lib/events/index.ts';
import { type PositionRun, parsePositions, rowsOfRuns, runsOf } from '../../../../lib/formats/storage-layout/index.ts';
import { PackedRuns } from '../../../../pipelines/cloud-storage-sink/rows/packed-runs.ts';
import { sidecarOf } from '../../../../pipelines/storage-writer/sidecar.ts';
import { table } from '../../../support/sink-world.ts';

const users = table('users', 1n, ['id'], ['id']);

/** A block of transactions, each a commitTs and the ordinals of its rows. */
function blockOf(transactions: readonly (readonly [commitTs: bigint, ordinals: readonly number[]])[]) {
  const builder = new RowBlockBuilder();
  for (const [commitTs, ordinals] of transactions) {
    builder.beginTransaction(commitTs, 0n);
    for (const ordinal of ordinals) builder.append(0x49, 0, ordinal);
  }
  return builder.build(users, Buffer.alloc(0));
}

function written(blocks: ReturnType<typeof blockOf>[]): readonly PositionRun[] {
  const rows = blocks.reduce((sum, block) => sum + block.rowCount, 0);
  const sidecar = sidecarOf(
    { rows, bytes: 1, crc32: 2 },
    blocks.map((block) => new PackedRuns(block)),
  );
  return parsePositions(sidecar.toString(), 'x.positions').runs;
}

describe('PackedRuns', () => {
  it.each<[what: string, transactions: [bigint, number[]][], runs: [bigint, number, number][]]>([
    ['one transaction', [[5n, [0, 1, 2]]], [[5n, 0, 2]]],
    [
      'a gap, where rows were filtered',
      [[5n, [0, 2, 3]]],
      [
        [5n, 0, 0],
        [5n, 2, 3],
      ],
    ],
    [
      'the two rows of a split key',
      [[5n, [0, 1, 1, 2]]],
      [
        [5n, 0, 1],
        [5n, 1, 2],
      ],
    ],
    [
      'several transactions',
      [
        [5n, [7]],
        [6n, [8, 9]],
      ],
      [
        [5n, 7, 7],
        [6n, 8, 9],
      ],
    ],
    [
      'the bounds of u64 and u32',
      [[18_446_744_073_709_551_615n, [4_294_967_295]]],
      [[18_446_744_073_709_551_615n, 4_294_967_295, 4_294_967_295]],
    ],
  ])('writes what a sidecar says of %s', (_, transactions, runs) => {
    expect(written([blockOf(transactions)])).toEqual(runs.map(([commitTs, first, last]) => ({ commitTs, first, last })));
  });

  it('stands for the same rows as the runs of the blocks, whatever these are', () => {
    const transaction = fc.tuple(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(fc.array(transaction, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }), (lists) => {
        const blocks = lists.map(blockOf);
        const runs = written(blocks);
        expect(runs).toEqual(blocks.flatMap(runsOf));
        expect(rowsOfRuns(runs)).toBe(blocks.reduce((sum, block) => sum + block.rowCount, 0));
      }),
      { numRuns: 100 },
    );
  });

  it('knows its first position, for errors', () => {
    expect(
      new PackedRuns(
        blockOf([
          [5n, [3]],
          [6n, [0]],
        ]),
      ).first,
    ).toEqual({ commitTs: 5n, ordinal: 3 });
  });
});
