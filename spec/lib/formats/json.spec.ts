import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type JsonValue, parseJson, quoteJson, stringifyJson } from '../../../lib/formats/json.ts';

describe('stringifyJson', () => {
  it.each<[JsonValue, string]>([
    [null, 'null'],
    [true, 'true'],
    [1.5, '1.5'],
    [18_446_744_073_709_551_615n, '18446744073709551615'],
    [-9_223_372_036_854_775_808n, '-9223372036854775808'],
    ['a"b\\c\n', '"a\\"b\\\\c\\n"'],
    [[], '[]'],
    [{}, '{}'],
    [[1, [2n, null]], '[1,[2,null]]'],
    [{ b: 1, a: { c: [] } }, '{"b":1,"a":{"c":[]}}'],
    [{ kept: null, left: undefined }, '{"kept":null}'],
    [{ left: undefined }, '{}'],
  ])('writes %j as %s', (value, text) => {
    expect(stringifyJson(value)).toBe(text);
  });

  it('indents as JSON.stringify does', () => {
    const value = { a: [1, 2, { b: 'c' }], empty: [], none: {}, d: { e: null } };
    expect(stringifyJson(value, 4)).toBe(JSON.stringify(value, null, 4));
  });

  it.each([
    ['<a href="x">&</a>', '"\\u003ca href=\\"x\\"\\u003e\\u0026\\u003c/a\\u003e"'],
    ['\u2028 and \u2029', '"\\u2028 and \\u2029"'],
    ['\ud800x', '"\ufffdx"'],
    ['é€😀\x7f', '"é€😀\x7f"'],
    ['\x00\x1f', '"\\u0000\\u001f"'],
    ['\b\f\n\r\t"\\/', '"\\b\\f\\n\\r\\t\\"\\\\/"'],
  ])('escapes %j as Go does', (text, quoted) => {
    expect(quoteJson(text)).toBe(quoted);
  });
});

describe('parseJson', () => {
  it.each<[string, JsonValue]>([
    ['9007199254740991', 9_007_199_254_740_991],
    ['9007199254740992', 9_007_199_254_740_992n],
    ['9007199254740993', 9_007_199_254_740_993n],
    ['-9223372036854775808', -9_223_372_036_854_775_808n],
    ['18446744073709551615', 18_446_744_073_709_551_615n],
    ['[18446744073709551615,1]', [18_446_744_073_709_551_615n, 1]],
    ['[1,18446744073709551615]', [1, 18_446_744_073_709_551_615n]],
    ['{"a":{"b":-18446744073709551615}}', { a: { b: -18_446_744_073_709_551_615n } }],
    [
      '{\n  "a":\t18446744073709551615,\n  "b": [\r\n-18446744073709551615]}',
      { a: 18_446_744_073_709_551_615n, b: [-18_446_744_073_709_551_615n] },
    ],
    ['1234567890123456', 1_234_567_890_123_456],
    ['-0', -0],
  ])('reads the integer in %s exactly', (text, value) => {
    expect(parseJson(text)).toEqual(value);
  });

  it.each([
    '0.30000000000000004',
    '2.2204460492503131e-16',
    '12345678901234567.5',
    '1e20',
    '1E+0000000000000000020',
    '[-0.12345678901234567]',
  ])('reads %s as a number, because it is written as no integer', (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  it.each(['12345678901234567890', '\u0000bigint:12', '\u0000i12345678901234567890', '\u0000t', '\u0000', '\\":12345678901234567890'])(
    'leaves the text %j alone, as a value and as a key',
    (text) => {
      expect(parseJson(JSON.stringify({ [text]: [text, { [text]: 1 }] }))).toEqual({ [text]: [text, { [text]: 1 }] });
    },
  );

  it.each(['', '{', '01234567890123456789', '[1,]', '"a', '12345678901234567890x', '{"a":1}{'])('throws a SyntaxError for %j', (text) => {
    expect(() => parseJson(text)).toThrow(SyntaxError);
  });

  it('finds an integer beyond 2^53 wherever it stands', () => {
    for (let before = 0; before < 40; before++) {
      for (const integer of [9_007_199_254_740_993n, -12_345_678_901_234_567_890n]) {
        const text = 'x'.repeat(before);
        expect(parseJson(`["${text}",${integer}]`)).toEqual([text, integer]);
        expect(parseJson(`["${'7'.repeat(before)}",${integer},${'7'.repeat(before % 15)}1]`)).toContainEqual(integer);
      }
    }
  });

  it('looks at digits inside a text once, however many they are: each sixteenth would look at all of them again', () => {
    const digits = '7'.repeat(1_000_000);
    for (let behind = 0; behind < 20; behind++) {
      const text = 'x'.repeat(behind);
      expect(parseJson(`["${digits}${text}",9007199254740993]`)).toEqual([digits + text, 9_007_199_254_740_993n]);
    }
  });

  it('gives back what stringifyJson wrote, whatever it is', () => {
    const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
        fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }).filter((integer) => !Number.isSafeInteger(Number(integer))),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true, noDefaultInfinity: true, max: 1e9, min: -1e9 }).map((number) => (number === 0 ? 0 : number)),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value')),
        fc.dictionary(
          fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
          tie('value'),
          { noNullPrototype: true },
        ),
      ),
    }));
    fc.assert(
      fc.property(value, fc.constantFrom(0, 2), (json, indent) => {
        expect(parseJson(stringifyJson(json, indent))).toEqual(json);
      }),
    );
  });
});
