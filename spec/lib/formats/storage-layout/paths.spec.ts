import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type DispatcherId, dispatcherHalves, dispatcherId } from '../../../../lib/events/index.ts';
import {
  type DateSeparator,
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

  it.each([
    ['a folder of its own, called by its physical id', DEFAULT_PATH_OPTIONS, '', 'test/tbl/1/12345'],
    ['its folder in front of the date', DEFAULT_PATH_OPTIONS, '2026-06', 'test/tbl/1/12345/2026-06'],
    ['the table’s folder without the separator', { ...DEFAULT_PATH_OPTIONS, enablePartitionSeparator: false }, '', 'test/tbl/1'],
    ['no level of its own where the path is by id: it is the partition’s', BY_ID, '2026', '12345/1/2026'],
  ])('gives a partition %s', (_, options, date, directory) => {
    expect(dataDirectory({ ...TABLE, isPartition: true }, 1n, date, options)).toBe(directory);
  });

  it('(!) §5.1, hyp 9: no two dispatchers have one text, which decimal halves without a separator do', () => {
    const upstream = (id: DispatcherId) => `${dispatcherHalves(id).low}${dispatcherHalves(id).high}`;
    const [a, b] = [dispatcherId(1n, 11n), dispatcherId(11n, 1n)];
    expect(upstream(a)).toBe(upstream(b));
    expect(fileStem(1, a, ACROSS)).not.toBe(fileStem(1, b, ACROSS));
    expect(indexFilePath('d', a, ACROSS)).toMatch(/^d\/meta\/CDC_[0-9a-f]{32}\.index$/);
    expect(indexFilePath('d', a, ACROSS)).not.toBe(indexFilePath('d', b, ACROSS));
  });

  it('tiflow #8919: lets an index wider than its digits overflow them', () => {
    expect(fileStem(12345678, DISPATCHER, { ...DEFAULT_PATH_OPTIONS, fileIndexDigit: 6 })).toBe('CDC12345678');
  });

  it('(!) §5.1, hyp 4: escapes names, so that none leaves its folder', () => {
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
    ['test/tbl/1/CDC_000001.csv', 'MR_STORAGE_INVALID_PATH: cannot match dml path pattern for "test/tbl/1/CDC_000001.csv"'],
    ['test/tbl/1/CDC_a_000001.csvx', 'MR_STORAGE_INVALID_FILE_NAME'],
    ['test/tbl/1/cdc000001.csv', 'MR_STORAGE_INVALID_FILE_NAME'],
    ['test/tbl/1/CDC99999999999999999999.csv', 'MR_STORAGE_INVALID_PATH'],
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

/** spec storage-sink §5.7: how many folders a data file stands in */
describe('directory component counts', () => {
  const file = (folders: string) => parseDataPath(`${folders}/CDC000001.csv`, '.csv', folders.includes('-') ? 'day' : 'none');

  it.each([
    ['id', '7/1'],
    ['names', 's/t/1'],
    ['names and a partition', 's/t/1/5'],
    ['id and a date', '7/1/2026-06-23'],
    ['names and a date', 's/t/1/2026-06-23'],
    ['names, a partition and a date', 's/t/1/5/2026-06-23'],
  ])('%s: %s', (_, folders) => {
    expect(file(folders).version).toBe(1n);
  });

  it.each(['7', '7/1/5', 's/t', 's/t/1/5/6', '7/1/5/2026-06-23', 's/t/2026-06-23', 's/t/1/5/6/2026-06-23', 's/t/1/2026-06-23/5'])(
    'not %s',
    (folders) => {
      expect(() => file(folders)).toThrow('MR_STORAGE_INVALID_PATH: cannot match dml path pattern');
    },
  );
});

describe('paths that were made', () => {
  it('are taken apart again, whatever the names and options', () => {
    const options = fc.record({
      fileIndexDigit: fc.integer({ min: 6, max: 20 }),
      enableTableAcrossNodes: fc.boolean(),
      useTableIdAsPath: fc.boolean(),
      enablePartitionSeparator: fc.boolean(),
    });
    const table = fc.record({
      schema: fc.string({ unit: 'grapheme', minLength: 1 }),
      name: fc.string({ unit: 'grapheme', minLength: 1 }),
      tableId: fc.nat(),
      isPartition: fc.boolean(),
    });
    const separator = fc.constantFrom<DateSeparator>('none', 'year', 'month', 'day');
    fc.assert(
      fc.property(
        table,
        options,
        separator,
        fc.bigInt(0n, 2n ** 64n - 1n),
        fc.integer({ min: 1 }),
        (of, how, separator, version, index) => {
          const date = dateComponent(Date.UTC(2026, 5, 23), separator);
          const directory = dataDirectory(of, version, date, how);
          const stem = fileStem(index, DISPATCHER, how);
          const byId = how.useTableIdAsPath;
          const parsed = {
            schema: byId ? null : of.schema.toWellFormed(),
            table: byId ? null : of.name.toWellFormed(),
            tableId: byId ? of.tableId : null,
            version,
            partition: of.isPartition && how.enablePartitionSeparator && !byId ? BigInt(of.tableId) : null,
            date,
            directory,
            dispatcher: how.enableTableAcrossNodes ? DISPATCHER : '',
          };
          expect(parseDataPath(dataFilePath(directory, stem, '.json'), '.json', separator)).toEqual({ ...parsed, stem, index });
          expect(parseIndexPath(indexFilePath(directory, DISPATCHER, how), separator)).toEqual(parsed);
        },
      ),
    );
  });
});

describe('parseIndexPath', () => {
  it.each([
    ['test/tbl/1/meta/CDC.index', ''],
    ['test/tbl/1/meta/CDC_abc.index', 'abc'],
    ['test/tbl/1/meta/CDC_00000000000056780000000000001234.index', DISPATCHER as string],
  ])('reads %s', (path, dispatcher) => {
    expect(parseIndexPath(path)).toEqual({ ...NAMED, dispatcher, directory: 'test/tbl/1' });
  });

  it.each([
    'test/tbl/2026-06-23/meta/CDC.index',
    'schema1/table1/123456/meta/notCDC.index',
    'schema1/table1/123456/meta/CDC_.index',
    'schema1/table1/123456/CDC.index',
    'schema1/table1/123456/META/CDC.index',
    'schema1/table1/123456/meta/CDC.index.tmp',
    'table1/meta/CDC.index',
    'meta/CDC.index',
  ])('refuses %s', (path) => {
    expect(() => parseIndexPath(path)).toThrow(`MR_STORAGE_INVALID_PATH: cannot match index path pattern for "${path}"`);
    expect(matchIndexPath(path)).toBeNull();
  });

  it('refuses a day under the separator month', () => {
    expect(() => parseIndexPath('test/tbl/1/2026-06-23/meta/CDC.index', 'month')).toThrow('MR_STORAGE_INVALID_PATH');
  });
});
