export { type Change, listTables, type ReadOptions, readTable } from './read-table.ts';
export { type RebuiltTable, rebuildTable } from './rebuild-table.ts';
export { StoredTarget, type TableName } from './stored-target.ts';
