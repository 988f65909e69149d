import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { ByteWriter, type ColumnValue, type RowBlock } from '../../../lib/events/index.ts';
import { csv } from '../../../lib/formats/csv.ts';
import type { CsvOptions } from '../../../lib/formats/csv-options.ts';
import { schemaFileOf } from '../../../lib/formats/storage-layout/index.ts';
import { blockOf, type ChangeSketch, tableOf } from '../../support/blocks.ts';

interface Vector {
  readonly name: string;
  readonly options: CsvOptions;
  readonly op: 'I' | 'U' | 'D';
  readonly table: string;
  readonly types: readonly string[];
  readonly values: readonly (string | null)[];
  readonly row: string;
}

const VECTORS = JSON.parse(readFileSync(new URL('../../fixtures/csv-rows.json', import.meta.url), 'utf8')) as Vector[];
const LF: CsvOptions = { terminator: '\n', includeCommitTs: false };

function encode(block: RowBlock, options: CsvOptions = LF): string {
  const out = new ByteWriter(16);
  csv(options).encode(block, out);
  return out.take().toString();
}

/** One text column `c` behind an int key. */
const NOTES = tableOf(['!id int8', 'c text']);
const note = (text: ColumnValue, options?: CsvOptions) => encode(blockOf(NOTES, [{ insert: ['1', text] }]), options);

