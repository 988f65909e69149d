import { describe, expect, it } from '@jest/globals';
import {
  type AckedEvent,
  ALL_DISPATCHERS,
  type ChangeEvent,
  ddlEvent,
  dmlEvent,
  drainMarker,
  firstPosition,
  isAckedEvent,
  isBlockEvent,
  isDataEvent,
  lastPosition,
  resolvedEvent,
  syncpointEvent,
  truncateEvent,
  withRows,
} from '../../../lib/events/index.ts';
import { blockOf, textTable } from './rows.ts';

const table = textTable(['id', 'name']);
const at = { position: { commitTs: 7n, ordinal: 3 }, commitTimeUs: 70n, table };
const dml = dmlEvent(
  blockOf(table, [
    { row: ['1', 'a'], commitTs: 5n, ordinal: 2 },
    { row: ['2', 'b'], commitTs: 6n, ordinal: 0 },
  ]),
);
const ddl = ddlEvent(at);
const truncate = truncateEvent({ ...at, query: 'TRUNCATE' });
const syncpoint = syncpointEvent(7n);

describe('events', () => {
  it.each<[string, ChangeEvent, { data: boolean; block: boolean; acked: boolean }]>([
    ['a DML', dml, { data: true, block: false, acked: true }],
    ['a DDL', ddl, { data: true, block: true, acked: true }],
    ['a TRUNCATE', truncate, { data: true, block: true, acked: true }],
    ['a syncpoint', syncpoint, { data: false, block: true, acked: true }],
    ['a resolved mark', resolvedEvent(7n), { data: false, block: false, acked: false }],
    ['a drain marker', drainMarker(table.dispatcher), { data: false, block: false, acked: false }],
  ])('%s is told apart: a change of data, one that blocks, one that is acked', (_, event, expected) => {
    expect({ data: isDataEvent(event), block: isBlockEvent(event), acked: isAckedEvent(event) }).toEqual(expected);
  });

  it.each<[string, AckedEvent, { commitTs: bigint; ordinal: number }, { commitTs: bigint; ordinal: number }]>([
    ['the first and last of its rows', dml, { commitTs: 5n, ordinal: 2 }, { commitTs: 6n, ordinal: 0 }],
    ['its own', ddl, at.position, at.position],
    ['its own', truncate, at.position, at.position],
    ['behind all changes of its commitTs', syncpoint, { commitTs: 7n, ordinal: Infinity }, { commitTs: 7n, ordinal: Infinity }],
  ])('have positions: %s', (_, event, first, last) => {
    expect([firstPosition(event), lastPosition(event)]).toEqual([first, last]);
  });

  it('belong to the dispatcher of their table, and marks to all when none is named', () => {
    expect([dml, ddl, truncate].map(({ dispatcher }) => dispatcher)).toEqual([table.dispatcher, table.dispatcher, table.dispatcher]);
    expect([syncpoint.dispatcher, resolvedEvent(1n).dispatcher]).toEqual([ALL_DISPATCHERS, ALL_DISPATCHERS]);
  });

  it('carry the numbers of their session where there is one', () => {
    expect(dml).toMatchObject({ epoch: 0n, seq: 0n });
    expect(dmlEvent(dml.rows, { epoch: 2n, seq: 9n })).toMatchObject({ epoch: 2n, seq: 9n });
    expect(ddlEvent(at, { epoch: 2n })).toMatchObject({ epoch: 2n, seq: 0n });
  });

  it('have an ack each', () => {
    expect(ddlEvent(at).ack).not.toBe(ddlEvent(at).ack);
    expect(dmlEvent(dml.rows).ack).not.toBe(dml.ack);
  });

  it('given other rows are new events with acks of their own; given the same ones they stay', () => {
    const rows = dml.rows.slice(1, 2);
    const other = withRows(dml, rows);
    expect({ ...other, ack: null }).toEqual({ ...dml, rows, ack: null });
    expect(other.ack).not.toBe(dml.ack);
    expect(withRows(dml, dml.rows)).toBe(dml);
  });
});
