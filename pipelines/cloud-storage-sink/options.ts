import { isAbsolute } from 'node:path';
import { MillraceError } from '../../lib/errors.ts';
import type { PlainOptions } from '../../lib/flow/index.ts';
import { isNullAmbiguous } from '../../lib/formats/csv-options.ts';
import { redactUrl } from '../../lib/redact.ts';
import { type ObjectStore, STORE_PARAMETERS } from '../../lib/stores/index.ts';
import { formatBytes, formatDuration, parseBytes, parseDurationMs } from '../../lib/units.ts';
import { CLEAN_UP_SPEC, checkCronSpec } from './clean-up/clean-up-times.ts';
import { choice, clamp, flag, integer, invalid, type Option, quantity, signed, size, text } from './option-kinds.ts';

/**
 * Options of the cloud storage sink (spec storage-sink §7). Each has its default in the comment; a query parameter of `uri` under the kebab-case name
 * (`?flush-interval=10s&protocol=csv&delimiter=;`) wins over the member here.
 */
export interface CloudStorageOptions {
  /** `file:///dir` or `s3://bucket/prefix`, with options as query parameters. Exactly one of `uri` and `store` is given. */
  readonly uri?: string;
  /** A store that is open already; the sink does not close it. */
  readonly store?: ObjectStore;
  /** `canal-json` or `csv`. Required, here or in `uri`. */
  readonly protocol?: string;
  /** How many tables are written at once. Default 16; at most 512. */
  readonly workerCount?: number;
  /** A file is written this long after its first row came. Default `5s`; 100 ms to 10 min. */
  readonly flushInterval?: string | number;
  /** A file is written when its rows reach this size; it can exceed it by one block of rows. Default `64MiB`; 1 KiB to 512 MiB. */
  readonly fileSize?: string | number;
  /** Encoded rows that stay in memory until they are durable; what comes beyond goes to the spool's files. Default `64MiB`; greater than 0. */
  readonly spoolMemory?: string | number;
  /** Bytes that the spool's files may take. At 0.8 of it, memory counted in, the source is held, at 0.6 it goes on. Default `10GiB`; greater than 0. */
  readonly spoolDiskQuota?: string | number;
  /** The folder below which the spool has one, called as the pipeline; an absolute path. Default: one below the system's folder for temporary files. */
  readonly spoolBaseDir?: string;
  /** How many parts of one file are uploaded at once, where the store writes in parts (S3). Default 1; 1 to 512. */
  readonly flushConcurrency?: number;
  /** Directories by the UTC date of the write: `none`, `year`, `month` or `day`. Default `day`. */
  readonly dateSeparator?: string;
  /** Digits of the number in a file's name. Default 20; 6 to 20. */
  readonly fileIndexDigit?: number;
  /** A partition's files are in a folder of its own. PostgreSQL's partitioned tables come as one table, whatever this says. Default true. */
  readonly enablePartitionSeparator?: boolean;
  /** Folders are called by the table's id (PostgreSQL: the oid) in place of its names. Default false. */
  readonly useTableIdAsPath?: boolean;
  /** Names of files carry the dispatcher's id, so that several nodes may write one table. Default false. */
  readonly enableTableAcrossNodes?: boolean;
  /** Ends each row. Default CRLF. */
  readonly terminator?: string;
  /** Column ids in schema files. Default false. */
  readonly outputColumnId?: boolean;
  /**
   * Schema files carry what the user sent to change the schema (`DdlEvent.statement`), secrets in it included, where the source gives it; else, and without this
   * option, a statement made from what differs. Default false.
   */
  readonly outputDdlQuery?: boolean;
  /** Leaves updates that change the key whole, instead of a delete and an insert. Default false. */
  readonly outputRawChangeEvent?: boolean;
  /** canal-json: `old` has only the columns that changed. Default false. */
  readonly onlyOutputUpdatedColumns?: boolean;
  /** canal-json as Canal's own tools have it: `mysqlType` with lengths (`varchar(20)`), and `only-output-updated-columns`. Default false. */
  readonly contentCompatible?: boolean;
  /** canal-json: a delete has only the key columns. Default false. */
  readonly deleteOnlyOutputHandleKeyColumns?: boolean;
  /** canal-json: rows carry their commitTs (`_tidb.commitTs`). Default true. */
  readonly enableTidbExtension?: boolean;
  /** Data folders go this many days after their day, by the commit time of the published checkpoint; only with `date-separator=day`. Default 0, never; up to 36500. */
  readonly fileExpirationDays?: number;
  /** When that happens: a cron spec of six fields, from seconds on, in UTC. Default `0 0 2 * * *`. */
  readonly fileCleanupCronSpec?: string;
  readonly csv?: CsvOptions;
}

