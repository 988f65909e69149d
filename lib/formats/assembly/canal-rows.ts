// AssemblyScript, compiled to WebAssembly by `npm run build:wasm`; `../canal-rows.ts` fills and calls it.
// Rows to canal-json, sixteen bytes at a time: `../canal-json.ts` says what a row is, `../json-escape.ts` how a value is written, and a test compares them.

/** Where things stand in memory. Up to 15 bytes behind a text are read and written, 63 behind a head: everything has that much room behind it. */
export const COLUMN_COUNT: i32 = 0x400;
export const INSERT_LENGTH: i32 = 0x404;
export const UPDATE_LENGTH: i32 = 0x408;
/** Of the commit time's digits in a head. */
export const INSERT_TIME_AT: i32 = 0x40c;
export const UPDATE_TIME_AT: i32 = 0x410;
/** Out: CRC-32 of what was written. */
export const CHECKSUM: i32 = 0x414;
/** A word of its first row, a word of its tail's length, its commit time in 13 digits, its tail. One slot more than there are transactions. */
export const TRANSACTIONS: i32 = 0x1000;
export const TRANSACTION_BYTES: i32 = 128;
export const TIME_AT: i32 = 8;
export const TAIL_AT: i32 = 24;
/** Of each row, a word: where its tuple begins in the input; negative (`~`) for an update. */
export const ROWS: i32 = 0x4000;
/** Factors by which a checksum passes over a head, and those by which it takes bytes. */
export const INSERT_TABLES: i32 = 0x5000;
export const UPDATE_TABLES: i32 = 0x6000;
export const BYTE_TABLES: i32 = 0x7000;
export const INSERT_HEAD: i32 = 0xb000;
export const UPDATE_HEAD: i32 = 0xf000;
/** A column: a word whether it is a boolean, then four texts (first with a value, next with a value, first null, next null), each a word of its place and one of its length. */
export const COLUMNS: i32 = 0x13000;
export const COLUMN_BYTES: i32 = 36;
export const TEXTS: i32 = 0x20000;
export const INPUT: i32 = 0x40000;
export const OUTPUT: i32 = 0x50000;
export const END: i32 = 0x140000;

let insertChecksum: u32 = 0;
let updateChecksum: u32 = 0;

/** Writes `count` rows from the input to the output; gives the place behind them. */
export function encode(count: i32): i32 {
  const columnsEnd = COLUMNS + load<i32>(COLUMN_COUNT) * COLUMN_BYTES;
  const insertLength = load<i32>(INSERT_LENGTH);
  const updateLength = load<i32>(UPDATE_LENGTH);
  let transaction = TRANSACTIONS - TRANSACTION_BYTES;
  let next = 0;
  let isInsertStale = true;
  let isUpdateStale = true;
  let checksum: u32 = 0xffffffff;
  let out = OUTPUT;
  for (let row = 0; row < count; row++) {
    if (row === next) {
      transaction += TRANSACTION_BYTES;
      next = load<i32>(transaction + TRANSACTION_BYTES);
      isInsertStale = true;
      isUpdateStale = true;
    }
    let at = load<i32>(ROWS + row * 4);
    if (at < 0) {
      at = ~at;
      if (isUpdateStale) {
        updateChecksum = setTime(UPDATE_HEAD, updateLength, UPDATE_HEAD + load<i32>(UPDATE_TIME_AT), transaction + TIME_AT);
        isUpdateStale = false;
      }
      copyLong(UPDATE_HEAD, out, updateLength);
      out += updateLength;
      checksum = passedOver(checksum, UPDATE_TABLES) ^ updateChecksum;
    } else {
      if (isInsertStale) {
        insertChecksum = setTime(INSERT_HEAD, insertLength, INSERT_HEAD + load<i32>(INSERT_TIME_AT), transaction + TIME_AT);
        isInsertStale = false;
      }
      copyLong(INSERT_HEAD, out, insertLength);
      out += insertLength;
      checksum = passedOver(checksum, INSERT_TABLES) ^ insertChecksum;
    }
    const valuesAt = out;
    let texts = 4;
    for (let column = COLUMNS; column < columnsEnd; column += COLUMN_BYTES) {
      const kind = load<u8>(at);
      if (kind === 0x74) {
        const length = bswap<u32>(load<u32>(at + 1));
        at += 5;
        const textLength = load<i32>(column + texts + 4);
        copy(load<i32>(column + texts), out, textLength);
        out += textLength;
        const byte = load<u8>(at);
        if (load<i32>(column) !== 0 && length === 1 && (byte === 0x74 || byte === 0x66)) store<u8>(out++, byte === 0x74 ? 0x31 : 0x30);
        else out = writeText(at, at + length, out);
        store<u8>(out++, 0x22);
        at += length;
        texts = 12;
      } else {
        at++;
        if (kind !== 0x6e) continue;
        const textLength = load<i32>(column + texts + 20);
        copy(load<i32>(column + texts + 16), out, textLength);
        out += textLength;
        texts = 12;
      }
    }
    const tailLength = load<i32>(transaction + 4);
    copy(transaction + TAIL_AT, out, tailLength);
    out += tailLength;
    checksum = checksumOf(valuesAt, out, checksum);
  }
  store<u32>(CHECKSUM, ~checksum);
  return out;
}

