import { crc32 } from 'node:zlib';
import { MillraceError } from '../../errors.ts';
import type { Column, Table } from '../../events/index.ts';
import { type JsonValue, quoteJson, stringifyJson } from '../json.ts';
import { escapeName, unescapeName } from './names.ts';
import { DEFAULT_PATH_OPTIONS, type PathOptions, tableDirectory } from './paths.ts';
import { parseStoredJson } from './stored-json.ts';
import { keyColumns, storageType } from './type-map.ts';

/** One column in a schema file, under upstream's keys; a key that says nothing is absent (spec storage-sink §5.4). */
export interface SchemaFileColumn {
  /** The column's stable number; with `output-column-id` only. */
  readonly ColumnId?: string;
  readonly ColumnName: string;
  readonly ColumnType: string;
  /** The constant that readers fill in rows older than the column; absent when there is none, `""` when it is empty. */
  readonly ColumnDefault?: JsonValue;
  readonly ColumnPrecision?: string;
  readonly ColumnScale?: string;
  readonly ColumnNullable?: 'false';
  /** The column is part of what tells rows apart (`keyColumns`). */
  readonly ColumnIsPk?: 'true';
  readonly ColumnElems?: readonly string[];
}

/** A schema file: one table version, or (with an empty `Table`) a change of a whole schema. */
export interface SchemaFile {
  readonly Table: string;
  readonly Schema: string;
  readonly Version: number;
  readonly TableVersion: bigint;
  /** Empty when the file was written for rows rather than for a change of schema. */
  readonly Query: string;
  /** TiDB's DDL action code; 0 without a query. */
  readonly Type: number;
  readonly TableColumns: readonly SchemaFileColumn[];
}

/** The schema file of a table version; `change` names the statement that made it. */
export function schemaFileOf(
  table: Table,
  change: { readonly query: string; readonly action: number } = { query: '', action: 0 },
  outputColumnId = false,
): SchemaFile {
  const keys = keyColumns(table);
  return {
    Table: table.name,
    Schema: table.schema,
    Version: 1,
    TableVersion: table.version,
    Query: change.query,
    Type: change.action,
    TableColumns: table.columns.map((column) => schemaFileColumn(column, keys.includes(column), outputColumnId)),
  };
}

function schemaFileColumn(column: Column, isKey: boolean, outputColumnId: boolean): SchemaFileColumn {
  const { columnType, precision, scale } = storageType(column);
  const written: { -readonly [Key in keyof SchemaFileColumn]: SchemaFileColumn[Key] } = { ColumnName: column.name, ColumnType: columnType };
  if (outputColumnId) written.ColumnId = String(column.columnId);
  if (column.defaultText !== null) written.ColumnDefault = column.defaultText;
  if (precision !== null) written.ColumnPrecision = String(precision);
  if (scale !== null) written.ColumnScale = String(scale);
  if (!column.nullable) written.ColumnNullable = 'false';
  if (isKey) written.ColumnIsPk = 'true';
  return written;
}

/** The file's bytes: four spaces of indent, no newline at the end, keys in upstream's order. */
export function stringifySchemaFile(file: SchemaFile): string {
  const columns = file.TableColumns;
  return `{
    "Table": ${quoteJson(file.Table)},
    "Schema": ${quoteJson(file.Schema)},
    "Version": ${file.Version},
    "TableVersion": ${file.TableVersion},
    "Query": ${quoteJson(file.Query)},
    "Type": ${file.Type},
    "TableColumns": ${columns.length === 0 ? 'null' : columnsText(columns)},
    "TableColumnsTotal": ${columns.length}
}`;
}

/** CRC-32 of what makes two versions read alike: names and columns, whatever their order; not the version or the statement. */
export function schemaChecksum(file: SchemaFile): number {
  const known = checksums.get(file);
  if (known !== undefined) return known;
  const columns = [...file.TableColumns].sort((a, b) => compareBytes(a.ColumnName, b.ColumnName));
  const checksum = crc32(`{
    "Table": ${quoteJson(file.Table)},
    "Schema": ${quoteJson(file.Schema)},
    "Version": 0,
    "TableColumns": ${columns.length === 0 ? '[]' : columnsText(columns)},
    "TableColumnsTotal": ${columns.length}
}`);
  checksums.set(file, checksum);
  return checksum;
}

/** Whoever writes or looks for a version asks several times. */
const checksums = new WeakMap<SchemaFile, number>();

/** `<table>/meta/schema_<version>_<checksum>.json`, `<schema>/meta/…` for a file without a table, under any options. */
export function schemaFilePath(file: SchemaFile, tableId: number, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  return `${schemaFilePrefix(file, tableId, options)}${file.TableVersion}_${checksumText(schemaChecksum(file))}.json`;
}

