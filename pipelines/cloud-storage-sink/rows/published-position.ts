import { comparePositions, type Position, type Table } from '../../../lib/events/index.ts';
import { type DateSeparator, dataDirectory } from '../../../lib/formats/storage-layout/index.ts';
import { DataDirectory } from '../files/data-directory.ts';
import { effectiveVersionSoFar } from '../files/schema-versions.ts';
import type { Target } from '../target.ts';

/**
 * The last position that is published of the rows of `table`'s dispatcher in its version; null when there is none, or when nothing tells. Whole files that a crash
 * left behind an index are published first. A dispatcher's rows are published in the order of their positions, so everything of it up to there is.
 *
 * It looks into the folders that were written last, by their dates: two of each form of date, should the separator have changed. Where the clock was set back by
 * more than a folder's time, what it finds may be too low, never too high.
 *
 * @throws MR_SCHEMA_CONFLICT, MR_STORAGE_FILE_MALFORMED
 */
export async function publishedPosition(target: Target, table: Table): Promise<Position | null> {
  const version = await effectiveVersionSoFar(target, table);
  if (version === null) return null;
  const { paths, cleanUp } = target;
  let published: Position | null = null;
  // Also where nothing is yet: if there is something when the rows are written, it came in between.
  const dates = new Set([...(await newestDates(target, dataDirectory(table, version, '', paths))), cleanUp.dateOfWrite()]);
  for (const date of dates) {
    const directory = await DataDirectory.look(target, dataDirectory(table, version, date, paths), table.dispatcher);
    const found = await directory.publishedOf(table.dispatcher);
    if (found !== null && (published === null || comparePositions(found, published) > 0)) published = found;
  }
  return published;
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
