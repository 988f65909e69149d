import { viewOf } from './word-text.ts';

/** The most bytes that one byte of a value becomes in a JSON string. */
export const ESCAPE_ROOM = 6;

/**
 * Writes UTF-8 text as the inside of a JSON string and returns where it ends; there must be room for `ESCAPE_ROOM` times as much. As the storage layout's
 * canal-json: `\t \r \n \" \\`, `\u00xx` for other controls and `< > &`, U+2028/9 escaped, a byte that is no UTF-8 as `\ufffd` (spec storage-sink §6.2).
 *
 * Four bytes at a time where none of them is special: byte by byte takes more than twice as long.
 */
export function escapeJson(
  source: Uint8Array,
  sourceView: DataView,
  from: number,
  to: number,
  target: Uint8Array,
  targetView: DataView,
  at: number,
): number {
  let end = at;
  let i = from;
  while (i < to) {
    let until = to;
    const begin = i;
    while (i + 4 <= to) {
      const word = sourceView.getInt32(i, true);
      if (hasSpecial(word)) {
        until = i + 4;
        break;
      }
      targetView.setInt32(end, word, true);
      i += 4;
      end += 4;
    }
    /** The last one to three bytes: the word that ends with them, over what was just copied. */
    if (until === to && i > begin && i < to) {
      const word = sourceView.getInt32(to - 4, true);
      if (!hasSpecial(word)) {
        end += to - i;
        targetView.setInt32(end - 4, word, true);
        return end;
      }
    }
    for (; i < until; i++) {
      const byte = source[i]!;
      const how = HOW[byte]!;
      if (how === COPY) {
        target[end++] = byte;
      } else if (how === WIDE) {
        const length = sequenceLength(source, i, to);
        if (length > 0) {
          for (let k = 0; k < length; k++) target[end++] = source[i + k]!;
          i += length - 1;
        } else if (length === SEPARATOR) {
          end = writeUnicode(target, end, 0x2000 | (source[i + 2]! & 0x3f));
          i += 2;
        } else {
          end = writeUnicode(target, end, 0xfffd);
        }
      } else if (how === UNICODE) {
        end = writeUnicode(target, end, byte);
      } else {
        target[end++] = 0x5c;
        target[end++] = how;
      }
    }
  }
  return end;
}

/**
 * Whether one of four bytes is above 0x7f, below 0x20, or one of `" \ & < >`; `^ | ~` count too, which costs them the slow path and saves all others a term. In
 * each term a byte's top bit comes to stand for one of these: a mask clears the bits in which `"` and `&`, and `<`, `>` and the backslash, differ.
 */
function hasSpecial(word: number): boolean {
  const quoteOrAmpersand = ((word & 0xfbfbfbfb) ^ 0x22222222) - 0x01010101;
  const angleOrBackslash = ((word & 0x9d9d9d9d) ^ 0x1c1c1c1c) - 0x01010101;
  return ((word | (word - 0x20202020) | quoteOrAmpersand | angleOrBackslash) & 0x80808080) !== 0;
}

/** The same for one code point below 0x100. */
export function escapeLatin1(byte: number, target: Uint8Array, at: number): number {
  let end = at;
  const how = HOW[byte]!;
  if (how === COPY) {
    target[end++] = byte;
  } else if (how === WIDE) {
    target[end++] = 0xc0 | (byte >> 6);
    target[end++] = 0x80 | (byte & 0x3f);
  } else if (how === UNICODE) {
    end = writeUnicode(target, end, byte);
  } else {
    target[end++] = 0x5c;
    target[end++] = how;
  }
  return end;
}

/** `text` as a JSON string with these escapes: for names, once per table. */
export function jsonString(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  const source = Buffer.from(text);
  const target = Buffer.alloc(source.length * ESCAPE_ROOM);
  return `"${target.toString('utf8', 0, escapeJson(source, viewOf(source), 0, source.length, target, viewOf(target), 0))}"`;
}

/** Printable ASCII without what is escaped. */
const PLAIN = /^[ !#-%'-;=?-[\]-~]*$/;

const COPY = 0;
const UNICODE = 1;
const WIDE = 2;
/** What to do with a byte: one of the above, or the letter behind a backslash. */
const HOW = new Uint8Array(256);
HOW.fill(UNICODE, 0, 0x20);
HOW.fill(WIDE, 0x80);
for (const char of '<>&') HOW[char.charCodeAt(0)] = UNICODE;
for (const [char, letter] of ['\tt', '\rr', '\nn', '""', '\\\\']) HOW[char!.charCodeAt(0)] = letter!.charCodeAt(0);

const INVALID = 0;
const SEPARATOR = -1;

/** The bytes of the UTF-8 sequence at `i`, SEPARATOR for U+2028/9, INVALID for what is none (over-long forms, surrogates, a cut). */
function sequenceLength(source: Uint8Array, i: number, to: number): number {
  const lead = source[i]!;
  if (lead < 0xc2 || lead > 0xf4) return INVALID;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (i + length > to) return INVALID;
  const second = source[i + 1]!;
  if ((second & 0xc0) !== 0x80) return INVALID;
  if (length === 2) return length;
  if ((source[i + 2]! & 0xc0) !== 0x80) return INVALID;
  if (length === 3) {
    if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second >= 0xa0)) return INVALID;
    return lead === 0xe2 && second === 0x80 && (source[i + 2]! | 1) === 0xa9 ? SEPARATOR : length;
  }
  if ((source[i + 3]! & 0xc0) !== 0x80 || (lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second >= 0x90)) return INVALID;
  return length;
}

function writeUnicode(target: Uint8Array, at: number, code: number): number {
  target[at] = 0x5c;
  target[at + 1] = 0x75;
  target[at + 2] = HEX_DIGITS.charCodeAt(code >> 12);
  target[at + 3] = HEX_DIGITS.charCodeAt((code >> 8) & 15);
  target[at + 4] = HEX_DIGITS.charCodeAt((code >> 4) & 15);
  target[at + 5] = HEX_DIGITS.charCodeAt(code & 15);
  return at + 6;
}

const HEX_DIGITS = '0123456789abcdef';
