import { MillraceError } from '../../lib/errors.ts';
import { type DdlEvent, type Table, type TruncateEvent, tableName } from '../../lib/events/index.ts';
import {
  dataDirectory,
  isSchemaFilePath,
  parseSchemaFilePath,
  type SchemaFile,
  type SchemaFilePath,
  schemaChecksum,
  schemaFileOf,
  schemaFilePath,
  schemaFilePrefix,
  stringifySchemaFile,
} from '../../lib/formats/storage-layout/index.ts';
import { schemaPositionPath, stringifySchemaPosition } from './schema-position.ts';
import type { Target } from './target.ts';

/** TiDB's action code of TRUNCATE TABLE, as schema files carry it. */
export const ACTION_TRUNCATE = 11;

/**
 * The version whose directory takes the rows of `table`, its schema file being at the target then; null when the rows are stale and to be
 * discarded: a later version with the same columns is there, and a later version is written only when all rows before it are durable
 * (spec storage-sink §5.5). An earlier version is gone on with only while no other columns stand between: readers go through versions in order, and would take
 * the rows in between for repeated ones.
 *
 * @throws MR_SCHEMA_CONFLICT
 */
export async function effectiveVersion(target: Target, table: Table): Promise<bigint | null> {
  const file = schemaFileOf(table, undefined, target.settings.outputColumnId);
  const path = schemaFilePath(file, table.tableId, target.paths);
  if (await target.store.exists(path)) return table.version;
  const checksum = schemaChecksum(file);
  let newest: SchemaFilePath | null = null;
  for (const stored of await storedVersions(target, file, table)) {
    checkConflict(stored, table, checksum);
    if (stored.version > table.version) {
      if (stored.checksum === checksum) return null;
    } else if (newest === null || stored.version > newest.version) {
      newest = stored;
    }
  }
  if (newest?.checksum === checksum) return newest.version;
  await putText(target, path, stringifySchemaFile(file));
  return table.version;
}

/**
 * Writes the schema file of a change of schema, after removing the versions that it abandons. A replay writes the same object again.
 *
 * @returns its path and bytes
 * @throws MR_SCHEMA_CONFLICT
 */
export async function writeSchemaFile(target: Target, event: DdlEvent | TruncateEvent): Promise<{ path: string; bytes: number }> {
  const { table, position } = event;
  const change = event.type === 'ddl' ? { query: event.query, action: event.action } : { query: event.query, action: ACTION_TRUNCATE };
  const file = schemaFileOf(table, change, target.settings.outputColumnId);
  const path = schemaFilePath(file, table.tableId, target.paths);
  for (const version of event.type === 'ddl' ? event.abandons : []) await removeVersion(target, file, table, version);
  const checksum = schemaChecksum(file);
  for (const stored of await storedVersions(target, file, table)) checkConflict(stored, table, checksum);
  const startsEmpty = event.type === 'truncate' || event.startsEmpty;
  await putText(target, schemaPositionPath(path), stringifySchemaPosition({ ...position, startsEmpty }));
  const content = stringifySchemaFile(file);
  await putText(target, path, content);
  return { path, bytes: Buffer.byteLength(content) };
}

/** Removes a version: first what makes it visible (its schema files), then its rows. Removing what is not there is no error. */
async function removeVersion(target: Target, file: SchemaFile, table: Table, version: bigint): Promise<void> {
  const { store, paths } = target;
  const schemaFiles: string[] = [];
  for await (const { key } of store.list(`${schemaFilePrefix(file, table.tableId, paths)}${version}_`)) schemaFiles.push(key);
  const dataFiles: string[] = [];
  for await (const { key } of store.list(`${dataDirectory(table, version, '', paths)}/`)) dataFiles.push(key);
  const lastFirst = (keys: string[], first: (key: string) => boolean) => [...keys.filter(first), ...keys.filter((key) => !first(key))];
  for (const key of lastFirst(schemaFiles, isSchemaFilePath)) await store.delete(key);
  for (const key of lastFirst(dataFiles, (path) => path.endsWith('.index'))) await store.delete(key);
}

async function storedVersions({ store, paths }: Target, file: SchemaFile, table: Table): Promise<(SchemaFilePath & { path: string })[]> {
  const stored: (SchemaFilePath & { path: string })[] = [];
  for await (const { key } of store.list(schemaFilePrefix(file, table.tableId, paths))) {
    if (isSchemaFilePath(key)) stored.push({ ...parseSchemaFilePath(key), path: key });
  }
  return stored;
}

/** Rows of two shapes in one version directory could not be told apart. */
function checkConflict(stored: SchemaFilePath & { path: string }, table: Table, checksum: number): void {
  if (stored.version !== table.version || stored.checksum === checksum) return;
  throw new MillraceError('MR_SCHEMA_CONFLICT', { version: table.version, table: tableName(table), path: stored.path });
}

function putText({ store }: Target, path: string, content: string): Promise<void> {
  return store.put(path, [Buffer.from(content)]);
}
