import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, type Dirent } from 'node:fs';
import { access, constants, link, lstat, opendir, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MillraceError, reasonOf } from '../errors.ts';
import { type Clock, systemClock } from '../flow/index.ts';
import { partsOf, piecesOf } from './body.ts';
import { contentVersion } from './content-version.ts';
import { DurableFile, fill, makeFolderDurably, writeDurably } from './durable-file.ts';
import { FsDraft } from './fs-draft.ts';
import { replaceIf } from './fs-replace.ts';
import { checkFolder, checkKey, checkPrefix, compareUtf8, RESERVED_FOLDER } from './keys.ts';
import { nodeFiles, removeFile } from './node-files.ts';
import type {
  ObjectBody,
  ObjectDraft,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  StoreAccess,
  StoreCapabilities,
  VersionedObject,
} from './object-store.ts';
import { systemCode } from './system-code.ts';

/**
 * Objects as files below `root`.
 *
 * A file is written under a temporary name in `.millrace-tmp` at the root, fsynced, and then renamed (put) or linked (putIfAbsent) into place, and the
 * folder fsynced: whoever looks finds the whole object or none, after a crash too. Temporaries of dead processes are removed here. The root
 * must be one file system; symbolic links below it are not listed.
 *
 * For `write` the root is made where it is missing and proved writable: MR_STORE_UNWRITABLE, MR_STORE_FULL. For `read` it must be there: MR_STORE_NOT_FOUND.
 */
export async function openFsStore(root: string, clock: Clock = systemClock, mode: StoreAccess = 'write'): Promise<ObjectStore> {
  const store = new FsStore(root, clock, mode);
  if (mode === 'write') await store.prepare();
  else await store.prove();
  return store;
}

class FsStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities = { putIfAbsent: 'atomic', conditionalPut: 'atomic' };
  readonly #root: string;
  readonly #temporaries: string;
  readonly #clock: Clock;
  readonly #access: StoreAccess;
  /** Folders are made one after another: an object is durable when every folder above it is, whoever of its writers made them. */
  #folders: Promise<void> = Promise.resolve();
  /** Folders that are durable. One that is there at first may not be: whoever made it can have been killed before it was. */
  readonly #durable = new Set<string>();

  constructor(root: string, clock: Clock, access: StoreAccess) {
    this.#root = root;
    this.#clock = clock;
    this.#access = access;
    this.#temporaries = join(root, RESERVED_FOLDER);
    this.uri = pathToFileURL(root).href;
  }

  async prepare(): Promise<void> {
    try {
      await makeFolderDurably(this.#root);
      await this.#sweep(this.#clock.now());
      await rm(await this.#writeTemporary('', [Buffer.from('millrace')]));
    } catch (error) {
      if (error instanceof MillraceError) throw error;
      throw MEANS_FULL.has(systemCode(error)) ? this.#failure(error, 'open', '') : unwritable(this.#root, error);
    }
  }

  async prove(): Promise<void> {
    try {
      if ((await stat(this.#root)).isDirectory()) return await access(this.#root, constants.R_OK | constants.X_OK);
    } catch (error) {
      if (!MEANS_ABSENT.has(systemCode(error))) throw this.#failure(error, 'read', '');
    }
    throw new MillraceError('MR_STORE_NOT_FOUND', { uri: this.uri });
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    checkKey(key);
    await this.#attempt('put', key, async () => {
      const temporary = await this.#writeTemporary(key, body);
      try {
        await this.#place(key, (path) => rename(temporary, path));
      } catch (error) {
        await removeFile(temporary);
        throw error;
      }
    });
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    return this.#putIfAbsent(key, () => this.#writeTemporary(key, body));
  }

  draft(): ObjectDraft {
    return new FsDraft(
      () => this.#createTemporary(),
      (key, finish) => this.#putIfAbsent(key, finish),
    );
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    checkKey(key);
    const pieces = await piecesOf(body, { key, uri: this.uri });
    const isMine = expected === null ? await this.putIfAbsent(key, pieces) : await this.#replace(key, pieces, expected);
    return isMine ? contentVersion(Buffer.concat(pieces)) : null;
  }

  async getVersioned(key: string): Promise<VersionedObject | null> {
    const content = await this.get(key);
    if (content === null) return null;
    await this.#makeNamesDurable(key);
    return { content, version: contentVersion(content) };
  }

  async get(key: string): Promise<Buffer | null> {
    checkKey(key);
    return this.#unlessAbsent('get', key, () => readFile(this.#pathOf(key)));
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    checkKey(key);
    const path = this.#pathOf(key);
    return (await this.#isThere(key)) ? this.#chunksOf(key, path) : null;
  }

  async exists(key: string): Promise<boolean> {
    checkKey(key);
    if (!(await this.#isThere(key))) return false;
    await this.#makeNamesDurable(key);
    return true;
  }

  async *folders(prefix: string, before?: string): AsyncGenerator<string> {
    checkFolder(prefix);
    const found = await this.#unlessAbsent('list', prefix, () => readdir(this.#pathOf(prefix), { withFileTypes: true }));
    const names = (found ?? []).filter((entry) => entry.isDirectory() && prefix + entry.name !== RESERVED_FOLDER).map(({ name }) => name);
    for (const name of names.sort(compareUtf8)) {
      if (before !== undefined && compareUtf8(name, before) >= 0) return;
      // One whose objects were deleted is there without any.
      if (await this.#hasObjects(`${prefix}${name}/`)) yield name;
    }
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    yield* this.#walk(prefix.slice(0, prefix.lastIndexOf('/') + 1), prefix);
  }

  async delete(key: string): Promise<void> {
    if (await this.#isThere(key)) await this.#unlessAbsent('delete', key, () => rm(this.#pathOf(key)));
  }

  /** The table's own folder stays: rows are written below it at any time. */
  async removeEmptyFolders(folder: string): Promise<void> {
    checkKey(folder);
    const parts = folder.split('/');
    const above = parts.map((_, index) => parts.slice(0, parts.length - index).join('/')).slice(0, -2);
    const inside = await readdir(this.#pathOf(folder)).catch(() => []);
    for (const name of inside) await rmdir(join(this.#pathOf(folder), name)).catch(() => {});
    for (const path of above) {
      const isGone = await rmdir(this.#pathOf(path)).then(
        () => true,
        () => false,
      );
      if (!isGone) return;
      this.#durable.delete(this.#pathOf(path));
    }
  }

  async close(): Promise<void> {
    // Another process may be writing there, or nothing was ever written.
    await rmdir(this.#temporaries).catch(() => {});
  }

  /** Looks no further than the first: a folder can hold a hundred thousand. */
  async #hasObjects(folder: string): Promise<boolean> {
    const found = await this.#unlessAbsent('list', folder, async () => {
      for await (const entry of await opendir(this.#pathOf(folder))) {
        if (entry.isFile() || (entry.isDirectory() && (await this.#hasObjects(`${folder}${entry.name}/`)))) return true;
      }
      return false;
    });
    return found === true;
  }

  async *#walk(folder: string, prefix: string): AsyncGenerator<ObjectInfo> {
    const found = await this.#unlessAbsent('list', folder, () => readdir(this.#pathOf(folder), { withFileTypes: true }));
    const entries = (found ?? []).flatMap((entry) => keyOf(folder, entry, prefix)).sort((a, b) => compareUtf8(a.key, b.key));
    for (let at = 0; at < entries.length; ) {
      const entry = entries[at]!;
      if (entry.isFolder) {
        yield* this.#walk(entry.key, prefix);
        at++;
        continue;
      }
      let end = at + 1;
      while (end < entries.length && end - at < STATS_AT_ONCE && !entries[end]!.isFolder) end++;
      const files = entries.slice(at, end);
      const stats = await Promise.all(files.map(({ key }) => this.#unlessAbsent('list', key, () => lstat(this.#pathOf(key)))));
      for (let i = 0; i < files.length; i++) {
        const found = stats[i];
        if (found) yield { key: files[i]!.key, size: found.size };
      }
      at = end;
    }
  }

  async *#chunksOf(key: string, path: string): AsyncGenerator<Uint8Array> {
    try {
      yield* createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
    } catch (error) {
      throw this.#failure(error, 'read', key);
    }
  }

  #pathOf(key: string): string {
    return join(this.#root, key);
  }

  async #isThere(key: string): Promise<boolean> {
    checkKey(key);
    return (await this.#unlessAbsent('stat', key, async () => (await stat(this.#pathOf(key))).isFile())) ?? false;
  }

  /** Whoever wrote what is there can have been killed before its name was durable. Who writes here too may rely on it; readers write nothing. */
  async #makeNamesDurable(key: string): Promise<void> {
    if (this.#access === 'write') await this.#attempt('put', key, () => this.#place(key, async () => {}));
  }

  #replace(key: string, pieces: readonly Uint8Array[], expected: ObjectVersion): Promise<boolean> {
    return this.#attempt('put', key, () =>
      replaceIf({
        ...{ path: this.#pathOf(key), key, expected, temporaries: this.#temporaries, clock: this.#clock },
        temporary: temporaryName,
        isGone: (name) => isStale(name, 0),
        write: (path) => writeDurably(path, pieces, 'wx'),
        place: (action) => this.#place(key, action),
      }),
    );
  }

  async #writeTemporary(key: string, body: ObjectBody): Promise<string> {
    const file = await this.#createTemporary();
    await fill(file, Array.isArray(body) ? body : partsOf(body, STREAM_BYTES, { key, uri: this.uri }));
    return file.path;
  }

  async #createTemporary(): Promise<DurableFile> {
    const path = join(this.#temporaries, temporaryName());
    try {
      return await DurableFile.create(path, 'wx');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      await this.#makeFolder(this.#temporaries);
      return DurableFile.create(path, 'wx');
    }
  }

  /** @param temporary writes what is to be put, durably, and gives its path. */
  async #putIfAbsent(key: string, temporary: () => Promise<string>): Promise<boolean> {
    if (await this.exists(key)) return false;
    return this.#attempt('put', key, async () => {
      const path = await temporary();
      try {
        return await this.#link(key, path);
      } finally {
        await removeFile(path);
      }
    });
  }

  /** Resolves to whether the name was free. */
  async #link(key: string, temporary: string): Promise<boolean> {
    let isMine = true;
    await this.#place(key, async (path) => {
      try {
        await link(temporary, path);
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error;
        isMine = false;
      }
    });
    return isMine;
  }

  async #place(key: string, action: (path: string) => Promise<void>): Promise<void> {
    const path = this.#pathOf(key);
    const folder = dirname(path);
    if (!this.#durable.has(folder)) await this.#makeFolder(folder);
    try {
      await action(path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      await this.#makeFolder(folder);
      await action(path);
    }
    await nodeFiles.syncFolder(folder);
    await this.#folders;
  }

  #makeFolder(path: string): Promise<void> {
    const made = this.#folders.then(async () => {
      await makeFolderDurably(path);
      if (this.#durable.size >= DURABLE_MAX) this.#durable.clear();
      this.#durable.add(path);
    });
    // The next one is not to fail with this one's error; whoever asked for this one hears it.
    this.#folders = made.catch(() => {});
    return made;
  }

  /** Removes what processes that are gone left behind. */
  async #sweep(now: number): Promise<void> {
    const names = await readdir(this.#temporaries).catch(() => []);
    for (const name of names) {
      const path = join(this.#temporaries, name);
      const found = await stat(path).catch(() => null);
      if (found !== null && isStale(name, now - found.mtimeMs)) await rm(path, { recursive: true, force: true });
    }
  }

  async #unlessAbsent<T>(operation: string, key: string, action: () => Promise<T>): Promise<T | null> {
    try {
      return await action();
    } catch (error) {
      if (MEANS_ABSENT.has(systemCode(error))) return null;
      throw this.#failure(error, operation, key);
    }
  }

  async #attempt<T>(operation: string, key: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw this.#failure(error, operation, key);
    }
  }

  #failure(error: unknown, operation: string, key: string): MillraceError {
    if (error instanceof MillraceError) return error;
    const code = systemCode(error);
    const path = this.#pathOf(key);
    if (MEANS_FULL.has(code)) return new MillraceError('MR_STORE_FULL', { path, reason: reasonOf(error) }, error);
    if (MEANS_DENIED.has(code) && WRITES.has(operation)) return unwritable(path, error);
    return new MillraceError('MR_STORE_FAILED', { operation, key, uri: this.uri, reason: reasonOf(error) }, error);
  }
}