/** Options of the csv format (spec storage-sink §7.3). */
export interface CsvOptions {
  /** Default `,`; up to three bytes. */
  readonly delimiter?: string;
  /** Default `"`; empty for backslash escapes instead of quotes. */
  readonly quote?: string;
  /** What null is written as. Default `\N`. */
  readonly null?: string;
  /** Default true. */
  readonly includeCommitTs?: boolean;
  /** `base64` or `hex`. Default `base64`. */
  readonly binaryEncodingMethod?: string;
  /** An update is two rows, old and new. Default false. */
  readonly outputOldValue?: boolean;
  /** Column names as the first line of each file. Default false. */
  readonly outputFieldHeader?: boolean;
  /** Has no effect, as in TiCDC: csv has no such column. Default false. */
  readonly outputHandleKey?: boolean;
}

/** Every option with its value, checked and in the unit of its name. */
export interface SinkSettings {
  readonly protocol: 'canal-json' | 'csv';
  readonly workerCount: number;
  readonly flushIntervalMs: number;
  readonly fileSizeBytes: number;
  readonly spoolMemoryBytes: number;
  readonly spoolDiskQuotaBytes: number;
  /** Empty for the default. */
  readonly spoolBaseDir: string;
  readonly dateSeparator: 'none' | 'year' | 'month' | 'day';
  readonly fileIndexDigits: number;
  readonly enablePartitionSeparator: boolean;
  readonly useTableIdAsPath: boolean;
  readonly enableTableAcrossNodes: boolean;
  readonly terminator: string;
  readonly outputColumnId: boolean;
  readonly outputDdlQuery: boolean;
  readonly outputRawChangeEvent: boolean;
  readonly onlyOutputUpdatedColumns: boolean;
  readonly contentCompatible: boolean;
  readonly deleteOnlyOutputHandleKeyColumns: boolean;
  readonly enableTidbExtension: boolean;
  readonly fileExpirationDays: number;
  readonly fileCleanupCronSpec: string;
  readonly csv: CsvSettings;
}

export interface CsvSettings {
  readonly delimiter: string;
  readonly quote: string;
  readonly null: string;
  readonly includeCommitTs: boolean;
  readonly binaryEncodingMethod: 'base64' | 'hex';
  readonly outputOldValue: boolean;
  readonly outputFieldHeader: boolean;
}

export interface ParsedOptions {
  readonly settings: SinkSettings;
  /** The URI without the sink's own parameters: what the store is opened with. Null when a store was given. */
  readonly storeUri: string | null;
  /** Values that were brought inside their bounds, to be logged when the sink opens. */
  readonly notes: readonly string[];
  /** For `describe`. */
  readonly plain: PlainOptions;
}

/**
 * Checks everything that can be checked without connecting.
 *
 * @throws MR_INVALID_OPTION, MR_UNKNOWN_OPTION. The store's part of the URI is left to `checkStoreUri`.
 */
