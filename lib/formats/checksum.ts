import { crc32 } from 'node:zlib';

/** CRC-32 (IEEE) of `bytes` behind what gave `before`. Node's own begins anew at an empty view of no memory. */
export function crc32Of(bytes: Uint8Array, before = 0): number {
  return bytes.length === 0 ? before : crc32(bytes, before);
}

/** The same of bytes in pieces. */
export function crc32OfPieces(pieces: readonly Uint8Array[], before = 0): number {
  return pieces.reduce((sum, piece) => crc32Of(piece, sum), before);
}