function unwritable(path: string, error: unknown): MillraceError {
  return new MillraceError('MR_STORE_UNWRITABLE', { path, reason: reasonOf(error) }, error);
}

const READ_BYTES = 256 * 1024;
/** Of a body that is not in memory so much is, and goes into one write. */
const STREAM_BYTES = 1024 * 1024;
/** Folders remembered as durable; after so many it forgets them all, which costs an fsync each. */
const DURABLE_MAX = 10_000;
const STATS_AT_ONCE = 64;

const MEANS_ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR']);
/** No space, over quota, beyond the file size limit. */
const MEANS_FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const WRITES: ReadonlySet<string> = new Set(['put', 'delete']);
const MEANS_DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

/** The entry as a key (of a folder: with its slash), unless nothing below it can match the prefix. */
function keyOf(folder: string, entry: Dirent, prefix: string): { key: string; isFolder: boolean }[] {
  const isFolder = entry.isDirectory();
  if (!isFolder && !entry.isFile()) return [];
  const key = folder + entry.name + (isFolder ? '/' : '');
  if (isFolder && key === `${RESERVED_FOLDER}/`) return [];
  return key.startsWith(prefix) || (isFolder && prefix.startsWith(key)) ? [{ key, isFolder }] : [];
}

/** This host, as part of a name. */
const HOST = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
/** This process, also where its number is always the same (the first of a container). */
const INSTANCE = randomUUID().slice(0, 8);
const TEMPORARY = /^([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-\d+\.tmp$/;
/** After this long a writer on another host is taken for dead; its write would fail, not be lost. */
const FOREIGN_STALE_MS = 24 * 3600 * 1000;
let temporariesMade = 0;

function temporaryName(): string {
  return `${HOST}-${process.pid}-${INSTANCE}-${++temporariesMade}.tmp`;
}

function isStale(name: string, ageMs: number): boolean {
  const [, host, pid, instance] = TEMPORARY.exec(name) ?? [];
  if (host !== HOST) return ageMs > FOREIGN_STALE_MS;
  return Number(pid) === process.pid ? instance !== INSTANCE : !isAlive(Number(pid));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}
