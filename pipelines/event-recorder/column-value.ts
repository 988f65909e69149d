import { reasonOf } from '../../lib/errors.ts';
import type { ColumnSpec, ColumnType, StoredValue } from './event.ts';
import { Fault, kindOf } from './event-fault.ts';

/** A value of a column in the form it is kept in. @throws Fault when the column does not take it. */
export function storedValue(value: unknown, column: ColumnSpec): StoredValue {
  if (value === null || value === undefined) {
    if (column.nullable === true) return null;
    // Without a null of its own, such a column can only mean the JSON value.
    if (column.type === 'json') return 'null';
    throw new Fault(`its extra column ${column.name} may not be null`);
  }
  const stored = CONVERSIONS[column.type](value, `its extra column ${column.name}`);
  if (stored === undefined) throw new Fault(`its extra column ${column.name} takes ${TAKES[column.type]}, and was given ${kindOf(value)}`);
  return stored;
}

/**
 * JSON text of a value. Half surrogate pairs, which no target stores, become U+FFFD.
 *
 * @throws Fault for what JSON has no form for: a cycle, a bigint, a function. What stands in it as `undefined`, or as a number that is not finite, JSON
 * itself leaves out or writes as null.
 */
export function jsonTextOf(value: unknown, what: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    // V8's message of a cycle has several lines and names properties.
    const [reason] = reasonOf(error).split('\n');
    throw new Fault(`${what} is no JSON value: ${reason}`);
  }
  if (text === undefined) throw new Fault(`${what} is no JSON value but ${kindOf(value)}`);
  return HALF_PAIR.test(text) ? text.replace(ANY_ESCAPE, (kept, half?: string) => (half === undefined ? kept : '\ufffd')) : text;
}

/** `JSON.stringify` escapes a surrogate only where its other half is missing; a backslash before it may itself be escaped. */
const HALF_PAIR = /\\ud[89a-f]/;
const ANY_ESCAPE = /\\(?:u(d[89a-f][0-9a-f]{2})|[\s\S])/g;

type Conversion = (value: unknown, what: string) => StoredValue | undefined;

const CONVERSIONS: Readonly<Record<ColumnType, Conversion>> = {
  string: (value) => (typeof value === 'string' ? value.toWellFormed() : undefined),
  json: jsonTextOf,
  int64: (value, what) => integer(value, what, -(2n ** 63n), 2n ** 63n - 1n),
  uint64: (value, what) => integer(value, what, 0n, 2n ** 64n - 1n),
  float64: (value) => (typeof value === 'number' ? value : undefined),
  boolean: (value) => (typeof value === 'boolean' ? value : undefined),
  // 0001-01-01 to 9999-12-31: what has a date of four digits.
  timestampMs: (value, what) => integer(value, what, -62_135_596_800_000n, 253_402_300_799_999n),
  timestampNs: (value, what) => integer(value, what, -(2n ** 63n), 2n ** 63n - 1n),
  // Not by class: bytes of another realm are no instance of this one's.
  binary: (value) =>
    ArrayBuffer.isView(value) && 'BYTES_PER_ELEMENT' in value && value.BYTES_PER_ELEMENT === 1 ? copyOf(value) : undefined,
};

const TAKES: Readonly<Record<ColumnType, string>> = {
  string: 'a string',
  json: 'a JSON value',
  int64: 'a bigint or a safe integer',
  uint64: 'a bigint or a safe integer',
  float64: 'a number',
  boolean: 'a boolean',
  timestampMs: 'milliseconds since 1970 as a bigint or a safe integer',
  timestampNs: 'nanoseconds since 1970 as a bigint or a safe integer',
  binary: 'bytes (a Uint8Array or Buffer)',
};

function integer(value: unknown, what: string, min: bigint, max: bigint): bigint | undefined {
  if (typeof value !== 'bigint' && !Number.isSafeInteger(value)) return undefined;
  const whole = BigInt(value as bigint | number);
  if (whole < min || whole > max) throw new Fault(`${what} is outside ${min} to ${max}`);
  return whole;
}

function copyOf(view: ArrayBufferView): Buffer {
  return Buffer.from(Buffer.from(view.buffer, view.byteOffset, view.byteLength));
}
