import { crc32Combine, crc32Of, crc32OfPieces } from '../formats/checksum.ts';

/**
 * What an entry is on disk (spec storage-sink §2.7), little-endian: u32 count (always 1), u32 key length, u32 value length, u32 rows, key, value.
 *
 * The checksum (CRC-32 of the whole blob) stays in memory, as its place does, where nobody else ever reads the file; in a log it stands before the blob.
 */
const FRAME_BYTES = 16;

/** The accounting bytes of an entry, in memory as on disk. */
export function blobBytes(keyBytes: number, valueBytes: number): number {
  return FRAME_BYTES + keyBytes + valueBytes;
}

/** Writes what stands before key and value; gives the place behind it. */
export function writeFrame(into: Buffer, at: number, keyBytes: number, valueBytes: number, rows: number): number {
  into.writeUInt32LE(1, at);
  into.writeUInt32LE(keyBytes, at + 4);
  into.writeUInt32LE(valueBytes, at + 8);
  into.writeUInt32LE(rows, at + 12);
  return at + FRAME_BYTES;
}

/** What a blob is made of. */
export interface BlobSource {
  readonly content: { readonly key: Buffer | null; readonly value: readonly Buffer[] } | null;
  readonly bytes: number;
  readonly valueBytes: number;
  /** CRC-32 of the value; null where it is not known yet. */
  readonly valueChecksum: number | null;
  readonly rows: number;
}

/** Blobs one behind the other, in pieces, and the checksums of each. */
export interface PackedBlobs {
  readonly pieces: Buffer[];
  readonly checksums: BlobChecksums[];
}

export interface BlobChecksums {
  readonly blob: number;
  /** Of its value alone. */
  readonly value: number;
}

/** The blobs of these. Large values are not copied; small ones are, so that the pieces are few. */
export function packBlobs(sources: readonly BlobSource[]): PackedBlobs {
  const pieces: Buffer[] = [];
  const checksums: BlobChecksums[] = [];
  let toStage = sources.reduce((sum, { bytes }) => sum + stagedBytes(bytes), 0);
  let stage = Buffer.alloc(0);
  let [from, to] = [0, 0];
  const cut = () => {
    if (to > from) pieces.push(stage.subarray(from, to));
    from = to;
  };
  for (const { content, bytes, valueBytes, valueChecksum, rows } of sources) {
    const keyBytes = bytes - FRAME_BYTES - valueBytes;
    if (to + stagedBytes(bytes) > stage.length) {
      cut();
      stage = Buffer.allocUnsafe(Math.min(toStage, STAGE_BYTES));
      from = 0;
      to = 0;
    }
    toStage -= stagedBytes(bytes);
    const start = to;
    to = writeFrame(stage, to, keyBytes, valueBytes, rows);
    const { key, value } = content!;
    let ofHead: number;
    let ofValue: number;
    if (bytes <= SMALL_BYTES) {
      if (key !== null) to += key.copy(stage, to);
      const valueAt = to;
      for (const piece of value) to += piece.copy(stage, to);
      ofHead = crc32Of(stage.subarray(start, valueAt));
      ofValue = valueChecksum ?? crc32Of(stage.subarray(valueAt, to));
    } else {
      ofHead = crc32Of(stage.subarray(start, to));
      cut();
      if (key !== null) {
        ofHead = crc32Of(key, ofHead);
        pieces.push(key);
      }
      ofValue = valueChecksum ?? crc32OfPieces(value);
      for (const piece of value) pieces.push(piece);
    }
    checksums.push({ blob: crc32Combine(ofHead, ofValue, valueBytes), value: ofValue });
  }
  cut();
  return { pieces, checksums };
}

/** What of a blob is copied: all of a small one, the frame of another. */
function stagedBytes(bytes: number): number {
  return bytes <= SMALL_BYTES ? bytes : FRAME_BYTES;
}

const SMALL_BYTES = 4096;
const STAGE_BYTES = 64 * 1024;

export interface BlobContent {
  /** Null when it is empty. */
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly rows: number;
}

/** The content of a blob, in views of it; or a sentence that says why it is not the one that was written. Whatever the bytes are, nothing is allocated by them. */
export function readBlob(blob: Buffer, length: number, checksum: number): BlobContent | string {
  if (blob.length < length) return `it ends after ${blob.length} of ${length} bytes`;
  const found = crc32Of(blob);
  if (found !== checksum) return `its checksum is ${found}, it was ${checksum}`;
  if (length < FRAME_BYTES) return `${length} bytes hold no frame`;
  const [count, keyBytes, valueBytes] = [blob.readUInt32LE(0), blob.readUInt32LE(4), blob.readUInt32LE(8)];
  if (count !== 1) return `it says that it holds ${count} messages`;
  if (blobBytes(keyBytes, valueBytes) !== length) return `its key of ${keyBytes} and value of ${valueBytes} bytes do not make ${length}`;
  const valueAt = FRAME_BYTES + keyBytes;
  return { key: keyBytes === 0 ? null : blob.subarray(FRAME_BYTES, valueAt), value: blob.subarray(valueAt), rows: blob.readUInt32LE(12) };
}
