import { piecesOf } from './body.ts';
import { HeldDraft } from './held-draft.ts';
import { checkFolder, checkKey, checkPrefix, compareUtf8 } from './keys.ts';
import type {
  ObjectBody,
  ObjectDraft,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  StoreCapabilities,
  VersionedObject,
} from './object-store.ts';

/** Objects in memory, for tests. Everything is kept until it is deleted; `close` keeps it, so that a second run finds it. */
export class MemoryStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities = { putIfAbsent: 'atomic', conditionalPut: 'atomic' };
  readonly #objects = new Map<string, Held>();
  #writes = 0;

  constructor(name = '') {
    this.uri = `memory://${name}`;
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    checkKey(key);
    const pieces = piecesOf(body, { key, uri: this.uri });
    this.#set(key, Buffer.concat(pieces instanceof Promise ? await pieces : pieces));
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    checkKey(key);
    if (this.#objects.has(key)) return false;
    const pieces = piecesOf(body, { key, uri: this.uri });
    const object = Buffer.concat(pieces instanceof Promise ? await pieces : pieces);
    // Another writer can have come in while the body was read.
    if (this.#objects.has(key)) return false;
    this.#set(key, object);
    return true;
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    checkKey(key);
    const pieces = piecesOf(body, { key, uri: this.uri });
    const object = Buffer.concat(pieces instanceof Promise ? await pieces : pieces);
    if ((this.#objects.get(key)?.version ?? null) !== expected) return null;
    return this.#set(key, object);
  }

  async getVersioned(key: string): Promise<VersionedObject | null> {
    checkKey(key);
    const held = this.#objects.get(key);
    return held === undefined ? null : { content: Buffer.from(held.content), version: held.version };
  }

  async get(key: string): Promise<Buffer | null> {
    checkKey(key);
    const held = this.#objects.get(key);
    return held === undefined ? null : Buffer.from(held.content);
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    const object = await this.get(key);
    return object === null ? null : chunksOf(object);
  }

  async exists(key: string): Promise<boolean> {
    checkKey(key);
    return this.#objects.has(key);
  }

  async *folders(prefix: string, before?: string): AsyncGenerator<string> {
    checkFolder(prefix);
    const names = new Set<string>();
    for (const key of this.#objects.keys()) {
      const slash = key.startsWith(prefix) ? key.indexOf('/', prefix.length) : -1;
      if (slash > 0) names.add(key.slice(prefix.length, slash));
    }
    for (const name of [...names].sort(compareUtf8)) if (before === undefined || compareUtf8(name, before) < 0) yield name;
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).sort(compareUtf8);
    for (const key of keys) {
      const held = this.#objects.get(key);
      if (held !== undefined) yield { key, size: held.content.length };
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    this.#objects.delete(key);
  }

  draft(): ObjectDraft {
    return new HeldDraft((key, pieces) => this.putIfAbsent(key, pieces));
  }

  async close(): Promise<void> {}

  #set(key: string, content: Buffer): ObjectVersion {
    const version = String(++this.#writes) as ObjectVersion;
    this.#objects.set(key, { content, version });
    return version;
  }
}

interface Held {
  readonly content: Buffer;
  /** The number of the write that made it. */
  readonly version: ObjectVersion;
}

/** Small on purpose: whoever reads in tests meets chunk borders. */
const CHUNK_BYTES = 64 * 1024;

async function* chunksOf(object: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < object.length; at += CHUNK_BYTES) yield object.subarray(at, at + CHUNK_BYTES);
}
