import { MillraceError } from '../../lib/errors.ts';
import { comparePositions } from '../../lib/events/index.ts';
import { canalJsonReader } from '../../lib/formats/canal-json-reader.ts';
import type { CsvOptions } from '../../lib/formats/csv-options.ts';
import { csvReader } from '../../lib/formats/csv-reader.ts';
import type { RowDecoder } from '../../lib/formats/encoder.ts';
import {
  isSchemaFilePath,
  METADATA_PATH,
  matchIndexPath,
  type Positions,
  parseDataFileName,
  parseIndexFile,
  parseMetadata,
  parsePositions,
  parseSchemaFile,
  parseSchemaFilePath,
  positionsPath,
  type SchemaFile,
  schemaChecksum,
  unescapeName,
} from '../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { parseSchemaPosition, type SchemaPosition, schemaPositionPath } from '../cloud-storage-sink/schema-position.ts';
import { parseTargetIdentity, TARGET_IDENTITY_PATH, type TargetFormat } from '../cloud-storage-sink/target-identity.ts';
import { mapBounded } from './map-bounded.ts';

/** A table's exact names. */
export interface TableName {
  readonly schema: string;
  readonly table: string;
}

/** One version of a table as it is stored, with its published files in position order. */
export interface StoredVersion {
  readonly schemaFile: SchemaFile;
  readonly begins: SchemaPosition;
  readonly files: readonly StoredFile[];
}

export interface StoredFile {
  readonly path: string;
  readonly sidecar: string;
  /** Positions of the first and the last change. */
  readonly first: { readonly commitTs: bigint; readonly ordinal: number };
  readonly last: { readonly commitTs: bigint; readonly ordinal: number };
}

/**
 * A target as it stands at one checkpoint: what was durable and complete then. Files that no index names, versions without a schema file and whatever
 * lies beyond the checkpoint are not there (spec storage-sink §9.1–9.2).
 */
export class StoredTarget {
  readonly store: ObjectStore;
  /** Everything up to here is shown; null for a target without a checkpoint, which shows nothing. */
  readonly checkpointTs: bigint | null;
  readonly format: TargetFormat | null;
  readonly #keys: ReadonlyMap<string, readonly string[]>;
  /** By `schema\0table`; a table's names are looked up once for each table that is read. */
  readonly #folders = new Map<string, string>();

  private constructor(store: ObjectStore, checkpointTs: bigint | null, format: TargetFormat | null, keys: ReadonlyMap<string, string[]>) {
    this.store = store;
    this.checkpointTs = checkpointTs;
    this.format = format;
    this.#keys = keys;
    for (const folder of keys.keys()) {
      const name = nameOf(folder);
      if (name !== null) this.#folders.set(`${name.schema}\0${name.table}`, folder);
    }
  }

  /**
   * Reads the checkpoint, then lists: what was published before that checkpoint is in the list.
   *
   * @param upTo shows nothing beyond this commitTs either.
   * @throws MR_STORAGE_FILE_MALFORMED
   */
  static async open(store: ObjectStore, upTo?: bigint): Promise<StoredTarget> {
    const metadata = await store.get(METADATA_PATH);
    const identity = await store.get(TARGET_IDENTITY_PATH);
    const format = identity === null ? null : parseTargetIdentity(identity.toString()).format;
    if (metadata === null) return new StoredTarget(store, null, format, new Map());
    const published = parseMetadata(metadata.toString());
    const checkpointTs = upTo === undefined || published < upTo ? published : upTo;
    const keys = new Map<string, string[]>();
    for await (const { key } of store.list('')) {
      const folder = /^[^/]+\/[^/]+(?=\/)/.exec(key)?.[0];
      if (folder === undefined) continue;
      const listed = keys.get(folder);
      if (listed === undefined) keys.set(folder, [key]);
      else listed.push(key);
    }
    return new StoredTarget(store, checkpointTs, format, keys);
  }

