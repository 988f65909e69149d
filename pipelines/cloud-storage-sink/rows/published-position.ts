import { comparePositions, type Position, type Table } from '../../../lib/events/index.ts';
import { type DateSeparator, dataDirectory } from '../../../lib/formats/storage-layout/index.ts';
import { DataDirectory } from '../../storage-writer/data-directory.ts';
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
 * It looks into the folders that were written last, by their dates: two with something published of each form of date, should the separator have changed, and the one that
 * the last run said it writes to. Where the clock was set back by more than a folder's time, what it finds may be too low, never too high.
 *
 * @throws MR_SCHEMA_CONFLICT, MR_STORAGE_FILE_MALFORMED
 */
export async function publishedPosition(target: Target, table: Table): Promise<Published> {
  const version = await effectiveVersionSoFar(target, table);
  if (version === null) return { last: null, seen: [] };
  const { paths, cleanUp, epoch } = target;
  const [datesByForm, open] = await Promise.all([
    datesBelow(target, dataDirectory(table, version, '', paths)),
    readOpenFolder(target, table, version),
  ]);
  const newest = datesByForm.flatMap((dates) => dates.slice(-FOLDERS));
  // Also where nothing is yet: if there is something when the rows are written, it came in between.
  const dates = new Set(['', ...newest, ...(open === null ? [] : [open.date]), cleanUp.dateOfWrite()]);
  // Where this run has written already, nobody else has come in between; and it may be writing.
  const isOurs = open !== null && open.run === epoch.run;
  const seen: string[] = [];
  const published: Position[] = [];
  const closed = new Set<string>();
  const look = async (date: string) => {
    const directory = await DataDirectory.look(target, dataDirectory(table, version, date, paths), table.dispatcher);
    if (!isOurs) seen.push(directory.remember());
    if (!directory.isPublished) closed.add(date);
    const last = await directory.publishedOf(table.dispatcher);
    if (last !== null) published.push(last);
  };
  await Promise.all(Array.from(dates, look));
  for (const ofForm of datesByForm) {
    // One that was only closed tells nothing: the one before it counts in its place.
    for (let at = ofForm.length - 1, left = FOLDERS; at >= 0 && left > 0; at--) {
      const date = ofForm[at]!;
      if (!dates.has(date)) await look(date);
      if (!closed.has(date)) left--;
    }
  }
  return { last: published.sort(comparePositions).at(-1) ?? null, seen };
}

/** The dates of the folders below `directory`, in order, of each form. */
async function datesBelow({ store }: Target, directory: string): Promise<string[][]> {
  const byForm = new Map<DateSeparator, string[]>();
  // Dates sort before everything else that the folder holds.
  for await (const name of store.folders(`${directory}/`, 'A')) {
    const form = FORMS.find(([, pattern]) => pattern.test(name))?.[0];
    if (form === undefined) continue;
    const dates = byForm.get(form);
    if (dates === undefined) byForm.set(form, [name]);
    else dates.push(name);
  }
  return [...byForm.values()];
}

const FORMS: readonly (readonly [DateSeparator, RegExp])[] = [
  ['year', /^\d{4}$/],
  ['month', /^\d{4}-\d{2}$/],
  ['day', /^\d{4}-\d{2}-\d{2}$/],
];
const FOLDERS = 2;
