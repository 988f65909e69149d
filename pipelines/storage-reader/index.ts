export type { Change, TableChanges, TableVersion } from './change.ts';
export { listTables, type ReadOptions, type ReadTableOptions, readTable } from './read-table.ts';
export { type RebuiltTable, rebuildTable } from './rebuild-table.ts';
export { StoredTarget } from './stored-target.ts';
export { TableImage } from './table-image.ts';
export type { TableName } from './table-name.ts';
export { type FollowOptions, type ReaderOptions, TargetReader } from './target-reader.ts';
