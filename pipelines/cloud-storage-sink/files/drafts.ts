import { MillraceError } from '../../../lib/errors.ts';
import type { Spool, SpoolEntry } from '../../../lib/spool/index.ts';
import type { ObjectDraft } from '../../../lib/stores/index.ts';
import type { SpooledRows } from '../rows/spool-rows.ts';
import type { Target } from '../target.ts';

/**
 * Data files that are begun while their rows are still gathered. Most of a large file is written by the time it is due, and while the processor still has the bytes at
 * hand. What a file is to hold, in an array that grows, tells it apart.
 *
 * A file is published as any other: its number is taken, and what describes it written, when it is due. Until then it is a draft that nobody sees.
 */
export class Drafts {
  readonly #parts: DraftParts;
  readonly #files = new Map<readonly SpooledRows[], FileDraft>();
  #isStopped = false;

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** So much is gathered by now, and more may come. */
  grown(rows: readonly SpooledRows[], bytes: number): void {
    const { bytesMin = BYTES_MIN } = this.#parts;
    if (bytes < bytesMin || this.#isStopped) return;
    const file = this.#files.get(rows) ?? this.#begin(rows);
    file?.grown(bytes, Math.min(bytesMin, WRITE_BYTES_MIN));
  }

  /** A file is due: the rest of what was begun of it is written at once. */
  due(rows: readonly SpooledRows[]): void {
    this.#files.get(rows)?.end();
  }

  /** What was begun of a file that is due, for whoever is to put or to discard it. Null: nothing was. */
  take(rows: readonly SpooledRows[]): FileDraft | null {
    const file = this.#files.get(rows) ?? null;
    file?.take();
    return file;
  }

  /** Begins nothing further, and discards what nobody has taken. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#discard(({ isTaken }) => !isTaken);
  }

  /** Discards everything that is not being put. */
  async close(): Promise<void> {
    await this.stop();
    await this.#discard(() => true);
  }

  async #discard(which: (file: FileDraft) => boolean): Promise<void> {
    const files = [...this.#files.values()].filter(which);
    await Promise.all(files.map((file) => file.discard()));
  }

  #begin(rows: readonly SpooledRows[]): FileDraft | null {
    const { store, spool, encoder, filesMax } = this.#parts;
    if (this.#files.size >= filesMax) return null;
    const draft = store.draft?.() ?? null;
    if (draft === null) return null;
    const header = encoder.header(rows[0]!.table);
    const onOver = () => this.#files.delete(rows);
    const file = new FileDraft({ draft, uri: store.uri, spool, rows, head: header === null ? [] : [header], onOver });
    this.#files.set(rows, file);
    return file;
  }
}

export interface DraftParts extends Pick<Target, 'store' | 'spool' | 'encoder'> {
  /** So many files at once; further ones are written when they are due. Each may have one open, and keeps what it reads from the disk at that moment. */
  readonly filesMax: number;
  /** From so many bytes on a file is begun. Default 4 MiB: what is smaller is written at once. */
  readonly bytesMin?: number;
}

const MIB = 1024 * 1024;
const BYTES_MIN = 4 * MIB;
/** So much has come before the next write begins, … */
const WRITE_BYTES_MIN = MIB;
/** … and so much, and an entry at most, goes into one; … */
const WRITE_BYTES_MAX = 4 * MIB;
/** … of what may have to come from the disk less: it is in memory meanwhile, in each of the files. */
const LOAD_BYTES_MAX = MIB;

interface FileParts {
  readonly draft: ObjectDraft;
  /** Of the store. */
  readonly uri: string;
  readonly spool: Spool;
  readonly rows: readonly SpooledRows[];
  /** What the file begins with. */
  readonly head: readonly Buffer[];
  readonly onOver: () => void;
}

/** One file. Its rows must stay in the spool until it is put or discarded. */
export class FileDraft {
  readonly #parts: FileParts;
  #isTaken = false;
  /** Of the rows that were asked for. */
  #askedBytes = 0;
  #writtenBytes = 0;
  /** The first of the rows that are not written. */
  #next = 0;
  #isEnded = false;
  #isDiscarded = false;
  #isWriting = false;
  #written: Promise<void> = Promise.resolve();
  #putting: Promise<boolean> | null = null;
  #failure: { readonly error: unknown } | null = null;

  constructor(parts: FileParts) {
    this.#parts = parts;
  }

  get isTaken(): boolean {
    return this.#isTaken;
  }

  take(): void {
    this.#isTaken = true;
  }

  grown(bytes: number, stepBytes: number): void {
    if (bytes - this.#askedBytes < stepBytes) return;
    this.#askedBytes = bytes;
    this.#start();
  }

  end(): void {
    this.#isEnded = true;
    this.#start();
  }

  /** As of the store, once. Throws what its rows could not be read for, too. */
  putIfAbsent(key: string): Promise<boolean> {
    this.#putting ??= this.#put(key);
    return this.#putting;
  }

  /** When it resolves its rows are not read any more. One that is being put goes on to its end. Never fails. */
  async discard(): Promise<void> {
    if (this.#putting !== null) return void (await this.#putting.catch(() => {}));
    this.#isDiscarded = true;
    await this.#written;
    await this.#end();
  }

  async #put(key: string): Promise<boolean> {
    const { draft, uri, rows, head } = this.#parts;
    try {
      this.end();
      await this.#written;
      if (this.#failure !== null) throw this.#failure.error;
      const bytes = lengthOf(head) + rows.reduce((sum, { entry }) => sum + entry.valueBytes, 0);
      if (this.#writtenBytes !== bytes) {
        const reason = `${this.#writtenBytes} of its ${bytes} bytes are written${this.#isDiscarded ? ', and it was discarded' : ''}`;
        throw new MillraceError('MR_STORE_FAILED', { operation: 'put', key, uri, reason });
      }
      return await draft.putIfAbsent(key);
    } finally {
      await this.#end();
    }
  }

  async #end(): Promise<void> {
    const { draft, onOver } = this.#parts;
    onOver();
    try {
      await draft.discard();
    } catch {
      // Whoever ends it has an answer already; what stays of a draft is its store's to sweep.
    }
  }

  #start(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    this.#written = this.#write();
  }

  /** One write after another, until nothing is there to write. The spool keeps nothing of what is written. */
  async #write(): Promise<void> {
    const { draft, spool, head } = this.#parts;
    try {
      let pieces: Buffer[] = this.#next === 0 ? [...head] : [];
      for (let entries = this.#ready(); entries.length > 0; entries = this.#ready()) {
        for await (const { values } of spool.read(entries)) pieces.push(...values);
        await draft.write(pieces);
        this.#writtenBytes += lengthOf(pieces);
        spool.moved(entries);
        pieces = [];
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#isWriting = false;
    }
  }

  /** The next rows to write. What is on its way to the disk is left until it is there, or the file is due: read now, it would stay in memory beyond the bound. */
  #ready(): SpoolEntry[] {
    const { rows } = this.#parts;
    const ready: SpoolEntry[] = [];
    if (this.#isDiscarded || this.#failure !== null) return ready;
    for (let bytes = 0; this.#next < rows.length && bytes < WRITE_BYTES_MAX; this.#next++) {
      const { entry } = rows[this.#next]!;
      if (!this.#isEnded && entry.state !== 'memory' && entry.state !== 'disk') break;
      ready.push(entry);
      bytes += entry.valueBytes * (entry.state === 'memory' ? 1 : WRITE_BYTES_MAX / LOAD_BYTES_MAX);
    }
    return ready;
  }
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
