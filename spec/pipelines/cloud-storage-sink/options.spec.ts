import { describe, expect, it } from '@jest/globals';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type CloudStorageOptions, parseOptions } from '../../../pipelines/cloud-storage-sink/options.ts';
import { cloudStorage } from '../../../pipelines/index.ts';

const settingsOf = (options: Omit<CloudStorageOptions, 'store'>) =>
  parseOptions({ protocol: 'canal-json', uri: 'file:///t', ...options }).settings;
const viaUri = (query: string) => settingsOf({ uri: `s3://bucket/prefix?${query}` });

/** spec storage-sink §7 */
describe('options of the cloud storage sink', () => {
  it('has the defaults that the specification names', () => {
    expect(settingsOf({})).toEqual({
      protocol: 'canal-json',
      workerCount: 16,
      flushIntervalMs: 5000,
      fileSizeBytes: 67_108_864,
      spoolMemoryBytes: 67_108_864,
      spoolDiskQuotaBytes: 10_737_418_240,
      spoolBaseDir: '',
      dateSeparator: 'day',
      fileExpirationDays: 0,
      fileCleanupCronSpec: '0 0 2 * * *',
      fileIndexDigits: 20,
      enablePartitionSeparator: true,
      useTableIdAsPath: false,
      enableTableAcrossNodes: false,
      terminator: '\r\n',
      outputColumnId: false,
      outputDdlQuery: false,
      outputRawChangeEvent: false,
      onlyOutputUpdatedColumns: false,
      contentCompatible: false,
      deleteOnlyOutputHandleKeyColumns: false,
      enableTidbExtension: true,
      csv: {
        delimiter: ',',
        quote: '"',
        null: '\\N',
        includeCommitTs: true,
        binaryEncodingMethod: 'base64',
        outputOldValue: false,
        outputFieldHeader: false,
      },
    });
  });

  it.each<[query: string, expected: object]>([
    ['worker-count=3', { workerCount: 3 }],
    ['worker-count=513', { workerCount: 512 }],
    ['flush-interval=250ms', { flushIntervalMs: 250 }],
    ['flush-interval=10ms', { flushIntervalMs: 100 }],
    ['flush-interval=1h', { flushIntervalMs: 600_000 }],
    ['flush-interval=0', { flushIntervalMs: 100 }],
    ['flush-interval=-1s', { flushIntervalMs: 100 }],
    ['flush-interval=', { flushIntervalMs: 5000 }],
    ['file-size=2MiB', { fileSizeBytes: 2_097_152 }],
    ['file-size=1', { fileSizeBytes: 1024 }],
    ['file-size=-1', { fileSizeBytes: 1024 }],
    ['file-size=1GiB', { fileSizeBytes: 536_870_912 }],
    ['file-index-digit=6', { fileIndexDigits: 6 }],
    ['file-index-digit=5', { fileIndexDigits: 20 }],
    ['file-index-digit=21', { fileIndexDigits: 20 }],
    ['spool-memory=1MiB', { spoolMemoryBytes: 1_048_576 }],
    ['spool-memory=', { spoolMemoryBytes: 67_108_864 }],
    ['spool-disk-quota=1GiB', { spoolDiskQuotaBytes: 1_073_741_824 }],
    ['spool-disk-quota=', { spoolDiskQuotaBytes: 10_737_418_240 }],
    ['spool-base-dir=%2Fvar%2Fspool', { spoolBaseDir: '/var/spool' }],
    ['spool-base-dir=', { spoolBaseDir: '' }],
    ['date-separator=none', { dateSeparator: 'none' }],
    ['terminator=%0A', { terminator: '\n' }],
    ['file-index-digit=0', { fileIndexDigits: 20 }],
    ['file-size=', { fileSizeBytes: 67_108_864 }],
    ['enable-partition-separator=false', { enablePartitionSeparator: false }],
    ['use-table-id-as-path=true', { useTableIdAsPath: true }],
    ['enable-table-across-nodes=true', { enableTableAcrossNodes: true }],
    ['output-column-id=true', { outputColumnId: true }],
    ['output-raw-change-event=true', { outputRawChangeEvent: true }],
    ['only-output-updated-columns=true', { onlyOutputUpdatedColumns: true, contentCompatible: false }],
    ['content-compatible=true', { contentCompatible: true, onlyOutputUpdatedColumns: true }],
    ['delete-only-output-handle-key-columns=true', { deleteOnlyOutputHandleKeyColumns: true }],
    ['protocol=csv&output-raw-change-event=true&output-old-value=true', { protocol: 'csv', outputRawChangeEvent: true }],
    ['enable-tidb-extension=false', { enableTidbExtension: false }],
    ['protocol=csv&delimiter=%3B&quote=%27&null=NULL&include-commit-ts=false', { protocol: 'csv' }],
  ])('?%s is %j', (query, expected) => {
    expect(viaUri(query)).toMatchObject(expected);
  });

  it.each<[query: string, code: string, words: string]>([
    ['worker-count=0', 'MR_INVALID_OPTION', 'worker-count is 0; it must be greater than 0'],
    ['worker-count=-1', 'MR_INVALID_OPTION', 'worker-count is -1; it must be greater than 0'],
    ['worker-count=abc', 'MR_INVALID_OPTION', 'worker-count is abc; it must be a whole number'],
    ['flush-interval=soon', 'MR_INVALID_OPTION', 'flush-interval'],
    ['flush-interval=5', 'MR_INVALID_OPTION', 'flush-interval is "5"; it must be a duration'],
    ['flush-interval=-soon', 'MR_INVALID_OPTION', 'flush-interval is "-soon"; it must be a duration'],
    ['file-size=big', 'MR_INVALID_OPTION', 'file-size'],
    ['file-size=-big', 'MR_INVALID_OPTION', 'file-size is "-big"; it must be a size'],
    ['spool-memory=0', 'MR_INVALID_OPTION', 'spool-memory is 0; it must be greater than 0'],
    ['spool-disk-quota=0', 'MR_INVALID_OPTION', 'spool-disk-quota is 0; it must be greater than 0'],
    ['spool-disk-quota=-1', 'MR_INVALID_OPTION', 'spool-disk-quota is -1; it must be greater than 0'],
    ['spool-disk-quota=-5GiB', 'MR_INVALID_OPTION', 'spool-disk-quota is -5GiB; it must be greater than 0'],
    ['spool-disk-quota=much', 'MR_INVALID_OPTION', 'spool-disk-quota'],
    ['spool-base-dir=spool', 'MR_INVALID_OPTION', 'spool-base-dir is "spool"; it must be an absolute path'],
    ['flush-concurrency=many', 'MR_INVALID_OPTION', 'flush-concurrency is many; it must be a whole number'],
    ['date-separator=week', 'MR_INVALID_OPTION', 'date-separator is week; it must be one of none, year, month, day'],
    ['protocol=avro', 'MR_INVALID_OPTION', 'protocol is avro; it must be one of canal-json, csv'],
    ['enable-tidb-extension=yes', 'MR_INVALID_OPTION', 'enable-tidb-extension is yes'],
    ['protocol=csv&delete-only-output-handle-key-columns=true', 'MR_INVALID_OPTION', 'false with csv'],
    ['protocol=csv&output-raw-change-event=true', 'MR_INVALID_OPTION', 'false with csv'],
    ['flush=interval=1h', 'MR_UNKNOWN_OPTION', 'unknown option flush'],
    ['output-row-key=true', 'MR_UNKNOWN_OPTION', 'for a key that TiKV gives each row; PostgreSQL has none'],
    ['use-table-id-as-path=1', 'MR_INVALID_OPTION', 'use-table-id-as-path is 1; it must be true or false'],
    ['date-separator=', 'MR_INVALID_OPTION', 'date-separator is ""; it must be one of none, year, month, day'],
    ['worker-count=', 'MR_INVALID_OPTION', 'worker-count is ""; it must be a whole number'],
    ['terminator=', 'MR_INVALID_OPTION', 'terminator is ""; it must be at least one character'],
  ])('?%s is %s', (query, code, words) => {
    expect(() => viaUri(query)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(words) }));
  });

  it.each([
    ['region=eu&fileSzie=1', 'unknown option fileSzie of'],
    ['secret-access-key=abc&access-key=A&fileSzie=1', 'unknown option *** (an & in a credential is written %26) of'],
    ['access-key=A&secret-access-key=abc&de=f', 'unknown option *** (an & in a credential is written %26) of'],
    ['access-key=A&secret-access-key=abc&protocol=csv&fileSzie=1', 'unknown option fileSzie of'],
  ])('does not repeat what may be the rest of a credential: ?%s', (query, words) => {
    const refusal = { code: 'MR_UNKNOWN_OPTION', message: expect.stringContaining(words) };
    expect(() => cloudStorage({ uri: `s3://bucket/x?${query}` })).toThrow(expect.objectContaining(refusal));
  });

  it.each<[option: string, csv: NonNullable<CloudStorageOptions['csv']>, words: string]>([
    ['a quote of two bytes', { quote: '""' }, 'csv config quote contains more than one character'],
    ['a quote that ends lines', { quote: '\n' }, 'csv config quote cannot be line break character'],
    ['no delimiter', { delimiter: '' }, 'csv config delimiter cannot be empty'],
    ['a delimiter of four bytes', { delimiter: '||||' }, 'csv config delimiter contains more than three characters'],
    ['a delimiter with the quote in it', { delimiter: '"' }, 'csv config quote and delimiter has common characters'],
    ['another encoding', { binaryEncodingMethod: 'base32' as 'hex' }, 'csv config binary-encoding-method can only be hex or base64'],
  ])('refuses csv with %s before anything connects', (_, csv, words) => {
    expect(() => cloudStorage({ store: new MemoryStore(), protocol: 'csv', csv })).toThrow(words);
  });

  it.each<[query: string, member: Omit<CloudStorageOptions, 'store' | 'uri'>, expected: object]>([
    ['enable-tidb-extension=false', { enableTidbExtension: true }, { enableTidbExtension: false }],
    ['use-table-id-as-path=false', { useTableIdAsPath: true }, { useTableIdAsPath: false }],
    ['enable-partition-separator=false', { enablePartitionSeparator: true }, { enablePartitionSeparator: false }],
    ['include-commit-ts=false', { csv: { includeCommitTs: true } }, { csv: { includeCommitTs: false } }],
    ['quote=', { protocol: 'csv', csv: { quote: "'" } }, { csv: { quote: '' } }],
    ['null=', { protocol: 'csv', csv: { null: 'NULL' } }, { csv: { null: '' } }],
    ['file-index-digit=0', { fileIndexDigit: 8 }, { fileIndexDigits: 20 }],
    ['file-size=0', { fileSize: '2MiB' }, { fileSizeBytes: 1024 }],
    ['flush-interval=0s', { flushInterval: '7s' }, { flushIntervalMs: 100 }],
    ['flush-interval=', { flushInterval: '7s' }, { flushIntervalMs: 7000 }],
    ['worker-count=2&worker-count=3', { workerCount: 4 }, { workerCount: 3 }],
  ])('(!) §7.1 ?%s overrides %j: an explicit false or 0 counts, an empty quantity does not', (query, member, expected) => {
    expect(settingsOf({ ...member, uri: `file:///t?${query}` })).toMatchObject(expected);
  });

  it('(!) §7.1 an explicit 0 is an error where 0 is none of the values, whatever the member says', () => {
    expect(() => settingsOf({ workerCount: 4, uri: 'file:///t?worker-count=0' })).toThrow('worker-count is 0; it must be greater than 0');
  });

  it('says what it brought inside its bounds, and that output-handle-key has no column', () => {
    const uri = 'file:///t?worker-count=513&flush-interval=1h&file-size=1&file-index-digit=5&output-handle-key=true';
    expect(parseOptions({ uri, protocol: 'csv' }).notes).toEqual([
      'worker-count is 513, outside 1 to 512: 512 is used',
      'flush-interval is 1h, outside 100ms to 10m: 10m is used',
      'file-size is 1B, outside 1KiB to 512MiB: 1KiB is used',
      'file-index-digit is 5, outside 6 to 20: 20 is used',
      'output-handle-key has no effect: csv has no column for it',
    ]);
  });

  it.each([
    ['quote=&null=', ['null is "" and quote is empty: a text that equals it reads back as null']],
    ['quote=&null=NULL', ['null is "NULL" and quote is empty: a text that equals it reads back as null']],
    ['quote=&null=%5C%5CN', ['null is "\\\\\\\\N" and quote is empty: a text that equals it reads back as null']],
    ['quote=&delimiter=%7C', []],
    ['null=', []],
  ])('warns of a null text that a text can be written as: ?%s', (query, notes) => {
    expect(parseOptions({ uri: `file:///t?${query}`, protocol: 'csv' }).notes).toEqual(notes);
  });

  it.each<[given: Omit<CloudStorageOptions, 'store'>, storeUri: string, notes: string[]]>([
    [{ uri: 's3://bucket/p', flushConcurrency: 4 }, 's3://bucket/p?flush-concurrency=4', []],
    [
      { uri: 's3://bucket/p?region=x&flush-concurrency=8&file-size=1MiB', flushConcurrency: 4 },
      's3://bucket/p?region=x&flush-concurrency=8',
      [],
    ],
    [{ uri: 's3://bucket/p', flushConcurrency: 1 }, 's3://bucket/p', []],
    [{ uri: 's3://bucket/p?flush-concurrency=513' }, 's3://bucket/p', ['flush-concurrency is 513, outside 1 to 512: 1 is used']],
    [{ uri: 's3://bucket/p?flush-concurrency=0' }, 's3://bucket/p', ['flush-concurrency is 0, outside 1 to 512: 1 is used']],
    [{ uri: 'file:///t?flush-concurrency=4' }, 'file:///t', []],
  ])('tells the store of flush-concurrency, where it writes in parts: %j', (given, storeUri, notes) => {
    expect(parseOptions({ protocol: 'csv', ...given })).toMatchObject({ storeUri, notes });
  });

  it('says that flush-concurrency does nothing for a store that is open already', () => {
    expect(parseOptions({ protocol: 'csv', store: new MemoryStore(), flushConcurrency: 4 }).notes).toEqual([
      expect.stringContaining('flush-concurrency has no effect on a store that is open already'),
    ]);
  });

  it('takes the URI over the member, also when the URI says false or the default', () => {
    const options = {
      protocol: 'csv',
      enableTidbExtension: true,
      workerCount: 4,
      uri: 'file:///t?protocol=canal-json&enable-tidb-extension=false&worker-count=16',
    };
    expect(settingsOf(options)).toMatchObject({ protocol: 'canal-json', enableTidbExtension: false, workerCount: 16 });
  });

  it('leaves the given options as they are', () => {
    const options = { uri: 'file:///t?worker-count=2&quote=%27', protocol: 'csv', workerCount: 9, csv: { delimiter: ';', quote: '"' } };
    const before = structuredClone(options);
    Object.freeze(options);
    Object.freeze(options.csv);
    expect(parseOptions(options).settings).toMatchObject({ workerCount: 2, csv: { delimiter: ';', quote: "'" } });
    expect(options).toEqual(before);
  });

  it('opens the store with the parameters that are its own', () => {
    const uri = 's3://bucket/a%20b?worker-count=2&endpoint=http://localhost:9000&file-size=1MiB&force-path-style=true';
    expect(parseOptions({ uri, protocol: 'csv' }).storeUri).toBe('s3://bucket/a%20b?endpoint=http://localhost:9000&force-path-style=true');
  });

  it('refuses a parameter of another kind of store', () => {
    expect(() => settingsOf({ uri: 'file:///t?endpoint=http://localhost' })).toThrow('unknown option endpoint');
  });

  it('names a member that no option has', () => {
    const options = { fileSzie: '1MiB' } as CloudStorageOptions;
    expect(() => settingsOf(options)).toThrow(
      expect.objectContaining({ code: 'MR_UNKNOWN_OPTION', message: expect.stringContaining('fileSzie') }),
    );
  });

  it.each<[what: string, options: CloudStorageOptions]>([
    ['neither', { protocol: 'csv' }],
    ['both', { protocol: 'csv', uri: 'file:///t', store: new MemoryStore() }],
  ])('wants a URI or a store, not %s', (_, options) => {
    expect(() => cloudStorage(options)).toThrow(expect.objectContaining({ code: 'MR_INVALID_OPTION' }));
  });

  it.each(['open-protocol', 'avro', 'debezium', 'debezium-avro', 'simple', 'maxwell', 'canal', 'craft', 'CSV', ''])(
    'does not know the protocol %j (§6.4)',
    (protocol) => {
      expect(() => cloudStorage({ uri: `file:///t?protocol=${protocol}` })).toThrow('it must be one of canal-json, csv');
    },
  );

  it.each(['gcs', 'gs', 'azblob', 'azure', 'ftp'])('refuses the scheme %s at once (§7.4)', (scheme) => {
    expect(() => cloudStorage({ uri: `${scheme}://bucket/x`, protocol: 'csv' })).toThrow(
      expect.objectContaining({ code: 'MR_INVALID_URI', message: expect.stringContaining(`unsupported scheme: ${scheme}`) }),
    );
  });

  it.each(['file:///tmp/x', 's3://bucket/x', 'noop://'])('takes %s', (uri) => {
    expect(() => cloudStorage({ uri, protocol: 'csv' })).not.toThrow();
  });

  it('wants a protocol', () => {
    expect(() => cloudStorage({ uri: 'file:///t' })).toThrow('protocol is missing');
  });

  it('finds a wrong URI at once, and does not repeat its secrets', () => {
    const make = (uri: string) => () => cloudStorage({ uri, protocol: 'csv' });
    expect(make('gcs://bucket/x')).toThrow('unsupported scheme: gcs');
    expect(make('s3://KEY:SECRET@bucket/x')).toThrow(/MR_INVALID_URI: storage URI s3:\/\/\*\*\*@bucket\/x is not usable/);
    expect(make('s3://bucket/x?force-path-style=perhaps')).toThrow('option force-path-style is perhaps; it must be true or false');
  });

  it('describes itself by what was given, without secrets', () => {
    const { name, options } = cloudStorage({
      uri: 's3://bucket/x?flush-interval=90s&endpoint=http://KEY:SECRET@localhost',
      protocol: 'csv',
      fileSize: '1MiB',
      csv: { delimiter: ';' },
    });
    expect(name).toBe('cloudStorage');
    expect(options).toEqual({
      uri: 's3://bucket/x?endpoint=http://***@localhost',
      protocol: 'csv',
      'flush-interval': '1m30s',
      'file-size': '1MiB',
      delimiter: ';',
    });
  });
});
