import { createHash } from 'node:crypto';
import type { ObjectVersion } from './object-store.ts';

/** The version of what a store holds that has no versions of its own: an ETag, as S3 makes it of a small object. */
export function contentVersion(content: Uint8Array): ObjectVersion {
  return createHash('md5').update(content).digest('hex') as ObjectVersion;
}
