export type { SpoolEntry, SpoolEntryState, SpoolMessage } from './entry.ts';
export { type SpoolLimitOptions, type SpoolLimits, spoolLimits } from './limits.ts';
export type { SpoolChunk } from './read-entries.ts';
export * from './spool.ts';
export { spoolFolder } from './spool-folder.ts';
export * from './spool-log.ts';
