export { type InstallDdlTextOptions, installDdlText } from './install-ddl-text.ts';
export type { PostgresOptions } from './options.ts';
export { postgres } from './source.ts';
export { type TeardownOptions, type TeardownReport, teardown } from './teardown.ts';
export { openSnapshot, type SourceSnapshot, type SourceSnapshotOptions } from './verify-snapshot.ts';
