/** A change that must come to the target. */
export interface Expected {
  readonly commitTs: bigint;
  readonly ordinal: number;
  /** Rows that stand for it at the target: two for an update that is split. 0: a TRUNCATE, which is a version of its own. */
  readonly rows: number;
  /** So many of them a reader of the target can see, in one file. A TRUNCATE counts 1. */
  shown: number;
  /** So many rows of it are published, in all files. */
  published: number;
}

/** What must come of one table, in position order, and how much of it a reader of the target can see. Its origin keeps it up as the database goes on. */
export class ExpectedTable {
  readonly schema: string;
  readonly name: string;
  readonly key: readonly string[];
  changes: Expected[] = [];
  /** The first commitTs of what is expected, as far as it is known. */
  from: bigint | null = null;
  #snapshotRows = 0;
  /** Everything before is shown. */
  #shown = 0;
  /** Behind the place that was asked for last. */
  #next = 0;

  constructor(schema: string, name: string, key: readonly string[]) {
    this.schema = schema;
    this.name = name;
    this.key = key;
  }

  /** `schema.name` */
  get fullName(): string {
    return `${this.schema}.${this.name}`;
  }

  /** It begins here, with so many rows of a snapshot at `from` − 1; what was expected from an earlier beginning counts no more. */
  begin(from: bigint, snapshotRows: number): void {
    this.from = from;
    this.changes = [];
    this.#shown = 0;
    this.#snapshotRows = snapshotRows;
    for (let ordinal = 0; ordinal < snapshotRows; ordinal++) this.add(from - 1n, ordinal, 1);
  }

  add(commitTs: bigint, ordinal: number, rows: number): void {
    this.changes.push({ commitTs, ordinal, rows, shown: 0, published: 0 });
  }

  /** The place of a position in `changes`; −1 when nothing is expected there. */
  indexOf(commitTs: bigint, ordinal: number): number {
    // Whoever asks goes on where he was, nearly always.
    let index = this.#next;
    if (!this.#isAt(index, commitTs, ordinal)) {
      index = this.#indexBehind(commitTs, ordinal) - 1;
      if (!this.#isAt(index, commitTs, ordinal)) return -1;
    }
    this.#next = index + 1;
    return index;
  }

  #isAt(index: number, commitTs: bigint, ordinal: number): boolean {
    const change = this.changes[index];
    return change !== undefined && change.ordinal === ordinal && change.commitTs === commitTs;
  }

  /** The place of the first change behind `commitTs`. */
  indexBehind(commitTs: bigint): number {
    return this.#indexBehind(commitTs, Number.POSITIVE_INFINITY);
  }

  isSnapshotRow(index: number): boolean {
    return index < this.#snapshotRows;
  }

  isShown(index: number): boolean {
    const { rows, shown } = this.changes[index]!;
    return shown >= Math.max(1, rows);
  }

  /** The place of the first change that is not shown. */
  get firstMissing(): number {
    while (this.#shown < this.changes.length && this.isShown(this.#shown)) this.#shown++;
    return this.#shown;
  }

  #indexBehind(commitTs: bigint, ordinal: number): number {
    let low = 0;
    let high = this.changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const change = this.changes[middle]!;
      if (change.commitTs < commitTs || (change.commitTs === commitTs && change.ordinal <= ordinal)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
