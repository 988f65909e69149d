import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { blobBytes, packBlobs, readBlob } from '../../../lib/spool/blob.ts';

const text = (content: string) => Buffer.from(content);

const sourceOf = (key: Buffer | null, value: readonly Buffer[], rows = 1, valueChecksum: number | null = null) => {
  const valueBytes = value.reduce((sum, { length }) => sum + length, 0);
  return { content: { key, value }, bytes: blobBytes(key?.length ?? 0, valueBytes), valueBytes, valueChecksum, rows };
};

function blobOf(key: Buffer | null, value: readonly Buffer[], rows = 1) {
  const { pieces, checksums } = packBlobs([sourceOf(key, value, rows)]);
  return { blob: Buffer.concat(pieces), checksum: checksums[0]!.blob };
}

/** spec storage-sink §2.3, §2.7 */
describe('a blob', () => {
  it.each([
    ['a value of 350 bytes has 366', 0, 350, 366],
    ['a value of 450 bytes has 466', 0, 450, 466],
    ['a key counts', 8, 450, 474],
    ['nothing has the frame alone: 4 for the count, 12 for the message', 0, 0, 16],
  ])('is accounted as what it takes on disk: %s', (_, key, value, bytes) => {
    expect(blobBytes(key, value)).toBe(bytes);
    expect(blobOf(Buffer.alloc(key), [Buffer.alloc(value)]).blob).toHaveLength(bytes);
  });

  it('has the layout of the spec, little-endian', () => {
    const { blob } = blobOf(text('kk'), [text('val'), text('ue')], 258);
    expect(blob.toString('hex')).toBe(`01000000020000000500000002010000${text('kkvalue').toString('hex')}`);
  });

  it('gives back what was put in; an empty key is none', () => {
    const length = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 3000, max: 9000 }));
    const bytes = fc.tuple(length, fc.integer({ min: 1, max: 255 })).map(([size, byte]) => Buffer.alloc(size, byte));
    const content = fc.record({ key: fc.option(bytes), pieces: fc.array(bytes, { maxLength: 5 }), rows: fc.nat(), isKnown: fc.boolean() });
    fc.assert(
      fc.property(fc.array(content, { maxLength: 12 }), (contents) => {
        const sources = contents.map(({ key, pieces, rows, isKnown }) => {
          return sourceOf(key, pieces, rows, isKnown ? crcOf(Buffer.concat(pieces)) : null);
        });
        const { pieces, checksums } = packBlobs(sources);
        const all = Buffer.concat(pieces);
        let at = 0;
        sources.forEach((source, index) => {
          const { key, value } = source.content;
          const read = readBlob(all.subarray(at, at + source.bytes), source.bytes, checksums[index]!.blob);
          if (typeof read === 'string') throw new Error(read);
          expect([read.rows, read.key === null]).toEqual([source.rows, key === null || key.length === 0]);
          expect((read.key ?? Buffer.alloc(0)).equals(key ?? Buffer.alloc(0)) && read.value.equals(Buffer.concat(value))).toBe(true);
          at += source.bytes;
        });
        expect(all).toHaveLength(at);
      }),
      { numRuns: 60 },
    );
  });

  it.each([10, 5000])('has the checksum of its value apart, of %d bytes', (size) => {
    const value = [Buffer.alloc(size, 'a'), Buffer.alloc(size, 'b')];
    const { checksums } = packBlobs([sourceOf(text('key'), value)]);
    expect(checksums[0]!.value).toBe(crcOf(Buffer.concat(value)));
    const known = packBlobs([sourceOf(text('key'), value, 1, crcOf(Buffer.concat(value)))]);
    expect(known.checksums).toEqual(checksums);
  });

  it('copies small values together, so that a write has few pieces, and large ones not at all', () => {
    const large = Buffer.alloc(5000);
    const small = Array.from({ length: 100 }, () => sourceOf(null, [text('a'), text('b')]));
    const { pieces } = packBlobs([...small, sourceOf(null, [large]), ...small]);
    expect(pieces).toHaveLength(3);
    expect(pieces[1]).toBe(large);
  });

  const { blob: bytes, checksum } = blobOf(text('key'), [text('value')]);

  it('is noticed to be cut, wherever', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(readBlob(bytes.subarray(0, length), bytes.length, checksum)).toBe(`it ends after ${length} of 24 bytes`);
    }
  });

  it('is noticed to be changed, whichever bit it is', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(readBlob(changed, bytes.length, checksum)).toMatch(/^its checksum is/);
    }
  });

  it.each([
    ['no frame', blobOf(null, []).blob.subarray(0, 8), '8 bytes hold no frame'],
    ['another count', Buffer.from(bytes).fill(9, 0, 1), 'it says that it holds 9 messages'],
    ['lengths that do not add up', Buffer.from(bytes).fill(255, 4, 8), 'its key of 4294967295 and value of 5 bytes do not make 24'],
  ])('is refused with %s, even where the checksum is right, and nothing is allocated by its numbers', (_, blob, reason) => {
    expect(readBlob(blob, blob.length, crcOf(blob))).toBe(reason);
  });
});

function crcOf(bytes: Buffer): number {
  // CRC-32 by its definition, not by what the code uses.
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
