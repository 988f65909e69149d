import { MillraceError } from '../../errors.ts';
import type { DispatcherId, Table } from '../../events/index.ts';
import { escapeName, unescapeName } from './names.ts';

export type DateSeparator = 'none' | 'year' | 'month' | 'day';

/** The options that shape paths (spec storage-sink §5.1, §7.2). */
export interface PathOptions {
  /** Data files are `CDC<index, padded to this width>`; 6 … 20. */
  readonly fileIndexDigit: number;
  /** Names carry the dispatcher's id, so that several nodes may write one table. */
  readonly enableTableAcrossNodes: boolean;
  /** The table's id in place of its names. */
  readonly useTableIdAsPath: boolean;
  /** Each partition of a table has a folder of its own below the version, called by its physical id. */
  readonly enablePartitionSeparator: boolean;
}

export const DEFAULT_PATH_OPTIONS: PathOptions = {
  fileIndexDigit: 20,
  enableTableAcrossNodes: false,
  useTableIdAsPath: false,
  enablePartitionSeparator: true,
};

/** What a table's folder is made from. */
type NamedTable = Pick<Table, 'schema' | 'name' | 'tableId' | 'isPartition'>;

/** `schema/table`, escaped, or the table's id. */
export function tableDirectory(table: NamedTable, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  return options.useTableIdAsPath ? String(table.tableId) : `${escapeName(table.schema)}/${escapeName(table.name)}`;
}

/**
 * `<table>/<version>[/<partition>][/<date>]`: where the data files of one table version are. `date` is what `dateComponent` gives. A folder that is called by the
 * table's id is the partition's already.
 */
export function dataDirectory(table: NamedTable, version: bigint, date: string, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  const ofVersion = `${tableDirectory(table, options)}/${version}`;
  const isApart = table.isPartition === true && options.enablePartitionSeparator && !options.useTableIdAsPath;
  const directory = isApart ? `${ofVersion}/${table.tableId}` : ofVersion;
  return date === '' ? directory : `${directory}/${date}`;
}

/** The date folder at a wall-clock time, in UTC (upstream: the process's zone, which moves files when a node's setting does). */
export function dateComponent(nowMs: number, separator: DateSeparator): string {
  return separator === 'none' ? '' : dayText(nowMs).slice(0, DATE_LENGTHS[separator]);
}

/** `YYYY-MM-DD`. It is asked for with each file, and nearly always of one day. */
function dayText(nowMs: number): string {
  const day = Math.floor(nowMs / DAY_MS);
  if (day !== lastDay.day) lastDay = { day, text: new Date(nowMs).toISOString().slice(0, 10) };
  return lastDay.text;
}

const DAY_MS = 86_400_000;
let lastDay = { day: Number.NaN, text: '' };

/** `CDC[_<dispatcher>_]<index>`, without a suffix; data file, sidecar and index file share it. The first index is 1. */
export function fileStem(index: number, dispatcher: DispatcherId, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  const digits = String(index).padStart(options.fileIndexDigit, '0');
  return options.enableTableAcrossNodes ? `CDC_${dispatcher}_${digits}` : `CDC${digits}`;
}

/** `<data-dir>/CDC…<idx><ext>`. */
export function dataFilePath(directory: string, stem: string, extension: string): string {
  return `${directory}/${stem}${extension}`;
}

/** `<data-dir>/meta/CDC…<idx>.positions`: the sidecar of one data file. */
export function positionsPath(directory: string, stem: string): string {
  return `${directory}/meta/${stem}.positions`;
}

/** `<data-dir>/meta/CDC[_<dispatcher>].index`. */
export function indexFilePath(directory: string, dispatcher: DispatcherId, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  return `${directory}/meta/CDC${options.enableTableAcrossNodes ? `_${dispatcher}` : ''}.index`;
}

/** The data folder that an index or positions file belongs to. */
export function dataDirectoryOf(metaFilePath: string): string {
  return metaFilePath.slice(0, metaFilePath.lastIndexOf('/meta/'));
}

/** A data folder, taken apart. `schema` and `table` are null where the path carries the table's id instead. */
export interface DataDirectory {
  readonly schema: string | null;
  readonly table: string | null;
  readonly tableId: number | null;
  readonly version: bigint;
  /** The physical id of a partition; null for what is none. */
  readonly partition: bigint | null;
  /** '' when there is none. */
  readonly date: string;
}

export interface DataFile extends DataDirectory {
  /** The whole path without the file. */
  readonly directory: string;
  /** The base name without its extension. */
  readonly stem: string;
  /** As the name carries it; '' when it does not. */
  readonly dispatcher: string;
  readonly index: number;
}

