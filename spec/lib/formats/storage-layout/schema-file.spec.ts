import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import {
  DEFAULT_PATH_OPTIONS,
  isSchemaFilePath,
  parseSchemaFile,
  parseSchemaFilePath,
  type SchemaFile,
  type SchemaFileColumn,
  schemaChecksum,
  schemaFileOf,
  schemaFilePath,
  schemaFilePrefix,
  stringifySchemaFile,
} from '../../../../lib/formats/storage-layout/index.ts';
import { tableOf } from '../../../support/blocks.ts';

const VECTORS = JSON.parse(readFileSync(new URL('../../../fixtures/schema-checksums.json', import.meta.url), 'utf8')) as {
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly SchemaFileColumn[];
  readonly checksum: number;
  readonly path: string;
  readonly pathById: string;
}[];

const fileOf = (Schema: string, Table: string, TableColumns: readonly SchemaFileColumn[]): SchemaFile => ({
  Table,
  Schema,
  Version: 1,
  TableVersion: 100n,
  Query: '',
  Type: 0,
  TableColumns,
});

const TABLE = tableOf(
  [
    { name: 'id', type: 'int4', nullable: false, isPrimaryKey: true, isIdentity: true },
    { name: 'note', type: 'text', defaultText: '' },
    { name: 'amount', type: 'numeric', typeModifier: ((12 << 16) | 2) + 4, defaultText: "<0.00 & 'x'\u2028" },
  ],
  { schema: 'test', name: 't1', version: 438347201540472834n },
);

