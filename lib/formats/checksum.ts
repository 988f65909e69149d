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
  let shifted = a;
  for (let place = 0, rest = lengthB; rest > 0; place++) {
    const digit = rest % 256;
    rest = (rest - digit) / 256;
    if (digit > 0) shifted = multiply(powersOf(place)[digit]!, shifted);
  }
  return (shifted ^ b) >>> 0;
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
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product >>> 0;
}
