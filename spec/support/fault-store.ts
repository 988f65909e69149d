import type { ObjectBody, ObjectStore, ObjectVersion } from '../../lib/stores/index.ts';

/** Where a store fails: at its `at`-th operation (from 1), before or after the effect; every operation after it fails too, as after a crash. */
export interface Fault {
  readonly at: number;
  readonly when: 'before' | 'after';
}

/** A store that fails on purpose, and writes down what was done with it. */
export class FaultStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities;
  /** `put public/users/…`, in order of their beginning. */
  readonly log: string[] = [];
  readonly #inner: ObjectStore;
  readonly #fault: Fault | null;
  #operations = 0;

  constructor(inner: ObjectStore, fault: Fault | null = null) {
    this.#inner = inner;
    this.#fault = fault;
    this.uri = inner.uri;
    this.capabilities = inner.capabilities;
  }

  get operations(): number {
    return this.#operations;
  }

  put(key: string, body: ObjectBody) {
    return this.#run(`put ${key}`, () => this.#inner.put(key, body));
  }

  putIfAbsent(key: string, body: ObjectBody) {
    return this.#run(`putIfAbsent ${key}`, () => this.#inner.putIfAbsent(key, body));
  }

  putIf(key: string, body: ObjectBody, expected: ObjectVersion | null) {
    return this.#run(`putIf ${key}`, () => this.#inner.putIf(key, body, expected));
  }

  getVersioned(key: string) {
    return this.#run(`getVersioned ${key}`, () => this.#inner.getVersioned(key));
  }

  get(key: string) {
    return this.#run(`get ${key}`, () => this.#inner.get(key));
  }

  read(key: string) {
    return this.#run(`read ${key}`, () => this.#inner.read(key));
  }

  exists(key: string) {
    return this.#run(`exists ${key}`, () => this.#inner.exists(key));
  }

  async *folders(prefix: string, before?: string) {
    yield* await this.#run(`folders ${prefix}`, async () => this.#inner.folders(prefix, before));
  }

  async *list(prefix: string) {
    yield* await this.#run(`list ${prefix}`, async () => this.#inner.list(prefix));
  }

  delete(key: string) {
    return this.#run(`delete ${key}`, () => this.#inner.delete(key));
  }

  close() {
    return this.#inner.close();
  }

  async #run<T>(name: string, operation: () => Promise<T>): Promise<T> {
    this.log.push(name);
    const number = ++this.#operations;
    const at = this.#fault?.at ?? Number.POSITIVE_INFINITY;
    if (number > at || (number === at && this.#fault?.when === 'before')) throw new Error(`crashed before ${name}`);
    const result = await operation();
    if (number === at) throw new Error(`crashed after ${name}`);
    return result;
  }
}
