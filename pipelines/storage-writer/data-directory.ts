import { isMillraceError, MillraceError, reasonOf } from '../../lib/errors.ts';
import type { DispatcherId, Position } from '../../lib/events/index.ts';
import type { Context } from '../../lib/flow/index.ts';
import { crc32Of } from '../../lib/formats/checksum.ts';
import {
  dataFilePath,
  fileStem,
  indexFilePath,
  type PathOptions,
  type Positions,
  parseIndexFile,
  parsePositions,
  positionsPath,
  stringifyIndexFile,
} from '../../lib/formats/storage-layout/index.ts';
import type { ObjectBody, ObjectDraft, ObjectStore, ObjectVersion, VersionedObject } from '../../lib/stores/index.ts';
import { type SidecarRuns, sidecarOf } from './sidecar.ts';

/** What a data file holds. */
export interface FileContent {
  readonly rows: number;
  readonly runs: readonly SidecarRuns[];
  /** Or what is written already, all but its name. */
  readonly body: ObjectBody | Pick<ObjectDraft, 'putIfAbsent'>;
  /** Of the whole body. */
  readonly bytes: number;
  readonly crc32: number;
}

/** What stands in the place of the next sidecar is read only where it is to be written. */
type Purpose = 'to look' | 'to write';

/** What a directory needs of whoever writes there. */
export interface DirectoryTarget {
  readonly store: ObjectStore;
  readonly paths: PathOptions;
  /** What its data files end in, such as `.json`. */
  readonly encoder: { readonly extension: string };
  /** Whether the writer still is the one that writes there: throws MR_STALE_EPOCH. */
  readonly epoch: { check(): Promise<void> };
  /** By index file: the number of the newest file when the writer looked how far it had come, until it writes there. */
  readonly seen: Map<string, number>;
  readonly context: Pick<Context, 'logger' | 'events'>;
}

/**
 * The data files of one directory, numbered from 1. A file is published by the index file, which names the newest; a reader sees nothing else.
 *
 * Opened from what is stored (I8). A file behind the index is what a crash left between the two writes: if its sidecar describes it, it is whole and
 * gets published.
 *
 * Each number is given away once, by whoever writes its data file first; so who gets one has seen all files before it. Writes of a run that is over may come late,
 * in any order with ours: a data file or a first sidecar finds its place taken, an index its version gone. A sidecar without its file is written over and
 * what it said is kept, because its file may be the one that comes.
 */
export class DataDirectory {
  readonly path: string;
  readonly #target: DirectoryTarget;
  readonly #dispatcher: DispatcherId;
  /** The newest file that is published, or has no rows. */
  #last = 0;
  /** The newest file that is there, as this writer has found or made them: not what it later hears of, which gives nobody a number (I9). */
  #written = 0;
  #indexVersion: ObjectVersion | null = null;
  /** The index is written once at a time. */
  #publishing: Promise<void> = Promise.resolve();
  /** What stands in the place of the next sidecar. */
  #left: VersionedObject | null = null;

  private constructor(target: DirectoryTarget, path: string, dispatcher: DispatcherId) {
    this.#target = target;
    this.path = path;
    this.#dispatcher = dispatcher;
  }

  /**
   * Opens a directory to write there. Whoever looked before has dropped what was published then, and only that: what has been published since is to be noticed.
   *
   * @throws MR_FOREIGN_FILE, MR_STALE_EPOCH, MR_STORAGE_FILE_MALFORMED
   */
  static async open(target: DirectoryTarget, path: string, dispatcher: DispatcherId): Promise<DataDirectory> {
    const directory = new DataDirectory(target, path, dispatcher);
    await directory.#catchUp('to write');
    await directory.#checkSeen();
    return directory;
  }

