import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { blobBytes, blobOf, readBlob } from '../../../lib/spool/blob.ts';

const text = (content: string) => Buffer.from(content);

/** spec storage-sink §2.3, §2.7 */
describe('a blob', () => {
  it.each([
    ['a value of 350 bytes has 366', 0, 350, 366],
    ['a value of 450 bytes has 466', 0, 450, 466],
    ['a key counts', 8, 450, 474],
    ['nothing has the frame alone: 4 for the count, 12 for the message', 0, 0, 16],
  ])('is accounted as what it takes on disk: %s', (_, key, value, bytes) => {
    expect(blobBytes(key, value)).toBe(bytes);
    expect(Buffer.concat(blobOf(Buffer.alloc(key), [Buffer.alloc(value)], value, 1).pieces)).toHaveLength(bytes);
  });

  it('has the layout of the spec, little-endian', () => {
    const { pieces, bytes } = blobOf(text('kk'), [text('val'), text('ue')], 5, 258);
    expect(Buffer.concat(pieces).toString('hex')).toBe(`01000000020000000500000002010000${text('kkvalue').toString('hex')}`);
    expect(bytes).toBe(23);
  });

  it('gives back what was put in; an empty key is none', () => {
    const content = fc.record({
      key: fc.uint8Array({ maxLength: 40 }),
      pieces: fc.array(fc.uint8Array({ maxLength: 40 })),
      rows: fc.nat(),
    });
    fc.assert(
      fc.property(content, ({ key, pieces, rows }) => {
        const value = pieces.map((piece) => Buffer.from(piece));
        const valueBytes = value.reduce((sum, { length }) => sum + length, 0);
        const blob = blobOf(key.length === 0 ? null : Buffer.from(key), value, valueBytes, rows);
        const read = readBlob(Buffer.concat(blob.pieces), blob.bytes, blob.checksum);
        expect(read).toEqual({ key: key.length === 0 ? null : Buffer.from(key), value: Buffer.concat(value), rows });
      }),
    );
  });

  const whole = blobOf(text('key'), [text('value')], 5, 1);
  const bytes = Buffer.concat(whole.pieces);

  it('is noticed to be cut, wherever', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(readBlob(bytes.subarray(0, length), whole.bytes, whole.checksum)).toBe(`it ends after ${length} of 24 bytes`);
    }
  });

  it('is noticed to be changed, whichever bit it is', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(readBlob(changed, whole.bytes, whole.checksum)).toMatch(/^its checksum is/);
    }
  });

  it.each([
    ['no frame', blobOf(null, [], 0, 0).pieces[0]!.subarray(0, 8), '8 bytes hold no frame'],
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
