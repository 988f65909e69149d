import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isMillraceError } from '../../../lib/errors.ts';
import { ByteWriter, type ColumnValue, OP_INSERT, RowBlockBuilder, RowCursor, rowEnd } from '../../../lib/events/index.ts';
import { CopyTextReader } from '../../../lib/formats/copy-text.ts';
import { textTable } from '../events/rows.ts';

/** The values that the reader makes of one row of COPY text. */
function read(text: string | Buffer, columnCount: number): (ColumnValue | undefined)[] {
  const line = Buffer.from(text as string);
  const bytes = Buffer.concat([Buffer.from('x\\'), line, Buffer.from('N\tx')]);
  const writer = new ByteWriter(1);
  const offset = new CopyTextReader(columnCount).appendRow(bytes, 2, 2 + line.length, writer);
  const written = writer.take();
  expect(rowEnd(written, offset, OP_INSERT)).toBe(written.length);
  const builder = new RowBlockBuilder();
  builder.append(OP_INSERT, offset, 0);
  const names = Array.from({ length: columnCount }, (_, i) => `c${i}`);
  const row = new RowCursor().moveTo(builder.build(textTable(names), written), 0);
  return names.map((name) => row.get(name));
}

/** As PostgreSQL's CopyAttributeOutText does. */
function copyText(values: readonly (string | null)[]): string {
  const letters: Record<string, string> = { '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\\': '\\' };
  return `${values.map((value) => value?.replace(/[\b\f\n\r\t\v\\]/g, (char) => `\\${letters[char]}`) ?? '\\N').join('\t')}\n`;
}

