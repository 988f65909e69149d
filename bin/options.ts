import { splitTablePatterns, tableMatcher } from '../lib/events/index.ts';
import { MillraceError } from '../lib/index.ts';
import { connectionOf } from '../lib/sources/postgres/options.ts';

/** The database's URL, looked at under the name that a user gave it. @throws MR_INVALID_OPTION. */
export function databaseOption(from: string): string {
  connectionOf(from, 'from');
  return from;
}

/** Table patterns of an option, at least one. @throws MR_INVALID_OPTION. */
export function patternsOption(text: string, option: string): string[] {
  const patterns = splitTablePatterns(text);
  tableMatcher(patterns, option);
  return patterns;
}

/** A folder's path. @throws MR_INVALID_OPTION when it is empty, as a variable that is not set leaves it. */
export function folderOption(path: string, option: string): string {
  if (path === '') throw new MillraceError('MR_INVALID_OPTION', { option, value: '""', bound: 'a folder, such as ./.millrace' });
  return path;
}
