import { Observable } from 'rxjs';
import type { DispatcherId, DrainMarker, Table } from '../../../lib/events/index.ts';
import { link, type Operator, operator } from '../../../lib/flow/index.ts';
import type { Spool, SpoolEntry } from '../../../lib/spool/index.ts';
import type { EncodedRows } from './encoded-rows.ts';
import type { PackedRuns } from './packed-runs.ts';

/** Encoded rows whose bytes and ack are in the spool's keeping. */
export interface SpooledRows {
  readonly type: 'rows';
  readonly dispatcher: DispatcherId;
  readonly table: Table;
  readonly rows: number;
  /** Of the encoded rows, as the size trigger counts them. */
  readonly bytes: number;
  readonly runs: PackedRuns;
  readonly entry: SpoolEntry;
}

/**
 * Gives encoded rows to the spool, which regulates their enqueue acks (spec storage-sink §2, §3); what stands for them passes at once, before any ack runs, so that
 * what a woken source sends does not overtake it. Drain markers pass untouched. What the spool throws ends the stream.
 */
export function spoolRows(spool: Spool): Operator<EncodedRows | DrainMarker, SpooledRows | DrainMarker> {
  return operator('spoolRows', {}, () => (source) => {
    return new Observable((subscriber) => {
      link(source, subscriber, {
        next: (item) => {
          if (item.type === 'marker') return subscriber.next(item);
          const { type, dispatcher, table, rows, bytes, body, checksum: valueChecksum, runs, ack } = item;
          spool.enqueue({ key: null, value: body, valueBytes: bytes, valueChecksum, rows, ack, keptBytes: runs.bytes }, (entry) => {
            subscriber.next({ type, dispatcher, table, rows, bytes, runs, entry });
          });
        },
      });
    });
  });
}