export function parseOptions(options: CloudStorageOptions): ParsedOptions {
  const given = new Map<string, unknown>();
  takeMembers(options, given);
  const { storeUri, fromUri } = splitUri(options);
  // The URI wins with whatever it says, `false` and `0` too; only an empty quantity says nothing (spec storage-sink §7.1).
  for (const [name, value] of fromUri) if (value !== '' || OPTIONS.get(name)!.isSetByEmpty !== false) given.set(name, value);

  const notes: string[] = [];
  const values = Object.fromEntries(
    [...OPTIONS].map(([name, option]) => [name, option.parse(name, given.get(name), (note) => notes.push(note))]),
  );
  if (values['output-handle-key'] === true) notes.push('output-handle-key has no effect: csv has no column for it');
  const settings = settingsOf(values);
  if (settings.protocol === 'csv') {
    const nullText = JSON.stringify(settings.csv.null);
    if (isNullAmbiguous(settings.csv)) notes.push(`null is ${nullText} and quote is empty: a text that equals it reads back as null`);
    if (settings.deleteOnlyOutputHandleKeyColumns) throw invalid('delete-only-output-handle-key-columns', true, 'false with csv');
    if (settings.outputRawChangeEvent && !settings.csv.outputOldValue)
      throw invalid('output-raw-change-event', true, 'false with csv, unless output-old-value is true');
  }
  if (given.has('flush-concurrency') && storeUri === null)
    notes.push('flush-concurrency has no effect on a store that is open already: it is an option of that');
  if (settings.fileExpirationDays > 0 && settings.dateSeparator !== 'day')
    throw invalid('file-expiration-days', settings.fileExpirationDays, `0 unless date-separator is day (it is ${settings.dateSeparator})`);
  // A node would have to hear of what another one removed before it writes there.
  if (settings.fileExpirationDays > 0 && settings.enableTableAcrossNodes)
    throw invalid('file-expiration-days', settings.fileExpirationDays, '0 with enable-table-across-nodes');
  const plain: Record<string, unknown> = {};
  for (const name of given.keys()) if (OPTIONS.has(name)) plain[name] = OPTIONS.get(name)!.show?.(values[name] as never) ?? values[name];
  return { settings, storeUri: storeUri && withConcurrency(storeUri, Number(values['flush-concurrency'])), notes, plain };
}

/** The URI with what the store is to know of the sink's options. */
function withConcurrency(storeUri: string, concurrency: number): string {
  const takesIt = STORE_PARAMETERS[schemeOf(storeUri)]?.includes('flush-concurrency') === true;
  return takesIt && concurrency > 1 ? `${storeUri}${storeUri.includes('?') ? '&' : '?'}flush-concurrency=${concurrency}` : storeUri;
}

function schemeOf(uri: string): string {
  return /^[^:/?]*/.exec(uri)![0].toLowerCase();
}

