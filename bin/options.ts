import { splitTablePatterns, tableMatcher } from '../lib/events/index.ts';
import { isMillraceError, MillraceError } from '../lib/index.ts';
import { redactUrl } from '../lib/redact.ts';
import { connectionOf } from '../lib/sources/postgres/options.ts';
import { checkStoreUri } from '../lib/stores/index.ts';

/** The database's URL, looked at under the name that a user gave it. @throws MR_INVALID_OPTION. */
export function databaseOption(from: string): string {
  connectionOf(from, 'from');
  return from;
}

export function isDatabase(uri: string): boolean {
  return /^postgres(?:ql)?:/i.test(uri);
}

/**
 * Looks at a place of events that is neither a database nor one of `others`, under the name that a user gave it.
 *
 * @throws MR_INVALID_OPTION, and those of S3's parameters.
 */
export function checkEventFiles(uri: string, option: string, others = ''): void {
  try {
    checkStoreUri(uri);
  } catch (error) {
    if (!isMillraceError(error, 'MR_INVALID_URI')) throw error;
    // What a store says of a scheme that it does not know is about sinks.
    const reason = /^(?:file|s3):/i.test(uri) ? ` (${String(error.details['reason'])})` : '';
    const bound = `postgres://user@host/database, file:///dir${others === '' ? ' or' : ','} s3://bucket/prefix${others}${reason}`;
    throw new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(redactUrl(uri)), bound }, error);
  }
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
