import type { Simulation } from './simulation.ts';

/** What a path names: a file or a folder, each with what a crash would leave of it. */
export type DiskNode = FileNode | FolderNode;

/** A file's content. What was written since the last sync is known write by write. */
export class FileNode {
  readonly isFolder = false;
  modifiedMs = 0;
  readonly #content = new Bytes();
  readonly #durable = new Bytes();
  #unsynced: Uint8Array[] = [];
  /** Whether it was emptied since the last sync, before what is in `#unsynced`. */
  #isCut = false;
  /** Whether a sync failed: no later one made up for it. */
  #isDamaged = false;

  get size(): number {
    return this.#content.size;
  }

  read(position: number, length: number): Buffer {
    return this.#content.slice(position, length);
  }

  append(bytes: Uint8Array): void {
    this.#content.append(bytes);
    this.#unsynced.push(bytes);
  }

  empty(): void {
    this.#content.size = 0;
    this.#unsynced = [];
    this.#isCut = true;
  }

  sync(): void {
    if (this.#isCut) this.#durable.size = 0;
    for (const bytes of this.#unsynced) this.#durable.append(bytes);
    this.#forget();
  }

  /** A sync that failed: what it should have made durable is in no later one. Its place reads as zeros. */
  failSync(): void {
    if (this.#isCut) this.#durable.size = 0;
    for (const bytes of this.#unsynced) this.#durable.append(new Uint8Array(bytes.length));
    this.#isDamaged = true;
    this.#forget();
  }

  /** Leaves what is durable, some of the rest, and perhaps a part of one write. Says what is lost. */
  crash(sim: Simulation, torn: number): string | null {
    const writes = this.#unsynced;
    const count = writes.length + (this.#isCut ? 1 : 0);
    if (count === 0 && !this.#isDamaged) return null;
    let kept = survivors(sim, count);
    const lost = count - kept;
    if (this.#isCut && kept > 0) {
      this.#durable.size = 0;
      kept--;
    }
    const isCutLost = this.#isCut && lost === count;
    for (const bytes of writes.slice(0, kept)) this.#durable.append(bytes);
    const next = isCutLost ? undefined : writes[kept];
    let tear = '';
    if (next !== undefined && next.length > 1 && sim.chance(torn)) {
      const part = sim.between(1, next.length - 1);
      this.#durable.append(next.subarray(0, part));
      const hasZeros = sim.chance(0.3);
      if (hasZeros) this.#durable.append(new Uint8Array(next.length - part));
      tear = `, the next is torn at ${part} of ${next.length}${hasZeros ? ', then zeros' : ''}`;
    }
    const damage = this.#isDamaged ? ', a sync had failed' : '';
    this.#content.copy(this.#durable);
    this.#isDamaged = false;
    this.#forget();
    return `keeps ${count - lost} of ${count} unsynced writes${tear}${damage}`;
  }

  #forget(): void {
    this.#unsynced = [];
    this.#isCut = false;
  }
}

/** The names in a folder. What was changed since the last sync is known change by change. */
export class FolderNode {
  readonly isFolder = true;
  modifiedMs = 0;
  names = new Map<string, DiskNode>();
  #durable = new Map<string, DiskNode>();
  #unsynced: NameChange[] = [];

  /** One atomic change: each name is set, or removed where it is null. */
  change(change: NameChange): void {
    apply(this.names, change);
    this.#unsynced.push(change);
  }

  sync(): void {
    for (const change of this.#unsynced) apply(this.#durable, change);
    this.#unsynced = [];
  }

  /** Leaves what is durable and some of the rest. Says what is lost. */
  crash(sim: Simulation): string | null {
    const count = this.#unsynced.length;
    if (count === 0) return null;
    const kept = survivors(sim, count);
    for (const change of this.#unsynced.slice(0, kept)) apply(this.#durable, change);
    this.names = new Map(this.#durable);
    this.#unsynced = [];
    return `keeps ${kept} of ${count} unsynced changes of names`;
  }
}

export type NameChange = readonly (readonly [name: string, node: DiskNode | null])[];

function apply(names: Map<string, DiskNode>, change: NameChange): void {
  for (const [name, node] of change) {
    if (node === null) names.delete(name);
    else names.set(name, node);
  }
}

/** How many of `count` unsynced changes, in order, a crash leaves: often none or all. */
function survivors(sim: Simulation, count: number): number {
  const lot = sim.between(0, 2);
  return lot === 0 ? 0 : lot === 1 ? count : sim.between(0, count);
}

/** Bytes that grow at their end. */
class Bytes {
  size = 0;
  #buffer = Buffer.alloc(0);

  append(bytes: Uint8Array): void {
    const size = this.size + bytes.length;
    if (size > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(size, this.#buffer.length * 2, 256));
      this.#buffer.copy(grown, 0, 0, this.size);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.size);
    this.size = size;
  }

  slice(position: number, length: number): Buffer {
    return Buffer.from(this.#buffer.subarray(position, Math.max(position, Math.min(this.size, position + length))));
  }

  copy(other: Bytes): void {
    this.size = 0;
    this.append(other.slice(0, other.size));
  }
}
