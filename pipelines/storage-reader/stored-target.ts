import { crc32 } from 'node:zlib';
import { MillraceError } from '../../lib/errors.ts';
import { comparePositions, formatPosition, type Position } from '../../lib/events/index.ts';
import { canalJsonReader } from '../../lib/formats/canal-json-reader.ts';
import type { CsvOptions } from '../../lib/formats/csv-options.ts';
import { csvReader } from '../../lib/formats/csv-reader.ts';
import type { RowDecoder } from '../../lib/formats/encoder.ts';
import {
  METADATA_PATH,
  parseMetadata,
  parseSchemaFile,
  parseSchemaFilePath,
  type SchemaFile,
  unescapeName,
} from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { type CleanedMark, readCleanedMark } from '../cloud-storage-sink/clean-up/cleaned-mark.ts';
import { parseSchemaPosition, type SchemaPosition, schemaPositionPath } from '../cloud-storage-sink/files/schema-position.ts';
import { canonicalText, parseTargetIdentity, TARGET_IDENTITY_PATH, type TargetFormat } from '../cloud-storage-sink/root/target-identity.ts';
import { mapBounded } from './map-bounded.ts';
import { hasChecksum } from './schema-checksum.ts';
import type { TableName } from './table-name.ts';
import { type ListedFolder, type ListedSeries, listFolders } from './target-listing.ts';

/** One version of a table as it is stored. */
export interface StoredVersion {
  readonly schemaFile: SchemaFile;
  readonly begins: SchemaPosition;
  /** Where its rows are. */
  readonly series: readonly ListedSeries[];
}

/**
 * A target as it stands at one checkpoint: what was durable and complete then. Files that no index names, versions without a schema file and whatever
 * lies beyond the checkpoint are not there (spec storage-sink §9.1–9.2). It holds what is listed of versions and data folders, nothing of single files.
 */
export class StoredTarget {
  readonly store: ObjectStore;
  /** Everything up to here is shown; null for a target without a checkpoint, which shows nothing. */
  readonly checkpointTs: bigint | null;
  readonly format: TargetFormat | null;
  /** Which source the target says it was written from, as a short text; null when it says nothing. */
  readonly source: string | null;
  /** By `schema\0table`. A table made again has several folders where they are called by its id. */
  readonly #tables: ReadonlyMap<string, ListedTable>;
  #cleaned: CleanedMark;

  private constructor(store: ObjectStore, root: Root, tables: ReadonlyMap<string, ListedTable>, cleaned: CleanedMark) {
    this.store = store;
    this.checkpointTs = root.checkpointTs;
    this.format = root.format;
    this.source = root.source;
    this.#tables = tables;
    this.#cleaned = cleaned;
  }

  /**
   * Reads the checkpoint, then lists: what was published before that checkpoint is in the list.
   *
   * @param upTo shows nothing beyond this commitTs either.
   * @throws MR_STORAGE_FILE_MALFORMED
   */
  static async open(store: ObjectStore, upTo?: bigint): Promise<StoredTarget> {
    return StoredTarget.#at(store, await readCheckpoint(store, upTo));
  }

  /** `open`, unless nothing beyond `sinceTs` can be shown: then null, and nothing but the checkpoint was read. */
  static async openBeyond(store: ObjectStore, sinceTs: bigint | null, upTo?: bigint): Promise<StoredTarget | null> {
    const checkpointTs = await readCheckpoint(store, upTo);
    if (checkpointTs === null || (sinceTs !== null && checkpointTs <= sinceTs)) return null;
    return StoredTarget.#at(store, checkpointTs);
  }

