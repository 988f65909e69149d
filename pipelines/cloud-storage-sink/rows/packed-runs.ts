import type { ByteWriter, Position, RowBlock } from '../../../lib/events/index.ts';
import { U64_ROOM, writeDecimal, writeU64 } from '../../../lib/formats/digits.ts';
import type { SidecarRuns } from '../../storage-writer/sidecar.ts';

const RUN_WORDS = 4;
/** `["<commitTs>",<first>,<last>],` at its longest. */
const RUN_TEXT_ROOM = U64_ROOM + 2 * 10 + 7;

/**
 * The position runs of a block (`PositionRun`, spec of the sidecar in `lib/formats/storage-layout`) in 16 bytes each: where transactions are of one row there
 * is a run for each row, and rows wait in memory by the hundred thousand.
 */
export class PackedRuns implements SidecarRuns {
  /** Of each run the halves of commitTs, the first and the last ordinal: one array, which stands in the heap without a buffer behind it where it is small. */
  readonly #words: Uint32Array;

  constructor(block: RowBlock) {
    const { ordinals, transactions } = block;
    let count = 0;
    forEachRun(block, () => count++);
    const words = new Uint32Array(count * RUN_WORDS);
    let at = 0;
    forEachRun(block, (transaction, from, to) => {
      LONG[0] = transactions[transaction]!.commitTs;
      words[at++] = HALVES[0]!;
      words[at++] = HALVES[1]!;
      words[at++] = ordinals[from]!;
      words[at++] = ordinals[to - 1]!;
    });
    this.#words = words;
  }

  /** What it takes in memory. */
  get bytes(): number {
    return this.#words.byteLength;
  }

  get first(): Position {
    return { commitTs: this.#commitTsAt(0), ordinal: this.#words[2]! };
  }

  writeJson(writer: ByteWriter): void {
    const words = this.#words;
    for (let word = 0; word < words.length; word += RUN_WORDS) {
      const out = writer.ensure(RUN_TEXT_ROOM);
      let at = writer.length;
      if (word > 0) out[at++] = 0x2c;
      out[at++] = 0x5b;
      out[at++] = 0x22;
      at = writeU64(this.#commitTsAt(word), out, at);
      out[at++] = 0x22;
      out[at++] = 0x2c;
      at = writeDecimal(words[word + 2]!, out, at);
      out[at++] = 0x2c;
      at = writeDecimal(words[word + 3]!, out, at);
      out[at++] = 0x5d;
      writer.length = at;
    }
  }

  #commitTsAt(word: number): bigint {
    HALVES[0] = this.#words[word]!;
    HALVES[1] = this.#words[word + 1]!;
    return LONG[0]!;
  }
}

/** One u64 and its halves: a way from the one to the others. */
const LONG = new BigUint64Array(1);
const HALVES = new Uint32Array(LONG.buffer);

/** Calls `fn` with the transaction and the rows of each run: ordinals of one transaction that ascend by one. A repeated ordinal begins a new run. */
function forEachRun({ ordinals, transactions, rowCount }: RowBlock, fn: (transaction: number, from: number, to: number) => void): void {
  for (let t = 0; t < transactions.length; t++) {
    let from = transactions[t]!.firstRow;
    const end = t + 1 < transactions.length ? transactions[t + 1]!.firstRow : rowCount;
    for (let row = from + 1; row <= end; row++) {
      if (row < end && ordinals[row] === ordinals[row - 1]! + 1) continue;
      fn(t, from, row);
      from = row;
    }
  }
}
