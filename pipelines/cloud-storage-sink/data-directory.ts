import { MillraceError, reasonOf } from '../../lib/errors.ts';
import type { DispatcherId } from '../../lib/events/index.ts';
import { crc32Of } from '../../lib/formats/checksum.ts';
import {
  dataFilePath,
  fileStem,
  indexFilePath,
  type Positions,
  parseIndexFile,
  parsePositions,
  positionsPath,
  stringifyIndexFile,
} from '../../lib/formats/storage-layout/index.ts';
import type { ObjectBody } from '../../lib/stores/index.ts';
import { type PackedRuns, sidecarOf } from './packed-runs.ts';
import type { Target } from './target.ts';

/** What a data file holds. */
export interface FileContent {
  readonly rows: number;
  readonly runs: readonly PackedRuns[];
  readonly body: ObjectBody;
  /** Of the whole body. */
  readonly bytes: number;
  readonly crc32: number;
}

/**
 * The data files of one directory, numbered from 1. A file is published by the index file, which names the newest; a reader sees nothing else.
 *
 * Opened from what is stored (I8). A file behind the index is what a crash left between the two writes: if its sidecar describes it, it is whole and
 * gets published; the replay that follows writes its rows again and readers know them by their positions.
 */
export class DataDirectory {
  readonly path: string;
  readonly #target: Target;
  readonly #dispatcher: DispatcherId;
  #last: number;
  /** A crash left the sidecar of the next file without the file. */
  #isSidecarLeft = false;

  private constructor(target: Target, path: string, dispatcher: DispatcherId, last: number) {
    this.#target = target;
    this.path = path;
    this.#dispatcher = dispatcher;
    this.#last = last;
  }

  /** @throws MR_FOREIGN_FILE, MR_STORAGE_FILE_MALFORMED */
  static async open(target: Target, path: string, dispatcher: DispatcherId): Promise<DataDirectory> {
    const indexPath = indexFilePath(path, dispatcher, target.paths);
    const index = await target.store.get(indexPath);
    const last = index === null ? 0 : parseIndexFile(index.toString(), target.encoder.extension, indexPath);
    const directory = new DataDirectory(target, path, dispatcher, last);
    while (await target.store.exists(directory.nextFile)) await directory.#adopt();
    directory.#isSidecarLeft = await target.store.exists(directory.#nextSidecar);
    return directory;
  }

  /** Where the next file goes. */
  get nextFile(): string {
    return dataFilePath(this.path, this.#nextStem, this.#target.encoder.extension);
  }

  /**
   * Writes a file and publishes it: sidecar, then data, then index (spec storage-sink §5.3). A crash in between leaves at most one whole file
   * behind the index. Of a file that somebody else wrote meanwhile, a run that took over from this one perhaps, neither is touched.
   *
   * @throws MR_FOREIGN_FILE when somebody else wrote a file of that number meanwhile.
   */
  async write({ body, ...content }: FileContent): Promise<void> {
    const { store } = this.#target;
    const path = this.nextFile;
    const sidecar = sidecarOf(content, content.runs);
    if (this.#isSidecarLeft) await store.put(this.#nextSidecar, sidecar);
    else if (!(await store.putIfAbsent(this.#nextSidecar, sidecar))) throw this.#foreign(path, 'another process writes here');
    if (!(await store.putIfAbsent(path, body))) throw this.#foreign(path, 'another process wrote it at this moment');
    this.#isSidecarLeft = false;
    await this.#publish();
  }

  get #nextStem(): string {
    return fileStem(this.#last + 1, this.#dispatcher, this.#target.paths);
  }

  get #nextSidecar(): string {
    return positionsPath(this.path, this.#nextStem);
  }

  async #publish(): Promise<void> {
    const indexPath = indexFilePath(this.path, this.#dispatcher, this.#target.paths);
    const name = this.nextFile.slice(this.path.length + 1);
    await this.#target.store.put(indexPath, [Buffer.from(stringifyIndexFile(name))]);
    this.#last++;
  }

  async #adopt(): Promise<void> {
    const path = this.nextFile;
    const sidecarPath = this.#nextSidecar;
    const sidecar = await this.#target.store.get(sidecarPath);
    if (sidecar === null) throw this.#foreign(path, 'it stands behind the index and has no sidecar');
    let positions: Positions;
    try {
      positions = parsePositions(sidecar.toString(), sidecarPath);
    } catch (error) {
      throw this.#foreign(path, reasonOf(error), error);
    }
    const chunks = await this.#target.store.read(path);
    let bytes = 0;
    let checksum = 0;
    for await (const chunk of chunks ?? []) {
      bytes += chunk.length;
      checksum = crc32Of(chunk, checksum);
    }
    if (bytes !== positions.bytes || checksum !== positions.crc32)
      throw this.#foreign(path, 'it is not the file that its sidecar describes');
    await this.#publish();
    this.#target.context.logger.info(
      { path, rows: positions.rows },
      'published a whole file that an earlier run had left behind its index',
    );
  }

  #foreign(path: string, reason: string, cause?: unknown): MillraceError {
    return new MillraceError('MR_FOREIGN_FILE', { path, uri: this.#target.store.uri, reason }, cause);
  }
}
