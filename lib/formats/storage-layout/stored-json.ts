import { MillraceError } from '../../errors.ts';
import { parseJson } from '../json.ts';

/** A stored JSON file that was read: what it says, and the error for what it should not say. */
export interface StoredJson {
  /** None, where the file holds no object. */
  readonly members: Readonly<Record<string, unknown>>;
  malformed(reason: string): MillraceError;
}

/** Reads a JSON file of the target. `version` is what its member `v` must be. Throws MR_STORAGE_FILE_MALFORMED, naming `path`. */
export function parseStoredJson(content: string, path: string, version?: number): StoredJson {
  const malformed = (reason: string, cause?: unknown) => new MillraceError('MR_STORAGE_FILE_MALFORMED', { path, reason }, cause);
  let value: unknown;
  try {
    value = parseJson(content);
  } catch (error) {
    throw malformed('it is no JSON', error);
  }
  const members = (value ?? {}) as Record<string, unknown>;
  if (version !== undefined && members['v'] !== version) throw malformed(`its version is not ${version}`);
  return { members, malformed };
}

/** A commitTs, which is stored as text; null when it is none. */
export function parseCommitTs(value: unknown): bigint | null {
  return typeof value === 'string' && /^\d{1,20}$/.test(value) ? BigInt(value) : null;
}

/** A whole number that is not negative. */
export function isCount(value: unknown, max = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}
