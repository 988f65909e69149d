import { crc32 } from 'node:zlib';
import type { ObjectBody, ObjectInfo, ObjectStore, ObjectVersion, VersionedObject } from '../../../lib/stores/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import type { Rule } from './rules.ts';

/** Who hears what becomes visible at the target. */
export interface StoreWatcher {
  /** A published file holds these rows of the table: `last` − `first` + 1 changes of one transaction. */
  shown(table: string, runs: readonly ShownRun[]): void;
  /** The schema file of a version is there. */
  began(table: string, version: ShownVersion): void;
  /** A version is being removed. */
  removed(table: string, version: bigint): void;
  /** The target's checkpoint was written. */
  publishing(checkpointTs: bigint): void;
  broken(rule: Rule, reason: string): void;
}

export interface ShownRun {
  readonly commitTs: bigint;
  readonly first: number;
  readonly last: number;
}

export interface ShownVersion {
  readonly version: bigint;
  /** Where it begins; null where no position was written: the version is one that rows began. */
  readonly begins: { readonly commitTs: bigint; readonly ordinal: number; readonly startsEmpty: boolean } | null;
}

/**
 * The objects of a target, looked at as they come to be, whoever wrote them and however late: what an index file publishes must be whole, and stays as it is.
 */
export class WatchedStore implements ObjectStore {
  readonly uri = 'watched://';
  readonly capabilities;
  readonly #objects = new MemoryStore('target');
  readonly #watcher: StoreWatcher;
  readonly #contents = new Map<string, Buffer>();
  /** By index file: the number of the newest published file. */
  readonly #published = new Map<string, number>();

  constructor(watcher: StoreWatcher) {
    this.#watcher = watcher;
    this.capabilities = this.#objects.capabilities;
  }

  /** Data files that no index file names. */
  get orphans(): readonly string[] {
    return [...this.#contents.keys()].filter((key) => {
      const file = DATA_FILE.exec(key);
      return file !== null && Number(file[2]) > (this.#published.get(`${file[1]}/meta/CDC.index`) ?? 0);
    });
  }

  put(key: string, body: ObjectBody): Promise<void> {
    const before = this.#contents.get(key);
    const content = wholeOf(body);
    this.#contents.set(key, content);
    this.#changed(key, before, content);
    return this.#objects.put(key, [content]);
  }

  putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    if (this.#contents.has(key)) return this.#objects.putIfAbsent(key, body);
    const content = wholeOf(body);
    this.#contents.set(key, content);
    this.#changed(key, undefined, content);
    return this.#objects.putIfAbsent(key, [content]);
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    const before = this.#contents.get(key);
    const content = wholeOf(body);
    const version = await this.#objects.putIf(key, [content], expected);
    if (version !== null) {
      this.#contents.set(key, content);
      this.#changed(key, before, content);
    }
    return version;
  }

  getVersioned(key: string): Promise<VersionedObject | null> {
    return this.#objects.getVersioned(key);
  }

  get(key: string): Promise<Buffer | null> {
    return this.#objects.get(key);
  }

