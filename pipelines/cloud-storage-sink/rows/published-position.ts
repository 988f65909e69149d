import { comparePositions, type Position, type Table } from '../../../lib/events/index.ts';
import { type DateSeparator, dataDirectory } from '../../../lib/formats/storage-layout/index.ts';
import { DataDirectory } from '../files/data-directory.ts';
import { readOpenFolder } from '../files/open-folder.ts';
import { effectiveVersionSoFar } from '../files/schema-versions.ts';
import type { Target } from '../target.ts';

/** How far a table version has come, for a dispatcher. */
export interface Published {
  /** The last position; null when there is none, or when nothing tells. */
  readonly last: Position | null;
  /** The index files that `target.seen` holds now. */
  readonly seen: readonly string[];
}

/**
 * The last position that is published of the rows of `table`'s dispatcher in its version. Whole files that a crash
 * left behind an index are published first. A dispatcher's rows are published in the order of their positions, so everything of it up to there is.
 *
 * It looks into the folders that were written last, by their dates: two of each form of date, should the separator have changed, and the one that the last run said it
 * writes to. Where the clock was set back by more than a folder's time, what it finds may be too low, never too high.
 *
 * @throws MR_SCHEMA_CONFLICT, MR_STORAGE_FILE_MALFORMED
 */
export async function publishedPosition(target: Target, table: Table): Promise<Published> {
  const version = await effectiveVersionSoFar(target, table);
  if (version === null) return { last: null, seen: [] };
  const { paths, cleanUp, epoch } = target;
  const [newest, open] = await Promise.all([
    newestDates(target, dataDirectory(table, version, '', paths)),
    readOpenFolder(target, table, version),
  ]);
  // Also where nothing is yet: if there is something when the rows are written, it came in between.
  const dates = new Set([...newest, ...(open === null ? [] : [open.date]), cleanUp.dateOfWrite()]);
  // Where this run has written already, nobody else has come in between; and it may be writing.
  const isOurs = open !== null && open.run === epoch.run;
  const seen: string[] = [];
  const looks = Array.from(dates, async (date) => {
    const directory = await DataDirectory.look(target, dataDirectory(table, version, date, paths), table.dispatcher);
    if (!isOurs) seen.push(directory.remember());
    return directory.publishedOf(table.dispatcher);
  });
  const published = (await Promise.all(looks)).filter((found) => found !== null).sort(comparePositions);
  return { last: published.at(-1) ?? null, seen };
}

/** The dates of the folders below `directory` that come last, in order, and of none. */
async function newestDates({ store }: Target, directory: string): Promise<string[]> {
  const byForm = new Map<DateSeparator, string[]>([['none', ['']]]);
  // Dates sort before everything else that the folder holds.
  for await (const name of store.folders(`${directory}/`, 'A')) {
    const form = FORMS.find(([, pattern]) => pattern.test(name))?.[0];
    if (form !== undefined) byForm.set(form, [...(byForm.get(form) ?? []), name].slice(-FOLDERS));
  }
  return [...byForm.values()].flat();
}

const FORMS: readonly (readonly [DateSeparator, RegExp])[] = [
  ['year', /^\d{4}$/],
  ['month', /^\d{4}-\d{2}$/],
  ['day', /^\d{4}-\d{2}-\d{2}$/],
];
const FOLDERS = 2;
