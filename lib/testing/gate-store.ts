import type { ObjectBody, ObjectDraft, ObjectStore, ObjectVersion, StoreCapabilities, VersionedObject } from '../stores/object-store.ts';

/** A store whose writes wait or fail when they are told to: what a test of a sink needs beside any object store. */
export class GateStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  readonly #inner: ObjectStore;
  #waiting: (() => void)[] = [];
  #isHeld = false;
  #failure: Error | null = null;

  constructor(inner: ObjectStore) {
    this.#inner = inner;
    this.uri = inner.uri;
    this.capabilities = inner.capabilities;
  }

  /** Writes that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** From now on writes wait, before they have any effect. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Lets them go on. */
  release(): void {
    this.#isHeld = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** The next write fails, without effect. */
  failNext(reason = 'the gate store was told to fail'): void {
    this.#failure = new Error(reason);
  }

  async put(key: string, body: ObjectBody): Promise<void> {
    await this.#pass();
    await this.#inner.put(key, body);
  }

  async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    await this.#pass();
    return this.#inner.putIfAbsent(key, body);
  }

  async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    await this.#pass();
    return this.#inner.putIf(key, body, expected);
  }

  getVersioned(key: string): Promise<VersionedObject | null> {
    return this.#inner.getVersioned(key);
  }

  get(key: string): Promise<Buffer | null> {
    return this.#inner.get(key);
  }

  read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    return this.#inner.read(key);
  }

  exists(key: string): Promise<boolean> {
    return this.#inner.exists(key);
  }

  folders(prefix: string, before?: string): AsyncIterable<string> {
    return this.#inner.folders(prefix, before);
  }

  list(prefix: string): ReturnType<ObjectStore['list']> {
    return this.#inner.list(prefix);
  }

  delete(key: string): Promise<void> {
    return this.#inner.delete(key);
  }

  draft(): ObjectDraft | null {
    const draft = this.#inner.draft?.() ?? null;
    if (draft === null) return null;
    return {
      write: (pieces) => draft.write(pieces),
      putIfAbsent: async (key) => {
        await this.#pass();
        return draft.putIfAbsent(key);
      },
      discard: () => draft.discard(),
    };
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #pass(): Promise<void> {
    while (this.#isHeld) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }
}
