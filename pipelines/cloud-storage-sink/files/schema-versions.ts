import { MillraceError } from '../../../lib/errors.ts';
import { type DdlEvent, type Table, type TruncateEvent, tableName } from '../../../lib/events/index.ts';
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
} from '../../../lib/formats/storage-layout/index.ts';
import type { Target } from '../target.ts';
import { REMOVED, removedMarkPath, removedVersionOf } from './removed-mark.ts';
import { schemaPositionPath, stringifySchemaPosition } from './schema-position.ts';

/** TiDB's action code of TRUNCATE TABLE, as schema files carry it. */
export const ACTION_TRUNCATE = 11;

/**
 * The version whose directory takes the rows of `table`, its schema file being at the target then; null when the rows are stale and to be
 * discarded: a later version with the same columns is there, and a later version is written only when all rows before it are durable
 * (spec storage-sink §5.5). An earlier version is gone on with only while no other columns stand between: readers go through versions in order, and would take
 * the rows in between for repeated ones.
 *
 * @throws MR_SCHEMA_CONFLICT, MR_STALE_EPOCH
 */
export async function effectiveVersion(target: Target, table: Table): Promise<bigint | null> {
  const found = await findVersion(target, table);
  if (found !== 'none') return found;
  const file = schemaFileOf(table, undefined, target.settings.outputColumnId);
  await target.epoch.check();
  const path = schemaFilePath(file, table.tableId, target.paths);
  await putText(target, path, stringifySchemaFile(file));
  tellWritten(target, table, path);
  return table.version;
}

/** What `effectiveVersion` will give; nothing is written. @throws MR_SCHEMA_CONFLICT */
export async function effectiveVersionSoFar(target: Target, table: Table): Promise<bigint | null> {
  const found = await findVersion(target, table);
  return found === 'none' ? table.version : found;
}

async function findVersion(target: Target, table: Table): Promise<bigint | null | 'none'> {
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
  return newest?.checksum === checksum ? newest.version : 'none';
}

/**
 * Writes the schema file of a change of schema, after removing the versions that it abandons. A replay writes the same object again.
 *
 * @returns its path and bytes
 * @throws MR_SCHEMA_CONFLICT, MR_STALE_EPOCH
 */
export async function writeSchemaFile(target: Target, event: DdlEvent | TruncateEvent): Promise<{ path: string; bytes: number }> {
  const { table, position } = event;
  const file = schemaFileOf(table, changeOf(event, target.settings.outputDdlQuery), target.settings.outputColumnId);
  const path = schemaFilePath(file, table.tableId, target.paths);
  await target.epoch.check();
  for (const version of event.type === 'ddl' ? event.abandons : []) await removeVersion(target, file, table, version);
  const checksum = schemaChecksum(file);
  for (const stored of await storedVersions(target, file, table)) checkConflict(stored, table, checksum);
  const startsEmpty = event.type === 'truncate' || event.startsEmpty;
  await putText(target, schemaPositionPath(path), stringifySchemaPosition({ startsEmpty, ...position }));
  const content = stringifySchemaFile(file);
  await putText(target, path, content);
  tellWritten(target, table, path);
  return { path, bytes: Buffer.byteLength(content) };
}

/** The users' own text can hold secrets: it is written only where that was asked for. */
function changeOf(event: DdlEvent | TruncateEvent, outputDdlQuery: boolean): { readonly query: string; readonly action: number } {
  if (event.type === 'truncate') return { query: event.query, action: ACTION_TRUNCATE };
  return { query: (outputDdlQuery ? event.statement : null) ?? event.query, action: event.action };
}

/**
 * Removes a version: first what makes it visible (its schema files), then its rows. Removing what is not there is no error. A mark stays, because a run that is over
 * may have a write under way that comes later than this: a version with a mark is not there, whatever else is. One that begins anew has none.
 */
async function removeVersion(target: Target, file: SchemaFile, table: Table, version: bigint): Promise<void> {
  const { store, paths } = target;
  const kept = version === table.version ? schemaFilePath(file, table.tableId, paths) : null;
  if (kept === null) await putText(target, removedMarkPath(schemaFilePrefix(file, table.tableId, paths), version), REMOVED);
  const schemaFiles: string[] = [];
  for await (const { key } of store.list(`${schemaFilePrefix(file, table.tableId, paths)}${version}_`)) schemaFiles.push(key);
  const dataFiles: string[] = [];
  for await (const { key } of store.list(`${dataDirectory(table, version, '', paths)}/`)) dataFiles.push(key);
  const lastFirst = (keys: string[], first: (key: string) => boolean) => [...keys.filter(first), ...keys.filter((key) => !first(key))];
  for (const key of lastFirst(schemaFiles, isSchemaFilePath)) if (key !== kept) await store.delete(key);
  for (const key of lastFirst(dataFiles, (path) => path.endsWith('.index'))) await store.delete(key);
}

async function storedVersions({ store, paths }: Target, file: SchemaFile, table: Table): Promise<(SchemaFilePath & { path: string })[]> {
  const stored: (SchemaFilePath & { path: string })[] = [];
  const removed = new Set<bigint>();
  for await (const { key } of store.list(schemaFilePrefix(file, table.tableId, paths))) {
    const mark = removedVersionOf(key);
    if (mark !== null) removed.add(mark);
    else if (isSchemaFilePath(key)) stored.push({ path: key, ...parseSchemaFilePath(key) });
  }
  return stored.filter(({ version }) => !removed.has(version));
}

/** Rows of two shapes in one version directory could not be told apart. */
function checkConflict(stored: SchemaFilePath & { path: string }, table: Table, checksum: number): void {
  if (stored.version !== table.version || stored.checksum === checksum) return;
  throw new MillraceError('MR_SCHEMA_CONFLICT', { version: table.version, table: tableName(table), path: stored.path });
}

function tellWritten({ context }: Target, table: Table, path: string): void {
  context.events.record('schema_file_written', () => ({ table: tableName(table), version: table.version, path }));
}

function putText({ store }: Target, path: string, content: string): Promise<void> {
  return store.put(path, [Buffer.from(content)]);
}
