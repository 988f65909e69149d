import { ByteWriter, type DispatcherId, type DmlEvent, type DrainMarker, type Table, type TwoStageAck } from '../../lib/events/index.ts';
import type { RowEncoder } from '../../lib/formats/encoder.ts';
import { PackedRuns } from './packed-runs.ts';

/** The rows of one DML event in the target's row format: what the sink holds until they are durable. The event and its wire bytes are let go. */
export interface EncodedRows {
  readonly type: 'rows';
  readonly dispatcher: DispatcherId;
  readonly table: Table;
  readonly rows: number;
  /** Length of `body`: what the gauge and the size trigger count. */
  readonly bytes: number;
  readonly body: Buffer;
  /** The bytes that begin the file, or null. */
  readonly header: Buffer | null;
  readonly runs: PackedRuns;
  readonly ack: TwoStageAck;
}

/** Encodes DML events one after another into one buffer that grows to the largest; drain markers pass. */
export function eventEncoder(encoder: RowEncoder): (event: DmlEvent | DrainMarker) => EncodedRows | DrainMarker {
  const out = new ByteWriter(64 * 1024);
  return (event) => {
    if (event.type === 'marker') return event;
    const { dispatcher, rows: block } = event;
    encoder.encode(block, out);
    const body = out.take();
    return {
      type: 'rows',
      dispatcher,
      table: block.table,
      rows: block.rowCount,
      bytes: body.length,
      body,
      header: encoder.header(block.table),
      runs: new PackedRuns(block),
      ack: event.ack.detach(),
    };
  };
}