  static async #at(store: ObjectStore, checkpointTs: bigint | null): Promise<StoredTarget> {
    const content = await store.get(TARGET_IDENTITY_PATH);
    const remembered = content === null ? null : parseTargetIdentity(content.toString());
    const source = remembered === null ? null : crc32(canonicalText(remembered.identity)).toString(16);
    const tables = checkpointTs === null ? new Map<string, ListedTable>() : await listTables(store, checkpointTs);
    // Behind the list: where that lacks something that was removed, the mark says so already.
    const cleaned = await readCleanedMark(store);
    return new StoredTarget(store, { checkpointTs, format: remembered?.format ?? null, source }, tables, cleaned);
  }

  /** The tables that have a version to show, by schema and name. */
  tables(): TableName[] {
    const shown = [...this.#tables.values()].filter(({ folders }) => schemaFilesOf(folders).some((path) => this.#isShown(path)));
    return shown
      .map(({ schema, table }) => ({ schema, table }))
      .sort((a, b) => (a.schema === b.schema ? (a.table < b.table ? -1 : 1) : a.schema < b.schema ? -1 : 1));
  }

  /** Whether there is a folder of the table, be there something to show or not. */
  hasFolderOf(name: TableName): boolean {
    return this.#foldersOf(name).length > 0;
  }

  /** Whether the table's first version lies beyond what is shown: its snapshot was taken later than the place in the stream that is looked at. */
  beginsLater(name: TableName): boolean {
    const paths = schemaFilesOf(this.#foldersOf(name));
    return paths.length > 0 && !paths.some((path) => this.#isShown(path));
  }

  /** Whether the target has a version of the table that lies beyond what is shown: a snapshot that is not complete yet, or a change of its schema. */
  hasVersionBeyond(name: TableName): boolean {
    return schemaFilesOf(this.#foldersOf(name)).some((path) => !this.#isShown(path));
  }

  /** Whether a version of this number is at the target. */
  hasVersion(name: TableName, version: bigint): boolean {
    return schemaFilesOf(this.#foldersOf(name)).some((path) => versionOf(path) === version);
  }

  /** Whether the list has anything of a table beyond `version`, with the files that were read of it by name of their series. */
  hasMore(name: TableName, version: bigint, filesRead: ReadonlyMap<string, number>): boolean {
    const folders = this.#foldersOf(name);
    return (
      schemaFilesOf(folders).some((path) => versionOf(path) > version) ||
      folders.some((listed) => this.#seriesOf(listed).some((one) => one.version === version && one.newest !== filesRead.get(one.name)))
    );
  }

  /** The last change of a table that clean-up has removed; null when it removed none. What is behind it is whole. */
  removedUpTo(name: TableName): Position | null {
    const removed = this.#foldersOf(name).flatMap(({ folder }) => this.#cleaned.folders.get(folder)?.upTo ?? []);
    return removed.reduce<Position | null>((last, upTo) => (last === null || comparePositions(last, upTo) < 0 ? upTo : last), null);
  }

  /** Looks whether clean-up has gone on since the target was opened: a file that is gone then may be what it removed. */
  async noticeCleanUp(): Promise<boolean> {
    const cleaned = await readCleanedMark(this.store);
    const hasMoved = [...cleaned.folders].some(([folder, { before }]) => this.#cleaned.folders.get(folder)?.before !== before);
    this.#cleaned = cleaned;
    return hasMoved;
  }

  /** Throws MR_HISTORY_REMOVED. */
  refuseGap({ schema, table }: TableName, reason: string): never {
    const position = formatPosition(this.removedUpTo({ schema, table })!);
    throw new MillraceError('MR_HISTORY_REMOVED', { table: `${schema}.${table}`, uri: this.store.uri, position, reason });
  }

  /**
   * The versions of a table in order; with `from`, those from this number on.
   *
   * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED
   */
  async versions({ schema, table }: TableName, from = 0n): Promise<StoredVersion[]> {
    const folders = this.#foldersOf({ schema, table });
    const all = schemaFilesOf(folders);
    if (!all.some((path) => this.#isShown(path))) throw this.#unknownTable({ schema, table });
    const paths = all.filter((path) => versionOf(path) >= from);
    const shown = [...paths.filter((path) => this.#isShown(path)), ...(await this.#furtherVersions(paths))];
    const byVersion = new Map<bigint, ReadVersion & StoredVersion>();
    for (const version of await mapBounded(shown, (path) => this.#readVersion(path))) {
      if (version.begins.commitTs > this.checkpointTs!) continue;
      const { TableVersion, Schema, Table } = version.schemaFile;
      const folder = folders[0]!.folder;
      if (Schema !== schema || Table !== table) throw this.damaged(folder, `it is the folder of ${Schema}.${Table} too`);
      const other = byVersion.get(TableVersion);
      if (other !== undefined && !isOfOtherPiece(version, other)) {
        throw this.damaged(`${folder}/meta`, `version ${TableVersion} has two schema files`);
      }
      if (other !== undefined && comparePositions(other.begins, version.begins) <= 0) continue;
      const series = folders.flatMap((listed) => this.#seriesOf(listed).filter((one) => one.version === TableVersion));
      byVersion.set(TableVersion, { series, ...version });
    }
    return [...byVersion.values()].sort(
      (a, b) => comparePositions(a.begins, b.begins) || (a.schemaFile.TableVersion < b.schemaFile.TableVersion ? -1 : 1),
    );
  }

  /** What reads a data file. */
  decoderOf(path: string): RowDecoder {
    if (path.endsWith('.json')) return canalJsonReader();
    if (!path.endsWith('.csv')) throw this.damaged(path, 'its extension is neither .json nor .csv');
    return csvReader(csvOptionsOf(this.format));
  }

  damaged(path: string, reason: string, cause?: unknown): MillraceError {
    return new MillraceError('MR_TARGET_DAMAGED', { path, uri: this.store.uri, reason }, cause);
  }

  /** What clean-up has written down as removed does not count, be it still there or not. */
  #seriesOf({ folder, series }: ListedFolder): readonly ListedSeries[] {
    const before = this.#cleaned.folders.get(folder)?.before;
    return before === undefined ? series : series.filter(({ day }) => day === '' || day >= before);
  }

  #foldersOf({ schema, table }: TableName): readonly ListedFolder[] {
    return this.#tables.get(`${schema}\0${table}`)?.folders ?? [];
  }

  /** Whether a schema file's version may be shown by its number alone. */
  #isShown(path: string): boolean {
    return this.checkpointTs !== null && versionOf(path) <= this.checkpointTs;
  }

  /** Versions beyond the checkpoint that begin before it: the k-th of a transaction has its commitTs + k. */
  async #furtherVersions(paths: readonly string[]): Promise<string[]> {
    const later = paths.filter((path) => !this.#isShown(path));
    const begun = await mapBounded(later, async (path) => {
      const positionPath = schemaPositionPath(path);
      const position = await this.store.get(positionPath);
      return position !== null && parseSchemaPosition(position.toString(), positionPath).commitTs <= this.checkpointTs!;
    });
    return later.filter((_, index) => begun[index]);
  }

  async #readVersion(path: string): Promise<ReadVersion> {
    const content = await this.store.get(path);
    if (content === null) throw this.damaged(path, 'it was listed and is gone');
    const schemaFile = parseSchemaFile(content.toString(), path);
    const named = parseSchemaFilePath(path);
    if (schemaFile.TableVersion !== named.version || !hasChecksum(schemaFile, named.checksum)) {
      throw this.damaged(path, 'its content is not what its name says');
    }
    const positionPath = schemaPositionPath(path);
    const position = await this.store.get(positionPath);
    if (position !== null) return { path, schemaFile, begins: parseSchemaPosition(position.toString(), positionPath) };
    return { path, schemaFile, begins: { commitTs: named.version, ordinal: 0, startsEmpty: schemaFile.Type === ACTION_TRUNCATE } };
  }

  #unknownTable({ schema, table }: TableName): MillraceError {
    const tables = this.tables().map((name) => `${name.schema}.${name.table}`);
    return new MillraceError('MR_UNKNOWN_TABLE', {
      uri: this.store.uri,
      table: `${schema}.${table}`,
      checkpoint: this.checkpointTs ?? 'none yet',
      tables: tables.length === 0 ? 'no tables yet' : tables.join(', '),
    });
  }
}

interface ReadVersion {
  readonly path: string;
  readonly schemaFile: SchemaFile;
  readonly begins: SchemaPosition;
}

/** Pieces of one table have a folder each where these are called by ids, and each its schema file of a version that all of them have: of one content. */
function isOfOtherPiece(one: ReadVersion, other: ReadVersion): boolean {
  const place = ({ path }: ReadVersion) => path.slice(0, path.lastIndexOf('/'));
  return place(one) !== place(other) && parseSchemaFilePath(one.path).checksum === parseSchemaFilePath(other.path).checksum;
}

/** TiDB's action code of TRUNCATE TABLE, as schema files carry it. */
const ACTION_TRUNCATE = 11;

interface ListedTable extends TableName {
  readonly folders: ListedFolder[];
}

interface Root {
  readonly checkpointTs: bigint | null;
  readonly format: TargetFormat | null;
  readonly source: string | null;
}

async function readCheckpoint(store: ObjectStore, upTo: bigint | undefined): Promise<bigint | null> {
  const metadata = await store.get(METADATA_PATH);
  if (metadata === null) return null;
  const published = parseMetadata(metadata.toString());
  return upTo === undefined || published < upTo ? published : upTo;
}

async function listTables(store: ObjectStore, checkpointTs: bigint): Promise<Map<string, ListedTable>> {
  const tables = new Map<string, ListedTable>();
  const folders = await listFolders(store);
  const names = await mapBounded(folders, (folder) => nameOf(store, folder, checkpointTs));
  for (const [index, folder] of folders.entries()) {
    const name = names[index];
    if (name == null) continue;
    const key = `${name.schema}\0${name.table}`;
    const table = tables.get(key);
    if (table === undefined) tables.set(key, { folders: [folder], ...name });
    else table.folders.push(folder);
  }
  return tables;
}

/** The name of a folder's table. One that is called by the table's id does not say it: its newest schema file up to the checkpoint does. */
async function nameOf(store: ObjectStore, { folder, schemaFiles }: ListedFolder, checkpointTs: bigint): Promise<TableName | null> {
  if (/^\d+$/.test(folder)) {
    const shown = schemaFiles.filter((path) => versionOf(path) <= checkpointTs);
    const newest = shown.reduce<string | null>((best, path) => (best === null || versionOf(path) > versionOf(best) ? path : best), null);
    const content = newest === null ? null : await store.get(newest);
    if (newest === null || content === null) return null;
    const { Schema, Table } = parseSchemaFile(content.toString(), newest);
    return { schema: Schema, table: Table };
  }
  const [schema, table] = folder.split('/').map(unescapeName);
  return schema == null || table == null ? null : { schema, table };
}

function schemaFilesOf(folders: readonly ListedFolder[]): readonly string[] {
  return folders.length === 1 ? folders[0]!.schemaFiles : folders.flatMap(({ schemaFiles }) => schemaFiles);
}

function versionOf(schemaFilePath: string): bigint {
  return parseSchemaFilePath(schemaFilePath).version;
}

function csvOptionsOf(format: TargetFormat | null): CsvOptions {
  if (format === null || format.protocol !== 'csv') return {};
  return {
    delimiter: String(format['delimiter']),
    quote: String(format['quote']),
    null: String(format['null']),
    terminator: String(format['terminator']),
    includeCommitTs: format['include-commit-ts'] === true,
    binaryEncodingMethod: format['binary-encoding-method'] === 'hex' ? 'hex' : 'base64',
    outputOldValue: format['output-old-value'] === true,
    outputFieldHeader: format['output-field-header'] === true,
  };
}
