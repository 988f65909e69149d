import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { escapeName, unescapeName } from '../../../../lib/formats/storage-layout/index.ts';

/** architecture §5: names in paths */
describe('escapeName', () => {
  it.each([
    ['orders', 'orders'],
    ['Order-Items_2', 'Order-Items_2'],
    ['a.b', 'a.b'],
    ['.hidden', '%2Ehidden'],
    ['..', '%2E.'],
    ['a/b', 'a%2Fb'],
    ['../etc', '%2E.%2Fetc'],
    ['a b', 'a%20b'],
    ['100%', '100%25'],
    ['"q"', '%22q%22'],
    ['é', '%C3%A9'],
    ['你好', '%E4%BD%A0%E5%A5%BD'],
    ['meta', '%6Deta'],
    ['metadata', '%6Detadata'],
    ['Meta', 'Meta'],
    ['meta2', 'meta2'],
    ['2026', '%32026'],
    ['2026-06', '%32026-06'],
    ['2026-06-23', '%32026-06-23'],
    ['2026-06-23x', '2026-06-23x'],
    ['42', '%342'],
    ['4x', '4x'],
  ])('escapes %j as %s', (name, escaped) => {
    expect(escapeName(name)).toBe(escaped);
    expect(unescapeName(escaped)).toBe(name);
  });

  it('is injective, leaves no folder and meets none of the layout’s own names', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
        const escaped = escapeName(name);
        expect(unescapeName(escaped)).toBe(name.toWellFormed());
        expect(escaped).toMatch(/^(?!\.)[A-Za-z0-9_.%-]+$/);
        expect(escaped).not.toMatch(/^(?:meta|metadata|\d+|\d{4}(?:-\d{2}){0,2})$/);
      }),
    );
  });

  it.each(['', 'meta', '2026', '%', '%2', '%2f', '%41', 'a b', '.a', '%FF'])('knows that it never made %j', (escaped) => {
    expect(unescapeName(escaped)).toBeNull();
  });
});