/** spec storage-sink §6.1 */
describe('csv', () => {
  it.each(VECTORS.map((vector) => [vector.name, vector] as const))(
    'writes the row of the vector: %s',
    (_, { options, op, table, types, values, row }) => {
      const columns = types.map((type, index) => `c${index} ${type}`);
      const change: ChangeSketch = op === 'I' ? { insert: values } : op === 'U' ? { update: values } : { delete: values };
      const block = blockOf(tableOf(columns, { schema: 'test', name: table }), [change], 435661838416609281n);
      expect(encode(block, options)).toBe(row);
    },
  );

  it.each([
    ['a,b,c', '"a,b,c"'],
    ['"a,b,c', '"""a,b,c"'],
    ['', '""'],
    ['\\N', '"\\N"'],
    ['1234"678"', '"1234""678"""'],
    [null, '\\N'],
  ])('quotes %j as %s, so that text is never taken for null or for two fields', (text, field) => {
    expect(note(text)).toBe(`"I","t","public",1,${field}\n`);
  });

  it.each([
    [',', 'abc\r\ndef', 'abc\\r\\ndef'],
    [',', 'abc\\def', 'abc\\\\def'],
    [',', 'abc,def', 'abc\\,def'],
    ['***', 'abc***def', 'abc\\*\\*\\*def'],
    ['，', 'a，b', 'a\\，b'],
    [',', '', ''],
  ])('tiflow #9969: without a quote and with delimiter %s escapes %j', (delimiter, text, field) => {
    expect(note(text, { ...LF, quote: '', delimiter })).toBe(['I', 't', 'public', '1', `${field}\n`].join(delimiter));
  });

  it('tiflow #9969: escapes the beginning of a delimiter that would join with the delimiter behind it', () => {
    const block = blockOf(tableOf(['a text', 'b text']), [{ insert: ['x*', 'y'] }]);
    expect(encode(block, { ...LF, quote: '', delimiter: '**' })).toBe('I**t**public**x\\***y\n');
  });

  it('P9: stops at an unchanged TOAST value that no old image fills, naming the column and the remedy', () => {
    const block = blockOf(NOTES, [{ insert: ['1', 'x'] }, { update: ['1', undefined] }]);
    expect(() => encode(block)).toThrow(
      /MR_CSV_UNCHANGED_TOAST.*column c of table public\.t at position 7\/1.*REPLICA IDENTITY FULL.*canal-json/,
    );
  });

  it('P9: fills an unchanged TOAST value from the old image', () => {
    const block = blockOf(NOTES, [{ O: ['1', 'long'], update: ['2', undefined] }]);
    expect(encode(block)).toBe('"U","t","public",2,"long"\n');
  });

  it('writes columns outside a key-only image as null, because csv cannot leave them out', () => {
    expect(encode(blockOf(NOTES, [{ delete: ['1', null], isKeyOnly: true }]))).toBe('"D","t","public",1,\\N\n');
  });

  it('with output-old-value writes an update as D and I, both marked, and other rows unmarked', () => {
    const block = blockOf(NOTES, [{ O: ['1', 'a'], update: ['1', 'b'] }, { update: ['2', 'c'] }, { delete: ['3', 'd'] }]);
    expect(encode(block, { terminator: '\n', outputOldValue: true })).toBe(
      [
        '"D","t","public",7,true,1,"a"',
        '"I","t","public",7,true,1,"b"',
        '"U","t","public",7,true,2,"c"',
        '"D","t","public",7,false,3,"d"',
        '',
      ].join('\n'),
    );
  });

  it('writes the commit-ts of each transaction in a block, whatever its number of digits', () => {
    const rows = [1n, 99n, 100n, 18446744073709551615n].map((commitTs) => blockOf(NOTES, [{ insert: ['1', 'a'] }], commitTs));
    const encoder = csv({ terminator: '\n' });
    const out = new ByteWriter();
    for (const block of rows) encoder.encode(block, out);
    expect(
      out
        .take()
        .toString()
        .match(/"public",(\d+)/g),
    ).toEqual(['1', '99', '100', '18446744073709551615'].map((ts) => `"public",${ts}`));
  });

  it.each([
    ['hex', '"0aff"'],
    ['base64', '"Cv8="'],
  ] as const)('writes bytea as %s', (binaryEncodingMethod, field) => {
    const block = blockOf(tableOf(['b bytea']), [{ insert: ['\\x0aff'] }]);
    expect(encode(block, { ...LF, binaryEncodingMethod })).toBe(`"I","t","public",${field}\n`);
  });

  it('quotes a bare value that a stage replaced by text with separators', () => {
    const block = blockOf(tableOf(['n int8', 'f float8']), [{ insert: ['1,5', ''] }]);
    expect(encode(block)).toBe('"I","t","public","1,5",""\n');
  });

  it('quotes a number that the null text equals or the delimiter splits', () => {
    const block = blockOf(tableOf(['n int8', 'f float8']), [{ insert: ['0', '1.5'] }]);
    expect(encode(block, { ...LF, null: '0', delimiter: '.' })).toBe('"I"."t"."public"."0"."1.5"\n');
  });

  it('writes values longer than a slice whole', () => {
    const text = '"x,é'.repeat(5000);
    expect(note(text)).toBe(`"I","t","public",1,"${text.replaceAll('"', '""')}"\n`);
    expect(note(text, { ...LF, quote: '' })).toBe(`I,t,public,1,${text.replaceAll(',', '\\,')}\n`);
  });

  it('keeps a projected column where it stands in the wire tuple', () => {
    const block = blockOf(tableOf(['a text', 'b text', 'c text']), [{ insert: ['1', '2', '3'] }]);
    const columns = block.table.columns.filter(({ name }) => name !== 'b');
    expect(encode(block.withTable({ ...block.table, columns }))).toBe('"I","t","public","1","3"\n');
  });

  it('writes the header of the vector, names bare', () => {
    const options = { delimiter: ' ', terminator: '', outputFieldHeader: true, outputOldValue: true };
    const header = csv(options).header(tableOf(['col1 int8', 'col2 text']));
    expect(header?.toString()).toBe(
      'ticdc-meta$operation ticdc-meta$table ticdc-meta$schema ticdc-meta$commit-ts ticdc-meta$is-update col1 col2',
    );
  });

  it('(!) §6.1, hyp 5: quotes a name of the header that holds a separator, which upstream writes bare', () => {
    const table = tableOf([{ name: 'a,b' }, { name: 'c"d' }, { name: 'e f' }]);
    const header = csv({ ...LF, outputFieldHeader: true }).header(table);
    expect(header?.toString()).toBe('ticdc-meta$operation,ticdc-meta$table,ticdc-meta$schema,"a,b","c""d",e f\n');
  });

  it('hyp 2: a row has as many fields as the schema file has columns, and the header names just these', () => {
    const table = tableOf(['!id int8', 'a text', 'b bool']);
    const options = { ...LF, outputFieldHeader: true };
    const names = schemaFileOf(table).TableColumns.map(({ ColumnName }) => ColumnName);
    expect(csv(options).header(table)?.toString().trimEnd().split(',').slice(3)).toEqual(names);
    expect(
      encode(blockOf(table, [{ insert: ['1', 'x', 't'] }]), options)
        .trimEnd()
        .split(',')
        .slice(3),
    ).toHaveLength(names.length);
  });

  it('(!) §6.1, hyp 3: no value of an enum is fatal', () => {
    const block = blockOf(tableOf(['e enum']), [{ insert: [''] }, { insert: ['0'] }, { insert: [null] }]);
    expect(encode(block)).toBe('"I","t","public",""\n"I","t","public","0"\n"I","t","public",\\N\n');
  });

  it.each<[options: CsvOptions, fields: string]>([
    [{ includeCommitTs: false }, 'I,t,public,1'],
    [{ includeCommitTs: true }, 'I,t,public,7,1'],
    [{ includeCommitTs: false, outputOldValue: true }, 'I,t,public,false,1'],
    [{ includeCommitTs: true, outputOldValue: true }, 'I,t,public,7,false,1'],
  ])('has the meta fields of %j and no delimiter at the end', (options, fields) => {
    const block = blockOf(tableOf(['id int8']), [{ insert: ['1'] }]);
    expect(encode(block, { quote: '', terminator: '\n', ...options })).toBe(`${fields}\n`);
    const header = csv({ terminator: '\n', outputFieldHeader: true, ...options }).header(block.table);
    expect(header?.toString().split(',')).toHaveLength(fields.split(',').length);
  });

  it.each([
    ['int8', '1', '1'],
    ['bool', 't', '1'],
    ['float4', '1000000', '1e+06'],
    ['numeric', '1.50', '"1.50"'],
    ['bytea', '\\x', '""'],
    ['date', '2022-08-31', '"2022-08-31"'],
    ['time', '17:07:00.5', '"17:07:00.5"'],
    ['timestamptz', '2022-08-31 17:07:00+00', '"2022-08-31 17:07:00+00"'],
    ['jsonb', '{"a": 1, "b": [1, 2]}', '"{""a"": 1, ""b"": [1, 2]}"'],
    ['uuid', 'a0ee', '"a0ee"'],
    ['array', '{1,2}', '"{1,2}"'],
  ])('writes %s %s as %s, bare where it is a number', (type, text, field) => {
    expect(encode(blockOf(tableOf([`c ${type}`]), [{ insert: [text] }]))).toBe(`"I","t","public",${field}\n`);
  });

  it('has no header by default', () => {
    expect(csv().header(NOTES)).toBeNull();
  });
});
