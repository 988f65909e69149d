import { IMAGE_KEY, IMAGE_NEW, IMAGE_OLD, VALUE_NULL, VALUE_TEXT, VALUE_UNCHANGED } from '../../../events/index.ts';
import { FrameKind, MessageKind } from '../../../formats/pgoutput/index.ts';
import { Frame } from '../../../sources/postgres/wire-frames.ts';
import type { SimChange, SimRow, SimTransaction } from './database.ts';
import type { FrameWriter } from './frame-writer.ts';
import { type SimShape, typeOid } from './table-shape.ts';

/** Appends CopyData frames of a replication stream: what a walsender with pgoutput protocol 1 sends. Times are microseconds since 1970 UTC. */
export const streamFrames = {
  begin(to: FrameWriter, { commitTs, commitTimeUs, xid }: SimTransaction): void {
    xlogData(to, MessageKind.begin).u64(commitTs).u64(sinceEpoch(commitTimeUs)).u32(xid).end();
  },

  commit(to: FrameWriter, { commitTs, endLsn, commitTimeUs }: SimTransaction): void {
    xlogData(to, MessageKind.commit).u8(0).u64(commitTs).u64(endLsn).u64(sinceEpoch(commitTimeUs)).end();
  },

  relation(to: FrameWriter, shape: SimShape): void {
    const { oid, schema, name, isFull, columns } = shape;
    xlogData(to, MessageKind.relation).u32(oid).text(schema).text(name);
    to.raw(isFull ? 'f' : 'd').u16(columns.length);
    for (const column of columns) {
      to.u8(isFull || column.isKey ? 1 : 0).text(column.name);
      // No type modifier.
      to.u32(typeOid(column.type)).u32(0xffff_ffff);
    }
    to.end();
  },

  change(to: FrameWriter, change: SimChange): void {
    if (change.kind === 'truncate') {
      xlogData(to, MessageKind.truncate).u32(change.shapes.length).u8(0);
      for (const { oid } of change.shapes) to.u32(oid);
    } else {
      const { op, shape, old, data } = change;
      xlogData(to, op === 'I' ? MessageKind.insert : op === 'U' ? MessageKind.update : MessageKind.delete).u32(shape.oid);
      if (old !== null) tuple(to, shape.isFull ? IMAGE_OLD : IMAGE_KEY, shape, old, !shape.isFull);
      if (data !== null) tuple(to, IMAGE_NEW, shape, data, false);
    }
    to.end();
  },

  keepalive(to: FrameWriter, walEnd: bigint, timeUs: bigint, replyRequested: boolean): void {
    to.begin(Frame.copyData).u8(FrameKind.keepalive).u64(walEnd).u64(sinceEpoch(timeUs));
    to.u8(replyRequested ? 1 : 0).end();
  },
};

/** Where its row stands in the WAL is beyond everything: rows do not ascend, and nobody may use it (I2). */
function xlogData(to: FrameWriter, kind: number): FrameWriter {
  return to.begin(Frame.copyData).u8(FrameKind.xlogData).u53(ROW_LSN).u53(ROW_LSN).u53(0).u8(kind);
}

function tuple(to: FrameWriter, image: number, { columns }: SimShape, row: SimRow, isKeyOnly: boolean): void {
  to.u8(image).u16(columns.length);
  for (const { name, isKey } of columns) {
    const value = isKeyOnly && !isKey ? null : row[name];
    if (value === undefined) to.u8(VALUE_UNCHANGED);
    else if (value === null) to.u8(VALUE_NULL);
    else to.u8(VALUE_TEXT).value(value);
  }
}

function sinceEpoch(timeUs: bigint): bigint {
  return BigInt.asUintN(64, timeUs - 946_684_800_000_000n);
}

const ROW_LSN = 0xffff_ffff_0000;
