/** Room for a number in the layout below, whatever it is. */
export const FLOAT_ROOM = 400;

/**
 * Writes the finite decimal number that stands at `from … to − 1` of `source` (PostgreSQL's shortest digits) into `target` in the storage layout's form and
 * returns where it ends; −1, and nothing, when it is no such number (`NaN`, `Infinity`, what a stage put there).
 *
 * Without exponents: every digit in its place. With them: `d.ddde±XX` when the decimal exponent is below −4 or at least 6 (spec storage-sink §6.1).
 */
export function layoutFloat(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number, withExponents: boolean): number {
  const length = to - from;
  if (length === 0 || length > LONGEST) return -1;
  let i = from;
  const negative = source[i] === MINUS;
  if (negative) i++;
  let digits = 0;
  let seen = 0;
  let point = -1;
  let leading = 0;
  for (; i < to; i++) {
    const byte = source[i]!;
    if (byte === POINT) {
      if (point >= 0) return -1;
      point = seen;
    } else if (byte >= ZERO && byte <= NINE) {
      seen++;
      if (digits === 0 && byte === ZERO) leading++;
      else scratch[digits++] = byte;
    } else {
      break;
    }
  }
  if (seen === 0) return -1;
  let exponent = 0;
  if (i < to) {
    exponent = readExponent(source, i, to);
    if (Number.isNaN(exponent)) return -1;
  }
  /** The value is 0.d₁d₂… × 10^scale. */
  const scale = (point < 0 ? seen : point) - leading + exponent;
  while (digits > 0 && scratch[digits - 1] === ZERO) digits--;
  if (scale > FLOAT_ROOM - LONGEST || scale < LONGEST - FLOAT_ROOM) return -1;
  let end = at;
  if (negative) target[end++] = MINUS;
  if (digits === 0) {
    target[end++] = ZERO;
    return end;
  }
  return withExponents && (scale - 1 < -4 || scale - 1 >= 6)
    ? scientific(target, end, digits, scale - 1)
    : positional(target, end, digits, scale);
}

const LONGEST = 40;
const scratch = new Uint8Array(LONGEST);
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;

/** `e`, a sign or none, one to three digits; NaN for anything else. */
function readExponent(source: Uint8Array, from: number, to: number): number {
  if ((source[from]! | 0x20) !== 0x65) return Number.NaN;
  const sign = source[from + 1];
  const start = from + (sign === MINUS || sign === PLUS ? 2 : 1);
  if (to <= start || to > start + 3) return Number.NaN;
  let exponent = 0;
  for (let i = start; i < to; i++) {
    const byte = source[i]!;
    if (byte < ZERO || byte > NINE) return Number.NaN;
    exponent = exponent * 10 + byte - ZERO;
  }
  return sign === MINUS ? -exponent : exponent;
}

function scientific(target: Uint8Array, at: number, digits: number, exponent: number): number {
  let end = at;
  target[end++] = scratch[0]!;
  if (digits > 1) target[end++] = POINT;
  for (let i = 1; i < digits; i++) target[end++] = scratch[i]!;
  target[end++] = 0x65;
  target[end++] = exponent < 0 ? MINUS : PLUS;
  const magnitude = Math.abs(exponent);
  if (magnitude >= 100) target[end++] = ZERO + Math.trunc(magnitude / 100);
  target[end++] = ZERO + (Math.trunc(magnitude / 10) % 10);
  target[end++] = ZERO + (magnitude % 10);
  return end;
}

function positional(target: Uint8Array, at: number, digits: number, scale: number): number {
  let end = at;
  if (scale <= 0) {
    target[end++] = ZERO;
    target[end++] = POINT;
    for (let i = scale; i < 0; i++) target[end++] = ZERO;
  }
  for (let i = 0; i < digits; i++) {
    if (i === scale && i > 0) target[end++] = POINT;
    target[end++] = scratch[i]!;
  }
  for (let i = digits; i < scale; i++) target[end++] = ZERO;
  return end;
}