  /**
   * Takes the next number, with a file that has no rows: whoever opened the directory before and has a file of that number under way finds it taken. It is not
   * published: readers see it only where files behind it are.
   *
   * @param header what each file begins with; null: nothing.
   * @throws MR_FOREIGN_FILE when something was published since this run looked; MR_STALE_EPOCH
   */
  static async seal(target: DirectoryTarget, path: string, dispatcher: DispatcherId, header: Buffer | null): Promise<void> {
    const directory = new DataDirectory(target, path, dispatcher);
    const isTaken = await directory.#catchUpIfOurs('to write');
    await directory.#checkSeen();
    if (isTaken) return;
    await target.epoch.check();
    const body = header ?? Buffer.alloc(0);
    await directory.#put({ rows: 0, runs: [], body: [body], bytes: body.length, crc32: crc32Of(body) }, dispatcher);
    target.seen.delete(directory.#indexPath);
  }

  /**
   * Opens a directory to see how far it has come. A file behind the index that cannot be published takes nothing from those that are; whoever opens the directory to
   * write there says so.
   *
   * @throws MR_STORAGE_FILE_MALFORMED
   */
  static async look(target: DirectoryTarget, path: string, dispatcher: DispatcherId): Promise<DataDirectory> {
    const directory = new DataDirectory(target, path, dispatcher);
    await directory.#catchUpIfOurs('to look');
    return directory;
  }

  /** Notes in `target.seen` how far it has come, under the path of its index: what is published from now on is to be noticed. */
  remember(): string {
    this.#target.seen.set(this.#indexPath, this.#last);
    return this.#indexPath;
  }

  /** Whether there is an index: a folder that was only closed has none. */
  get isPublished(): boolean {
    return this.#indexVersion !== null;
  }

  /** The number of the newest published file; 0 when there is none. */
  get newest(): number {
    return this.#last;
  }

  /** Where the next file goes. */
  get nextFile(): string {
    return this.fileAt(this.#next);
  }

  /** Where the file of a number is, or would be. */
  fileAt(number: number): string {
    return dataFilePath(this.path, fileStem(number, this.#dispatcher, this.#target.paths), this.#target.encoder.extension);
  }

  /**
   * Writes a file and publishes it: sidecar, then data, then index (spec storage-sink §5.3). A crash in between leaves at most one whole file behind the index, two where
   * the next one was begun. Of a file that somebody else wrote meanwhile neither the data nor what describes it is lost.
   *
   * @param dispatcher whose rows these are.
   * @param handOn is called when the file is there: the next one may be begun, while this one is published. Files are published in order.
   * @throws MR_STALE_EPOCH when another run has taken over; MR_FOREIGN_FILE when somebody else wrote a file of that number meanwhile.
   */
  async write(content: FileContent, dispatcher: DispatcherId, handOn: () => void = () => {}): Promise<void> {
    await this.#target.epoch.check();
    const number = await this.#put(content, dispatcher);
    handOn();
    await this.#publish(number);
    this.#target.seen.delete(this.#indexPath);
  }

  /**
   * The last position of a dispatcher's rows that is published here; null when it has none, or when nothing tells, as of files from before sidecars named the
   * dispatcher.
   */
  async publishedOf(dispatcher: DispatcherId): Promise<Position | null> {
    for (let number = this.#last, left = LOOK_BACK; number > 0 && left > 0; number--) {
      const described = await this.#descriptionOf(number);
      if (described?.dispatcher === undefined) return null;
      const run = described.runs.at(-1);
      // Runs that broke off where they closed the folder leave any number of files without rows.
      if (run === undefined) continue;
      if (described.dispatcher === dispatcher) return { commitTs: run.commitTs, ordinal: run.last };
      left--;
    }
    return null;
  }

  get #next(): number {
    return this.#written + 1;
  }

  get #indexPath(): string {
    return indexFilePath(this.path, this.#dispatcher, this.#target.paths);
  }

  #sidecarOf(number: number): string {
    return positionsPath(this.path, fileStem(number, this.#dispatcher, this.#target.paths));
  }

  /** Reads how far the index has come, and publishes whole files behind it. */
  async #catchUp(purpose: Purpose): Promise<void> {
    const { store } = this.#target;
    await this.#readIndex();
    for (;;) {
      this.#written = Math.max(this.#written, this.#last);
      const left = purpose === 'to write' ? store.getVersioned(this.#sidecarOf(this.#next)) : null;
      const [isThere] = await Promise.all([store.exists(this.nextFile), left]);
      this.#left = await left;
      if (!isThere) return;
      await this.#adopt();
    }
  }

  /** Resolves to whether a file behind the index cannot be published, and takes the next number. */
  async #catchUpIfOurs(purpose: Purpose): Promise<boolean> {
    try {
      await this.#catchUp(purpose);
      return false;
    } catch (error) {
      if (!isMillraceError(error, 'MR_FOREIGN_FILE')) throw error;
      return true;
    }
  }

  /** What was published since this run looked is not known to be there: its rows may be written once more. */
  async #checkSeen(): Promise<void> {
    const seen = this.#target.seen.get(this.#indexPath);
    if (seen === undefined || seen === this.#last) return;
    await this.#target.epoch.check();
    throw this.#foreign(this.#indexPath, 'another process wrote it after this run had read it');
  }

  async #readIndex(): Promise<void> {
    const { store, encoder } = this.#target;
    const index = await store.getVersioned(this.#indexPath);
    this.#last = index === null ? 0 : parseIndexFile(index.content.toString(), encoder.extension, this.#indexPath);
    this.#indexVersion = index?.version ?? null;
  }

  /** Writes the next file, and what describes it. Gives its number. */
  async #put({ body, ...content }: FileContent, dispatcher: DispatcherId): Promise<number> {
    const { store, epoch } = this.#target;
    const number = this.#next;
    const path = this.fileAt(number);
    await this.#describe(number, content, dispatcher);
    const isMine = 'putIfAbsent' in body ? await body.putIfAbsent(path) : await store.putIfAbsent(path, body);
    if (!isMine) {
      await epoch.check();
      throw this.#foreign(path, 'another process wrote it at this moment');
    }
    this.#left = null;
    this.#written = number;
    return number;
  }

  /** Writes the sidecar of a file that is to come. What stands there already describes a file that never came, or comes late. */
  async #describe(number: number, content: Omit<FileContent, 'body'>, dispatcher: DispatcherId): Promise<void> {
    const { store, epoch } = this.#target;
    const path = this.#sidecarOf(number);
    for (;;) {
      const left = this.#left;
      const sidecar = sidecarOf(content, content.runs, { dispatcher, alternatives: alternativesIn(left, content) });
      if ((await store.putIf(path, [sidecar], left?.version ?? null)) !== null) return;
      await epoch.check();
      this.#left = await store.getVersioned(path);
    }
  }

  /** Resolves when a file is published. The index names the newest that is there by then, so one may publish several. */
  #publish(number: number): Promise<void> {
    this.#publishing = this.#publishBehind(this.#publishing, number);
    return this.#publishing;
  }

