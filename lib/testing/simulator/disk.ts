import { MillraceError } from '../../errors.ts';
import type { Disk, DiskEntry, DiskFile, DiskLock, DiskOpenFlags, DiskStat } from '../../stores/disk.ts';
import { type DiskNode, FileNode, FolderNode } from './disk-nodes.ts';
import { checkFaults, checkRange, type DiskFaults, type Range } from './faults.ts';
import { PORT } from './incarnation.ts';
import type { Device, SimNode } from './node.ts';
import type { Simulation } from './simulation.ts';

export interface SimDiskOptions {
  /** In the trace. Default: the node's name and `-disk`. */
  readonly name?: string;
  /** The machine it is in: its crash is the disk's. Default none. */
  readonly node?: SimNode;
  /** How long each call takes, in ms. Default 0: at once. */
  readonly latencyMs?: Range;
  /** Room for the contents of files. Default none: it is never full but by a fault. */
  readonly capacityBytes?: number;
  readonly faults?: DiskFaults;
}

/**
 * A disk that keeps what is synced apart from what is not. At a crash of each file some of the un-synced writes are left, in order, and perhaps a part of the
 * next; of each folder some of the un-synced changes of names. Whatever the operating system holds back in reality, a program cannot rely on more.
 * A write that fails, or is under way when the process is killed, may have happened in part.
 *
 * Use it through `SimNode.port`. Both names of a rename must be in one folder (EXDEV).
 */
export class SimDisk implements Disk, Device {
  readonly name: string;
  readonly #sim: Simulation;
  readonly #node: SimNode | null;
  readonly #latencyMs: Range;
  readonly #faults: DiskFaults;
  readonly #locks = new Map<string, object>();
  #root = new FolderNode();
  #capacityBytes: number;
  /** Counts crashes and kills: a call that was under way at one is lost with it, unless it has happened. */
  #life = 0;
  #fullUntilMs = 0;
  /** Writes that have not happened yet: what is there of them when the process dies meanwhile. */
  readonly #underWay = new Set<() => void>();

  constructor(sim: Simulation, options: SimDiskOptions = {}) {
    const { node, name = node === undefined ? 'disk' : `${node.name}-disk`, latencyMs = [0, 0], faults = {} } = options;
    checkFaults(faults);
    checkRange('latencyMs', latencyMs);
    this.#sim = sim;
    this.name = name;
    this.#latencyMs = latencyMs;
    this.#faults = faults;
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.#node = node ?? null;
    node?.attach(this);
    sim.onCalm(() => {
      this.#fullUntilMs = 0;
    });
  }

  /** What all files hold, whether synced or not. */
  get usedBytes(): number {
    return usedBy(this.#root);
  }

  /** Gives the disk another size. */
  resize(capacityBytes: number): void {
    this.#capacityBytes = capacityBytes;
  }

  crash(): void {
    this.kill();
    this.#crashFolder('', this.#root);
  }

  /** A process is gone when its calls have ended: what was under way has happened by now, or never does; of a write, perhaps a part. */
  kill(): void {
    for (const partly of this.#underWay) partly();
    this.#underWay.clear();
    this.#locks.clear();
    this.#life++;
  }

  open(path: string, flags: DiskOpenFlags): Promise<DiskFile> {
    return this.#call('open', path, flags !== 'r', () => {
      const found = this.#find(path);
      if (found?.isFolder) throw systemError('EISDIR', 'open', path);
      if (found !== null && flags === 'wx') throw systemError('EEXIST', 'open', path);
      if (found === null && flags === 'r') throw systemError('ENOENT', 'open', path);
      if (found !== null) {
        if (flags === 'w') found.empty();
        return this.#opened(path, found, flags);
      }
      const { folder, name } = this.#parentOf(path, 'open');
      const file = new FileNode();
      this.#set(folder, [[name, file]]);
      return this.#opened(path, file, flags);
    });
  }

