import { describe, expect, it } from '@jest/globals';
import { dispatcherId } from '../../../../lib/events/index.ts';
import {
  DEFAULT_PATH_OPTIONS,
  dataDirectory,
  dataDirectoryOf,
  dataFilePath,
  dateComponent,
  fileStem,
  indexFilePath,
  matchIndexPath,
  parseDataPath,
  parseIndexPath,
  positionsPath,
} from '../../../../lib/formats/storage-layout/index.ts';

const TABLE = { schema: 'test', name: 'tbl', tableId: 12345 };
const DISPATCHER = dispatcherId(0x1234n, 0x5678n);
const ACROSS = { ...DEFAULT_PATH_OPTIONS, enableTableAcrossNodes: true };
const BY_ID = { ...DEFAULT_PATH_OPTIONS, useTableIdAsPath: true };
const VERSION = 438347201540472834n;

/** spec storage-sink §5.1–5.3 */
describe('paths', () => {
  it.each([
    ['no date', '', DEFAULT_PATH_OPTIONS, `test/tbl/${VERSION}/CDC00000000000000000001.json`],
    ['a date', '2026-06-23', DEFAULT_PATH_OPTIONS, `test/tbl/${VERSION}/2026-06-23/CDC00000000000000000001.json`],
    ['fewer digits', '', { ...DEFAULT_PATH_OPTIONS, fileIndexDigit: 6 }, `test/tbl/${VERSION}/CDC000001.json`],
    ['the table’s id', '2026', BY_ID, `12345/${VERSION}/2026/CDC00000000000000000001.json`],
    ['a dispatcher', '', ACROSS, `test/tbl/${VERSION}/CDC_00000000000056780000000000001234_00000000000000000001.json`],
  ])('a data file with %s', (_, date, options, path) => {
    expect(dataFilePath(dataDirectory(TABLE, VERSION, date, options), fileStem(1, DISPATCHER, options), '.json')).toBe(path);
  });

  it('lets an index wider than its digits overflow them', () => {
    expect(fileStem(12345678, DISPATCHER, { ...DEFAULT_PATH_OPTIONS, fileIndexDigit: 6 })).toBe('CDC12345678');
  });

  it('escapes names, so that none leaves its folder', () => {
    expect(dataDirectory({ schema: '..', name: 'a/b 2026-06-23', tableId: 1 }, 1n, '')).toBe('%2E./a%2Fb%202026-06-23/1');
  });

  it('puts index and sidecar into meta of the data folder', () => {
    const directory = dataDirectory(TABLE, 1n, '2026-06-23');
    expect(indexFilePath(directory, DISPATCHER)).toBe('test/tbl/1/2026-06-23/meta/CDC.index');
    expect(indexFilePath(directory, DISPATCHER, ACROSS)).toBe('test/tbl/1/2026-06-23/meta/CDC_00000000000056780000000000001234.index');
    expect(positionsPath(directory, fileStem(7, DISPATCHER))).toBe('test/tbl/1/2026-06-23/meta/CDC00000000000000000007.positions');
    expect(dataDirectoryOf(indexFilePath(directory, DISPATCHER))).toBe(directory);
  });

  it.each([
    ['none', ''],
    ['year', '2026'],
    ['month', '2026-06'],
    ['day', '2026-06-23'],
  ] as const)('separator %s makes %j, in UTC', (separator, date) => {
    expect(dateComponent(Date.UTC(2026, 5, 23, 23, 59, 59, 999), separator)).toBe(date);
  });
});

const NO_ID = { tableId: null, partition: null, dispatcher: '', date: '' };
const NAMED = { schema: 'test', table: 'tbl', ...NO_ID, version: 1n };

