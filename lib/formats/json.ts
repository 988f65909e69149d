/** What JSON can carry here. A u64 is a bigint: it is written as a number, digit by digit, and read back exactly. */
export type JsonValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/**
 * JSON with exact integers. `indent` is as in `JSON.stringify`; members that are undefined are left out. Strings are escaped as Go's encoder does
 * (`<`, `>`, `&`, U+2028/9 as `\u00xx`), because the storage layout's schema files are (spec storage-sink §5.4).
 */
export function stringifyJson(value: JsonValue, indent = 0): string {
  return write(value, indent === 0 ? '' : `\n`, ' '.repeat(indent));
}

function write(value: JsonValue, newline: string, indent: string): string {
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const inner = newline === '' ? '' : newline + indent;
  const isList = Array.isArray(value);
  let text = '';
  if (isList) {
    for (const item of value as readonly JsonValue[]) text += `${text === '' ? '' : ','}${inner}${write(item, inner, indent)}`;
  } else {
    const colon = newline === '' ? ':' : ': ';
    const members = value as { readonly [key: string]: JsonValue | undefined };
    for (const key of Object.keys(members)) {
      const member = members[key];
      if (member !== undefined) text += `${text === '' ? '' : ','}${inner}${quoteJson(key)}${colon}${write(member, inner, indent)}`;
    }
  }
  const [open, close] = isList ? '[]' : '{}';
  return text === '' ? `${open}${close}` : `${open}${text}${newline}${close}`;
}

/** A JSON string with Go's escapes. Lone surrogates become U+FFFD. */
export function quoteJson(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  const json = JSON.stringify(text.isWellFormed() ? text : text.toWellFormed());
  return GO_ESCAPED.test(json) ? json.replace(ALL_GO_ESCAPED, goEscape) : json;
}

/** Printable ASCII without what is escaped. */
const PLAIN = /^[ !#-%'-;=?-[\]-~]*$/;
const GO_ESCAPED = /[<>&\u2028\u2029]/;
const ALL_GO_ESCAPED = /[<>&\u2028\u2029]/g;

function goEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Parses JSON; an integer beyond 2^53 becomes a bigint, every other number a number. Throws a SyntaxError that says where. */
export function parseJson(text: string): JsonValue {
  if (!mayBeBig(text)) return JSON.parse(text) as JsonValue;
  const reviver = (_key: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
      ? BigInt(source)
      : value;
  };
  if (REVIVER_HAS_SOURCE) return JSON.parse(text, reviver as (key: string, value: unknown) => unknown) as JsonValue;
  return restore(JSON.parse(text.replace(STRING_OR_BIG_INTEGER, mark)));
}

/**
 * Whether as many digits stand where a number can begin as an integer beyond 2^53 has: without them the engine's own parser is exact, and several times as fast.
 * Of so many in a row one stands at every sixteenth place, so the others need not be looked at; nor is a row of digits looked at twice.
 */
function mayBeBig(text: string): boolean {
  for (let at = BIG_DIGITS - 1; at < text.length; at += BIG_DIGITS) {
    if (!isDigit(text, at)) continue;
    let from = at;
    while (isDigit(text, from - 1)) from--;
    let end = at + 1;
    while (isDigit(text, end)) end++;
    if (end - from >= BIG_DIGITS && (from === 0 || BEFORE_NUMBER.test(text[from - 1]!))) return true;
    at = end;
  }
  return false;
}

/** False outside the text too. */
function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0x30 && code <= 0x39;
}

const BIG_DIGITS = 16;
const BEFORE_NUMBER = /[\s:,[-]/;

/** Whether this engine tells a reviver the source text (Node 21 and later). */
const REVIVER_HAS_SOURCE = (() => {
  let seen = false;
  JSON.parse('1', ((_key: string, value: unknown, context?: { source?: string }) => {
    seen = context?.source === '1';
    return value;
  }) as (key: string, value: unknown) => unknown);
  return seen;
})();

/** A string, whole, or an integer of 16 digits or more; not the digits of a fraction or an exponent. */
const STRING_OR_BIG_INTEGER = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])(-?[1-9]\d{15,})(?![\d.eE])/g;
const BIGINT_MARK = '\u0000i';
const TEXT_MARK = '\u0000t';

/** A big integer as a marked string; a string that could be taken for a marked one gets a mark of its own. */
function mark(match: string, integer?: string): string {
  if (integer !== undefined) return `"\\u0000i${integer}"`;
  return match.startsWith('"\\u0000') ? `"\\u0000t${match.slice(1)}` : match;
}

function restore(value: unknown): JsonValue {
  if (typeof value === 'string') {
    if (!value.startsWith(BIGINT_MARK)) return restoreText(value);
    const integer = BigInt(value.slice(BIGINT_MARK.length));
    const number = Number(integer);
    return Number.isSafeInteger(number) ? number : integer;
  }
  if (Array.isArray(value)) return value.map(restore);
  if (value === null || typeof value !== 'object') return value as JsonValue;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [restoreText(key), restore(member)]));
}

function restoreText(text: string): string {
  return text.startsWith(TEXT_MARK) ? text.slice(TEXT_MARK.length) : text;
}
