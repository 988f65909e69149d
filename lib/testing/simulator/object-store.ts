import { MillraceError } from '../../errors.ts';
import { piecesOf } from '../../stores/body.ts';
import { HeldDraft } from '../../stores/held-draft.ts';
import { MemoryStore } from '../../stores/memory.ts';
import type {
  ObjectBody,
  ObjectDraft,
  ObjectInfo,
  ObjectStore,
  ObjectVersion,
  StoreCapabilities,
  StreamedBody,
  VersionedObject,
} from '../../stores/object-store.ts';
import { checkFaults, checkRange, type Range, type StoreFaults } from './faults.ts';
import { PORT } from './incarnation.ts';
import type { Simulation } from './simulation.ts';

export interface SimObjectStoreOptions {
  /** In the trace and the URI. Default `store`. */
  readonly name?: string;
  /** How long each call takes, in ms. Default 0: at once. */
  readonly latencyMs?: Range;
  readonly faults?: StoreFaults;
  /** Where the objects are. Default a memory store of its own. */
  readonly objects?: ObjectStore;
}

/**
 * An object store on another machine, which does not always answer. It is consistent as S3 is: what was written is in the next `get` and `list` of everybody.
 * A crash of who uses it does not take back what was sent; a body that comes in parts is sent when its last part has come, and nothing of it is seen before.
 *
 * It is the store behind the client's own retries: a call that fails has failed for good, with MR_STORE_UNAVAILABLE (throttled, timeout) or MR_STORE_FAILED, and
 * whether it had an effect is not known. Use it through `SimNode.port`.
 */
export class SimObjectStore implements ObjectStore {
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  readonly name: string;
  /** The objects without the faults: for what a world looks at. */
  readonly objects: ObjectStore;
  readonly #sim: Simulation;
  readonly #latencyMs: Range;
  readonly #faults: StoreFaults;

  constructor(sim: Simulation, options: SimObjectStoreOptions = {}) {
    const { name = 'store', latencyMs = [0, 0], faults = {}, objects = new MemoryStore(name) } = options;
    checkFaults(faults);
    checkRange('latencyMs', latencyMs);
    this.#sim = sim;
    this.name = name;
    this.uri = `sim://${name}`;
    this.objects = objects;
    this.capabilities = objects.capabilities;
    this.#latencyMs = latencyMs;
    this.#faults = faults;
  }

  put(key: string, body: ObjectBody): Promise<void> {
    return this.#call('put', key, this.#taken(key, body), (pieces) => this.objects.put(key, pieces));
  }

  putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    return this.#call('putIfAbsent', key, this.#taken(key, body), (pieces) => this.objects.putIfAbsent(key, pieces));
  }

  putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    return this.#call('putIf', key, this.#taken(key, body), (pieces) => this.objects.putIf(key, pieces, expected));
  }

  getVersioned(key: string): Promise<VersionedObject | null> {
    return this.#call('getVersioned', key, null, () => this.objects.getVersioned(key));
  }

  get(key: string): Promise<Buffer | null> {
    return this.#call('get', key, null, () => this.objects.get(key));
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    const chunks = await this.#call('read', key, null, () => this.objects.read(key));
    return chunks === null ? null : this.#chunksOf(key, chunks);
  }

  exists(key: string): Promise<boolean> {
    return this.#call('exists', key, null, () => this.objects.exists(key));
  }

  async *folders(prefix: string, before?: string): AsyncGenerator<string> {
    const names = await this.#call('folders', prefix, null, async () => {
      const found: string[] = [];
      for await (const name of this.objects.folders(prefix, before)) found.push(name);
      return found;
    });
    // Not by `yield*`, which takes three promises for each element of a list.
    for (const name of names) yield name;
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    const objects = await this.#call('list', prefix, null, async () => {
      const found: ObjectInfo[] = [];
      for await (const object of this.objects.list(prefix)) found.push(object);
      return found;
    });
    for (const object of objects) yield object;
  }

  delete(key: string): Promise<void> {
    return this.#call('delete', key, [], () => this.objects.delete(key));
  }

  /** Written pieces are read when the write is answered, not before: whoever uses their memory again too early is found out. */
  draft(): ObjectDraft {
    const held = new HeldDraft((key, pieces) => this.putIfAbsent(key, pieces));
    let failure: MillraceError | null = null;
    const draft: ObjectDraft & { readonly [PORT]: true } = {
      [PORT]: true,
      write: async (pieces) => {
        await this.#wait();
        await held.write(pieces);
        if (this.#sim.fault(this.#faults.before)) failure ??= this.#failed('put', 'a draft', 'the connection was lost (nothing was done)');
      },
      putIfAbsent: async (key) => {
        await this.#wait();
        if (failure !== null) throw failure;
        return held.putIfAbsent(key);
      },
      discard: () => held.discard(),
    };
    return draft;
  }

  async close(): Promise<void> {}

  /** @param taken of what changes something: it is taken now, because it may happen later than its caller knows. Null: it only looks. */
  async #call<T>(operation: string, key: string, taken: Taken | Promise<Taken> | null, effect: (body: Taken) => Promise<T>): Promise<T> {
    const body = taken instanceof Promise ? await taken : taken;
    const { before, after, throttled, timeout } = this.#faults;
    const sim = this.#sim;
    if (sim.fault(throttled)) {
      await this.#wait();
      throw this.#unavailable(operation, key, 503, 'SlowDown: please reduce your request rate');
    }
    if (sim.fault(before)) {
      await this.#wait();
      throw this.#failed(operation, key, 'the connection was refused (nothing was done)');
    }
    if (sim.fault(timeout)) {
      await this.#timeOut(operation, key, body === null ? null : () => effect(body));
    }
    // It happens when it is asked for or when it is answered: other calls may come between.
    const isEarly = body !== null && this.#latencyMs[1] > 0 && sim.chance(0.5);
    if (!isEarly) await this.#wait();
    const result = effect(body ?? []);
    sim.note(this.name, `${operation} ${key}${body === null || body.length === 0 ? '' : ` (${lengthOf(body)})`}`);
    if (isEarly) {
      result.catch(() => {});
      await this.#wait();
    }
    const answer = await result;
    if (body !== null && sim.fault(after)) throw this.#failed(operation, key, 'the connection was lost (it was done)');
    return answer;
  }

  async #timeOut(operation: string, key: string, effect: (() => Promise<unknown>) | null): Promise<never> {
    const { timeoutMs = 1000, lateMs = LATE_MS, never = 0.5 } = this.#faults;
    const sim = this.#sim;
    if (effect !== null && !sim.chance(never)) {
      sim.clock.after(timeoutMs + sim.within(lateMs), () => {
        sim.noteFault(this.name, `${operation} ${key} happens, late`);
        // Nobody is there to hear of it.
        effect().catch(() => {});
      });
    }
    await sim.sleep(timeoutMs);
    throw this.#unavailable(operation, key, null, 'TimeoutError: no answer came');
  }

  /** What the caller does with its buffers after a failure is its own affair. */
  #taken(key: string, body: ObjectBody): Taken | Promise<Taken> {
    if (!('chunks' in body)) return [Buffer.concat(body)];
    return piecesOf({ bytes: body.bytes, chunks: () => this.#partsOf(key, body) }, { key, uri: this.uri });
  }

  async *#partsOf(key: string, body: StreamedBody): AsyncGenerator<Uint8Array> {
    for await (const chunk of body.chunks()) {
      if (this.#sim.fault(this.#faults.before)) throw this.#failed('put', key, 'the connection was lost in the middle (nothing was done)');
      yield Buffer.from(chunk);
    }
  }

  async *#chunksOf(key: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      if (this.#sim.fault(this.#faults.before)) throw this.#failed('read', key, 'the connection was lost in the middle');
      yield chunk;
    }
  }

  #wait(): Promise<void> {
    const ms = this.#sim.within(this.#latencyMs);
    return ms > 0 ? this.#sim.sleep(ms) : Promise.resolve();
  }

  #failed(operation: string, key: string, reason: string): MillraceError {
    this.#sim.noteFault(this.name, `${operation} ${key} fails: ${reason}`);
    return new MillraceError('MR_STORE_FAILED', { operation: named(operation), key, uri: this.uri, reason });
  }

  #unavailable(operation: string, key: string, status: number | null, reason: string): MillraceError {
    this.#sim.noteFault(this.name, `${operation} ${key} fails: ${reason}`);
    const request = { operation: named(operation), key, uri: this.uri, status: status ?? 'none', reason };
    return new MillraceError('MR_STORE_UNAVAILABLE', { ...request, attempts: 1 });
  }
}

const LATE_MS: Range = [0, 5000];

/** As the S3 store calls its requests. */
function named(operation: string): string {
  return { putIfAbsent: 'put', putIf: 'put', getVersioned: 'get', folders: 'list', exists: 'head', read: 'get' }[operation] ?? operation;
}

type Taken = readonly Uint8Array[];

function lengthOf(body: Taken): number {
  return body.reduce((sum, piece) => sum + piece.length, 0);
}
