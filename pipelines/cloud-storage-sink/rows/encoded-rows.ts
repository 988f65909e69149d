import {
  ByteWriter,
  type DispatcherId,
  type DmlEvent,
  type DrainMarker,
  type RowBlock,
  type Table,
  type TwoStageAck,
} from '../../../lib/events/index.ts';
import { crc32Combine, crc32Of } from '../../../lib/formats/checksum.ts';
import type { RowEncoder } from '../../../lib/formats/encoder.ts';
import { PackedRuns } from './packed-runs.ts';
import { SEGMENT_BYTES, type SegmentPool } from './segment-pool.ts';

/** The rows of one DML event in the target's row format, on their way into the spool. The event and its wire bytes are let go. */
export interface EncodedRows {
  readonly type: 'rows';
  readonly dispatcher: DispatcherId;
  readonly table: Table;
  readonly rows: number;
  /** Length of `body` in all. What it keeps alive is less than twice as much. */
  readonly bytes: number;
  /** In pieces; segments of the pool among them go back there when they are on disk or durable. */
  readonly body: readonly Buffer[];
  /** CRC-32 of `body`. */
  readonly checksum: number;
  readonly runs: PackedRuns;
  readonly ack: TwoStageAck;
}

/** Encodes DML events one after another, straight into segments of the pool; drain markers pass. */
export function eventEncoder(encoder: RowEncoder, segments: SegmentPool): (event: DmlEvent | DrainMarker) => EncodedRows | DrainMarker {
  const writer = new SegmentWriter(segments);
  return (event) => {
    if (event.type === 'marker') return event;
    const { dispatcher, rows: block } = event;
    const { out } = writer;
    let checksum = 0;
    for (let from = 0; from < block.rowCount; ) {
      const to = portionEnd(block, from);
      const before = out.length;
      const known = encoder.encode(block.slice(from, to), out);
      // Now, while the processor has the bytes at hand: when their file is written they have left its caches.
      checksum = crc32Combine(checksum, known ?? crc32Of(out.buffer.subarray(before, out.length)), out.length - before);
      writer.cut();
      from = to;
    }
    const { body, bytes } = writer.end();
    return {
      type: 'rows',
      dispatcher,
      table: block.table,
      rows: block.rowCount,
      bytes,
      body,
      checksum,
      runs: new PackedRuns(block),
      ack: event.ack.detach(),
    };
  };
}

/** Where the rows from `from` on end that are encoded at once: few enough to need a small part of a segment, unless one alone needs more. */
function portionEnd({ offsets, rowCount }: RowBlock, from: number): number {
  const last = Math.min(from + PORTION_ROWS, rowCount);
  const first = offsets[from]!;
  let to = from + 1;
  while (to < last && Math.abs(offsets[to]! - first) < PORTION_WIRE_BYTES) to++;
  return to;
}

/** What is written comes in pieces: whole segments, and at the end, where that would keep too much alive, a copy of exact size. */
class SegmentWriter {
  readonly out: ByteWriter;
  readonly #segments: SegmentPool;
  #segment: Buffer;
  #body: Buffer[] = [];
  #bytes = 0;
  #cutAt = 0;
  /** What the largest portion so far needed, and a little more. */
  #portionRoom = 16 * 1024;

  constructor(segments: SegmentPool) {
    this.#segments = segments;
    this.#segment = segments.take();
    this.out = new ByteWriter(0);
    this.out.give(this.#segment);
  }

  /** Ends the piece if the segment has no room for another portion. */
  cut(): void {
    const portion = this.out.length - this.#cutAt;
    this.#portionRoom = Math.min(Math.max(this.#portionRoom, portion + (portion >> 2)), SEGMENT_BYTES / 2);
    this.#cutAt = this.out.length;
    if (this.out.length > SEGMENT_BYTES - this.#portionRoom) this.#endPiece();
  }

  end(): { body: Buffer[]; bytes: number } {
    if (this.out.length > 0) this.#endPiece();
    const ended = { body: this.#body, bytes: this.#bytes };
    this.#body = [];
    this.#bytes = 0;
    return ended;
  }

  #endPiece(): void {
    const { out } = this;
    const { length } = out;
    this.#bytes += length;
    this.#cutAt = 0;
    if (out.buffer !== this.#segment) {
      // Rows that no segment holds have made the writer a buffer of its own.
      this.#body.push(out.take());
      out.give(this.#segment);
    } else if (length * 2 < SEGMENT_BYTES) {
      this.#body.push(out.take());
    } else {
      this.#segment = this.#segments.take();
      this.#body.push(out.give(this.#segment).subarray(0, length));
    }
  }
}

const PORTION_ROWS = 64;
const PORTION_WIRE_BYTES = 8192;