const OPTIONS = new Map<string, Option<never>>(
  Object.entries({
    protocol: choice('protocol', ['canal-json', 'csv'], null),
    'worker-count': {
      member: 'workerCount',
      parse: (name: string, value: unknown, note: (text: string) => void) => {
        const count = integer(name, value, 16);
        if (count <= 0) throw invalid(name, value, 'greater than 0');
        return clamp(name, count, 1, 512, String, note);
      },
    },
    'flush-interval': {
      member: 'flushInterval',
      isSetByEmpty: false,
      parse: (name: string, value: unknown, note: (text: string) => void) =>
        clamp(
          name,
          signed(quantity(value, '5s'), (given) => parseDurationMs(given, name)),
          100,
          600_000,
          formatDuration,
          note,
        ),
      show: formatDuration,
    },
    'file-size': {
      member: 'fileSize',
      isSetByEmpty: false,
      parse: (name: string, value: unknown, note: (text: string) => void) =>
        clamp(
          name,
          signed(quantity(value, '64MiB'), (given) => parseBytes(given, name)),
          1024,
          536_870_912,
          formatBytes,
          note,
        ),
      show: formatBytes,
    },
    'spool-memory': size('spoolMemory', '64MiB'),
    'spool-disk-quota': size('spoolDiskQuota', '10GiB'),
    'spool-base-dir': {
      member: 'spoolBaseDir',
      parse: (name: string, value: unknown) => {
        const folder = value ?? '';
        if (typeof folder !== 'string' || (folder !== '' && !isAbsolute(folder)))
          throw invalid(name, JSON.stringify(folder), 'an absolute path');
        return folder;
      },
    },
    'flush-concurrency': {
      member: 'flushConcurrency',
      parse: (name: string, value: unknown, note: (text: string) => void) => {
        const count = integer(name, value, 1);
        if (count >= 1 && count <= 512) return count;
        note(`${name} is ${count}, outside 1 to 512: 1 is used`);
        return 1;
      },
    },
    'date-separator': choice('dateSeparator', ['none', 'year', 'month', 'day'], 'day'),
    'file-index-digit': {
      member: 'fileIndexDigit',
      parse: (name: string, value: unknown, note: (text: string) => void) => {
        const digits = integer(name, value, 20);
        if (digits >= 6 && digits <= 20) return digits;
        note(`${name} is ${digits}, outside 6 to 20: 20 is used`);
        return 20;
      },
    },
    'enable-partition-separator': flag('enablePartitionSeparator', true),
    'use-table-id-as-path': flag('useTableIdAsPath', false),
    'enable-table-across-nodes': flag('enableTableAcrossNodes', false),
    terminator: text('terminator', '\r\n', true),
    'output-column-id': flag('outputColumnId', false),
    'output-ddl-query': flag('outputDdlQuery', false),
    'output-raw-change-event': flag('outputRawChangeEvent', false),
    'only-output-updated-columns': flag('onlyOutputUpdatedColumns', false),
    'content-compatible': flag('contentCompatible', false),
    'delete-only-output-handle-key-columns': flag('deleteOnlyOutputHandleKeyColumns', false),
    'enable-tidb-extension': flag('enableTidbExtension', true),
    'file-expiration-days': {
      member: 'fileExpirationDays',
      isSetByEmpty: false,
      parse: (name: string, value: unknown) => {
        const days = integer(name, value === '' ? undefined : value, 0);
        if (days < 0 || days > 36_500) throw invalid(name, days, '0 to 36500');
        return days;
      },
    },
    'file-cleanup-cron-spec': {
      member: 'fileCleanupCronSpec',
      isSetByEmpty: false,
      parse: (name: string, value: unknown) => {
        const spec = value ?? CLEAN_UP_SPEC;
        if (typeof spec !== 'string') throw invalid(name, spec, 'text');
        checkCronSpec(name, spec);
        return spec;
      },
    },
    delimiter: text('csv.delimiter', ','),
    quote: text('csv.quote', '"'),
    null: text('csv.null', '\\N'),
    'include-commit-ts': flag('csv.includeCommitTs', true),
    'binary-encoding-method': text('csv.binaryEncodingMethod', 'base64'),
    'output-old-value': flag('csv.outputOldValue', false),
    'output-field-header': flag('csv.outputFieldHeader', false),
    'output-handle-key': flag('csv.outputHandleKey', false),
  } satisfies Record<string, Option<never> | Option<number> | Option<string> | Option<boolean>>) as [string, Option<never>][],
);

