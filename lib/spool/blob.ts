import { crc32 } from 'node:zlib';

/**
 * What an entry is on disk (spec storage-sink §2.7), little-endian: u32 count (always 1), u32 key length, u32 value length, u32 rows, key, value.
 *
 * The checksum (CRC-32 of the whole blob) stays in memory, as its place does: nobody else ever reads the file.
 */
export const FRAME_BYTES = 16;

/** The accounting bytes of an entry, in memory as on disk. */
export function blobBytes(keyBytes: number, valueBytes: number): number {
  return FRAME_BYTES + keyBytes + valueBytes;
}

export interface Blob {
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  readonly checksum: number;
}

/** The blob of a key and a value, which are not copied. */
export function blobOf(key: Buffer | null, value: readonly Buffer[], valueBytes: number, rows: number): Blob {
  const frame = Buffer.allocUnsafe(FRAME_BYTES);
  const keyBytes = key?.length ?? 0;
  frame.writeUInt32LE(1, 0);
  frame.writeUInt32LE(keyBytes, 4);
  frame.writeUInt32LE(valueBytes, 8);
  frame.writeUInt32LE(rows, 12);
  const pieces = key === null ? [frame, ...value] : [frame, key, ...value];
  return { pieces, bytes: blobBytes(keyBytes, valueBytes), checksum: checksumOf(pieces) };
}

export interface BlobContent {
  /** Null when it is empty. */
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly rows: number;
}

/** The content of a blob, in views of it; or a sentence that says why it is not the one that was written. Whatever the bytes are, nothing is allocated by them. */
export function readBlob(blob: Buffer, length: number, checksum: number): BlobContent | string {
  if (blob.length < length) return `it ends after ${blob.length} of ${length} bytes`;
  const found = crc32(blob);
  if (found !== checksum) return `its checksum is ${found}, it was ${checksum}`;
  if (length < FRAME_BYTES) return `${length} bytes hold no frame`;
  const [count, keyBytes, valueBytes] = [blob.readUInt32LE(0), blob.readUInt32LE(4), blob.readUInt32LE(8)];
  if (count !== 1) return `it says that it holds ${count} messages`;
  if (blobBytes(keyBytes, valueBytes) !== length) return `its key of ${keyBytes} and value of ${valueBytes} bytes do not make ${length}`;
  const valueAt = FRAME_BYTES + keyBytes;
  return { key: keyBytes === 0 ? null : blob.subarray(FRAME_BYTES, valueAt), value: blob.subarray(valueAt), rows: blob.readUInt32LE(12) };
}

function checksumOf(pieces: readonly Buffer[]): number {
  let checksum = 0;
  for (const piece of pieces) checksum = crc32(piece, checksum);
  return checksum;
}