  /** The tables that have a version to show, by schema and name. */
  tables(): TableName[] {
    const tables: TableName[] = [];
    for (const [folder, keys] of this.#keys) {
      const name = nameOf(folder);
      if (name !== null && keys.some((key) => this.#shownVersion(key) !== null)) tables.push(name);
    }
    return tables.sort((a, b) => (a.schema === b.schema ? (a.table < b.table ? -1 : 1) : a.schema < b.schema ? -1 : 1));
  }

  /** Whether the table's first version lies beyond what is shown: its snapshot was taken later than the place in the stream that is looked at. */
  beginsLater(name: TableName): boolean {
    const keys = this.#keys.get(this.#folderOf(name)) ?? [];
    return keys.some((key) => versionOf(key) !== null) && keys.every((key) => this.#shownVersion(key) === null);
  }

  /**
   * The versions of a table in order.
   *
   * @throws MR_UNKNOWN_TABLE, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED
   */
  async versions({ schema, table }: TableName): Promise<StoredVersion[]> {
    const folder = this.#folderOf({ schema, table });
    const keys = this.#keys.get(folder) ?? [];
    const paths = keys.filter((key) => this.#shownVersion(key) !== null);
    if (paths.length === 0) throw this.#unknownTable({ schema, table });
    paths.push(...(await this.#furtherVersions(keys)));
    const byVersion = new Map<bigint, { schemaFile: SchemaFile; begins: SchemaPosition; files: StoredFile[] }>();
    for (const version of await mapBounded(paths, (path) => this.#readVersion(path))) {
      if (version.begins.commitTs > this.checkpointTs!) continue;
      const { TableVersion, Schema, Table } = version.schemaFile;
      if (Schema !== schema || Table !== table) throw this.damaged(folder, `it is the folder of ${Schema}.${Table} too`);
      if (byVersion.has(TableVersion)) throw this.damaged(`${folder}/meta`, `version ${TableVersion} has two schema files`);
      byVersion.set(TableVersion, { ...version, files: [] });
    }
    for (const { version, files } of await this.#publishedFiles(keys, (version) => byVersion.has(version))) {
      byVersion.get(version)!.files.push(...files);
    }
    for (const { files } of byVersion.values()) files.sort((a, b) => comparePositions(a.first, b.first));
    return [...byVersion.values()].sort(
      (a, b) => comparePositions(a.begins, b.begins) || (a.schemaFile.TableVersion < b.schemaFile.TableVersion ? -1 : 1),
    );
  }

  async readPositions(path: string, sidecar: string): Promise<Positions> {
    const content = await this.store.get(sidecar);
    if (content === null) throw this.damaged(path, `its sidecar ${sidecar} is missing`);
    return parsePositions(content.toString(), sidecar);
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

  /** A table's folder; empty when there is none. */
  #folderOf({ schema, table }: TableName): string {
    return this.#folders.get(`${schema}\0${table}`) ?? '';
  }

  /** The version that a schema file describes, when it may be shown; null for every other object. */
  #shownVersion(key: string): bigint | null {
    const version = versionOf(key);
    return version !== null && this.checkpointTs !== null && version <= this.checkpointTs ? version : null;
  }

  /** Versions beyond the checkpoint that begin before it: the k-th of a transaction has its commitTs + k. */
  async #furtherVersions(keys: readonly string[]): Promise<string[]> {
    const later = keys.filter((key) => (versionOf(key) ?? 0n) > this.checkpointTs!);
    const begun = await mapBounded(later, async (key) => {
      const path = schemaPositionPath(key);
      const position = await this.store.get(path);
      return position !== null && parseSchemaPosition(position.toString(), path).commitTs <= this.checkpointTs!;
    });
    return later.filter((_, index) => begun[index]);
  }

  async #readVersion(path: string): Promise<{ schemaFile: SchemaFile; begins: SchemaPosition }> {
    const content = await this.store.get(path);
    if (content === null) throw this.damaged(path, 'it was listed and is gone');
    const schemaFile = parseSchemaFile(content.toString(), path);
    const named = parseSchemaFilePath(path);
    if (schemaChecksum(schemaFile) !== named.checksum || schemaFile.TableVersion !== named.version) {
      throw this.damaged(path, 'its content is not what its name says');
    }
    const positionPath = schemaPositionPath(path);
    const position = await this.store.get(positionPath);
    if (position !== null) return { schemaFile, begins: parseSchemaPosition(position.toString(), positionPath) };
    return { schemaFile, begins: { commitTs: named.version, ordinal: 0, startsEmpty: schemaFile.Type === ACTION_TRUNCATE } };
  }

  async #publishedFiles(
    keys: readonly string[],
    isShown: (version: bigint) => boolean,
  ): Promise<{ version: bigint; files: StoredFile[] }[]> {
    const filesOf = new Map<string, string[]>();
    for (const key of keys) {
      const directory = key.slice(0, key.lastIndexOf('/'));
      const names = filesOf.get(directory);
      if (names === undefined) filesOf.set(directory, [key.slice(directory.length + 1)]);
      else names.push(key.slice(directory.length + 1));
    }
    const directories = keys.flatMap((key) => {
      const index = matchIndexPath(key);
      return index !== null && isShown(index.version) ? [{ key, index }] : [];
    });
    return mapBounded(directories, async ({ key, index: { version, directory } }) => {
      const content = await this.store.get(key);
      if (content === null) throw this.damaged(key, 'it was listed and is gone');
      const newest = content.toString().trimEnd();
      const extension = newest.slice(newest.lastIndexOf('.'));
      const last = parseIndexFile(content.toString(), extension, key);
      const stems = (filesOf.get(directory) ?? []).flatMap((name) => stemOf(name, extension));
      const byNumber = new Map(stems.filter(({ index }) => index <= last).map((file) => [file.index, file]));
      const numbers = Array.from({ length: last }, (_, i) => i + 1);
      const files = await mapBounded(numbers, async (number): Promise<StoredFile | null> => {
        const stem = byNumber.get(number)?.stem;
        if (stem === undefined) {
          // The index is read after the list: what the list has not was written meanwhile, and lies beyond the checkpoint.
          const digits = newest.length - extension.length - 'CDC'.length;
          const later = `${directory}/CDC${String(number).padStart(digits, '0')}${extension}`;
          if (await this.store.exists(later)) return null;
          throw this.damaged(directory, `data file ${number} of ${last} is missing`);
        }
        const path = `${directory}/${stem}${extension}`;
        const sidecar = positionsPath(directory, stem);
        const { runs } = await this.readPositions(path, sidecar);
        const [begin, end] = [runs[0], runs.at(-1)];
        if (begin === undefined || end === undefined) throw this.damaged(path, 'its sidecar names no rows');
        return {
          path,
          sidecar,
          first: { commitTs: begin.commitTs, ordinal: begin.first },
          last: { commitTs: end.commitTs, ordinal: end.last },
        };
      });
      return { version, files: files.filter((file) => file !== null) };
    });
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

/** TiDB's action code of TRUNCATE TABLE, as schema files carry it. */
export const ACTION_TRUNCATE = 11;

function nameOf(folder: string): TableName | null {
  const [schema, table] = folder.split('/').map(unescapeName);
  return schema == null || table == null ? null : { schema, table };
}

/** The version that a schema file in a table's own folder describes; null for every other object. */
function versionOf(key: string): bigint | null {
  return isSchemaFilePath(key) && key.split('/').length === SCHEMA_FILE_DEPTH ? parseSchemaFilePath(key).version : null;
}

/** `<schema>/<table>/meta/schema_…`; deeper ones are of a target inside this one. */
const SCHEMA_FILE_DEPTH = 4;

function stemOf(name: string, extension: string): { stem: string; index: number }[] {
  return /^CDC\d+\.\w+$/.test(name) && name.endsWith(extension) ? [parseDataFileName(name, extension)] : [];
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