/** Puts a commit time into a head; gives the head's own part of a checksum. */
function setTime(head: i32, length: i32, timeAt: i32, time: i32): u32 {
  for (let i = 0; i < 13; i++) store<u8>(timeAt + i, load<u8>(time + i));
  return checksumOf(head, head + length, 0);
}

function copy(from: i32, to: i32, length: i32): void {
  for (let i = 0; i < length; i += 16) v128.store(to + i, v128.load(from + i));
}

function copyLong(from: i32, to: i32, length: i32): void {
  for (let i = 0; i < length; i += 64) {
    v128.store(to + i, v128.load(from + i));
    v128.store(to + i, v128.load(from + i, 16), 16);
    v128.store(to + i, v128.load(from + i, 32), 32);
    v128.store(to + i, v128.load(from + i, 48), 48);
  }
}

/** A checksum behind a head of zeros: what the head itself adds is added to it. */
function passedOver(checksum: u32, tables: i32): u32 {
  return (
    load<u32>(tables + ((checksum & 0xff) << 2)) ^
    load<u32>(tables + 0x400 + (((checksum >> 8) & 0xff) << 2)) ^
    load<u32>(tables + 0x800 + (((checksum >> 16) & 0xff) << 2)) ^
    load<u32>(tables + 0xc00 + ((checksum >> 24) << 2))
  );
}

