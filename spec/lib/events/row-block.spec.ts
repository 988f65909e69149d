import { describe, expect, it } from '@jest/globals';
import { formatPosition, MAX_ORDINAL, OP_INSERT, type RowBlock, RowBlockBuilder, RowCursor, rowsOf } from '../../../lib/events/index.ts';
import { blockOf, textTable } from './rows.ts';

const table = textTable(['id', 'name']);

/** Seven rows of three transactions: 10 (ordinals 0, 2, 3), 20 (5), 30 (0, 1, 2). */
const block = blockOf(
  table,
  [
    [10n, 0],
    [10n, 2],
    [10n, 3],
    [20n, 5],
    [30n, 0],
    [30n, 1],
    [30n, 2],
  ].map(([commitTs, ordinal], i) => ({ row: [`${i}`, `name ${i}`], commitTs: commitTs as bigint, ordinal: ordinal as number })),
);

/** Each row as `id@commitTs/ordinal`. */
function rows(of: RowBlock): string[] {
  const cursor = new RowCursor();
  return Array.from({ length: of.rowCount }, (_, i) => `${cursor.moveTo(of, i).get('id')}@${formatPosition(of.positionOf(i))}`);
}

const ALL = ['0@10/0', '1@10/2', '2@10/3', '3@20/5', '4@30/0', '5@30/1', '6@30/2'];

describe('RowBlock', () => {
  it('knows the position and the transaction of each row', () => {
    expect(rows(block)).toEqual(ALL);
    expect([block.first, block.last]).toEqual([
      { commitTs: 10n, ordinal: 0 },
      { commitTs: 30n, ordinal: 2 },
    ]);
    expect(block.transactionOf(3)).toEqual({ commitTs: 20n, commitTimeUs: 200n, firstRow: 3 });
  });

  it('is sliced at any two places: rows, positions and transactions follow, the bytes are shared', () => {
    for (let from = 0; from < 7; from++) {
      for (let to = from + 1; to <= 7; to++) {
        const slice = block.slice(from, to);
        expect(rows(slice)).toEqual(ALL.slice(from, to));
        expect(slice.bytes).toBe(block.bytes);
        expect(slice.transactions[0]?.firstRow).toBe(0);
        expect(slice.transactions.map(({ commitTs }) => commitTs)).toEqual([
          ...new Set(ALL.slice(from, to).map((row) => BigInt(/@(\d+)/.exec(row)![1]!))),
        ]);
      }
    }
  });

  it.each([
    ['a slice of nothing', () => block.slice(3, 3)],
    ['a selection of nothing', () => block.select([])],
    ['a builder that got nothing', () => new RowBlockBuilder().build(table, Buffer.alloc(0))],
  ])('is never empty, because it has a first position: %s is refused where it is made', (_, make) => {
    expect(make).toThrow('MR_EMPTY_BLOCK: a block of table public.users');
  });

  it('is itself when all of it is sliced', () => {
    expect(block.slice(0, 7)).toBe(block);
  });

  it('may be sliced from a slice', () => {
    expect(rows(block.slice(1, 6).slice(1, 4))).toEqual(ALL.slice(2, 5));
  });

  it.each([[[0]], [[6]], [[3]], [[0, 6]], [[1, 2, 3, 4]], [[0, 2, 3, 5, 6]], [[0, 1, 2, 3, 4, 5, 6]]])(
    'selects rows %j with their positions',
    (chosen) => {
      const selected = block.select(chosen);
      expect(rows(selected)).toEqual(chosen.map((i) => ALL[i]));
      expect(selected.bytes).toBe(block.bytes);
      expect(selected.transactions[0]?.firstRow).toBe(0);
      expect(selected.transactions[0]?.commitTimeUs).toBe(selected.transactions[0]!.commitTs * 10n);
    },
  );

  it('counts the whole of what it pins, however little it uses', () => {
    expect(block.slice(0, 1).retainedBytes).toBe(block.bytes.length);
    expect(block.slice(0, 1).withPatches(Buffer.alloc(10), new Int32Array([0])).retainedBytes).toBe(block.bytes.length + 10);
  });

  it('copies its rows when they are less than half of what it pins, and else stays as it is', () => {
    const small = block.slice(2, 5);
    const compact = small.compact();
    expect(rows(compact)).toEqual(rows(small));
    expect(compact.bytes.length).toBeLessThan(block.bytes.length / 2);
    expect(compact.retainedBytes).toBe(compact.bytes.length);
    expect(compact.bytes.buffer.byteLength).toBe(compact.bytes.length);
    expect(compact.compact()).toBe(compact);
    expect([compact.ops, compact.ordinals, compact.offsets].map(({ buffer }) => buffer.byteLength)).toEqual([3, 12, 12]);
    const large = block.slice(1, 6);
    expect(large.compact()).toBe(large);
    expect(block.compact()).toBe(block);
  });

  it('takes rows from the patches where a stage rewrote them, in every way of cutting it', () => {
    const patched = blockOf(table, [{ row: ['nine', 'x'] }]);
    const offsets = block.offsets.slice();
    offsets[4] = ~0;
    const mixed = block.withPatches(patched.bytes, offsets);
    const expected = ALL.with(4, 'nine@30/0');
    expect(rows(mixed)).toEqual(expected);
    expect(rows(mixed.slice(3, 6))).toEqual(expected.slice(3, 6));
    expect(rows(mixed.select([0, 4]))).toEqual([expected[0], expected[4]]);
    const compact = mixed.slice(4, 5).compact();
    expect(rows(compact)).toEqual([expected[4]]);
    expect(compact.patches).toBeNull();
  });

  it('shows its rows through another version of the table: columns point into the same tuples', () => {
    const renamed = textTable(['ignored', 'label'], ['ignored']);
    const projected = { ...renamed, columns: renamed.columns.slice(1) };
    const [row] = rowsOf(block.withTable(projected));
    expect(row?.toObject()).toEqual({ label: 'name 0' });
  });
});

