import { ByteWriter } from '../lib/events/index.ts';
import { MessageKind } from '../lib/formats/pgoutput/index.ts';
import { COMMIT_TIME_US, ROWS_PER_TRANSACTION, writeBenchTuple } from './bench-table.ts';

/** A replication stream in one buffer, with where each message begins; the last entry is the end. */
export interface Messages {
  readonly bytes: Buffer;
  readonly starts: Int32Array;
}

/** Rows of the bench table, half inserts, half updates, in transactions of 100; what ends a transaction is left out. */
export function makeMessages(rows: number): Messages {
  const writer = new ByteWriter(rows * 200);
  const starts: number[] = [];
  for (let row = 0; row < rows; row++) {
    if (row % ROWS_PER_TRANSACTION === 0) {
      starts.push(writer.length);
      const begin = Buffer.alloc(21);
      begin[0] = MessageKind.begin;
      begin.writeBigUInt64BE(0x1_6b37_4d48n + BigInt(row), 1);
      begin.writeBigInt64BE(COMMIT_TIME_US + BigInt(row) * 1000n - POSTGRES_EPOCH_US, 9);
      writer.writeBytes(begin);
    }
    starts.push(writer.length);
    writer.writeByte(row % 2 === 0 ? MessageKind.insert : MessageKind.update);
    writer.writeBytes(Buffer.from([0, 0, 0x40, 0, 0x4e]));
    writeBenchTuple(writer, row);
  }
  starts.push(writer.length);
  return { bytes: writer.take(), starts: Int32Array.from(starts) };
}

/** pgoutput's clock starts in 2000. */
export const POSTGRES_EPOCH_US = 946_684_800_000_000n;
