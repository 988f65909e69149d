import { parseDataDirectory } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/object-store.ts';

/** A data folder of an expired day, and what the list has of it. It grows with the dispatchers that wrote there, not with files. */
export interface ExpiredDirectory {
  readonly path: string;
  /** `YYYY-MM-DD` */
  readonly day: string;
  /** By dispatcher, as names carry it; '' where they do not. */
  readonly series: ReadonlyMap<string, ExpiredSeries>;
}

export interface ExpiredSeries {
  /** Path of the index file; null when there is none: nothing is published, or clean-up has begun. */
  readonly index: string | null;
  /** Path of the sidecar with the highest number; null when there is none. */
  readonly newestSidecar: string | null;
  readonly sidecarNumber: number;
  /** The highest number of a data file. */
  readonly dataNumber: number;
}

/** The expired folders of one table. */
export interface ExpiredFolder {
  /** `<schema>/<table>`, or the table's id. */
  readonly folder: string;
  readonly directories: readonly ExpiredDirectory[];
}

/**
 * Walks a target for data folders of a day before `before`, table by table. Only the layout's own date counts, the last part of a data folder's path: a
 * schema or table whose name has a date in it is none.
 */
export async function* expiredFolders(store: ObjectStore, before: string): AsyncGenerator<ExpiredFolder> {
  let folder = '';
  let directories = new Map<string, Found>();
  for await (const { key } of store.list('')) {
    const file = datedFile(key);
    if (file === null || file.day >= before) continue;
    const its = FOLDER.exec(key)![0];
    if (its !== folder) {
      if (directories.size > 0) yield { folder, directories: [...directories.values()] };
      folder = its;
      directories = new Map();
    }
    let directory = directories.get(file.directory);
    if (directory === undefined) {
      directory = { path: file.directory, day: file.day, series: new Map() };
      directories.set(file.directory, directory);
    }
    note(directory, file, key);
  }
  if (directories.size > 0) yield { folder, directories: [...directories.values()] };
}

/** A file of a dated data folder, by its path; null for whatever else a target holds. */
export function datedFile(key: string): DatedFile | null {
  const match = DATED_FILE.exec(key);
  if (match === null) return null;
  const [, directory, day, inMeta, plainDigits, dispatcher = '', itsDigits, extension] = match;
  const digits = plainDigits ?? itsDigits;
  const kind = extension === 'index' ? 'index' : extension === 'positions' ? 'sidecar' : 'data';
  // An index has no number; index and sidecars are in `meta`, data is not.
  if ((kind === 'index') !== (digits === undefined) || (kind === 'data') !== (inMeta === undefined)) return null;
  if (parseDataDirectory(directory!, 'day') === null) return null;
  return { kind, directory: directory!, day: day!, dispatcher, number: Number(digits ?? 0) };
}

export interface DatedFile {
  readonly kind: 'data' | 'index' | 'sidecar';
  readonly directory: string;
  readonly day: string;
  readonly dispatcher: string;
  readonly number: number;
}

interface Found extends ExpiredDirectory {
  readonly series: Map<string, { -readonly [member in keyof ExpiredSeries]: ExpiredSeries[member] }>;
}

function note({ series }: Found, { kind, dispatcher, number }: DatedFile, key: string): void {
  let found = series.get(dispatcher);
  if (found === undefined) {
    found = { index: null, newestSidecar: null, sidecarNumber: 0, dataNumber: 0 };
    series.set(dispatcher, found);
  }
  if (kind === 'index') {
    found.index = key;
  } else if (kind === 'data') {
    found.dataNumber = Math.max(found.dataNumber, number);
  } else if (number > found.sidecarNumber) {
    found.sidecarNumber = number;
    found.newestSidecar = key;
  }
}

const FOLDER = /^(?:\d+|[^/]+\/[^/]+)(?=\/)/;
/** The folder, its day, `meta/`; then `CDC<n>`, `CDC_<dispatcher>_<n>` or, of an index, the same without a number; the extension. */
const DATED_FILE = /^(.+\/(\d{4}-\d{2}-\d{2}))\/(meta\/)?CDC(?:(\d+)|_([^/_.]+)(?:_(\d+))?)?\.(json|csv|positions|index)$/;
