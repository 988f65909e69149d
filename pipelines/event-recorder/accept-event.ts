import { MillraceError, reasonOf } from '../../lib/errors.ts';
import { acceptSchema, schemaBytes } from './column-schema.ts';
import { jsonTextOf, storedValue } from './column-value.ts';
import { type ColumnSpec, DEFAULT_TABLE, type EventInput, type RecordedEvent, type StoredValue } from './event.ts';
import { checkName, Fault, kindOf, NAME_BYTES_MAX } from './event-fault.ts';

/** What the recorder adds to an event at the call of `record` (W3). */
export interface EventStamp {
  readonly id: string;
  readonly seq: bigint;
  /** Where the producer gives no time of its own. */
  readonly timestampNs: bigint;
}

/**
 * Checks an event and makes a frozen copy of all of it, down to the last value (G4, W4, W12): whatever comes out can be delivered, and nothing the
 * producer does later shows in it.
 *
 * @throws MR_EVENT_INVALID, and nothing else, whatever was given.
 */
export function acceptEvent(input: EventInput, stamp: EventStamp): RecordedEvent {
  try {
    return acceptChecked(input, stamp);
  } catch (error) {
    const { type, table } = namesOf(input);
    // What a check found is a plain reason; a getter or a `toJSON` of the producer may throw anything.
    const reason = error instanceof Fault ? error.message : `reading it failed: ${safeReason(error)}`;
    throw new MillraceError('MR_EVENT_INVALID', { type, table, reason }, error instanceof Fault ? undefined : error);
  }
}

/** What one event counts beside its texts and values: its objects, about. */
const EVENT_BYTES = 320;
const VALUE_BYTES = 16;
const ROWS_MAX = 1000;
const NS_MIN = -(2n ** 63n);
const NS_MAX = 2n ** 63n - 1n;

function acceptChecked(input: EventInput, stamp: EventStamp): RecordedEvent {
  if (typeof input !== 'object' || input === null) throw new Fault(`it is ${kindOf(input)}, no object`);
  const { type, table = DEFAULT_TABLE, payload = null, timestampNs } = input;
  checkName(type, 'its type');
  checkName(table, 'its table');
  if (timestampNs !== undefined && (typeof timestampNs !== 'bigint' || timestampNs < NS_MIN || timestampNs > NS_MAX)) {
    throw new Fault('its timestampNs is no bigint of 64 bits');
  }
  const payloadText = payload === null ? 'null' : jsonTextOf(payload, 'its payload');
  const givenSchema = input.extraSchema ?? NO_COLUMNS;
  const extraSchema = acceptSchema(givenSchema);
  const extraRows = acceptRows(input.extraRows ?? ONE_EMPTY_ROW, extraSchema);
  // The stamp last: reading the event may have recorded another.
  return Object.freeze({
    id: stamp.id,
    seq: stamp.seq,
    timestampNs: timestampNs ?? stamp.timestampNs,
    type,
    table,
    payload: payloadText,
    extraSchema,
    extraRows,
    bytes: EVENT_BYTES + textBytes(payloadText) + schemaBytes(givenSchema, extraSchema) + rowsBytes(extraRows),
  });
}

const NO_COLUMNS: readonly ColumnSpec[] = Object.freeze([]);
const ONE_EMPTY_ROW: readonly (readonly StoredValue[])[] = Object.freeze([Object.freeze([])]);

function acceptRows(rows: unknown, schema: readonly ColumnSpec[]): readonly (readonly StoredValue[])[] {
  if (rows === ONE_EMPTY_ROW && schema.length === 0) return ONE_EMPTY_ROW;
  if (!Array.isArray(rows)) throw new Fault('its extraRows are no list');
  if (rows.length > ROWS_MAX) throw new Fault(`it has ${rows.length} rows, more than ${ROWS_MAX}`);
  const accepted: (readonly StoredValue[])[] = [];
  // `map` would leave out what was never set, and `Array.from` costs more than the rows.
  for (let index = 0; index < rows.length; index++) accepted.push(acceptRow(rows[index], index, schema));
  return Object.freeze(accepted);
}

function acceptRow(row: unknown, index: number, schema: readonly ColumnSpec[]): readonly StoredValue[] {
  if (!Array.isArray(row)) throw new Fault(`its row ${index} is no list`);
  if (row.length !== schema.length) throw new Fault(`its row ${index} has ${row.length} values for ${schema.length} extra columns`);
  return Object.freeze(schema.map((column, at) => storedValue(row[at], column)));
}

function rowsBytes(rows: readonly (readonly StoredValue[])[]): number {
  let bytes = 0;
  for (const row of rows) {
    for (const value of row) {
      bytes += VALUE_BYTES;
      if (typeof value === 'string') bytes += textBytes(value);
      else if (ArrayBuffer.isView(value)) bytes += value.byteLength;
    }
  }
  return bytes;
}

/** The engine keeps a text in one byte a character, or two if one of them needs it. */
function textBytes(text: string): number {
  return Buffer.byteLength(text) === text.length ? text.length : 2 * text.length;
}

function namesOf(input: unknown): { type: string; table: string } {
  try {
    const { type, table = DEFAULT_TABLE } = input as { type?: unknown; table?: unknown };
    return { type: nameOf(type), table: nameOf(table) };
  } catch {
    return { type: 'unknown', table: 'unknown' };
  }
}

function nameOf(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_BYTES_MAX) : `(${kindOf(value)})`;
}

function safeReason(error: unknown): string {
  try {
    return reasonOf(error);
  } catch {
    return 'it threw what has no text';
  }
}