  read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    return this.#objects.read(key);
  }

  exists(key: string): Promise<boolean> {
    return this.#objects.exists(key);
  }

  folders(prefix: string, before?: string): AsyncIterable<string> {
    return this.#objects.folders(prefix, before);
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.#objects.list(prefix);
  }

  delete(key: string): Promise<void> {
    this.#contents.delete(key);
    const schema = SCHEMA_FILE.exec(key);
    if (schema !== null && !this.#isMarked(key)) this.#watcher.removed(tableOf(key), BigInt(schema[1]!));
    if (key.endsWith('.index')) this.#published.delete(key);
    return this.#objects.delete(key);
  }

  close(): Promise<void> {
    return this.#objects.close();
  }

  #changed(key: string, before: Buffer | undefined, content: Buffer): void {
    if (key === 'metadata') this.#watcher.publishing(BigInt(/(\d+)/.exec(content.toString())![1]!));
    else if (key.endsWith('.index')) this.#indexed(key, content.toString());
    else {
      const schema = SCHEMA_FILE.exec(key);
      const mark = REMOVED_MARK.exec(key);
      if (mark !== null && before === undefined) this.#watcher.removed(tableOf(key), BigInt(mark[1]!));
      if (schema !== null) this.#began(key, BigInt(schema[1]!));
      else if (before !== undefined && !before.equals(content)) this.#writtenOver(key);
    }
  }

  #writtenOver(key: string): void {
    const file = DATA_OR_SIDECAR.exec(key);
    const published = file === null ? 0 : (this.#published.get(`${file[1]}/meta/CDC.index`) ?? 0);
    if (file !== null && Number(file[2]) <= published) this.#broken(`${key} is published and was written over`);
  }

  #began(key: string, version: bigint): void {
    const position = this.#contents.get(key.replace(/\.json$/, '.position'));
    const begins = position === undefined ? null : parsedPosition(position.toString());
    this.#watcher.began(tableOf(key), { version, begins });
  }

  #indexed(key: string, content: string): void {
    // The last write of a version that is removed already has come late: nobody is shown anything of it.
    const [, table, version] = VERSION_FOLDER.exec(key) ?? [];
    if (this.#contents.has(`${table}/meta/schema_${version}.removed`)) return;
    const [, digits, extension] = /^CDC(\d+)(\.\w+)\n$/.exec(content) ?? [];
    const published = this.#published.get(key) ?? 0;
    if (digits === undefined) {
      this.#broken(`${key} names no file: ${content}`);
      return;
    }
    const number = Number(digits);
    if (number < published) this.#broken(`${key} goes back from file ${published} to ${number}`);
    const directory = key.slice(0, -'/meta/CDC.index'.length);
    this.#published.set(key, number);
    for (let next = published + 1; next <= number; next++) {
      const name = `CDC${String(next).padStart(digits.length, '0')}`;
      this.#publish(`${directory}/${name}${extension}`, `${directory}/meta/${name}.positions`);
    }
  }

  #publish(path: string, sidecarPath: string): void {
    const [file, sidecar] = [this.#contents.get(path), this.#contents.get(sidecarPath)];
    if (file === undefined || sidecar === undefined) {
      this.#broken(`the index names ${path}, and ${file === undefined ? 'it' : 'its sidecar'} is not there`);
      return;
    }
    const described = JSON.parse(sidecar.toString()) as Sidecar;
    const checksum = crc32(file);
    const isOf = (one: Sidecar) => one.bytes === file.length && one.crc32 === checksum;
    const found = isOf(described) ? described : described.or?.find(isOf);
    if (found === undefined) {
      this.#broken(`${path} is published and is not what its sidecar says`);
      return;
    }
    const runs: ShownRun[] = [];
    for (const [commitTs, first, last] of found.runs) runs.push({ commitTs: BigInt(commitTs), first, last });
    this.#watcher.shown(tableOf(path), runs);
  }

  /** Whether the version of a schema file is removed already: it has come late. */
  #isMarked(key: string): boolean {
    return this.#contents.has(key.replace(/_\d{10}\.json$/, '.removed'));
  }

  #broken(reason: string): void {
    this.#watcher.broken('published', reason);
  }
}

/** The simulated store has gathered it, and given it away. */
function wholeOf(body: ObjectBody): Buffer {
  if ('chunks' in body) throw new TypeError('a body that is not whole');
  const [whole] = body;
  return body.length === 1 && whole instanceof Buffer ? whole : Buffer.concat(body);
}

const VERSION_FOLDER = /^([^/]+\/[^/]+)\/(\d+)\//;
const SCHEMA_FILE = /\/meta\/schema_(\d+)_\d{10}\.json$/;
const REMOVED_MARK = /\/meta\/schema_(\d+)\.removed$/;
const DATA_FILE = /^(.*)\/CDC(\d+)\.(?:json|csv)$/;
const DATA_OR_SIDECAR = /^(.*?)(?:\/meta)?\/CDC(\d+)\.\w+$/;

interface Sidecar {
  readonly bytes: number;
  readonly crc32: number;
  readonly runs: readonly (readonly [commitTs: string, first: number, last: number])[];
  /** Of runs that broke off at this number. */
  readonly or?: readonly Sidecar[];
}

/** `schema.table`; the names of the scenario need no escapes. */
function tableOf(key: string): string {
  const slash = key.indexOf('/');
  return `${key.slice(0, slash)}.${key.slice(slash + 1, key.indexOf('/', slash + 1))}`;
}

function parsedPosition(content: string): ShownVersion['begins'] {
  const { commitTs, ordinal, startsEmpty } = JSON.parse(content) as { commitTs: string; ordinal: number; startsEmpty: boolean };
  return { commitTs: BigInt(commitTs), ordinal, startsEmpty };
}
