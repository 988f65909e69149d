/** `…/meta/schema_<version>.removed`: the version was removed, and stays so. `prefix` is what the paths of the table's schema files begin with. */
export function removedMarkPath(prefix: string, version: bigint): string {
  return `${prefix}${version}.removed`;
}

/** What a mark holds. */
export const REMOVED = '{"v":1}';

/** The version that a mark removes; null for whatever is no mark. */
export function removedVersionOf(path: string): bigint | null {
  const version = MARK.exec(path)?.[1];
  return version === undefined ? null : BigInt(version);
}

const MARK = /\/meta\/schema_(\d+)\.removed$/;
