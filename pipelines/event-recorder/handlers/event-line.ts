import { parseJson, quoteJson } from '../../../lib/formats/json.ts';
import type { ColumnSpec, StoredValue } from '../event.ts';
import type { EventRows } from '../rows.ts';
import { isoOfMs, isoOfNs, nsOfIso } from './time-text.ts';

/** What an event's row is known by, in every store. */
export interface RowIdentity {
  readonly table: string;
  readonly id: string;
  readonly row: number;
  readonly seq: bigint;
  readonly type: string;
  readonly timestampNs: bigint;
}

/**
 * One row of an event as a line of JSON, without its end:
 * `{"timestamp":"2026-11-22T05:45:49.123456789Z","type":"…","event_table":"events","event_id":"…","event_row":0,"event_seq":7,"payload":…}`, then the extra
 * columns.
 *
 * Integers stand there digit by digit (they may exceed 2^53), `timestampMs` as ISO 8601, `timestampNs` as nanoseconds since 1970, bytes as base64, a number that is not
 * finite as text. A column that is null is left out. `extra`: name and JSON text of each.
 */
export function lineOf(identity: RowIdentity, payload: string, extra: Iterable<readonly [name: string, json: string]>): string {
  const { table, id, row, seq, type, timestampNs } = identity;
  let line = `{"timestamp":"${isoOfNs(timestampNs)}","type":${quoteJson(type)},"event_table":${quoteJson(table)},"event_id":${quoteJson(id)}`;
  line += `,"event_row":${row},"event_seq":${seq},"payload":${payload}`;
  for (const [name, json] of extra) line += `,${quoteJson(name)}:${json}`;
  return `${line}}`;
}

/** What a line's row is known by. Throws for what is no such line. */
export function identityOf(line: string): RowIdentity {
  const { timestamp, type, event_table: table, event_id: id, event_row: row, event_seq: seq } = parseJson(line) as Record<string, unknown>;
  const timestampNs = typeof timestamp === 'string' ? nsOfIso(timestamp) : null;
  if (timestampNs === null) throw new Error('a line without a timestamp');
  return { table: String(table), id: String(id), row: Number(row), seq: BigInt(seq as number | bigint), type: String(type), timestampNs };
}

/** The lines of a group's rows. */
export function linesOf({ table, columns, rows }: EventRows): string[] {
  const extraColumns = columns.slice(BASE_WIDTH);
  return rows.map(({ event, row, values }) => {
    const { id, seq, type, timestampNs, payload } = event;
    return lineOf({ table, id, row, seq, type, timestampNs }, payload, extrasOf(extraColumns, values));
  });
}

/** A line as people and `JSON.parse` read it: with its number as text, which is beyond 2^53, where neighbours are taken for one. */
export function printedLine(line: string, seq: bigint): string {
  return line.replace(`,"event_seq":${seq},`, `,"event_seq":"${seq}",`);
}

function* extrasOf(columns: readonly ColumnSpec[], values: readonly StoredValue[]): Generator<readonly [string, string]> {
  for (const [index, column] of columns.entries()) {
    const value = values[BASE_WIDTH + index] ?? null;
    if (value !== null) yield [column.name, jsonOf(value, column)];
  }
}

const BASE_WIDTH = 3;

function jsonOf(value: NonNullable<StoredValue>, { type }: ColumnSpec): string {
  if (type === 'json') return value as string;
  if (type === 'timestampMs') return `"${isoOfMs(value as bigint)}"`;
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value === 'number') return floatJson(value);
  if (typeof value === 'object') return `"${Buffer.from(value).toString('base64')}"`;
  return String(value);
}

/** A number; as text where JSON has none. */
export function floatJson(value: number): string {
  return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
}