function settingsOf(values: Record<string, unknown>): SinkSettings {
  return Object.freeze({
    protocol: values['protocol'],
    workerCount: values['worker-count'],
    flushIntervalMs: values['flush-interval'],
    fileSizeBytes: values['file-size'],
    spoolMemoryBytes: values['spool-memory'],
    spoolDiskQuotaBytes: values['spool-disk-quota'],
    spoolBaseDir: values['spool-base-dir'],
    dateSeparator: values['date-separator'],
    fileIndexDigits: values['file-index-digit'],
    enablePartitionSeparator: values['enable-partition-separator'],
    useTableIdAsPath: values['use-table-id-as-path'],
    enableTableAcrossNodes: values['enable-table-across-nodes'],
    terminator: values['terminator'],
    outputColumnId: values['output-column-id'],
    outputDdlQuery: values['output-ddl-query'],
    outputRawChangeEvent: values['output-raw-change-event'],
    onlyOutputUpdatedColumns: values['only-output-updated-columns'] === true || values['content-compatible'] === true,
    contentCompatible: values['content-compatible'],
    deleteOnlyOutputHandleKeyColumns: values['delete-only-output-handle-key-columns'],
    enableTidbExtension: values['enable-tidb-extension'],
    fileExpirationDays: values['file-expiration-days'],
    fileCleanupCronSpec: values['file-cleanup-cron-spec'],
    csv: Object.freeze({
      delimiter: values['delimiter'],
      quote: values['quote'],
      null: values['null'],
      includeCommitTs: values['include-commit-ts'],
      binaryEncodingMethod: values['binary-encoding-method'],
      outputOldValue: values['output-old-value'],
      outputFieldHeader: values['output-field-header'],
    }),
  }) as SinkSettings;
}

/** The members that were given, under their option names. Members that no option has are refused. */
function takeMembers(options: CloudStorageOptions, given: Map<string, unknown>): void {
  const names = new Map([...OPTIONS].map(([name, { member }]) => [member, name]));
  const take = (prefix: string, object: object) => {
    for (const [member, value] of Object.entries(object)) {
      if (prefix === '' && ['uri', 'store', 'csv'].includes(member)) continue;
      const name = names.get(prefix + member);
      if (name === undefined) throw unknown(prefix + member, [...names.keys()]);
      if (value !== undefined) given.set(name, value);
    }
  };
  take('', options);
  take('csv.', options.csv ?? {});
}

/** The sink's own parameters, and the URI with the others. */
function splitUri(options: CloudStorageOptions) {
  const fromUri = new Map<string, string>();
  if ((options.uri === undefined) === (options.store === undefined)) {
    throw invalid('uri', options.uri === undefined ? 'missing' : 'given beside store', 'given, or else store is');
  }
  if (options.uri === undefined) return { storeUri: null, fromUri };
  const storeParameters = STORE_PARAMETERS[schemeOf(options.uri)] ?? [];
  const at = options.uri.indexOf('?');
  if (at < 0) return { storeUri: options.uri, fromUri };
  const kept: string[] = [];
  let before = '';
  for (const part of options.uri.slice(at + 1).split('&')) {
    if (part === '') continue;
    const [[name, value]] = [...new URLSearchParams(part)] as [[string, string]];
    if (OPTIONS.has(name)) fromUri.set(name, value);
    else if (storeParameters.includes(name)) kept.push(part);
    else throw unknown(unlessSecret(name, before), [...OPTIONS.keys(), ...storeParameters]);
    before = part;
  }
  const base = options.uri.slice(0, at);
  return { storeUri: kept.length === 0 ? base : `${base}?${kept.join('&')}`, fromUri };
}

/** The name of an unknown parameter: behind a credential it may be the rest of that, and is not said. */
function unlessSecret(name: string, before: string): string {
  return redactUrl(`?${before}`) === `?${before}` ? name : '*** (an & in a credential is written %26)';
}

/** Options of TiCDC's sink that mean nothing here: TiKV's row key. Who brings them is told that they are not misspelled. */
const NEVER = ['output-row-key'];

function unknown(option: string, known: readonly string[]): MillraceError {
  const kebab = option.replace(/^csv\./, '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const whose = NEVER.includes(kebab) ? " (TiCDC's has it, for a key that TiKV gives each row; PostgreSQL has none)" : '';
  const owner = `the cloud storage sink${whose}`;
  return new MillraceError('MR_UNKNOWN_OPTION', { option, owner, known: known.join(', ') });
}
