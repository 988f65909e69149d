import { MillraceError } from '../../errors.ts';

/** The one object of the layout at the target's root: the checkpoint (spec storage-sink §4.5). */
export const METADATA_PATH = 'metadata';

/** `{"checkpoint-ts":N}`, without a newline. */
export function stringifyMetadata(checkpointTs: bigint): string {
  return `{"checkpoint-ts":${checkpointTs}}`;
}

/** The checkpoint in a `metadata` object. Throws MR_STORAGE_FILE_MALFORMED. */
export function parseMetadata(content: string): bigint {
  const match = /^\s*\{\s*"checkpoint-ts"\s*:\s*(\d+)\s*\}\s*$/.exec(content);
  if (match === null) throw new MillraceError('MR_STORAGE_FILE_MALFORMED', { path: METADATA_PATH, reason: 'it holds no checkpoint-ts' });
  return BigInt(match[1]!);
}