export interface IndexFile extends DataDirectory {
  readonly directory: string;
  readonly dispatcher: string;
}

/**
 * Takes the path of a data file apart. A separator demands that form of date; without one any is taken for what it looks like. Throws
 * MR_STORAGE_INVALID_FILE_NAME, MR_STORAGE_INVALID_PATH.
 */
export function parseDataPath(path: string, extension: string, separator?: DateSeparator): DataFile {
  const slash = path.lastIndexOf('/');
  const { stem, dispatcher, index } = parseDataFileName(path.slice(slash + 1), extension, path);
  const directory = slash < 0 ? null : parseDataDirectory(path.slice(0, slash), separator);
  if (directory === null) throw new MillraceError('MR_STORAGE_INVALID_PATH', { kind: 'dml', path });
  return { directory: path.slice(0, slash), stem, dispatcher, index, ...directory };
}

/** Takes a data file's base name apart. Throws MR_STORAGE_INVALID_FILE_NAME, MR_STORAGE_INVALID_PATH (for `path`). */
export function parseDataFileName(name: string, extension: string, path = name): Pick<DataFile, 'stem' | 'dispatcher' | 'index'> {
  if (name.length < MIN_STEM + extension.length || !name.startsWith('CDC') || !name.endsWith(extension)) {
    throw new MillraceError('MR_STORAGE_INVALID_FILE_NAME', { name });
  }
  const stem = name.slice(0, name.length - extension.length);
  const match = /^CDC(?:_(.+)_)?(\d+)$/.exec(stem);
  const index = Number(match?.[2] ?? Number.NaN);
  if (!Number.isSafeInteger(index)) throw new MillraceError('MR_STORAGE_INVALID_PATH', { kind: 'dml', path });
  return { stem, dispatcher: match?.[1] ?? '', index };
}

/** Takes the path of an index file apart, like `parseDataPath`. Throws MR_STORAGE_INVALID_PATH. */
export function parseIndexPath(path: string, separator?: DateSeparator): IndexFile {
  const parsed = matchIndexPath(path, separator);
  if (parsed === null) throw new MillraceError('MR_STORAGE_INVALID_PATH', { kind: 'index', path });
  return parsed;
}

/** `parseIndexPath` for walking a target: null for whatever is no index file. */
export function matchIndexPath(path: string, separator?: DateSeparator): IndexFile | null {
  const match = /^(.+)\/meta\/CDC(?:_([^/]+))?\.index$/.exec(path);
  const directory = match === null ? null : parseDataDirectory(match[1]!, separator);
  return match === null || directory === null ? null : { directory: match[1]!, dispatcher: match[2] ?? '', ...directory };
}

/** Takes a data folder apart; null when it is none. Names are never numbers (`escapeName`), so a leading number is a table id. */
export function parseDataDirectory(path: string, separator?: DateSeparator): DataDirectory | null {
  const parts = path.split('/');
  const byId = NUMBER.test(parts[0]!);
  const names = byId ? null : parts.splice(0, 2).map(unescapeName);
  if (names !== null && (names.length < 2 || names.includes(null))) return null;
  const tableId = byId ? Number(parts.shift()) : null;
  const version = parts.shift();
  if (version === undefined || !NUMBER.test(version)) return null;
  const date = takeDate(parts, separator);
  const partition = byId ? undefined : parts.shift();
  if (date === null || parts.length > 0 || (partition !== undefined && !NUMBER.test(partition))) return null;
  return {
    schema: names?.[0] ?? null,
    table: names?.[1] ?? null,
    tableId,
    version: BigInt(version),
    partition: partition === undefined ? null : BigInt(partition),
    date,
  };
}

const MIN_STEM = 'CDC'.length + 6;
const NUMBER = /^\d+$/;
const DATE_LENGTHS = { none: 0, year: 4, month: 7, day: 10 } as const;
const DATES = { year: /^\d{4}$/, month: /^\d{4}-\d{2}$/, day: /^\d{4}-\d{2}-\d{2}$/ } as const;
const ANY_DATE = /^\d{4}(?:-\d{2}){0,2}$/;

/** Takes the date off the end of what follows the version; null when the separator demands one that is not there. */
function takeDate(parts: string[], separator: DateSeparator | undefined): string | null {
  if (separator === 'none') return '';
  const last = parts.at(-1);
  if (last !== undefined && (separator === undefined ? ANY_DATE : DATES[separator]).test(last)) return parts.pop()!;
  return separator === undefined ? '' : null;
}
