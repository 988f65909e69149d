/** The code of a system error (`ENOENT`); an empty string for anything else. */
export function systemCode(error: unknown): string {
  // Not by class: Node's own errors are of another realm than a test's.
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
