/**
 * Names of schemas and tables as folder names (architecture §5): bytes other than `A–Z a–z 0–9 _ -` and a `.` that does not lead are percent-encoded,
 * and so is the first byte of a name that the layout itself could use (`meta`, `metadata`, a date, a number). Injective: no two names share a folder,
 * and none leaves its own.
 */
export function escapeName(name: string): string {
  const reserved = RESERVED.test(name);
  if (!reserved && PLAIN.test(name)) return name;
  let escaped = '';
  const bytes = Buffer.from(name);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    const keep = i === 0 ? !reserved && KEPT_FIRST.test(String.fromCharCode(byte)) : KEPT.test(String.fromCharCode(byte));
    escaped += keep ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return escaped;
}

/** The name behind a folder name, or null when `escapeName` makes no such folder name. */
export function unescapeName(escaped: string): string | null {
  if (PLAIN.test(escaped)) return RESERVED.test(escaped) ? null : escaped;
  if (escaped === '' || !/^(?:[^%]|%[0-9A-F]{2})+$/.test(escaped)) return null;
  const bytes = Buffer.from(
    escaped.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  const name = bytes.toString('utf8');
  return escapeName(name) === escaped ? name : null;
}

/** Nothing in it is encoded. */
const PLAIN = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;
const KEPT = /[A-Za-z0-9_.-]/;
const KEPT_FIRST = /[A-Za-z0-9_-]/;
/** `metadata`, `meta`, a date component, a table id or version. */
const RESERVED = /^(?:meta|metadata|\d{4}(?:-\d{2}){0,2}|\d+)$/;
