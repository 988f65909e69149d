import { describe, expect, it } from '@jest/globals';
import { type CloudStorageOptions, parseOptions, type SinkSettings } from '../../../pipelines/cloud-storage-sink/options.ts';

type Members = Omit<CloudStorageOptions, 'store' | 'uri'>;

/** Each flag, with a member that says the contrary of what the URI says. */
const FLAGS: readonly (readonly [name: string, member: (value: boolean) => Members, setting: (settings: SinkSettings) => boolean])[] = [
  ['enable-partition-separator', (enablePartitionSeparator) => ({ enablePartitionSeparator }), (s) => s.enablePartitionSeparator],
  ['use-table-id-as-path', (useTableIdAsPath) => ({ useTableIdAsPath }), (s) => s.useTableIdAsPath],
  ['enable-table-across-nodes', (enableTableAcrossNodes) => ({ enableTableAcrossNodes }), (s) => s.enableTableAcrossNodes],
  ['output-column-id', (outputColumnId) => ({ outputColumnId }), (s) => s.outputColumnId],
  ['output-ddl-query', (outputDdlQuery) => ({ outputDdlQuery }), (s) => s.outputDdlQuery],
  ['output-raw-change-event', (outputRawChangeEvent) => ({ outputRawChangeEvent }), (s) => s.outputRawChangeEvent],
  ['only-output-updated-columns', (onlyOutputUpdatedColumns) => ({ onlyOutputUpdatedColumns }), (s) => s.onlyOutputUpdatedColumns],
  ['content-compatible', (contentCompatible) => ({ contentCompatible }), (s) => s.contentCompatible],
  [
    'delete-only-output-handle-key-columns',
    (deleteOnlyOutputHandleKeyColumns) => ({ deleteOnlyOutputHandleKeyColumns }),
    (s) => s.deleteOnlyOutputHandleKeyColumns,
  ],
  ['enable-tidb-extension', (enableTidbExtension) => ({ enableTidbExtension }), (s) => s.enableTidbExtension],
  ['include-commit-ts', (includeCommitTs) => ({ csv: { includeCommitTs } }), (s) => s.csv.includeCommitTs],
  ['output-old-value', (outputOldValue) => ({ csv: { outputOldValue } }), (s) => s.csv.outputOldValue],
  ['output-field-header', (outputFieldHeader) => ({ csv: { outputFieldHeader } }), (s) => s.csv.outputFieldHeader],
];

const parse = (query: string, members: Members) => parseOptions({ protocol: 'canal-json', ...members, uri: `file:///t?${query}` });

/** spec storage-sink §7: upstream merges the URI into the configuration by what is not empty, so that an explicit false or 0 is lost. */
describe('the URI against the options beside it', () => {
  it.each(FLAGS.flatMap(([name, member, setting]) => [true, false].map((value) => [name, value, member, setting] as const)))(
    '(!) §7.1: %s=%s in the URI wins over the contrary',
    (name, value, member, setting) => {
      expect(setting(parse(`${name}=${value}`, member(!value)).settings)).toBe(value);
      expect(setting(parse('', member(value)).settings)).toBe(value);
    },
  );

  it('(!) §7.1: output-handle-key=false in the URI wins over true: nothing is said of it', () => {
    const members = { protocol: 'csv', csv: { outputHandleKey: true } };
    expect([parse('', members).notes.length, parse('output-handle-key=false', members).notes.length]).toEqual([1, 0]);
  });

  it.each<[query: string, members: Members, expected: Partial<SinkSettings>, note: string | null]>([
    ['flush-concurrency=0', { flushConcurrency: 4 }, {}, 'flush-concurrency is 0, outside 1 to 512: 1 is used'],
    ['flush-concurrency=513', {}, {}, 'flush-concurrency is 513, outside 1 to 512: 1 is used'],
    ['file-index-digit=0', { fileIndexDigit: 8 }, { fileIndexDigits: 20 }, 'file-index-digit is 0, outside 6 to 20: 20 is used'],
    ['file-size=0', { fileSize: '2MiB' }, { fileSizeBytes: 1024 }, 'file-size is 0B, outside 1KiB to 512MiB: 1KiB is used'],
    ['flush-interval=0s', { flushInterval: '7s' }, { flushIntervalMs: 100 }, 'flush-interval is 0ms, outside 100ms to 10m: 100ms is used'],
    ['flush-interval=0', { flushInterval: '7s' }, { flushIntervalMs: 100 }, 'flush-interval is 0ms, outside 100ms to 10m: 100ms is used'],
    [
      'flush-interval=-2s',
      { flushInterval: '7s' },
      { flushIntervalMs: 100 },
      'flush-interval is -2000ms, outside 100ms to 10m: 100ms is used',
    ],
    ['file-size=-1', { fileSize: '2MiB' }, { fileSizeBytes: 1024 }, 'file-size is -1B, outside 1KiB to 512MiB: 1KiB is used'],
    ['file-expiration-days=0', { fileExpirationDays: 7 }, { fileExpirationDays: 0 }, null],
    ['spool-base-dir=', { spoolBaseDir: '/spools' }, { spoolBaseDir: '' }, null],
    ['spool-disk-quota=', { spoolDiskQuota: '1GiB' }, { spoolDiskQuotaBytes: 1024 ** 3 }, null],
  ])('(!) §7.1: ?%s counts beside %j', (query, members, expected, note) => {
    const { settings, notes } = parse(query, members);
    expect(settings).toMatchObject(expected);
    expect(notes).toEqual(note === null ? [] : [note]);
  });

  it.each([
    ['worker-count', '0', { workerCount: 4 }],
    ['worker-count', '-3', {}],
    ['spool-disk-quota', '0', { spoolDiskQuota: '1GiB' }],
    ['spool-disk-quota', '-1', {}],
    ['spool-memory', '0', { spoolMemory: '1MiB' }],
  ])('(!) §7.1: %s=%s is an error, whatever stands beside it', (name, value, members) => {
    const failure = { code: 'MR_INVALID_OPTION', details: expect.objectContaining({ option: name, value, bound: 'greater than 0' }) };
    expect(() => parse(`${name}=${value}`, members)).toThrow(expect.objectContaining(failure));
  });

  it.each(['spools', './spools', '~/spools'])('spool-base-dir=%s is an error: it is no absolute path', (folder) => {
    const failure = {
      code: 'MR_INVALID_OPTION',
      message: expect.stringContaining(`spool-base-dir is "${folder}"; it must be an absolute path`),
    };
    expect(() => parse(`spool-base-dir=${folder}`, {})).toThrow(expect.objectContaining(failure));
  });
});
