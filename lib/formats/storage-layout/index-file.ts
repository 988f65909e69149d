import { MillraceError } from '../../errors.ts';
import { parseDataFileName } from './paths.ts';

/** An index file: the base name of the newest published data file (spec storage-sink §5.3). */
export function stringifyIndexFile(dataFileName: string): string {
  return `${dataFileName}\n`;
}

/** The number that an index file publishes; what lies beyond it is not shown. Throws MR_STORAGE_FILE_MALFORMED. */
export function parseIndexFile(content: string, extension: string, path: string): number {
  try {
    return parseDataFileName(content.replace(/\n$/, ''), extension).index;
  } catch (error) {
    throw new MillraceError('MR_STORAGE_FILE_MALFORMED', { path, reason: `it names no ${extension} data file` }, error);
  }
}