describe('CopyTextReader', () => {
  it.each<[string, string, (string | null)[]]>([
    ['plain values', '1\tAda\t3.14\n', ['1', 'Ada', '3.14']],
    ['a row without its newline', '1\tAda', ['1', 'Ada']],
    ['null beside empty text', '\\N\t\n', [null, '']],
    ['nulls alone', '\\N\t\\N\t\\N\n', [null, null, null]],
    ['one null', '\\N\n', [null]],
    ['one empty value', '\n', ['']],
    ['one empty value without a newline', '', ['']],
    ['empty values alone', '\t\t\n', ['', '', '']],
    ['text that begins like null', '\\Nx\tx\\N\n', ['Nx', 'xN']],
    ['the text \\N, which is escaped', '\\\\N\n', ['\\N']],
    ['every letter escape', '\\b\\f\\n\\r\\t\\v\\\\\n', ['\b\f\n\r\t\v\\']],
    ['escapes between plain text', 'a\\tb\\nc\tlong plain text\\\\and more\n', ['a\tb\nc', 'long plain text\\and more']],
    ['octal escapes of one to three digits', '\\7\t\\101\\1018\t\\60x\n', ['\x07', 'AA8', '0x']],
    ['hexadecimal escapes of one and two digits', '\\x41\\x4A\\xa\\x4g\n', ['AJ\n\x04g']],
    ['an x that no hexadecimal digit follows', '\\xyz\\x\n', ['xyzx']],
    ['an escaped octal digit beyond 7', '\\8\\9\n', ['89']],
    ['any other escaped byte, which is itself', '\\.\\q\\é\n', ['.qé']],
    ['an escaped tab, which does not end the value', 'a\\\tb\tc\n', ['a\tb', 'c']],
    ['UTF-8 of every length', 'é€😀\tz\n', ['é€😀', 'z']],
    ['UTF-8 in octal and hexadecimal bytes', '\\303\\251\\xc3\\xa9\n', ['éé']],
    ['control characters that have no escape', '\x01\x02\x0e\x1f\x7f\n', ['\x01\x02\x0e\x1f\x7f']],
    ['control characters that could have been escaped', 'a\bb\vc\fd\n', ['a\bb\vc\fd']],
    ['a bytea', '\\\\x00ff\n', ['\\x00ff']],
    ['json with quotes and backslashes', '{"a": "b\\\\"c\\\\\\\\"}\n', ['{"a": "b\\"c\\\\"}']],
  ])('reads %s', (_, line, values) => {
    expect(read(line, values.length)).toEqual(values);
  });

  it('reads a table without columns: an empty line a row', () => {
    const writer = new ByteWriter();
    expect(new CopyTextReader(0).appendRow(Buffer.from('\n'), 0, 1, writer)).toBe(0);
    expect(writer.take()).toEqual(Buffer.from('N\0\0'));
  });

  it('finds specials at every place of a word, because values are copied by words', () => {
    for (let length = 0; length < 12; length++) {
      for (let at = 0; at <= length; at++) {
        const before = 'abcdefghijkl'.slice(0, at);
        const after = 'ABCDEFGHIJKL'.slice(at, length);
        expect(read(`${before}\t${after}\n`, 2)).toEqual([before, after]);
        expect(read(`${before}\\\\${after}\n`, 1)).toEqual([`${before}\\${after}`]);
        expect(read(`${before}\\N${after}\t\\N\n`, 2)).toEqual([at === 0 && after === '' ? null : `${before}N${after}`, null]);
      }
    }
  });

  it('keeps every byte that is no special one, whatever stands beside it', () => {
    for (let byte = 0x0e; byte < 256; byte++) {
      if (byte === 0x5c) continue;
      for (const neighbour of [0x0e, 0x5b, 0x5d, 0x7f, 0x80, 0xff]) {
        const line = Buffer.from([byte, neighbour, byte, byte, neighbour, byte]);
        const writer = new ByteWriter();
        new CopyTextReader(1).appendRow(line, 0, line.length, writer);
        expect(writer.take().subarray(8)).toEqual(line);
      }
    }
  });

  it('gives back what PostgreSQL writes, for any values', () => {
    const value = fc.option(
      fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom('\\', '\t', '\n', 'N', '.', 'x', '7', 'é', '\r') })),
      { freq: 6 },
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 6 }), (values) => {
        const wellFormed = values.map((one) => one?.toWellFormed() ?? null);
        expect(read(copyText(wellFormed), values.length)).toEqual(wellFormed);
      }),
      { numRuns: 1000 },
    );
  });

  it('appends row after row behind what the writer holds', () => {
    const reader = new CopyTextReader(1);
    const writer = new ByteWriter(1);
    const rows = ['a\n', 'bc\n', `${'d'.repeat(5000)}\n`].map((line) => reader.appendRow(Buffer.from(line), 0, line.length, writer));
    expect(rows).toEqual([0, 9, 19]);
    expect(writer.length).toBe(19 + 8 + 5000);
  });

  it.each([
    ['a column too few', '1\t2\n', 3, 3],
    ['no column where two are due', '\n', 2, 0],
    ['a column too many', '1\t2\t3\n', 2, 3],
    ['a value where none is due', 'x\n', 0, 0],
    ['a value behind a null that is the last column', '\\N\tx\n', 1, 2],
    ['a newline inside', 'a\nb\n', 1, 1],
    ['a carriage return inside', 'a\rb\n', 1, 1],
    ['an escape that the row ends in', 'abc\\', 1, 3],
  ])('refuses %s, says where, and appends nothing', (_, line, columnCount, offset) => {
    const writer = new ByteWriter(1);
    writer.writeText('before');
    let error: unknown;
    try {
      new CopyTextReader(columnCount).appendRow(Buffer.from(line), 0, line.length, writer);
    } catch (thrown) {
      error = thrown;
    }
    expect(isMillraceError(error, 'MR_COPY_MALFORMED') && error.details['offset']).toBe(offset);
    expect(writer.take()).toEqual(Buffer.from('before'));
  });

  it.each([
    [-1, 2],
    [2, 1],
    [0, 9],
  ])('refuses bytes %i to %i of a buffer of 8', (from, to) => {
    expect(() => new CopyTextReader(1).appendRow(Buffer.alloc(8, 0x61), from, to, new ByteWriter())).toThrow('MR_COPY_MALFORMED');
  });

  it.each([-1, 1.5, 1665, Number.NaN])('refuses %p columns', (columnCount) => {
    expect(() => new CopyTextReader(columnCount)).toThrow('MR_INVALID_OPTION');
  });

  it('either reads or refuses random bytes, and says so in its own words', () => {
    const byte = fc.oneof(fc.constantFrom(0x09, 0x0a, 0x0d, 0x5c, 0x4e, 0x78, 0x31), fc.nat(255));
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 40 }), fc.nat(4), (bytes, columnCount) => {
        const writer = new ByteWriter(1);
        try {
          new CopyTextReader(columnCount).appendRow(Buffer.from(bytes), 0, bytes.length, writer);
          expect(rowEnd(writer.buffer, 0, OP_INSERT)).toBe(writer.length);
        } catch (error) {
          if (!isMillraceError(error, 'MR_COPY_MALFORMED')) throw error;
          expect(writer.length).toBe(0);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
