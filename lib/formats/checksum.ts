import { crc32 } from 'node:zlib';

/** CRC-32 (IEEE) of `bytes` behind what gave `before`. Node's own begins anew at an empty view of no memory. */
export function crc32Of(bytes: Uint8Array, before = 0): number {
  return bytes.length === 0 ? before : crc32(bytes, before);
}

/** The same of bytes in pieces. */
export function crc32OfPieces(pieces: readonly Uint8Array[], before = 0): number {
  return pieces.reduce((sum, piece) => crc32Of(piece, sum), before);
}

/** CRC-32 of A and B joined, from those of A and of B and the length of B in bytes: neither is read again. */
export function crc32Combine(a: number, b: number, lengthB: number): number {
  return a === 0 ? b : (passedOver(a, lengthB) ^ b) >>> 0;
}

/**
 * Four tables of 256 words, one for each byte of a checksum (without its complements), the lowest first: together they pass it over `length` bytes of zeros. What bytes add
 * to a checksum that passes over them is what they make of 0.
 */
export function passingTables(length: number): Uint32Array {
  const tables = new Uint32Array(4 * 256);
  // Of each bit alone, the highest first: the next is the last one times x.
  for (let bit = 31, passed = passedOver(ONE, length); bit >= 0; bit--, passed = timesX(passed)) {
    tables[(bit >> 3) * 256 + (1 << (bit & 7))] = passed;
  }
  for (let table = 0; table < tables.length; table += 256) {
    for (let i = 1; i < 256; i++) {
      const rest = i & (i - 1);
      tables[table + i] = tables[table + rest]! ^ tables[table + (i ^ rest)]!;
    }
  }
  return tables;
}

/** Tables for a checksum that takes `width` bytes in one step: the k-th is of a byte with k others of them behind it. */
export function steppingTables(width: number): Uint32Array {
  const tables = new Uint32Array(width * 256);
  for (let behind = 0; behind < width; behind++) tables.set(passingTables(behind + 1).subarray(0, 256), behind * 256);
  return tables;
}

/** A checksum behind so many bytes of zeros. */
function passedOver(checksum: number, length: number): number {
  let passed = checksum;
  for (let place = 0, rest = length; rest > 0; place++) {
    const digit = rest % 256;
    rest = (rest - digit) / 256;
    if (digit > 0) passed = multiply(powersOf(place)[digit]!, passed);
  }
  return passed;
}

/** The polynomial, and the constant 1, with bits in the order in which CRC-32 has them: the highest power last. */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;
/** x^8: one byte further. */
const BYTE = ONE >>> 8;

/** For each digit d of a length in bytes, at a place to the base of 256: the factor that appends d · 256^place zero bytes. */
const powers: Uint32Array[] = [];

function powersOf(place: number): Uint32Array {
  const known = powers[place];
  if (known !== undefined) return known;
  const below = place === 0 ? null : powersOf(place - 1);
  const step = below === null ? BYTE : multiply(below[255]!, below[1]!);
  const made = new Uint32Array(256);
  made[0] = ONE;
  for (let digit = 1; digit < 256; digit++) made[digit] = multiply(made[digit - 1]!, step);
  powers[place] = made;
  return made;
}

/** The product of two polynomials over GF(2), modulo the one of CRC-32. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let rest = a; rest !== 0; rest <<= 1) {
    if (rest & ONE) product ^= factor;
    factor = timesX(factor);
  }
  return product >>> 0;
}

function timesX(factor: number): number {
  return factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
}