/** spec storage-sink §5.7 */
describe('parseDataPath', () => {
  it.each([
    ['no date', 'test/tbl/1/CDC000007.csv', NAMED],
    ['a partition', 'test/tbl/1/55/CDC000007.csv', { ...NAMED, partition: 55n }],
    ['a date', 'test/tbl/1/2026-06-23/CDC000007.csv', { ...NAMED, date: '2026-06-23' }],
    ['a partition and a date', 'test/tbl/1/55/2026-06/CDC000007.csv', { ...NAMED, partition: 55n, date: '2026-06' }],
    ['a dispatcher', 'test/tbl/1/CDC_a_b_000007.csv', { ...NAMED, dispatcher: 'a_b' }],
    ['the table’s id', '12345/1/CDC000007.csv', { ...NAMED, schema: null, table: null, tableId: 12345 }],
    ['the table’s id and a date', '12345/1/2026/CDC000007.csv', { ...NAMED, schema: null, table: null, tableId: 12345, date: '2026' }],
    [
      'escaped names',
      '%2E./a%2Fb/18446744073709551615/CDC000007.csv',
      { ...NAMED, schema: '..', table: 'a/b', version: 18446744073709551615n },
    ],
  ])('reads a path with %s', (_, path, expected) => {
    const slash = path.lastIndexOf('/');
    const parsed = { ...expected, index: 7, directory: path.slice(0, slash), stem: path.slice(slash + 1, -4) };
    expect(parseDataPath(path, '.csv')).toEqual(parsed);
  });

  it.each([
    ['test/tbl/1/CDC0000.csv', 'MR_STORAGE_INVALID_FILE_NAME: filename in storage sink is invalid: "CDC0000.csv"'],
    ['test/tbl/1/XYZ000001.csv', 'MR_STORAGE_INVALID_FILE_NAME'],
    ['test/tbl/1/CDC000001.json', 'MR_STORAGE_INVALID_FILE_NAME'],
    ['test/tbl/1/CDC__000001.csv', 'MR_STORAGE_INVALID_PATH: cannot match dml path pattern for "test/tbl/1/CDC__000001.csv"'],
    ['test/tbl/1/CDC_a_00000x.csv', 'MR_STORAGE_INVALID_PATH'],
    ['test/tbl/1/CDC00000x.csv', 'MR_STORAGE_INVALID_PATH'],
    ['CDC000001.csv', 'MR_STORAGE_INVALID_PATH'],
    ['tbl/1/CDC000001.csv', 'MR_STORAGE_INVALID_PATH'],
    ['test/tbl/x/CDC000001.csv', 'MR_STORAGE_INVALID_PATH'],
    ['test/meta/1/CDC000001.csv', 'MR_STORAGE_INVALID_PATH'],
    ['test/tbl/1/2/3/4/CDC000001.csv', 'MR_STORAGE_INVALID_PATH'],
  ])('refuses %s with a typed error', (path, error) => {
    expect(() => parseDataPath(path, '.csv')).toThrow(error);
  });

  it.each([
    ['day', 'test/tbl/1/2026-06-23/CDC000001.csv', true],
    ['month', 'test/tbl/1/2026-06-23/CDC000001.csv', false],
    ['year', 'test/tbl/1/CDC000001.csv', false],
    ['none', 'test/tbl/1/2026-06-23/CDC000001.csv', false],
    ['none', 'test/tbl/1/2026/CDC000001.csv', true],
  ] as const)('under separator %s takes %s: %s', (separator, path, isTaken) => {
    const parse = () => parseDataPath(path, '.csv', separator);
    if (isTaken) expect(parse).not.toThrow();
    else expect(parse).toThrow('MR_STORAGE_INVALID_PATH');
  });
});

describe('parseIndexPath', () => {
  it.each([
    ['test/tbl/1/meta/CDC.index', ''],
    ['test/tbl/1/meta/CDC_abc.index', 'abc'],
  ])('reads %s', (path, dispatcher) => {
    expect(parseIndexPath(path)).toEqual({ ...NAMED, dispatcher, directory: 'test/tbl/1' });
  });

  it.each([
    'test/tbl/2026-06-23/meta/CDC.index',
    'schema1/table1/123456/meta/notCDC.index',
    'schema1/table1/123456/meta/CDC_.index',
    'schema1/table1/123456/CDC.index',
    'meta/CDC.index',
  ])('refuses %s', (path) => {
    expect(() => parseIndexPath(path)).toThrow(`MR_STORAGE_INVALID_PATH: cannot match index path pattern for "${path}"`);
    expect(matchIndexPath(path)).toBeNull();
  });

  it('refuses a day under the separator month', () => {
    expect(() => parseIndexPath('test/tbl/1/2026-06-23/meta/CDC.index', 'month')).toThrow('MR_STORAGE_INVALID_PATH');
  });
});
