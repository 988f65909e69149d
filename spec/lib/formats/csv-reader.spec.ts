import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ByteWriter } from '../../../lib/events/index.ts';
import { csv } from '../../../lib/formats/csv.ts';
import { type CsvOptions, isNullAmbiguous } from '../../../lib/formats/csv-options.ts';
import { csvReader } from '../../../lib/formats/csv-reader.ts';
import { blockOf, chunksOf, gather, tableOf } from '../../support/blocks.ts';

const VECTORS = JSON.parse(readFileSync(new URL('../../fixtures/csv-rows.json', import.meta.url), 'utf8')) as {
  readonly name: string;
  readonly options: CsvOptions;
  readonly op: string;
  readonly values: readonly (string | null)[];
  readonly row: string;
}[];
const LF: CsvOptions = { terminator: '\n' };
const decode = (columns: readonly string[], text: string, options: CsvOptions = LF, size?: number) =>
  gather(csvReader(options).decode(columns, chunksOf(Buffer.from(text), size)));

describe('csvReader', () => {
  it.each(VECTORS.map((vector) => [vector.name, vector] as const))('reads the vector back, however it is cut: %s', async (_, vector) => {
    const columns = vector.values.map((_, index) => `c${index}`);
    const image = Object.fromEntries(columns.map((name, index) => [name, vector.values[index]]));
    const change = vector.op === 'D' ? { op: 'D', old: image, data: null } : { op: vector.op, old: null, data: image };
    for (const size of [1, 3, 1000]) {
      const rows = await decode(columns, vector.row + vector.row, vector.options, size);
      expect(rows).toEqual(
        [change, change].map((row) => ({ commitTs: vector.options.includeCommitTs === false ? 0n : 435661838416609281n, ...row })),
      );
    }
  });

  it('joins the D and the I of an update, also when a chunk ends between them', async () => {
    const text = '"D","t","s",7,true,1,"a"\n"I","t","s",7,true,1,"b"\n"D","t","s",7,false,1,"b"\n"U","t","s",8,true,2,"c"\n';
    expect(await decode(['id', 'x'], text, { ...LF, outputOldValue: true }, 26)).toEqual([
      { op: 'U', commitTs: 7n, old: { id: '1', x: 'a' }, data: { id: '1', x: 'b' } },
      { op: 'D', commitTs: 7n, old: { id: '1', x: 'b' }, data: null },
      { op: 'U', commitTs: 8n, old: null, data: { id: '2', x: 'c' } },
    ]);
  });

  it('reads no separator into quotes: delimiters, terminators and doubled quotes are text there', async () => {
    const text = '"I","t","s",7,"a,""b""\r\nc"\r\n"I","t","s",7,\\N\r\n"I","t","s",7,"\\N"\r\n"I","t","s",7,""\r\n';
    expect((await decode(['x'], text, {}, 2)).map(({ data }) => data?.['x'])).toEqual(['a,"b"\r\nc', null, '\\N', '']);
  });

  it.each([
    ['', '', true],
    ['NULL', 'NULL', true],
    ['\\\\N', '\\N', true],
    ['a\\nb', 'a\nb', true],
    ['\\|\\*\\|', '|*|', true],
    ['\\N', 'N', false],
    ['\\N', '\\N', false],
    ['\\\\\\N', '\\N', false],
  ])('without a quote and with null as %j reads the text %j back as null: it is known beforehand', async (nullText, text, isAmbiguous) => {
    const options = { ...LF, quote: '', null: nullText, delimiter: '|*|' };
    const writer = new ByteWriter();
    csv(options).encode(blockOf(tableOf(['x text']), [{ insert: [text] }]), writer);
    const [row] = await decode(['x'], writer.take().toString(), options);
    expect([row?.data?.['x'] === null, isNullAmbiguous(options)]).toEqual([isAmbiguous, isAmbiguous]);
  });

  it('skips a header and compares its names with the schema file', async () => {
    const header = 'ticdc-meta$operation,ticdc-meta$table,ticdc-meta$schema,ticdc-meta$commit-ts,"a,b"\n';
    expect(await decode(['a,b'], `${header}"I","t","s",7,"x"\n`)).toEqual([{ op: 'I', commitTs: 7n, old: null, data: { 'a,b': 'x' } }]);
    await expect(decode(['other'], header)).rejects.toThrow('its header names other columns than the schema file');
  });

  it('keeps a column called __proto__', async () => {
    const [row] = await decode(['__proto__'], '"I","t","s",7,"x"\n');
    expect(Object.entries(row?.data ?? {})).toEqual([['__proto__', 'x']]);
  });

  it.each([
    [
      'fewer than four columns',
      '"I","t","s"',
      'the csv row should have at least four columns(operation-type, table-name, schema-name, commit-ts)',
    ],
    ['an unknown operation', '"X","t","s",7,1', 'invalid operation type X'],
    ['a commit-ts that is none', '"I","t","s",x,1', 'the 4th column(x) of csv row should be a valid commit-ts'],
    ['too many fields', '"I","t","s",7,true,1,2', 'it has 7 fields for 1 columns'],
    ['an is-update that is no flag', '"I","t","s",7,yes,1', 'the is-update column(yes) is neither true nor false'],
    ['text behind a closing quote', '"I"x,"t","s",7,1', 'text follows a closing quote'],
    ['an I without its D', '"I","t","s",7,true,1', 'the first row of its update is missing'],
    ['a D without its I', '"D","t","s",7,true,1\n"D","t","s",7,true,1', 'it is not the second row of the update before it'],
  ])('refuses %s', async (_, row, reason) => {
    await expect(decode(['id'], `${row}\n`)).rejects.toThrow('MR_ROW_MALFORMED: csv row');
    await expect(decode(['id'], `${row}\n`)).rejects.toThrow(reason);
  });

  it.each([
    ['inside a row', '"I","t","s",7,"a', 'the file ends inside it'],
    ['behind the first row of an update', '"D","t","s",7,true,1\n', 'the second row of an update is missing'],
  ])('refuses a file that ends %s', async (_, text, reason) => {
    await expect(decode(['id'], text)).rejects.toThrow(reason);
  });

  it('refuses an empty terminator, with which rows cannot be told apart', () => {
    expect(() => csvReader({ terminator: '' })).toThrow('MR_INVALID_OPTION');
  });

  it.each([{}, { quote: '' }, { delimiter: '***', quote: '' }, { delimiter: '[*]', quote: "'" }])(
    'tiflow #9969: gives rows or the typed error for any bytes, with %j',
    async (options) => {
      const alphabet = ['I', 'D', 'U', '"', "'", ',', '*', '[*]', '\\', 'N', '\r', '\n', '\r\n', '1', 'true', 'é', '"I","t","s",7,'];
      await fc.assert(
        fc.asyncProperty(fc.array(fc.constantFrom(...alphabet), { maxLength: 30 }), async (parts) => {
          await decode(['id'], parts.join(''), options, 4).catch((error: unknown) =>
            expect(error).toMatchObject({ code: 'MR_ROW_MALFORMED' }),
          );
        }),
        { numRuns: 200 },
      );
    },
  );
});
