import { isSchemaFilePath, matchIndexPath, parseSchemaFilePath } from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { removedVersionOf } from '../cloud-storage-sink/files/removed-mark.ts';

/** What the keys below one table's folder say. It grows with versions and data folders, not with files. */
export interface ListedFolder {
  /** `<schema>/<table>`, escaped, or the table's id. */
  readonly folder: string;
  /** Paths of the schema files of the folder's own table; not those of a target inside this one. */
  readonly schemaFiles: readonly string[];
  readonly series: readonly ListedSeries[];
}

/** The numbered files of one data folder and dispatcher, published by one index file. Without an index there is no series: nothing of it is published. */
export interface ListedSeries {
  readonly version: bigint;
  readonly directory: string;
  readonly dispatcher: string;
  readonly indexPath: string;
  /** Tells the series of one version apart, across restarts: `[<table id>/][<partition>/][<date>/]CDC[_<dispatcher>]`. */
  readonly name: string;
  /** `YYYY-MM-DD`, the folder's own, where it is called by a day; else ''. */
  readonly day: string;
  /** The highest number in the list of a file or a sidecar, published or not; 0 when there is none. */
  readonly newest: number;
  /** The width to which numbers in names are padded; null when the list has no file. */
  readonly digits: number | null;
}

/** Walks a target once. Keys that the layout does not have are passed over. */
export async function listFolders(store: ObjectStore): Promise<ListedFolder[]> {
  const folders = new Map<string, Found>();
  for await (const { key } of store.list('')) {
    const folder = FOLDER.exec(key)?.[0];
    if (folder === undefined) continue;
    let found = folders.get(folder);
    if (found === undefined) {
      found = { schemaFiles: [], removed: new Set(), indexes: [], files: new Map() };
      folders.set(folder, found);
    }
    note(found, folder, key);
  }
  return [...folders].map(([folder, { schemaFiles, removed, indexes, files }]) => ({
    folder,
    schemaFiles: removed.size === 0 ? schemaFiles : schemaFiles.filter((path) => !removed.has(parseSchemaFilePath(path).version)),
    series: indexes.map((index) => {
      const { newest, digits } = files.get(`${index.directory}/${index.dispatcher}`) ?? { newest: 0, digits: null };
      return { newest, digits, ...index };
    }),
  }));
}

interface Found {
  readonly schemaFiles: string[];
  /** Versions of which nothing counts, whatever came late. */
  readonly removed: Set<bigint>;
  readonly indexes: Omit<ListedSeries, 'newest' | 'digits'>[];
  /** By data folder and dispatcher. */
  readonly files: Map<string, { newest: number; digits: number }>;
}

function note({ schemaFiles, removed, indexes, files }: Found, folder: string, key: string): void {
  const data = DATA_FILE.exec(key);
  if (data !== null) {
    const [, directory, isSidecar, dispatcher = '', digits] = data;
    // Else a sidecar of its own name in a folder of data, or a data file in a folder of sidecars.
    if ((isSidecar !== undefined) !== key.endsWith('.positions')) return;
    const place = `${directory}/${dispatcher}`;
    const number = Number(digits);
    if (!Number.isSafeInteger(number)) return;
    const seen = files.get(place);
    if (seen === undefined) {
      files.set(place, { newest: number, digits: digits!.length });
    } else {
      seen.newest = Math.max(seen.newest, number);
      // A number that has outgrown the width is longer than it.
      seen.digits = Math.min(seen.digits, digits!.length);
    }
    return;
  }
  if (isSchemaFilePath(key)) {
    if (key.lastIndexOf('/') === folder.length + '/meta'.length) schemaFiles.push(key);
    return;
  }
  const mark = removedVersionOf(key);
  if (mark !== null && key.lastIndexOf('/') === folder.length + '/meta'.length) removed.add(mark);
  const index = matchIndexPath(key);
  if (index === null) return;
  const { version, directory, dispatcher, tableId, date } = index;
  const within = directory.slice(`${folder}/${version}`.length + 1);
  const piece = tableId === null ? '' : `${tableId}/`;
  const name = `${piece}${within === '' ? '' : `${within}/`}CDC${dispatcher === '' ? '' : `_${dispatcher}`}`;
  indexes.push({ version, directory, dispatcher, indexPath: key, name, day: date.length === 'YYYY-MM-DD'.length ? date : '' });
}

/** A table's folder. Escaped names are never numbers, so a leading number is a table's id. */
const FOLDER = /^(?:\d+|[^/]+\/[^/]+)(?=\/)/;
/** A data file or its sidecar. A sidecar without its file tells of a write under way, or of a file that is missing. */
const DATA_FILE = /^(.+?)(\/meta)?\/CDC(?:_([^/]+)_)?(\d+)\.(?!index$)\w+$/;