/** spec storage-sink §5.4 */
describe('schema files', () => {
  it.each(VECTORS)('checksum and paths of the vector $schema.$table', ({ schema, table, columns, checksum, path, pathById }) => {
    const file = fileOf(schema, table, columns);
    expect(schemaChecksum(file)).toBe(checksum);
    expect(schemaFilePath(file, 12345)).toBe(path);
    expect(schemaFilePath(file, 12345, { ...DEFAULT_PATH_OPTIONS, useTableIdAsPath: true })).toBe(pathById);
    expect(path.startsWith(schemaFilePrefix(file, 12345))).toBe(true);
    expect(isSchemaFilePath(path)).toBe(true);
  });

  it('writes the keys in upstream’s order, four spaces deep, with Go’s escapes and an exact version', () => {
    expect(stringifySchemaFile(schemaFileOf(TABLE, { query: 'create table t1', action: 3 }))).toBe(
      `{
    "Table": "t1",
    "Schema": "test",
    "Version": 1,
    "TableVersion": 438347201540472834,
    "Query": "create table t1",
    "Type": 3,
    "TableColumns": [
        {
            "ColumnName": "id",
            "ColumnType": "INT",
            "ColumnPrecision": "11",
            "ColumnNullable": "false",
            "ColumnIsPk": "true"
        },
        {
            "ColumnName": "note",
            "ColumnType": "LONGTEXT",
            "ColumnDefault": "",
            "ColumnPrecision": "4294967295"
        },
        {
            "ColumnName": "amount",
            "ColumnType": "DECIMAL",
            "ColumnDefault": "\\u003c0.00 \\u0026 'x'\\u2028",
            "ColumnPrecision": "12",
            "ColumnScale": "2"
        }
    ],
    "TableColumnsTotal": 3
}`,
    );
  });

  it('carries column numbers if asked', () => {
    const file = schemaFileOf(TABLE, undefined, true);
    expect(file.TableColumns.map(({ ColumnId }) => ColumnId)).toEqual(['1', '2', '3']);
    expect(stringifySchemaFile(file)).toContain('{\n            "ColumnId": "1",\n            "ColumnName": "id"');
    expect(schemaChecksum(file)).not.toBe(schemaChecksum(schemaFileOf(TABLE)));
  });

  it('has null for no columns', () => {
    expect(stringifySchemaFile(fileOf('s', '', []))).toContain('"TableColumns": null,\n    "TableColumnsTotal": 0');
  });

  it.each([
    ['a table', schemaFileOf(TABLE)],
    ['a schema', fileOf('s', '', [])],
    ['a default that is a number', fileOf('s', 't', VECTORS[1]?.columns ?? [])],
  ])('reads back %s', (_, file) => {
    expect(parseSchemaFile(stringifySchemaFile(file), 'p')).toEqual(file);
  });

  it('has one checksum for one set of columns, whatever their order, version and statement', () => {
    const file = schemaFileOf(TABLE);
    const other = { ...file, TableVersion: 5n, Query: 'x', Type: 5, TableColumns: [...file.TableColumns].reverse() };
    expect(schemaChecksum(other)).toBe(schemaChecksum(file));
    expect(schemaChecksum({ ...file, TableColumns: file.TableColumns.slice(1) })).not.toBe(schemaChecksum(file));
  });

  /** U+FF01 stands before U+1F600 in UTF-8 and behind it in UTF-16. */
  it.each([[['\u{1f600}', '\uff01']], [['\uff01', '\u{1f600}']]])('sorts columns by bytes, not by UTF-16 units: %j', (names) => {
    const columns = names.map((ColumnName, index) => ({ ColumnId: String(9 + index), ColumnName, ColumnType: 'INT' }));
    const [wide] = columns.filter(({ ColumnName }) => ColumnName === '\uff01');
    const [emoji] = columns.filter(({ ColumnName }) => ColumnName !== '\uff01');
    const hashed = { Table: 't', Schema: 's', Version: 0, TableColumns: [wide, emoji], TableColumnsTotal: 2 };
    expect(schemaChecksum(fileOf('s', 't', columns))).toBe(crc32(JSON.stringify(hashed, null, 4)));
  });

  it('hashes no columns as an empty list, though the file has null', () => {
    const hashed = { Table: '', Schema: 's', Version: 0, TableColumns: [], TableColumnsTotal: 0 };
    expect(schemaChecksum(fileOf('s', '', []))).toBe(crc32(JSON.stringify(hashed, null, 4)));
  });

  it.each(['\ud800', '\ufffd', '<&>\u2028\u0007', ''])('hyp 1: the default %j has one checksum, written and read', (text) => {
    const file = fileOf('s', 't', [{ ColumnName: 'c', ColumnType: 'LONGTEXT', ColumnDefault: text }]);
    expect(schemaChecksum(parseSchemaFile(stringifySchemaFile(file), 'p'))).toBe(schemaChecksum(file));
  });

  it.each([
    ['a table by its names', fileOf('s', 't', []), 's/t/meta/schema_'],
    ['a table by its id', fileOf('s', 't', []), '12/meta/schema_'],
    ['a schema by its name', fileOf('s', '', []), 's/meta/schema_'],
    ['a schema by its name, under ids too', fileOf('s', '', []), 's/meta/schema_'],
  ])('stands in the folder of %s', (what, file, prefix) => {
    const options = { ...DEFAULT_PATH_OPTIONS, useTableIdAsPath: /id/.test(what) };
    expect(schemaFilePrefix(file, 12, options)).toBe(prefix);
    expect(schemaFilePath(file, 12, options)).toMatch(new RegExp(`^${prefix}100_\\d{10}\\.json$`));
  });

  it.each([
    ['schema1/meta/schema_100_3233644819.json', { schema: 'schema1', table: null, tableId: null, version: 100n, checksum: 3233644819 }],
    [
      '%2E./%6Deta/meta/schema_18446744073709551615_0000000001.json',
      { schema: '..', table: 'meta', tableId: null, version: 18446744073709551615n, checksum: 1 },
    ],
    ['12345/meta/schema_100_3752767265.json', { schema: null, table: null, tableId: 12345, version: 100n, checksum: 3752767265 }],
  ])('takes %s apart', (path, expected) => {
    expect(parseSchemaFilePath(path)).toEqual(expected);
  });

  it.each([
    's/t/meta/schema_x_0000000001.json',
    's/t/meta/schema_1_1.json',
    's/t/schema_1_0000000001.json',
    'a b/meta/schema_1_0000000001.json',
    's/2026/meta/schema_1_0000000001.json',
  ])('refuses the path %s with a typed error, where upstream panics', (path) => {
    expect(() => parseSchemaFilePath(path)).toThrow('MR_STORAGE_INVALID_PATH');
  });

  it.each(['s/t/meta/schema_1_1.json', 's/t/meta/schema_1_0000000001.json.tmp', 's/t/1/CDC000001.json'])(
    'recognises that %s is none',
    (path) => {
      expect(isSchemaFilePath(path)).toBe(false);
    },
  );

  const good = JSON.parse(stringifySchemaFile(fileOf('s', 't', []))) as Record<string, unknown>;
  it.each([
    ['no JSON', '{', 'it is no JSON'],
    ['null', 'null', 'Table is no text'],
    ['no query', JSON.stringify({ ...good, Query: undefined }), 'Query is no text'],
    ['a type that is text', JSON.stringify({ ...good, Type: '3' }), 'Type is no number'],
    ['a version that is no integer', JSON.stringify({ ...good, TableVersion: 1.5 }), 'TableVersion is no integer'],
    ['columns without a name', JSON.stringify({ ...good, TableColumns: [{}] }), 'TableColumns is no list of columns'],
    ['another total', JSON.stringify({ ...good, TableColumnsTotal: 1 }), 'TableColumnsTotal is not the number of columns'],
  ])('refuses a file with %s, naming the path', (_, content, reason) => {
    expect(() => parseSchemaFile(content, 's/t/meta/x.json')).toThrow(`MR_STORAGE_FILE_MALFORMED: s/t/meta/x.json is malformed: ${reason}`);
  });
});