describe('RowBlockBuilder', () => {
  it('begins again from empty after a build, in the same transaction until another begins', () => {
    const builder = new RowBlockBuilder(1);
    const bytes = block.bytes;
    builder.beginTransaction(1n, 10n);
    builder.append(OP_INSERT, block.offsets[0]!, 0);
    const first = builder.build(table, bytes);
    expect(builder.rowCount).toBe(0);
    builder.append(OP_INSERT, block.offsets[1]!, 1);
    builder.beginTransaction(2n, 20n);
    builder.append(OP_INSERT, block.offsets[2]!, 0);
    const second = builder.build(table, bytes);
    expect(rows(first)).toEqual(['0@1/0']);
    expect(rows(second)).toEqual(['1@1/1', '2@2/0']);
    expect(second.transactions).toEqual([
      { commitTs: 1n, commitTimeUs: 10n, firstRow: 0 },
      { commitTs: 2n, commitTimeUs: 20n, firstRow: 1 },
    ]);
  });

  it('keeps no transaction of which it got no row', () => {
    const builder = new RowBlockBuilder();
    builder.beginTransaction(1n, 10n);
    builder.beginTransaction(2n, 20n);
    builder.append(OP_INSERT, 0, 0);
    builder.beginTransaction(3n, 30n);
    expect(builder.build(table, block.bytes).transactions.map(({ commitTs }) => commitTs)).toEqual([2n]);
  });

  it('grows from any capacity and leaves earlier blocks alone', () => {
    const builder = new RowBlockBuilder(0);
    const built = [3, 100, 1000].map((count) => {
      for (let i = 0; i < count; i++) builder.append(OP_INSERT, i, i);
      return builder.build(table, block.bytes);
    });
    expect(built.map(({ rowCount, last, offsets }) => [rowCount, last.ordinal, offsets.at(-1)])).toEqual([
      [3, 2, 2],
      [100, 99, 99],
      [1000, 999, 999],
    ]);
  });

  it('refuses an ordinal beyond 32 bits instead of wrapping it around', () => {
    const builder = new RowBlockBuilder();
    builder.append(OP_INSERT, 0, MAX_ORDINAL);
    expect(builder.build(table, block.bytes).last.ordinal).toBe(MAX_ORDINAL);
    expect(() => builder.append(OP_INSERT, 0, MAX_ORDINAL + 1)).toThrow('MR_COUNTER_OVERFLOW');
  });
});
