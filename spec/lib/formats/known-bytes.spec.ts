import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { KnownBytes } from '../../../lib/formats/known-bytes.ts';
import { viewOf } from '../../../lib/formats/word-text.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((one) => one.replaceAll('\0', '0'));

describe('KnownBytes', () => {
  it('finds them where they stand, and nowhere else', () => {
    fc.assert(
      fc.property(text, text, text, fc.nat(60), fc.nat(5), (before, known, behind, place, short) => {
        const bytes = Buffer.from(before + known + behind);
        const [from, length] = [Buffer.byteLength(before), Buffer.byteLength(known)];
        const one = new KnownBytes(bytes, from, from + length);
        const view = viewOf(bytes);
        expect(one.length).toBe(length);
        expect(one.behind(bytes, view, from, from + length)).toBe(from + length);
        if (length > 0) expect(one.behind(bytes, view, from, from + length - 1 - short)).toBe(-1);
        const isThere = place + length <= bytes.length && bytes.subarray(place, place + length).equals(Buffer.from(known));
        expect(one.behind(bytes, view, place, bytes.length)).toBe(isThere ? place + length : -1);
        expect(one.behind(bytes, view, -1, bytes.length)).toBe(-1);
      }),
    );
  });

  it('tells bytes apart that differ in one, wherever it is', () => {
    const bytes = Buffer.from('"column with a long name":');
    const known = new KnownBytes(bytes);
    for (let at = 0; at < bytes.length; at++) {
      const other = Buffer.from(bytes);
      other[at]! ^= 1;
      expect(known.behind(other, viewOf(other), 0, other.length)).toBe(-1);
    }
  });
});