  readFile(path: string): Promise<Buffer> {
    return this.#call('readFile', path, false, () => {
      const file = this.#get(path, 'open');
      if (file.isFolder) throw systemError('EISDIR', 'read', path);
      return file.read(0, file.size);
    });
  }

  stat(path: string): Promise<DiskStat | null> {
    return this.#call('stat', path, false, () => {
      const found = this.#find(path);
      if (found === null) return null;
      return { isFolder: found.isFolder, size: found.isFolder ? 0 : found.size, modifiedMs: found.modifiedMs };
    });
  }

  list(folder: string): Promise<DiskEntry[]> {
    return this.#call('list', folder, false, () =>
      [...this.#folder(folder, 'scandir').names]
        .map(([name, node]) => ({ name, isFolder: node.isFolder }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call('rename', `${from} to ${to}`, true, () => {
      const node = this.#get(from, 'rename');
      const source = this.#parentOf(from, 'rename');
      const target = this.#parentOf(to, 'rename');
      if (source.folder !== target.folder) throw systemError('EXDEV', 'rename', from);
      if (target.folder.names.get(target.name)?.isFolder) throw systemError('EISDIR', 'rename', to);
      this.#set(source.folder, [
        [source.name, null],
        [target.name, node],
      ]);
    });
  }

  remove(path: string): Promise<void> {
    return this.#call('remove', path, false, () => {
      const found = this.#find(path);
      if (found === null) return;
      if (found.isFolder) throw systemError('EISDIR', 'rm', path);
      this.#drop(path);
    });
  }

  removeTree(path: string): Promise<void> {
    return this.#call('removeTree', path, false, () => {
      const found = this.#find(path);
      if (found === null) return;
      this.#clear(found);
      this.#drop(path);
    });
  }

  makeFolder(path: string): Promise<boolean> {
    return this.#call('makeFolder', path, true, () => {
      const found = this.#find(path);
      if (found?.isFolder) return false;
      if (found !== null) throw systemError('EEXIST', 'mkdir', path);
      const { folder, name } = this.#parentOf(path, 'mkdir');
      this.#set(folder, [[name, new FolderNode()]]);
      return true;
    });
  }

  syncFolder(path: string): Promise<void> {
    return this.#call('syncFolder', path, false, () => {
      const folder = this.#folder(path, 'open');
      if (this.#sim.fault(this.#faults.syncFails)) throw this.#failing('EIO', 'fsync', path);
      folder.sync();
    });
  }

  lock(folder: string, name: string): Promise<DiskLock> {
    return this.#call('lock', `${folder}/${name}`, true, () => {
      this.#folder(folder, 'scandir');
      const lock = `${folder}/${name}.lock`;
      if (this.#locks.has(lock)) throw new MillraceError('MR_STATE_LOCKED', { path: folder, lock, pid: 1, host: this.name });
      const holder: DiskLock = {
        release: async () => {
          if (this.#locks.get(lock) === holder) this.#locks.delete(lock);
        },
      };
      this.#locks.set(lock, holder);
      return Object.assign(holder, { [PORT]: true });
    });
  }

  #opened(path: string, file: FileNode, flags: DiskOpenFlags): DiskFile {
    let isClosed = false;
    const call = <T>(what: string, needsRoom: boolean, effect: () => T, partly?: () => void) => {
      const open = () => {
        if (isClosed) throw systemError('EBADF', what, path);
        return effect();
      };
      return this.#call(what, path, needsRoom, open, partly);
    };
    const handle: DiskFile = {
      write: (pieces) => {
        const bytes = Buffer.concat(pieces);
        const write = () => {
          if (flags === 'r') throw systemError('EBADF', 'write', path);
          const room = Math.max(0, this.#capacityBytes - (this.#capacityBytes === Number.POSITIVE_INFINITY ? 0 : this.usedBytes));
          if (bytes.length > 0) file.append(bytes.subarray(0, Math.min(bytes.length, room)));
          file.modifiedMs = this.#nowMs();
          if (bytes.length > room) throw this.#failing('ENOSPC', 'write', path);
        };
        return call('write', true, write, () => {
          if (isClosed || flags === 'r' || bytes.length === 0 || !this.#sim.chance(0.5)) return;
          // Into the room that there is.
          const part = this.#sim.between(1, bytes.length);
          if (this.#capacityBytes < this.usedBytes + part) return;
          file.append(bytes.subarray(0, part));
          this.#sim.noteFault(this.name, `of a write to ${path} ${part} of ${bytes.length} bytes are there`);
        });
      },
      read: (position, length) => call('read', false, () => this.#corrupted(path, file.read(position, length))),
      sync: () =>
        call('sync', false, () => {
          if (this.#sim.fault(this.#faults.syncFails)) {
            file.failSync();
            throw this.#failing('EIO', 'fsync', path);
          }
          file.sync();
        }),
      close: async () => {
        isClosed = true;
      },
    };
    return Object.assign(handle, { [PORT]: true });
  }

  /**
   * One call: it takes its time and may fail. It happens when it begins or when it ends, unless the machine crashes before.
   *
   * @param partly leaves a part of it, perhaps, where it comes to no end.
   */
  async #call<T>(what: string, path: string, needsRoom: boolean, effect: () => T, partly: () => void = () => {}): Promise<T> {
    const sim = this.#sim;
    const { slow, slowMs = SLOW_MS } = this.#faults;
    const life = this.#life;
    let ms = sim.within(this.#latencyMs);
    if (sim.fault(slow)) {
      ms += sim.within(slowMs);
      sim.noteFault(this.name, `${what} ${path} is slow`);
    }
    const happen = () => this.#happen(what, path, needsRoom, effect, partly);
    if (ms === 0) return happen();
    const early = sim.chance(0.5) ? outcomeOf(happen) : null;
    if (early === null) this.#underWay.add(partly);
    await sim.sleep(ms);
    if (life !== this.#life) return new Promise(() => {});
    this.#underWay.delete(partly);
    return early === null ? happen() : early();
  }

  #happen<T>(what: string, path: string, needsRoom: boolean, effect: () => T, partly: () => void): T {
    const sim = this.#sim;
    const { fails, full, fullMs = FULL_MS } = this.#faults;
    if (sim.fault(fails)) {
      partly();
      throw this.#failing('EIO', what, path);
    }
    if (needsRoom && sim.clock.now() >= this.#fullUntilMs && sim.fault(full)) {
      // The write that fills it.
      partly();
      this.#fullUntilMs = sim.clock.now() + sim.within(fullMs);
    }
    if (needsRoom && sim.clock.now() < this.#fullUntilMs) throw this.#failing('ENOSPC', what, path);
    const result = effect();
    sim.note(this.name, `${what} ${path}`);
    return result;
  }

  #nowMs(): number {
    return this.#sim.clock.now() + (this.#node?.skewMs ?? 0);
  }

  #corrupted(path: string, bytes: Buffer): Buffer {
    if (bytes.length === 0 || !this.#sim.fault(this.#faults.corrupts)) return bytes;
    const at = this.#sim.between(0, bytes.length - 1);
    this.#sim.noteFault(this.name, `read ${path}: byte ${at} of ${bytes.length} is wrong`);
    bytes[at]! ^= 1 << this.#sim.between(0, 7);
    return bytes;
  }

  #failing(code: string, call: string, path: string): Error {
    this.#sim.noteFault(this.name, `${call} ${path}: ${code}`);
    return systemError(code, call, path);
  }

  /** Null when there is nothing. */
  #find(path: string): DiskNode | null {
    let node: DiskNode = this.#root;
    for (const name of namesOf(path)) {
      if (!node.isFolder) throw systemError('ENOTDIR', 'stat', path);
      const next = node.names.get(name);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  #get(path: string, call: string): DiskNode {
    const found = this.#find(path);
    if (found === null) throw systemError('ENOENT', call, path);
    return found;
  }

  #folder(path: string, call: string): FolderNode {
    const found = this.#get(path, call);
    if (!found.isFolder) throw systemError('ENOTDIR', call, path);
    return found;
  }

  #parentOf(path: string, call: string): { folder: FolderNode; name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw systemError('EPERM', call, path);
    return { folder: this.#folder(names.join('/'), call), name };
  }

  #set(folder: FolderNode, change: Parameters<FolderNode['change']>[0]): void {
    folder.change(change);
    const nowMs = this.#nowMs();
    folder.modifiedMs = nowMs;
    for (const [, node] of change) if (node !== null && node.modifiedMs === 0) node.modifiedMs = nowMs;
  }

  #drop(path: string): void {
    const { folder, name } = this.#parentOf(path, 'rm');
    this.#set(folder, [[name, null]]);
  }

  /** Name by name, from the leaves: a crash may leave any part. */
  #clear(node: DiskNode): void {
    if (!node.isFolder) return;
    for (const [name, inner] of [...node.names]) {
      this.#clear(inner);
      this.#set(node, [[name, null]]);
    }
  }

  #crashFolder(path: string, folder: FolderNode): void {
    const said = folder.crash(this.#sim);
    if (said !== null) this.#sim.noteFault(this.name, `${path === '' ? '/' : path} ${said}`);
    for (const [name, node] of folder.names) {
      const inner = `${path}/${name}`;
      if (node.isFolder) this.#crashFolder(inner, node);
      else {
        const lost = node.crash(this.#sim, this.#faults.torn ?? 0.5);
        if (lost !== null) this.#sim.noteFault(this.name, `${inner} ${lost}`);
      }
    }
  }
}

const FULL_MS: Range = [100, 2000];
const SLOW_MS: Range = [100, 5000];

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function usedBy(folder: FolderNode): number {
  let bytes = 0;
  for (const node of folder.names.values()) bytes += node.isFolder ? usedBy(node) : node.size;
  return bytes;
}

function outcomeOf<T>(action: () => T): () => T {
  try {
    const result = action();
    return () => result;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** As Node's own: code, system call, path. */
function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${MEANINGS[code] ?? 'failed'}, ${call} '${path}'`), { code, syscall: call, path });
}

const MEANINGS: Readonly<Record<string, string>> = {
  EBADF: 'bad file descriptor',
  EEXIST: 'file already exists',
  EIO: 'i/o error',
  EISDIR: 'illegal operation on a directory',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  EXDEV: 'cross-device link not permitted',
};