/** What the paths of all versions of a table's schema file begin with: for listing them. */
export function schemaFilePrefix(file: SchemaFile, tableId: number, options: PathOptions = DEFAULT_PATH_OPTIONS): string {
  const directory =
    file.Table === '' ? escapeName(file.Schema) : tableDirectory({ schema: file.Schema, name: file.Table, tableId }, options);
  return `${directory}/meta/schema_`;
}

/** Whether a path has the form of a schema file's. */
export function isSchemaFilePath(path: string): boolean {
  return SCHEMA_FILE.test(path);
}

/** What a schema file's path says. `schema` and `table` are null where it carries the table's id; `table` alone for a whole schema's. */
export interface SchemaFilePath {
  readonly schema: string | null;
  readonly table: string | null;
  readonly tableId: number | null;
  readonly version: bigint;
  readonly checksum: number;
}

/** Takes a schema file's path apart. Throws MR_STORAGE_INVALID_PATH. */
export function parseSchemaFilePath(path: string): SchemaFilePath {
  const invalid = () => new MillraceError('MR_STORAGE_INVALID_PATH', { kind: 'schema', path });
  const match = /^(?:([^/]+)\/)?([^/]+)\/meta\/schema_(\d+)_(\d{10})\.json$/.exec(path);
  if (match === null) throw invalid();
  const version = BigInt(match[3]!);
  const checksum = Number(match[4]);
  const last = match[2]!;
  if (match[1] === undefined && /^\d+$/.test(last)) return { schema: null, table: null, tableId: Number(last), version, checksum };
  const schema = unescapeName(match[1] ?? last);
  const table = match[1] === undefined ? null : unescapeName(last);
  if (schema === null || (match[1] !== undefined && table === null)) throw invalid();
  return { schema, table, tableId: null, version, checksum };
}

/** Reads a schema file. Throws MR_STORAGE_FILE_MALFORMED, naming `path`. */
export function parseSchemaFile(content: string, path: string): SchemaFile {
  const { members: file, malformed } = parseStoredJson(content, path);
  const version = file['TableVersion'];
  const columns = file['TableColumns'] ?? [];
  for (const key of ['Table', 'Schema', 'Query']) if (typeof file[key] !== 'string') throw malformed(`${key} is no text`);
  for (const key of ['Version', 'Type']) if (!Number.isSafeInteger(file[key])) throw malformed(`${key} is no number`);
  if (typeof version !== 'bigint' && !Number.isSafeInteger(version)) throw malformed('TableVersion is no integer');
  if (!Array.isArray(columns) || !columns.every(isColumn)) throw malformed('TableColumns is no list of columns');
  if (file['TableColumnsTotal'] !== columns.length) throw malformed('TableColumnsTotal is not the number of columns');
  return {
    Table: file['Table'] as string,
    Schema: file['Schema'] as string,
    Version: file['Version'] as number,
    TableVersion: BigInt(version as number | bigint),
    Query: file['Query'] as string,
    Type: file['Type'] as number,
    TableColumns: columns,
  };
}

const SCHEMA_FILE = /meta\/schema_\d+_\d{10}\.json$/;

function checksumText(checksum: number): string {
  return String(checksum).padStart(10, '0');
}

/** The columns as they stand in the file, and in what its checksum is of. */
function columnsText(columns: readonly SchemaFileColumn[]): string {
  let text = '';
  for (const column of columns) text += `${text === '' ? '[' : ','}\n        {${membersText(column).slice(1)}\n        }`;
  return `${text}\n    ]`;
}

function membersText(column: SchemaFileColumn): string {
  return (
    memberText('ColumnId', column.ColumnId) +
    memberText('ColumnName', column.ColumnName) +
    memberText('ColumnType', column.ColumnType) +
    memberText('ColumnDefault', column.ColumnDefault) +
    memberText('ColumnPrecision', column.ColumnPrecision) +
    memberText('ColumnScale', column.ColumnScale) +
    memberText('ColumnNullable', column.ColumnNullable) +
    memberText('ColumnIsPk', column.ColumnIsPk) +
    memberText('ColumnElems', column.ColumnElems)
  );
}

function memberText(key: string, value: JsonValue | undefined): string {
  if (value === undefined) return '';
  const text = typeof value === 'string' ? quoteJson(value) : stringifyJson(value, 4).replaceAll('\n', MEMBER_INDENT);
  return `,${MEMBER_INDENT}"${key}": ${text}`;
}

const MEMBER_INDENT = '\n            ';

/** In the order of their bytes in UTF-8. */
function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [one, other] = [a.charCodeAt(i), b.charCodeAt(i)];
    // Surrogates, which stand before U+E000, are of what stands behind it.
    if (one !== other) return one < SURROGATE || other < SURROGATE ? one - other : Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  return a.length - b.length;
}

const SURROGATE = 0xd800;

function isColumn(value: unknown): value is SchemaFileColumn {
  const column = (value ?? {}) as Record<string, unknown>;
  return typeof column['ColumnName'] === 'string' && typeof column['ColumnType'] === 'string';
}
