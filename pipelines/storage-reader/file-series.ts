import { comparePositions, type Position } from '../../lib/events/index.ts';
import { parseDataFileName, parseIndexFile, positionsPath } from '../../lib/formats/storage-layout/index.ts';
import type { Change } from './change.ts';
import { mapBounded } from './map-bounded.ts';
import { changesOf, describeFile, type StoredFile } from './stored-file.ts';
import type { StoredTarget } from './stored-target.ts';
import type { TableName } from './table-name.ts';
import type { ListedSeries } from './target-listing.ts';

/** The table whose files are read. */
export interface SeriesTable {
  readonly target: StoredTarget;
  readonly name: TableName;
  /** Names of the version's columns, in order. */
  readonly columns: readonly string[];
}

/**
 * The changes of one series of numbered files up to the target's checkpoint, one file after another. Positions ascend: what a restart wrote again is left
 * out. It holds the sidecars of a few files to come (small files whole, 2 MiB of them) and one batch of the file under way.
 */
export class FileSeries {
  readonly name: string;
  /** Files up to this number have nothing more to give. */
  done: number;
  readonly #table: SeriesTable;
  readonly #listed: ListedSeries;
  #last = 0;
  #extension = '';
  #digits = 0;
  /** Files to come, described. */
  #ahead: StoredFile[] = [];
  #described = 0;
  #open: { readonly number: number; readonly batches: AsyncGenerator<Change[], boolean> } | null = null;
  #rows: Change[] = [];
  #head: Position | null = null;

  constructor(table: SeriesTable, listed: ListedSeries, done: number) {
    this.#table = table;
    this.#listed = listed;
    this.name = listed.name;
    // A folder that was cleaned up and made again begins at 1; positions know what was read.
    this.done = listed.newest < done ? 0 : done;
  }

  /** At or before the next change; null when there is none up to the checkpoint. */
  get head(): Position | null {
    return this.#rows[0] ?? this.#head;
  }

  /** Whether `head` is the next change itself, and `take` gives it. */
  get isLoaded(): boolean {
    return this.#rows.length > 0;
  }

  /** Reads the index and the first sidecar. @throws MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED */
  async begin(seen: Position): Promise<void> {
    const { target } = this.#table;
    const { indexPath, digits } = this.#listed;
    const content = await target.store.get(indexPath);
    if (content === null) throw target.damaged(indexPath, 'it was listed and is gone');
    const newest = content.toString().trimEnd();
    this.#extension = newest.slice(newest.lastIndexOf('.'));
    this.#last = parseIndexFile(content.toString(), this.#extension, indexPath);
    const { stem } = parseDataFileName(newest, this.#extension);
    this.#digits = digits ?? /\d+$/.exec(stem)![0].length;
    if (this.#last < this.done) this.done = 0;
    this.#described = this.done;
    await this.#lookAhead(seen, 1);
  }

  /** Reads on: the next batch of the file under way, or that file's end. `seen` is the last position of the table that was given. */
  async load(seen: Position): Promise<void> {
    if (this.#open === null) {
      const file = this.#ahead.shift();
      if (file === undefined) return;
      const { target, name, columns } = this.#table;
      this.#open = { number: file.number, batches: changesOf(target, name, columns, file, seen) };
    }
    const next = await this.#open.batches.next();
    if (!next.done) {
      this.#rows = next.value;
      return;
    }
    const { number } = this.#open;
    this.#open = null;
    if (next.value) {
      this.#head = null;
      return;
    }
    this.done = number;
    await this.#lookAhead(seen, FILES_AHEAD);
  }

  /** Takes the loaded changes before `limit`; all of them without. */
  take(limit: Position | null): Change[] {
    const rows = this.#rows;
    let end = rows.length;
    if (limit !== null && comparePositions(rows[end - 1]!, limit) >= 0) {
      end = 0;
      while (comparePositions(rows[end]!, limit) < 0) end++;
    }
    return this.#takeUpTo(end);
  }

  /** Takes the loaded changes at `position`, which is `head`. */
  takeAt(position: Position): Change[] {
    let end = 0;
    while (end < this.#rows.length && comparePositions(this.#rows[end]!, position) === 0) end++;
    return this.#takeUpTo(end);
  }

  /** Lets go of the file under way. */
  async close(): Promise<void> {
    await this.#open?.batches.return(true);
    this.#open = null;
  }

  #takeUpTo(end: number): Change[] {
    const taken = end === this.#rows.length ? this.#rows : this.#rows.slice(0, end);
    this.#rows = end === this.#rows.length ? [] : this.#rows.slice(end);
    // What is left of the file lies behind this.
    if (end > 0) this.#head = taken[end - 1]!;
    return taken;
  }

  /** Moves to the next file that has something behind `seen`. */
  async #lookAhead(seen: Position, filesAhead: number): Promise<void> {
    const { target } = this.#table;
    this.#head = null;
    while (this.#ahead.length > 0 || this.#described < this.#last) {
      if (this.#ahead.length === 0) await this.#describe(filesAhead);
      const next = this.#ahead[0];
      if (next === undefined) continue;
      if (next.first.commitTs > target.checkpointTs!) return;
      if (comparePositions(next.last, seen) > 0) {
        this.#head = next.first;
        return;
      }
      // It has nothing new, and is to be there all the same.
      if (next.chunks === null && !(await target.store.exists(next.path))) throw this.#missing(next.path);
      this.#ahead.shift();
      this.done = next.number;
    }
  }

  async #describe(count: number): Promise<void> {
    const { target } = this.#table;
    const from = this.#described + 1;
    const to = Math.min(this.#described + count, this.#last);
    const numbers = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const smallBytes = count > 1 ? SMALL_BYTES : 0;
    const described = await mapBounded(numbers, (number) => describeFile(target, number, this.#pathsOf(number), smallBytes));
    this.#ahead = described.filter((file) => file !== null);
    this.#described = to;
  }

  #pathsOf(number: number): { path: string; sidecar: string } {
    const { directory, dispatcher } = this.#listed;
    const digits = String(number).padStart(this.#digits, '0');
    const stem = dispatcher === '' ? `CDC${digits}` : `CDC_${dispatcher}_${digits}`;
    return { path: `${directory}/${stem}${this.#extension}`, sidecar: positionsPath(directory, stem) };
  }

  #missing(path: string) {
    return this.#table.target.damaged(path, 'the index names it, and it is missing');
  }
}

const FILES_AHEAD = 8;
const SMALL_BYTES = 256 * 1024;
