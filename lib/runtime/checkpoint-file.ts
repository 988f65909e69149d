import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { isMillraceError, MillraceError, reasonOf } from '../errors.ts';
import { type JsonValue, parseJson, stringifyJson } from '../formats/json.ts';
import type { Disk, DiskLock } from '../stores/disk.ts';
import { makeFolderDurably, replaceDurably } from '../stores/durable-file.ts';
import { nodeDisk } from '../stores/node-disk.ts';
import { systemCode } from '../stores/system-code.ts';
import type { Checkpoint, CheckpointStore } from './checkpoint.ts';

export interface FileCheckpointOptions {
  /** Default: this machine's. Tests give a simulated one, which crashes. */
  readonly disk?: Disk;
}

/**
 * Keeps each pipeline's checkpoint in `NAME.checkpoint.json` in a folder, which is made when it is missing. A save replaces the file atomically and is
 * fsynced; the file carries a checksum, and one that is damaged is an error, never a new start.
 *
 * The first `load` or `save` of a pipeline locks its state (`NAME.lock.N`) until `close`: two processes never share one. A killed process's lock is
 * taken over on the same host.
 *
 * Errors: MR_STATE_LOCKED, MR_CHECKPOINT_CORRUPT, MR_CHECKPOINT_UNWRITABLE.
 */
export function fileCheckpoint(directory: string, { disk = nodeDisk }: FileCheckpointOptions = {}): CheckpointStore {
  return new FileCheckpoint(directory, disk);
}

/**
 * What `fileCheckpoint` keeps of a pipeline in a folder, as it stands, also while a run has it: nothing is locked or made. Null where there is nothing.
 *
 * @throws MR_CHECKPOINT_CORRUPT, and what reading throws.
 */
export async function readFileCheckpoint(directory: string, pipeline: string, disk: Disk = nodeDisk): Promise<Checkpoint | null> {
  const path = pathOf(resolve(directory), pipeline);
  const content = await disk.readFile(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  });
  return content === null ? null : decode(content.toString('utf8'), pipeline, path);
}

class FileCheckpoint implements CheckpointStore {
  readonly name: string;
  readonly #folder: string;
  readonly #disk: Disk;
  readonly #locks = new Map<string, Promise<DiskLock>>();
  /** The last write of each pipeline: they follow one another. */
  readonly #writes = new Map<string, Promise<void>>();

  constructor(directory: string, disk: Disk) {
    this.#folder = resolve(directory);
    this.#disk = disk;
    this.name = `file:${directory}`;
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    return this.#guarded(async () => {
      await this.#lock(pipeline);
      // A save that was killed may have left it under a name that is not durable yet; once loaded, it is not to be taken back.
      await this.#disk.syncFolder(this.#folder);
      return readFileCheckpoint(this.#folder, pipeline, this.#disk);
    });
  }

  async save(pipeline: string, checkpoint: Checkpoint): Promise<void> {
    // Taken now: the caller may go on changing what it gave.
    const text = encode(pipeline, checkpoint);
    const before = this.#writes.get(pipeline) ?? Promise.resolve();
    const write = before
      .catch(() => {}) // Its own caller heard of it.
      .then(() => this.#guarded(() => this.#write(pipeline, text)));
    this.#writes.set(pipeline, write);
    return write;
  }

  async close(pipeline?: string): Promise<void> {
    for (const name of pipeline === undefined ? [...this.#locks.keys()] : [pipeline]) {
      // A failed save was reported to who asked for it, a lock that was not got to who asked for that.
      await this.#writes.get(name)?.catch(() => {});
      this.#writes.delete(name);
      const lock = await this.#locks.get(name)?.catch(() => null);
      this.#locks.delete(name);
      if (lock) await this.#guarded(() => lock.release());
    }
  }

  async #write(pipeline: string, text: string): Promise<void> {
    await this.#lock(pipeline);
    const path = pathOf(this.#folder, pipeline);
    await replaceDurably(path, `${path}.tmp`, [Buffer.from(text)], this.#disk);
  }

  async #lock(pipeline: string): Promise<void> {
    const taken = this.#locks.get(pipeline) ?? this.#take(fileNameOf(pipeline));
    this.#locks.set(pipeline, taken);
    try {
      await taken;
    } catch (error) {
      if (this.#locks.get(pipeline) === taken) this.#locks.delete(pipeline);
      throw error;
    }
  }

  async #take(name: string): Promise<DiskLock> {
    await makeFolderDurably(this.#folder, this.#disk);
    return this.#disk.lock(this.#folder, name);
  }

  async #guarded<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (isMillraceError(error)) throw error;
      throw new MillraceError('MR_CHECKPOINT_UNWRITABLE', { path: this.#folder, reason: reasonOf(error) }, error);
    }
  }
}

function pathOf(folder: string, pipeline: string): string {
  return join(folder, `${fileNameOf(pipeline)}.checkpoint.json`);
}

/** The format of the file; one with a higher number was written by a later release. */
const VERSION = 1;

function encode(pipeline: string, { checkpointTs, sourceState }: Checkpoint): string {
  const content = { version: VERSION, pipeline, checkpointTs, sourceState };
  return `${stringifyJson({ ...content, checksum: checksumOf(content) }, 2)}\n`;
}

function decode(text: string, pipeline: string, path: string): Checkpoint {
  const corrupt = (reason: string, cause?: unknown) => new MillraceError('MR_CHECKPOINT_CORRUPT', { path, reason }, cause);
  let parsed: JsonValue;
  try {
    parsed = parseJson(text);
  } catch (error) {
    throw corrupt(reasonOf(error), error);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw corrupt('it is no JSON object');
  const { checksum, ...content } = parsed as { readonly [key: string]: JsonValue | undefined };
  if (content['version'] !== VERSION) throw corrupt(`it has format version ${String(content['version'])}, this release reads ${VERSION}`);
  if (checksum !== checksumOf(content)) throw corrupt('its checksum does not match its content');
  if (content['pipeline'] !== pipeline) throw corrupt(`it belongs to pipeline ${String(content['pipeline'])}`);
  const { checkpointTs, sourceState } = content;
  if (typeof checkpointTs !== 'number' && typeof checkpointTs !== 'bigint' && checkpointTs !== null)
    throw corrupt('it has no checkpointTs');
  return { checkpointTs: checkpointTs === null ? null : BigInt(checkpointTs), sourceState: sourceState ?? null };
}

function checksumOf(content: JsonValue): string {
  return createHash('sha256').update(stringifyJson(content)).digest('hex');
}

/** A pipeline's name as a file name: UTF-8 bytes percent-encoded except letters, digits, `_`, `-` and dots that do not lead. */
function fileNameOf(pipeline: string): string {
  return pipeline.replace(/[^A-Za-z0-9_.-]|^\./gu, (char) =>
    Buffer.from(char).reduce((text, byte) => `${text}%${byte.toString(16).toUpperCase().padStart(2, '0')}`, ''),
  );
}
