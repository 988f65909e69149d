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
  #isClosed = false;

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** So much is gathered by now, and more may come. */
  grown(rows: readonly SpooledRows[], bytes: number): void {
    const { bytesMin = BYTES_MIN } = this.#parts;
    if (bytes < bytesMin || this.#isClosed) return;
    const file = this.#files.get(rows) ?? this.#begin(rows);
    file?.grown(bytes, Math.min(bytesMin, WRITE_BYTES_MIN));
  }

  /** What was begun of a file that is due; the rest of it is written at once. Null: nothing was. */
  ended(rows: readonly SpooledRows[]): FileDraft | null {
    const file = this.#files.get(rows);
    file?.end();
    return file ?? null;
  }

  /** Discards what was not put, and begins nothing further. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#files.values(), (file) => file.discard()));
  }

  #begin(rows: readonly SpooledRows[]): FileDraft | null {
    const { store, spool, encoder } = this.#parts;
    if (this.#files.size >= DRAFTS_MAX) return null;
    const draft = store.draft?.() ?? null;
    if (draft === null) return null;
    const header = encoder.header(rows[0]!.table);
    const file = new FileDraft({ draft, spool, rows, head: header === null ? [] : [header], onOver: () => this.#files.delete(rows) });
    this.#files.set(rows, file);
    return file;
  }
}

export interface DraftParts extends Pick<Target, 'store' | 'spool' | 'encoder'> {
  /** From so many bytes on a file is begun. Default 4 MiB: what is smaller is written at once. */
  readonly bytesMin?: number;
}

const MIB = 1024 * 1024;
const BYTES_MIN = 4 * MIB;
/** So much has come before the next write begins, … */
const WRITE_BYTES_MIN = MIB;
/** … and so much, and an entry at most, goes into one; … */
const WRITE_BYTES_MAX = 4 * MIB;
/** … of what comes from the disk less: it is in memory meanwhile, in each of the files. */
const LOAD_BYTES_MAX = MIB;
/** Each has a file open, with some stores. */
const DRAFTS_MAX = 64;

interface FileParts {
  readonly draft: ObjectDraft;
  readonly spool: Spool;
  readonly rows: readonly SpooledRows[];
  /** What the file begins with. */
  readonly head: readonly Buffer[];
  readonly onOver: () => void;
}

/** One file. Its rows must stay in the spool until it is put or discarded. */
export class FileDraft {
  readonly #parts: FileParts;
  /** Of the rows that were asked for. */
  #bytes = 0;
  /** The first of the rows that are not written. */
  #next = 0;
  #isEnded = false;
  #isDiscarded = false;
  #isWriting = false;
  #written: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;

  constructor(parts: FileParts) {
    this.#parts = parts;
  }

  grown(bytes: number, stepBytes: number): void {
    if (bytes - this.#bytes < stepBytes) return;
    this.#bytes = bytes;
    this.#start();
  }

  end(): void {
    this.#isEnded = true;
    this.#start();
  }

  /** As of the store. Throws what its rows could not be read for, too. */
  async putIfAbsent(key: string): Promise<boolean> {
    const { draft, onOver } = this.#parts;
    this.end();
    await this.#written;
    if (this.#failure !== null) {
      await this.discard();
      throw this.#failure.error;
    }
    try {
      return await draft.putIfAbsent(key);
    } finally {
      onOver();
    }
  }

  /** When it resolves its rows are not read any more. */
  async discard(): Promise<void> {
    this.#isDiscarded = true;
    await this.#written;
    await this.#parts.draft.discard();
    this.#parts.onOver();
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
      bytes += entry.valueBytes * (entry.state === 'disk' ? WRITE_BYTES_MAX / LOAD_BYTES_MAX : 1);
    }
    return ready;
  }
}
