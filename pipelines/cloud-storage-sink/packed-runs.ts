import { ByteWriter, type Position, type RowBlock } from '../../lib/events/index.ts';
import { U64_ROOM, writeDecimal, writeU64 } from '../../lib/formats/digits.ts';

/** commitTs u64, first u32, last u32. */
const RUN_BYTES = 16;
/** `["<commitTs>",<first>,<last>],` at its longest. */
const RUN_TEXT_ROOM = U64_ROOM + 2 * 10 + 7;

/**
 * The position runs of a block (`PositionRun`, spec of the sidecar in `lib/formats/storage-layout`) in 16 bytes each: where transactions are of one row there
 * is a run for each row, and rows wait in memory by the hundred thousand.
 */
export class PackedRuns {
  readonly #commitTs: BigUint64Array;
  readonly #ordinals: Uint32Array;
  readonly #count: number;

  constructor(block: RowBlock) {
    const { ordinals, transactions } = block;
    let count = 0;
    forEachRun(block, () => count++);
    const packed = new ArrayBuffer(count * RUN_BYTES);
    const commitTs = new BigUint64Array(packed);
    const bounds = new Uint32Array(packed);
    let run = 0;
    forEachRun(block, (transaction, from, to) => {
      commitTs[run * 2] = transactions[transaction]!.commitTs;
      bounds[run * 4 + 2] = ordinals[from]!;
      bounds[run * 4 + 3] = ordinals[to - 1]!;
      run++;
    });
    this.#commitTs = commitTs;
    this.#ordinals = bounds;
    this.#count = count;
  }

  get first(): Position {
    return { commitTs: this.#commitTs[0]!, ordinal: this.#ordinals[2]! };
  }

  /** The runs as members of the sidecar's `runs`, without a comma at the end. */
  toJson(): Buffer {
    const writer = new ByteWriter(Math.min(this.#count * RUN_TEXT_ROOM, 64 * 1024));
    for (let run = 0; run < this.#count; run++) {
      const out = writer.ensure(RUN_TEXT_ROOM);
      let at = writer.length;
      if (run > 0) out[at++] = 0x2c;
      out[at++] = 0x5b;
      out[at++] = 0x22;
      at = writeU64(this.#commitTs[run * 2]!, out, at);
      out[at++] = 0x22;
      out[at++] = 0x2c;
      at = writeDecimal(this.#ordinals[run * 4 + 2]!, out, at);
      out[at++] = 0x2c;
      at = writeDecimal(this.#ordinals[run * 4 + 3]!, out, at);
      out[at++] = 0x5d;
      writer.length = at;
    }
    return writer.take();
  }
}

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

/** The sidecar of a file (`stringifyPositions`), in pieces. */
export function sidecarOf(
  file: { readonly rows: number; readonly bytes: number; readonly crc32: number },
  runs: readonly PackedRuns[],
): Buffer[] {
  const { rows, bytes, crc32 } = file;
  const pieces: Buffer[] = [Buffer.from(`{"v":1,"rows":${rows},"bytes":${bytes},"crc32":${crc32},"runs":[`)];
  runs.forEach((packed, index) => {
    if (index > 0) pieces.push(COMMA);
    pieces.push(packed.toJson());
  });
  pieces.push(Buffer.from(']}'));
  return pieces;
}

const COMMA = Buffer.from(',');
