/**
 * A port: objects by key. Keys are `/`-separated, relative to the store's root, already escaped for a path: no empty component, no `.` or `..`
 * (MR_STORE_INVALID_KEY).
 */
export interface ObjectStore {
  /** The store as a message may show it: its URI without credentials. */
  readonly uri: string;
  readonly capabilities: StoreCapabilities;
  /** Writes the whole object or nothing, durable when the promise resolves; replaces an older one. After an error either may stand there. */
  put(key: string, body: ObjectBody): Promise<void>;
  /**
   * `put` unless there is an object already: resolves to whether this call wrote it. Where `capabilities.putIfAbsent` is `probe`, two writers at the same
   * instant can both win.
   */
  putIfAbsent(key: string, body: ObjectBody): Promise<boolean>;
  /**
   * `put` if what stands there is of the version `expected` (null: if nothing does); resolves to the version that now stands there, or to null when it was not, and
   * nothing was written. Where `capabilities.conditionalPut` is `probe`, another write can come between the look and the put, and this one can take effect late, behind
   * whatever came since. A key is atomic only while nobody uses `put` or `delete` on it.
   */
  putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null>;
  /** The whole object and its version, or null when there is none. What it gives stays there after a crash, whoever wrote it. */
  getVersioned(key: string): Promise<VersionedObject | null>;
  /** The whole object, or null when there is none. */
  get(key: string): Promise<Buffer | null>;
  /** The object in chunks, to be iterated once and soon (a connection may wait behind it); null when there is none. */
  read(key: string): Promise<AsyncIterable<Uint8Array> | null>;
  /** Whether there is an object. One that is there stays there after a crash, whoever wrote it. */
  exists(key: string): Promise<boolean>;
  /**
   * Names directly below a folder that have objects below them, in UTF-8 byte order. `prefix` is empty or ends in a slash. What is deeper is not walked, so it is
   * cheap where a list is not; with `before`, it ends at the first name that does not sort before that text.
   */
  folders(prefix: string, before?: string): AsyncIterable<string>;
  /** All keys that start with `prefix` (a plain string, not a folder), with their sizes, in UTF-8 byte order. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /** Deletes an object; one that is not there is no error. */
  delete(key: string): Promise<void>;
  /** Of a store that has folders: removes this one and those above and right below it, as far as they are empty. What cannot be removed stays, and is no error. */
  removeEmptyFolders?(folder: string): Promise<void>;
  /**
   * Begins an object that gets its key when it is whole. Null, as where there is no such method: this store writes nothing before it has a key. A store that changes what goes
   * through it to another one changes it here too, or has no such method.
   */
  draft?(): ObjectDraft | null;
  close(): Promise<void>;
}

/**
 * An object to be, written while it comes to be. Nobody sees any of it before `putIfAbsent`; nothing of it stays where that fails, or never comes: whoever begins one
 * ends it, by `putIfAbsent` or `discard`. One call at a time.
 */
export interface ObjectDraft {
  /** Adds to its end. Resolves when the pieces are not needed any more; a failure is told by `putIfAbsent`. */
  write(pieces: readonly Uint8Array[]): Promise<void>;
  /** As of the store, with all that was written. Fails where it was put or discarded before. */
  putIfAbsent(key: string): Promise<boolean>;
  /** Idempotent; does nothing to an object that was put. Never fails. */
  discard(): Promise<void>;
}

/**
 * What an object is made of: its pieces in order, or where they come from. Pieces must stay as they are until the write has ended.
 *
 * However large, it appears at once and whole: the store's last step (rename, link, the completion of a multipart upload) is what makes it visible, and
 * a write whose last step failed has failed, whatever came before.
 */
export type ObjectBody = readonly Uint8Array[] | StreamedBody;

/** A body that is not in memory: a store holds only what is on its way at the moment (S3 its parts, a file system 1 MiB). */
export interface StreamedBody {
  /** How long it is. One that gives more or less is refused with MR_STORE_FAILED, and nothing is written. */
  readonly bytes: number;
  /** Its pieces from the first one. Called again where a write has to start again; when it fails, the write fails. */
  chunks(): AsyncIterable<Uint8Array>;
}

/** Tells the contents of an object apart, as an ETag does: other content has another version, the same content may have the same one. */
export type ObjectVersion = string & { readonly __brand: 'ObjectVersion' };

export interface VersionedObject {
  readonly content: Buffer;
  readonly version: ObjectVersion;
}

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
}

/** What a store is opened for: only for `write` is a missing folder made, and the right to write proved. */
export type StoreAccess = 'read' | 'write';

export interface StoreCapabilities {
  /** `atomic`: at most one of several writers wins. `probe`: looks, then writes. */
  readonly putIfAbsent: 'atomic' | 'probe';
  /** The same of `putIf`. */
  readonly conditionalPut: 'atomic' | 'probe';
}