/** CRC-32 without its first and last complement, sixteen bytes at a time. */
function checksumOf(from: i32, to: i32, before: u32): u32 {
  let checksum = before;
  let at = from;
  for (; at + 16 <= to; at += 16) {
    const first = load<u32>(at) ^ checksum;
    const second = load<u32>(at, 4);
    const third = load<u32>(at, 8);
    const fourth = load<u32>(at, 12);
    checksum =
      load<u32>(BYTE_TABLES + 0x3c00 + ((first & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x3800 + (((first >> 8) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x3400 + (((first >> 16) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x3000 + ((first >> 24) << 2)) ^
      load<u32>(BYTE_TABLES + 0x2c00 + ((second & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x2800 + (((second >> 8) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x2400 + (((second >> 16) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x2000 + ((second >> 24) << 2)) ^
      load<u32>(BYTE_TABLES + 0x1c00 + ((third & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x1800 + (((third >> 8) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x1400 + (((third >> 16) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x1000 + ((third >> 24) << 2)) ^
      load<u32>(BYTE_TABLES + 0xc00 + ((fourth & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x800 + (((fourth >> 8) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + 0x400 + (((fourth >> 16) & 0xff) << 2)) ^
      load<u32>(BYTE_TABLES + ((fourth >> 24) << 2));
  }
  for (; at < to; at++) checksum = load<u32>(BYTE_TABLES + (((checksum ^ load<u8>(at)) & 0xff) << 2)) ^ (checksum >> 8);
  return checksum;
}

/** Sixteen bytes at once where none of them is special; else up to the first that is, and that one apart. */
function writeText(from: i32, to: i32, target: i32): i32 {
  let at = from;
  let out = target;
  while (at < to) {
    const chunk = v128.load(at);
    v128.store(out, chunk);
    const specials = i8x16.bitmask(specialsOf(chunk));
    const clean = specials === 0 ? 16 : ctz(specials);
    if (clean >= to - at) return out + (to - at);
    at += clean;
    out += clean;
    if (clean === 16) continue;
    const byte = load<u8>(at);
    if (byte >= 0x80) {
      const length = sequenceLength(at, to);
      if (length > 0) {
        store<u32>(out, load<u32>(at));
        at += length;
        out += length;
      } else if (length < 0) {
        out = writeUnicode(out, 0x2000 | (load<u8>(at + 2) & 0x3f));
        at += 3;
      } else {
        out = writeUnicode(out, 0xfffd);
        at++;
      }
      continue;
    }
    at++;
    const letter = letterOf(byte);
    if (letter === 0) out = writeUnicode(out, byte);
    else {
      store<u8>(out, 0x5c);
      store<u8>(out + 1, letter);
      out += 2;
    }
  }
  return out;
}

/** Below 0x20, above 0x7f, or one of `" & < > \`. */
function specialsOf(chunk: v128): v128 {
  const control = i8x16.lt_s(chunk, i8x16.splat(0x20));
  const quoteOrAmpersand = i8x16.eq(v128.and(chunk, i8x16.splat(<i8>0xfb)), i8x16.splat(0x22));
  const angle = i8x16.eq(v128.and(chunk, i8x16.splat(<i8>0xfd)), i8x16.splat(0x3c));
  const backslash = i8x16.eq(chunk, i8x16.splat(0x5c));
  return v128.or(v128.or(control, quoteOrAmpersand), v128.or(angle, backslash));
}

/** The letter behind a backslash; 0 for what is written by its number. */
function letterOf(byte: u32): u32 {
  if (byte === 0x22 || byte === 0x5c) return byte;
  if (byte === 0x0a) return 0x6e;
  if (byte === 0x09) return 0x74;
  return byte === 0x0d ? 0x72 : 0;
}

/** The bytes of the UTF-8 sequence at `at`, −1 for U+2028/9, 0 for what is none (over-long forms, surrogates, a cut). */
function sequenceLength(at: i32, to: i32): i32 {
  const lead: u32 = load<u8>(at);
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > to) return 0;
  const second: u32 = load<u8>(at + 1);
  if ((second & 0xc0) !== 0x80) return 0;
  if (length === 2) return 2;
  const third: u32 = load<u8>(at + 2);
  if ((third & 0xc0) !== 0x80) return 0;
  if (length === 3) {
    if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second >= 0xa0)) return 0;
    return lead === 0xe2 && second === 0x80 && (third | 1) === 0xa9 ? -1 : 3;
  }
  if ((load<u8>(at + 3) & 0xc0) !== 0x80 || (lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second >= 0x90)) return 0;
  return 4;
}

function writeUnicode(out: i32, code: u32): i32 {
  store<u16>(out, 0x755c);
  store<u8>(out + 2, hexDigit(code >> 12));
  store<u8>(out + 3, hexDigit((code >> 8) & 15));
  store<u8>(out + 4, hexDigit((code >> 4) & 15));
  store<u8>(out + 5, hexDigit(code & 15));
  return out + 6;
}

function hexDigit(digit: u32): u32 {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}
