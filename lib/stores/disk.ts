/**
 * A port: a machine's disk, as far as durable files need it. Paths are absolute.
 *
 * What was written is durable only after the file's `sync`, a name (made, renamed, removed) only after its folder's `syncFolder`; a crash loses the rest,
 * any part of it. Errors carry the system's `code` (ENOENT, EEXIST, ENOSPC, EIO, …), see `systemCode`.
 */
export interface Disk extends DiskFiles {
  /** Takes the lock `name` in a folder for this process. Throws MR_STATE_LOCKED while another holder lives; one that was killed holds nothing. */
  lock(folder: string, name: string): Promise<DiskLock>;
}

/** A disk without its locks. */
export interface DiskFiles {
  open(path: string, flags: DiskOpenFlags): Promise<DiskFile>;
  /** The whole file. */
  readFile(path: string): Promise<Buffer>;
  /** Null when there is nothing. */
  stat(path: string): Promise<DiskStat | null>;
  /** What is in a folder, ordered by name. */
  list(folder: string): Promise<DiskEntry[]>;
  /** Gives a file another name, atomically; a file of that name is replaced. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; one that is not there is no error. Who has it open goes on reading it. */
  remove(path: string): Promise<void>;
  /** Removes a folder (or file) with all that is in it; one that is not there is no error. */
  removeTree(path: string): Promise<void>;
  /**
   * Makes one folder: false when it is there already. Fails with ENOENT where the one above it is missing.
   *
   * @param access `private`: where a disk has users, no other one can enter what is made.
   */
  makeFolder(path: string, access?: 'private'): Promise<boolean>;
  /** Makes the names in a folder durable. */
  syncFolder(path: string): Promise<void>;
}

/** `r` reads what is there; `w` begins anew, `wx` only where nothing is (EEXIST), `a` goes on at the end: these three make the file, and read too. */
export type DiskOpenFlags = 'r' | 'w' | 'wx' | 'a';

export interface DiskFile {
  /** Writes all pieces, in order, behind what was written before. When it fails (ENOSPC), a part may have been written. */
  write(pieces: readonly Uint8Array[]): Promise<void>;
  /** `length` bytes from `position`; fewer where the file ends. */
  read(position: number, length: number): Promise<Buffer>;
  /** Makes what was written durable; the file's name is its folder's matter. */
  sync(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface DiskStat {
  readonly isFolder: boolean;
  readonly size: number;
  /** Milliseconds since 1970 UTC. */
  readonly modifiedMs: number;
}

export interface DiskEntry {
  readonly name: string;
  readonly isFolder: boolean;
}

export interface DiskLock {
  /** Idempotent. */
  release(): Promise<void>;
}
