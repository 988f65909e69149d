import { MillraceError } from '../../../lib/errors.ts';
import type {
  ObjectBody,
  ObjectDraft,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  StoreCapabilities,
  VersionedObject,
} from '../../../lib/stores/index.ts';

/**
 * A store that a run writes through until it ends, and never after (I9). A run that is left to itself because its store does not answer would else go on, when it
 * does, where the next run writes already.
 */
export class FencedStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  readonly #store: ObjectStore;
  readonly #pipeline: string;
  #isShut = false;

  constructor(store: ObjectStore, pipeline: string) {
    this.#store = store;
    this.#pipeline = pipeline;
    this.uri = store.uri;
    this.capabilities = store.capabilities;
  }

  /** From now on every write fails with MR_STOPPED; one that has begun goes on. */
  shut(): void {
    this.#isShut = true;
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    this.#check();
    return this.#store.put(key, body);
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    this.#check();
    return this.#store.putIfAbsent(key, body);
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    this.#check();
    return this.#store.putIf(key, body, expected);
  }

  getVersioned(key: string): Promise<VersionedObject | null> {
    return this.#store.getVersioned(key);
  }

  get(key: string): Promise<Buffer | null> {
    return this.#store.get(key);
  }

  read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    return this.#store.read(key);
  }

  exists(key: string): Promise<boolean> {
    return this.#store.exists(key);
  }

  folders(prefix: string, before?: string): AsyncIterable<string> {
    return this.#store.folders(prefix, before);
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.#store.list(prefix);
  }

  async delete(key: string): Promise<void> {
    this.#check();
    return this.#store.delete(key);
  }

  async removeEmptyFolders(folder: string): Promise<void> {
    this.#check();
    await this.#store.removeEmptyFolders?.(folder);
  }

  /** Only what it is in the end counts as a write. */
  draft(): ObjectDraft | null {
    const draft = this.#store.draft?.() ?? null;
    // A wrapper that makes a promise of every answer has none to give.
    if (typeof draft?.write !== 'function') return null;
    return {
      write: (pieces) => draft.write(pieces),
      putIfAbsent: async (key) => {
        this.#check();
        return draft.putIfAbsent(key);
      },
      discard: () => draft.discard(),
    };
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #check(): void {
    if (this.#isShut) throw new MillraceError('MR_STOPPED', { pipeline: this.#pipeline });
  }
}
