import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FLOAT_ROOM, layoutFloat } from '../../../lib/formats/number-layout.ts';

function layout(text: string, withExponents: boolean): string | null {
  const source = Buffer.from(`x${text}x`);
  const target = Buffer.alloc(FLOAT_ROOM + 1);
  const end = layoutFloat(source, 1, source.length - 1, target, 1, withExponents);
  return end < 0 ? null : target.toString('latin1', 1, end);
}

/** spec storage-sink §6.1: the row of float and double */
describe('layoutFloat', () => {
  it.each([
    ['0', '0', '0'],
    ['-0', '-0', '-0'],
    ['100000', '100000', '100000'],
    ['1000000', '1e+06', '1000000'],
    ['1e+06', '1e+06', '1000000'],
    ['1234567', '1.234567e+06', '1234567'],
    ['123456.789', '123456.789', '123456.789'],
    ['12345.678', '12345.678', '12345.678'],
    ['0.0001', '0.0001', '0.0001'],
    ['1e-05', '1e-05', '0.00001'],
    ['-1.5e-07', '-1.5e-07', '-0.00000015'],
    ['9.999999e+5', '999999.9', '999999.9'],
    ['1.7976931348623157e+308', '1.7976931348623157e+308', `17976931348623157${'0'.repeat(292)}`],
    ['5e-324', '5e-324', `0.${'0'.repeat(323)}5`],
    ['1.50', '1.5', '1.5'],
  ])('lays %s out as %s with exponents and as %s without', (text, withExponents, without) => {
    expect(layout(text, true)).toBe(withExponents);
    expect(layout(text, false)).toBe(without);
  });

  it.each(['', '-', '.', 'NaN', 'Infinity', '-Infinity', '1e', '1e+', '1e1000', '1.2.3', '1x', '+1', ' 1', '1e+5 ', '9'.repeat(41)])(
    'leaves %j alone, which is no finite number of PostgreSQL',
    (text) => {
      expect(layout(text, true)).toBeNull();
      expect(layout(text, false)).toBeNull();
    },
  );

  it('keeps the value of every double, in both forms', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = Object.is(value, -0) ? '-0' : String(value);
        expect(Number(layout(text, true))).toBe(value);
        expect(Number(layout(text, false))).toBe(value);
        expect(layout(text, false)).not.toMatch(/e/);
      }),
    );
  });
});
