import { parentPort, workerData } from 'node:worker_threads';
import { ByteWriter, RowBlock, type Table } from '../lib/events/index.ts';
import { type BenchProtocol, benchEncoder } from './bench-encoder.ts';
import type { EncodeAnswer, EncodeTask } from './thread-encoder.ts';

// The thread of `ThreadEncoder`: encodes each block that comes, and sends the buffer back that has its rows.
const port = parentPort!;
const encoder = benchEncoder(workerData as BenchProtocol);
const writer = new ByteWriter();
const tables: Table[] = [];
const free: ArrayBuffer[] = [];

port.on('message', ({ table, description, bytes, ops, offsets, transactions, spare }: EncodeTask) => {
  if (description !== null) tables[table] = description;
  for (const buffer of spare) free.push(buffer);
  const block = new RowBlock({
    table: tables[table]!,
    bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    ops,
    offsets,
    ordinals: NO_ORDINALS,
    transactions: unpack(transactions),
  });
  encoder.encode(block, writer);
  const { length } = writer;
  // As large as the largest block so far needed: a writer grows and never shrinks.
  const next = free.pop() ?? new ArrayBuffer(writer.buffer.length);
  const buffer = writer.give(Buffer.from(next)).buffer as ArrayBuffer;
  const answer: EncodeAnswer = { buffer, length };
  port.postMessage(answer, [buffer]);
});

/** Positions stay with whoever asks; encoders name them in errors alone. */
const NO_ORDINALS = new Uint32Array(0);

function unpack(packed: BigInt64Array): RowBlock['transactions'] {
  return Array.from({ length: packed.length / 3 }, (_, index) => ({
    commitTs: packed[3 * index]!,
    commitTimeUs: packed[3 * index + 1]!,
    firstRow: Number(packed[3 * index + 2]),
  }));
}
