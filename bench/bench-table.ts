import {
  ByteWriter,
  defineTable,
  dispatcherOfTable,
  OP_INSERT,
  OP_UPDATE,
  RowBlock,
  RowBlockBuilder,
  type Table,
  writeTuple,
} from '../lib/events/index.ts';

/** The table that every bench writes, as the source would have it. Others of its form: another number, another name. */
export function benchTable(number = 0): Table {
  const name = number === 0 ? 'bench' : `bench_${number}`;
  return defineTable({
    dispatcher: dispatcherOfTable('bench', BENCH_TABLE_ID + number),
    sourceSchema: 'public',
    sourceName: name,
    schema: 'public',
    name,
    tableId: BENCH_TABLE_ID + number,
    version: 1n,
    replicaIdentity: 'default',
    columns: [
      ['id', 'int8', -1],
      ['customer', 'text', -1],
      ['amount', 'numeric', ((12 << 16) | 2) + 4],
      ['status', 'varchar', 20],
      ['created', 'timestamptz', -1],
      ['note', 'text', -1],
    ].map(([column, type, typeModifier], index) => ({
      name: column as string,
      wireIndex: index,
      columnId: index + 1,
      type: type as string,
      typeModifier: typeModifier as number,
      nullable: index > 0,
      isPrimaryKey: index === 0,
      isIdentity: index === 0,
      defaultText: null,
    })),
  });
}

export const BENCH_TABLE_ID = 16384;

/** A row as pgoutput sends it, the tuple alone. */
export function writeBenchTuple(writer: ByteWriter, row: number): void {
  writeTuple(writer, [
    String(row),
    `customer ${row % 1000}`,
    (row % 100_000) / 100 === 0 ? '0.00' : ((row % 100_000) / 100).toFixed(2),
    row % 3 === 0 ? 'paid' : 'shipped',
    `2026-03-${String((row % 28) + 1).padStart(2, '0')} 12:34:56.${String(row % 1_000_000).padStart(6, '0')}+00`,
    row % 10 === 0 ? null : `a note of ordinary length for row ${row}, with "quotes"`,
  ]);
}

/** Blocks of rows of a table, half inserts, half updates, in transactions of 100 rows: bytes that are built once, and pushed again and again. */
export class BenchBlocks {
  readonly #blocks: readonly RowBlock[];
  #next = 0;
  #transactions = 0n;

  constructor(table: Table, rowsPerBlock: number, blocks = 16) {
    this.#blocks = Array.from({ length: blocks }, (_, number) => makeBlock(table, number * rowsPerBlock, rowsPerBlock));
  }

  /** The next block, behind those before it: what repeats is its bytes, not its positions. */
  next(): RowBlock {
    const { table, bytes, ops, offsets, ordinals, transactions } = this.#blocks[this.#next]!;
    this.#next = (this.#next + 1) % this.#blocks.length;
    const moved = transactions.map(({ firstRow }) => {
      const number = ++this.#transactions;
      return { commitTs: FIRST_COMMIT_TS + number, commitTimeUs: COMMIT_TIME_US + number * 1000n, firstRow };
    });
    return new RowBlock({ table, bytes, ops, offsets, ordinals, transactions: moved });
  }
}

export const COMMIT_TIME_US = 1_700_000_000_000_000n;
export const ROWS_PER_TRANSACTION = 100;
const FIRST_COMMIT_TS = 0x1_6b37_4d48n;

function makeBlock(table: Table, firstRow: number, rows: number): RowBlock {
  const writer = new ByteWriter(rows * 160);
  const builder = new RowBlockBuilder(rows);
  for (let i = 0; i < rows; i++) {
    if (i % ROWS_PER_TRANSACTION === 0) builder.beginTransaction(BigInt(firstRow + i), 0n);
    const offset = writer.length;
    writer.writeByte(0x4e);
    writeBenchTuple(writer, firstRow + i);
    builder.append(i % 2 === 0 ? OP_INSERT : OP_UPDATE, offset, i % ROWS_PER_TRANSACTION);
  }
  return builder.build(table, writer.take());
}
