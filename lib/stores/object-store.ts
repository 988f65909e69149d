/**
 * A port: objects by key. Keys are `/`-separated, relative to the store's root, already escaped for a path: no empty component, no `.` or `..`
 * (MR_STORE_INVALID_KEY).
 */
export interface ObjectStore {
  /** The store as a message may show it: its URI without credentials. */
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  /** Writes the whole object or nothing, durable when the promise resolves; replaces an older one. */
  put(key: string, body: ObjectBody): Promise<void>;
  /**
   * `put` unless there is an object already: resolves to whether this call wrote it. Where `capabilities.putIfAbsent` is `probe`, two writers at the same
   * instant can both win.
   */
  putIfAbsent(key: string, body: ObjectBody): Promise<boolean>;
  /** The whole object, or null when there is none. */
  get(key: string): Promise<Buffer | null>;
  /** The object in chunks, to be iterated once and soon (a connection may wait behind it); null when there is none. */
  read(key: string): Promise<AsyncIterable<Uint8Array> | null>;
  exists(key: string): Promise<boolean>;
  /** All keys that start with `prefix` (a plain string, not a folder), with their sizes, in UTF-8 byte order. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Deletes an object; one that is not there is no error. */
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}

/** The pieces of an object, in order. They must stay as they are until the write has ended. */
export type ObjectBody = readonly Uint8Array[];

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
}

/** What a store is opened for: only for `write` is a missing folder made, and the right to write proved. */
export type StoreAccess = 'read' | 'write';

export interface StoreCapabilities {
  /** `atomic`: at most one of several writers wins. `probe`: looks, then writes. */
  readonly putIfAbsent: 'atomic' | 'probe';
}
