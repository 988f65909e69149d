import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { crc32Combine, crc32Of, crc32OfPieces, passingTables, steppingTables } from '../../../lib/formats/checksum.ts';

describe('crc32Of', () => {
  it('is CRC-32/IEEE', () => {
    expect(crc32Of(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  it('goes on behind an empty view, also one of no memory, where Node begins anew', () => {
    const sum = crc32Of(Buffer.from('1234'));
    for (const empty of [Buffer.alloc(0), Buffer.from(new ArrayBuffer(0)), new Uint8Array(0)]) {
      expect(crc32Of(Buffer.from('56789'), crc32Of(empty, sum))).toBe(0xcbf43926);
    }
  });
});

describe('crc32Combine', () => {
  it('is the checksum of the joined bytes, whatever they are and however they are cut', () => {
    const piece = fc.uint8Array({ maxLength: 700 });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const combined = pieces.reduce((sum, bytes) => crc32Combine(sum, crc32Of(bytes), bytes.length), 0);
        expect(combined).toBe(crc32Of(Buffer.concat(pieces)));
      }),
      { numRuns: 300 },
    );
  });

  it.each([1, 255, 256, 257, 65_535, 65_536, 65_537, 16_777_215, 16_777_217])(
    'goes over %d bytes, whatever their number has as digits',
    (length) => {
      const [a, b] = [Buffer.from('before'), Buffer.alloc(length, 'row')];
      expect(crc32Combine(crc32Of(a), crc32Of(b), length)).toBe(crc32OfPieces([a, b]));
    },
  );

  it('goes over more bytes than 32 bits count, as many steps of fewer do', () => {
    const zeroes = (sum: number, bytes: number) => crc32Combine(sum, 0, bytes);
    const start = crc32Of(Buffer.from('x'));
    expect(zeroes(start, 2 ** 33 + 7)).toBe(zeroes(zeroes(zeroes(zeroes(zeroes(start, 2 ** 31), 2 ** 31), 2 ** 31), 2 ** 31), 7));
  });
});

describe('tables', () => {
  it.each([1, 8, 391, 70_000])('pass a checksum over %d bytes of zeros, byte by byte of its own', (length) => {
    const tables = passingTables(length);
    const passed = (sum: number) => [0, 1, 2, 3].reduce((all, byte) => all ^ tables[byte * 256 + ((sum >>> (byte * 8)) & 0xff)]!, 0) >>> 0;
    for (const sum of [0, 1, 0x80000000, 0xffffffff, crc32Of(Buffer.from('x'))]) expect(passed(sum)).toBe(crc32Combine(sum, 0, length));
  });

  it('take as many bytes in one step as there are tables', () => {
    const tables = steppingTables(16);
    const bytes = Buffer.from('sixteen bytes ab');
    let sum = 0;
    bytes.forEach((byte, index) => {
      const added = index < 4 ? byte ^ 0xff : byte;
      sum ^= tables[(15 - index) * 256 + added]!;
    });
    expect(~sum >>> 0).toBe(crc32Of(bytes));
  });
});
