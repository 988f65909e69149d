import { isSameSchema } from './column-schema.ts';
import type { ColumnSpec, ColumnType, RecordedEvent, StoredValue } from './event.ts';

/**
 * A recorded event as JSON text: integers beyond 2^53 and bytes (base64) are texts, and so are numbers that JSON has no form for; the column's type tells
 * them back. The payload is the JSON that it is.
 */
export function encodeEvent({ id, seq, timestampNs, type, table, payload, extraSchema, extraRows, bytes }: RecordedEvent): Buffer {
  const head = JSON.stringify({ id, seq: String(seq), timestampNs: String(timestampNs), type, table, bytes });
  const extra =
    extraSchema.length === 0 && extraRows.length === 1
      ? ''
      : `,"extraSchema":${schemaText(extraSchema)},"extraRows":${rowsText(extraRows)}`;
  return Buffer.from(`${head.slice(0, -1)}${extra},"payload":${JSON.stringify(payload)}}`);
}

/** What `encodeEvent` wrote, frozen. @throws SyntaxError, TypeError for what it never writes. */
export function decodeEvent(text: string): RecordedEvent {
  const found = JSON.parse(text) as EncodedEvent;
  const extraSchema = found.extraSchema === undefined ? NO_COLUMNS : knownSchema(found.extraSchema);
  const extraRows = found.extraRows === undefined ? ONE_EMPTY_ROW : rowsOf(found.extraRows, extraSchema);
  return Object.freeze({
    id: found.id,
    seq: BigInt(found.seq),
    timestampNs: BigInt(found.timestampNs),
    type: found.type,
    table: found.table,
    payload: found.payload,
    extraSchema,
    extraRows,
    bytes: found.bytes,
  });
}

interface EncodedEvent {
  readonly id: string;
  readonly seq: string;
  readonly timestampNs: string;
  readonly type: string;
  readonly table: string;
  readonly payload: string;
  readonly bytes: number;
  readonly extraSchema?: readonly ColumnSpec[];
  readonly extraRows?: readonly (readonly EncodedValue[])[];
}

type EncodedValue = string | boolean | null;

const NO_COLUMNS: readonly ColumnSpec[] = Object.freeze([]);
const ONE_EMPTY_ROW: readonly (readonly StoredValue[])[] = Object.freeze([Object.freeze([])]);

const schemaTexts = new WeakMap<object, string>();

/** The schema of a type is the same object for event after event. */
function schemaText(schema: readonly ColumnSpec[]): string {
  let text = schemaTexts.get(schema);
  if (text === undefined) {
    text = JSON.stringify(schema);
    schemaTexts.set(schema, text);
  }
  return text;
}

let lastSchema: readonly ColumnSpec[] = NO_COLUMNS;

function knownSchema(found: readonly ColumnSpec[]): readonly ColumnSpec[] {
  if (!isSameSchema(found, lastSchema)) lastSchema = Object.freeze(found.map((column) => Object.freeze(column)));
  return lastSchema;
}

function rowsText(rows: readonly (readonly StoredValue[])[]): string {
  return JSON.stringify(rows.map((row) => row.map(encodeValue)));
}

function encodeValue(value: StoredValue): EncodedValue {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return typeof value === 'bigint' ? String(value) : Buffer.from(value).toString('base64');
}

function rowsOf(rows: readonly (readonly EncodedValue[])[], schema: readonly ColumnSpec[]): readonly (readonly StoredValue[])[] {
  return Object.freeze(rows.map((row) => Object.freeze(row.map((value, index) => decodeValue(value, schema[index]!.type)))));
}

function decodeValue(value: EncodedValue, type: ColumnType): StoredValue {
  if (value === null || typeof value === 'boolean') return value;
  return DECODERS[type](value);
}

const DECODERS: Readonly<Record<ColumnType, (text: string) => StoredValue>> = {
  string: (text) => text,
  json: (text) => text,
  int64: BigInt,
  uint64: BigInt,
  float64: Number,
  boolean: (text) => text === 'true',
  timestampMs: BigInt,
  timestampNs: BigInt,
  binary: (text) => Buffer.from(text, 'base64'),
};