  async #publishBehind(others: Promise<void>, number: number): Promise<void> {
    await others;
    if (this.#last >= number) return;
    const { store, epoch } = this.#target;
    const newest = this.#written;
    const name = this.fileAt(newest).slice(this.path.length + 1);
    const version = await store.putIf(this.#indexPath, [Buffer.from(stringifyIndexFile(name))], this.#indexVersion);
    if (version !== null) {
      this.#last = newest;
      this.#indexVersion = version;
      return;
    }
    await this.#readIndex();
    // Whoever found the file whole has published it.
    if (this.#last >= number) return;
    await epoch.check();
    throw this.#foreign(this.#indexPath, 'another process wrote it at this moment');
  }

  async #adopt(): Promise<void> {
    const path = this.nextFile;
    const sidecarPath = this.#sidecarOf(this.#next);
    const sidecar = await this.#target.store.get(sidecarPath);
    if (sidecar === null) throw this.#foreign(path, 'it stands behind the index and has no sidecar');
    let positions: Positions;
    try {
      positions = parsePositions(sidecar.toString(), sidecarPath);
    } catch (error) {
      throw this.#foreign(path, reasonOf(error), error);
    }
    const described = await this.#matching(path, positions);
    if (described === null) throw this.#foreign(path, 'it is not the file that its sidecar describes');
    this.#written++;
    if (described.rows === 0) {
      this.#last++;
      return;
    }
    await this.#publish(this.#written);
    const { logger, events } = this.#target.context;
    events.record('file_adopted', () => ({ path, rows: described.rows }));
    logger.info({ path, rows: described.rows }, 'published a whole file that had been left behind its index');
  }

  /** What the sidecar of a published file says of it; null where it says nothing. */
  async #descriptionOf(number: number): Promise<Positions | null> {
    const path = this.#sidecarOf(number);
    const content = await this.#target.store.get(path);
    if (content === null) return null;
    const positions = parsePositions(content.toString(), path);
    return positions.alternatives === undefined ? positions : this.#matching(this.fileAt(number), positions);
  }

  /** Which description of a file is of what it holds; null when none is. */
  async #matching(path: string, positions: Positions): Promise<Positions | null> {
    let bytes = 0;
    let checksum = 0;
    for await (const chunk of (await this.#target.store.read(path)) ?? []) {
      bytes += chunk.length;
      checksum = crc32Of(chunk, checksum);
    }
    const all = [positions, ...(positions.alternatives ?? [])];
    return all.find((one) => one.bytes === bytes && one.crc32 === checksum) ?? null;
  }

  #foreign(path: string, reason: string, cause?: unknown): MillraceError {
    return new MillraceError('MR_FOREIGN_FILE', { path, uri: this.#target.store.uri, reason }, cause);
  }
}

/** What a sidecar says that is to be written over; of one that nobody can read there is nothing to keep. The oldest are forgotten. */
function alternativesIn(left: VersionedObject | null, next: Omit<FileContent, 'body'>): readonly Positions[] {
  if (left === null) return [];
  try {
    const { alternatives = [], ...positions } = parsePositions(left.content.toString(), '');
    const all = [positions, ...alternatives].filter(({ bytes, crc32 }) => bytes !== next.bytes || crc32 !== next.crc32);
    return all.slice(0, ALTERNATIVES_MAX);
  } catch {
    return [];
  }
}

/** Runs that broke off at one number, one after another, each with a data file still on its way. */
const ALTERNATIVES_MAX = 8;
/** Dispatchers that share a numbering rarely do more than take turns. */
const LOOK_BACK = 64;
