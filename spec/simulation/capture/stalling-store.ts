import type { ObjectBody, ObjectInfo, ObjectStore, ObjectVersion, VersionedObject } from '../../../lib/stores/index.ts';
import type { Simulation } from '../../../lib/testing/index.ts';

/** A store that for a while takes what it is given and does not say so. */
export class StallingStore implements ObjectStore {
  readonly uri;
  readonly capabilities;
  readonly #sim: Simulation;
  readonly #objects: ObjectStore;
  #untilMs = 0;

  constructor(sim: Simulation, objects: ObjectStore) {
    this.#sim = sim;
    this.#objects = objects;
    this.uri = objects.uri;
    this.capabilities = objects.capabilities;
  }

  /** No write is answered for `ms`. */
  stall(ms: number): void {
    this.#sim.noteFault('store', `answers nobody who writes for ${ms} ms`);
    this.#untilMs = this.#sim.clock.now() + ms;
  }

  put(key: string, body: ObjectBody): Promise<void> {
    return this.#late(this.#objects.put(key, body));
  }

  putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    return this.#late(this.#objects.putIfAbsent(key, body));
  }

  putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    return this.#late(this.#objects.putIf(key, body, expected));
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
    return this.#objects.delete(key);
  }

  close(): Promise<void> {
    return this.#objects.close();
  }

  #late<T>(answer: Promise<T>): Promise<T> {
    const ms = this.#untilMs - this.#sim.clock.now();
    return ms <= 0 ? answer : this.#sim.clock.sleep(ms).then(() => answer);
  }
}
