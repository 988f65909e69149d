import { describe, expect, it } from '@jest/globals';
import { crc32Of } from '../../../lib/formats/checksum.ts';

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
