import { describe, expect, it } from '@jest/globals';
import { compareTable, type SourceRow } from '../../bin/compare-tables.ts';
import type { RebuiltTable } from '../../pipelines/index.ts';

type Values = readonly (string | null | undefined)[];

const source = (...names: string[]) => ({ schema: 'public', name: 't', columns: names.map((name) => ({ name, type: 'text' })) });

function rebuilt(names: readonly string[], keyColumns: readonly string[], rows: readonly Values[]): RebuiltTable {
  const places = keyColumns.map((key) => names.indexOf(key));
  return {
    schema: 'public',
    table: 't',
    checkpointTs: 1n,
    columns: names.map((ColumnName) => ({ ColumnName })) as unknown as RebuiltTable['columns'],
    keyColumns,
    rowCount: rows.length,
    rows: () => rows,
    get: (key) => rows.find((row) => places.every((place, i) => row[place] === key[i])),
  };
}

async function* batches(rows: readonly SourceRow[]) {
  for (const row of rows) yield [row];
}

const same = (_type: string, text: string) => text;
const long = 'x'.repeat(100);

describe('compareTable', () => {
  it.each<[string, readonly string[], readonly string[], readonly Values[], readonly SourceRow[], string]>([
    [
      'equal rows in another order',
      ['id', 'v'],
      ['id'],
      [
        ['2', 'b'],
        ['1', null],
      ],
      [
        ['1', null],
        ['2', 'b'],
      ],
      '',
    ],
    ['empty tables', ['id', 'v'], ['id'], [], [], ''],
    ['another value', ['id', 'v'], ['id'], [['1', 'a b']], [['1', 'a']], 'row (id=1): v is a, in the files "a b"'],
    ['null and empty', ['id', 'v'], ['id'], [['1', '']], [['1', null]], 'row (id=1): v is null, in the files ""'],
    ['a value never sent', ['id', 'v'], ['id'], [['1', undefined]], [['1', null]], 'row (id=1): v is null, in the files (never sent)'],
    ['a row too few', ['id', 'v'], ['id'], [], [['1', 'a']], 'row (id=1) is missing in the files'],
    [
      'a row too many',
      ['id', 'v'],
      ['id'],
      [
        ['1', 'a'],
        ['3', 'a'],
      ],
      [['1', 'a']],
      'row (id=3) is in the files only',
    ],
    ['tabs and line ends', ['id', 'v'], ['id'], [['1', 'a\tb\n']], [['1', 'a']], 'row (id=1): v is a, in the files "a\\tb\\n"'],
    [
      'long values',
      ['id', 'v'],
      ['id'],
      [['1', long]],
      [['1', 'a']],
      `row (id=1): v is a, in the files "${long.slice(0, 60)}… (100 characters)"`,
    ],
    ['columns in another order', ['v', 'id'], ['id'], [['b', '2']], [['2', 'b']], ''],
    [
      'a column that the files do not know',
      ['id'],
      ['id'],
      [['1']],
      [['1', 'a']],
      'row (id=1): v is a, in the files null (the files do not know the column)',
    ],
    ['a column added and never written', ['id'], ['id'], [['1']], [['1', null]], ''],
    ['a column that is published no more', ['id', 'v', 'w'], ['id'], [['1', 'a', 'x']], [['1', 'a']], ''],
    [
      'equal multisets',
      ['id', 'v'],
      [],
      [
        ['1', 'a'],
        ['1', 'a'],
        [null, null],
      ],
      [
        [null, null],
        ['1', 'a'],
        ['1', 'a'],
      ],
      '',
    ],
    [
      'a duplicate too few',
      ['id', 'v'],
      [],
      [['1', 'a']],
      [
        ['1', 'a'],
        ['1', 'a'],
      ],
      'row (id=1, v=a) is in the source more often than in the files',
    ],
    [
      'a duplicate too many',
      ['id', 'v'],
      [],
      [
        ['1', 'a'],
        ['1', 'a'],
      ],
      [['1', 'a']],
      'row (id=1, v=a) is in the files more often than in the source',
    ],
    ['a key that is not published', ['k', 'id', 'v'], ['k'], [['9', '1', 'a']], [['1', 'a']], ''],
    [
      'one key twice in the source',
      ['id', 'v'],
      ['id'],
      [['1', 'a']],
      [
        ['1', 'a'],
        ['1', 'a'],
      ],
      'the source has 2 rows, the files 1',
    ],
  ])('tells %s', async (_, names, key, written, rows, difference) => {
    const verdict = await compareTable(source('id', 'v'), rebuilt(names, key, written), batches(rows), same);
    expect(verdict).toEqual({
      isIdentical: difference === '',
      sourceRows: rows.length,
      rebuiltRows: written.length,
      firstDifference: difference,
    });
  });

  it('tells a table that the target does not have, even an empty one', async () => {
    const verdict = await compareTable(source('id'), null, batches([]), same);
    expect(verdict).toEqual({
      isIdentical: false,
      sourceRows: 0,
      rebuiltRows: 0,
      firstDifference: expect.stringContaining('no snapshot was taken'),
    });
  });

  it('compares what the format makes of a value, by the type of its column', async () => {
    const table = {
      schema: 'public',
      name: 't',
      columns: [
        { name: 'id', type: 'int4' },
        { name: 'on', type: 'bool' },
      ],
    };
    const fromSourceText = (type: string, text: string) => (type === 'bool' ? (text === 't' ? '1' : '0') : text);
    const verdict = await compareTable(table, rebuilt(['id', 'on'], ['id'], [['1', '1']]), batches([['1', 't']]), fromSourceText);
    expect(verdict.isIdentical).toBe(true);
  });
});
