import type { Clock } from '../../../flow/index.ts';
import {
  keyOf,
  type SimDatabase,
  type SimRow,
  type SimTable,
  type SimTransaction,
  type SimWriter,
  type UpdateOptions,
} from './database.ts';

/** How often each kind of transaction comes, as weights; 0 is never. */
export interface WorkloadWeights {
  /** One to five changes of any rows. Default 60. */
  readonly small: number;
  /** Several changes of one key: it comes, changes, moves, goes and comes again. Default 12. */
  readonly hotKey: number;
  /** TRUNCATE of one table or two, with rows before and behind. Default 3. */
  readonly truncate: number;
  /** Two TRUNCATEs of one table. Default 2. */
  readonly truncateTwice: number;
  /** ADD COLUMN between rows, with and without a default; at most five a table. Default 4. */
  readonly addColumn: number;
  /** No change that is published. Default 10. */
  readonly empty: number;
  /** Far more rows than the others. Default 3. */
  readonly large: number;
  /** WAL without a commit. Default 6. */
  readonly idle: number;
}

export interface WorkloadOptions {
  readonly random: () => number;
  readonly weights?: Partial<WorkloadWeights>;
  /** Rows of a large transaction. Default 40. */
  readonly largeRows?: number;
  /** Keys are drawn from as many, so that rows meet. Default 12. */
  readonly keys?: number;
  /** Whether updates leave out long values that stay (unchanged TOAST). Default false: not every format can carry that. */
  readonly unchangedToast?: boolean;
}

/** Random transactions over the tables of a database, the same for the same `random`. */
export class Workload {
  readonly #database: SimDatabase;
  readonly #random: () => number;
  readonly #weights: readonly (readonly [kind: keyof WorkloadWeights, weight: number])[];
  readonly #weight: number;
  readonly #options: Required<Pick<WorkloadOptions, 'largeRows' | 'keys' | 'unchangedToast'>>;
  readonly #published: readonly SimTable[];
  readonly #others: readonly SimTable[];
  #value = 0;

  constructor(database: SimDatabase, { random, weights = {}, largeRows = 40, keys = 12, unchangedToast = false }: WorkloadOptions) {
    this.#database = database;
    this.#random = random;
    this.#weights = Object.entries({ ...DEFAULT_WEIGHTS, ...weights }) as [keyof WorkloadWeights, number][];
    this.#weight = this.#weights.reduce((sum, [, weight]) => sum + weight, 0);
    this.#options = { largeRows, keys, unchangedToast };
    this.#published = [...database.tables.values()].filter(({ isPublished }) => isPublished);
    this.#others = [...database.tables.values()].filter(({ isPublished }) => !isPublished);
  }

  /** Commits one transaction, or writes WAL without one: then null. */
  next(): SimTransaction | null {
    const kind = this.#kind();
    const table = this.#pick(this.#published);
    const database = this.#database;
    switch (kind) {
      case 'small':
        return database.transact((writer) => this.#changes(writer, null, 1 + this.#below(5)));
      case 'hotKey':
        return database.transact((writer) => this.#hotKey(writer, table));
      case 'truncate':
        return database.transact((writer) => this.#truncate(writer, table));
      case 'truncateTwice':
        return database.transact((writer) => {
          this.#truncate(writer, table);
          this.#truncate(writer, table);
          this.#change(writer, table);
        });
      case 'addColumn':
        return database.transact((writer) => this.#addColumn(writer, table));
      case 'empty':
        return database.transact((writer) => {
          if (this.#others.length > 0) this.#change(writer, this.#pick(this.#others));
        });
      case 'large':
        return database.transact((writer) => this.#changes(writer, table, this.#options.largeRows));
      case 'idle':
        database.writeIdle();
        return null;
    }
  }

  /** Commits until `changes` changes of published tables were made, in bursts at random times on `clock`; resolves behind the last. */
  async run(clock: Clock, { changes, gapMs = 40, burst = 4 }: { changes: number; gapMs?: number; burst?: number }): Promise<void> {
    for (let made = 0; made < changes; ) {
      await clock.sleep(Math.floor(this.#random() * gapMs));
      for (let left = 1 + this.#below(burst); left > 0; left--) made += this.next()?.changes.length ?? 0;
    }
  }

  #kind(): keyof WorkloadWeights {
    let left = this.#random() * this.#weight;
    for (const [kind, weight] of this.#weights) {
      left -= weight;
      if (left < 0) return kind;
    }
    return 'small';
  }

  /** Null: each of any published table. */
  #changes(writer: SimWriter, table: SimTable | null, count: number): void {
    for (let left = count; left > 0; left--) this.#change(writer, table ?? this.#pick(this.#published));
  }

  /** Inserts the row of a random key, or changes, moves or deletes it where it is there. */
  #change(writer: SimWriter, table: SimTable): void {
    this.#changeAt(writer, table, this.#key(table), 0.25, 0.15);
  }

  #changeAt(writer: SimWriter, table: SimTable, key: SimRow, deletes: number, moves: number): void {
    if (!table.rows.has(keyOf(table, key))) {
      writer.insert(table, this.#values(table, key, 1));
      return;
    }
    const chance = this.#random();
    if (chance < deletes) writer.delete(table, key);
    else if (chance < deletes + moves && writer.update(table, this.#values(table, key, 0.5), { newKey: this.#key(table) })) return;
    else writer.update(table, this.#values(table, key, 0.7), this.#unchanged(table));
  }

  #unchanged(table: SimTable): UpdateOptions {
    if (!this.#options.unchangedToast || this.#random() < 0.5) return AS_IT_IS;
    return { unchanged: table.shape.columns.map(({ name }) => name) };
  }

  #hotKey(writer: SimWriter, table: SimTable): void {
    const key = this.#key(table);
    for (let left = 2 + this.#below(5); left > 0; left--) this.#changeAt(writer, table, key, 0.4, 0);
    const away = this.#key(table);
    // There and back again.
    if (writer.update(table, key, { newKey: away })) writer.update(table, away, { newKey: key });
  }

  #truncate(writer: SimWriter, table: SimTable): void {
    this.#changes(writer, table, this.#below(3));
    const other = this.#pick(this.#published);
    const tables = other !== table && this.#random() < 0.3 ? [table, other] : [table];
    if (tables.every(({ locks }) => locks === 0)) writer.truncate(...tables);
    this.#changes(writer, table, this.#below(3));
  }

  #addColumn(writer: SimWriter, table: SimTable): void {
    this.#change(writer, table);
    const added = table.shape.columns.filter(({ name }) => name.startsWith('added')).length;
    if (added < 5 && table.locks === 0) writer.addColumn(table, `added${added + 1}`, this.#random() < 0.5 ? this.#text() : null);
    this.#changes(writer, table, this.#below(3));
  }

  #key(table: SimTable): SimRow {
    const key: Record<string, string> = {};
    for (const { name, type, isKey } of table.shape.columns) if (isKey) key[name] = this.#keyValue(type);
    return key;
  }

  #keyValue(type: string): string {
    const key = this.#below(this.#options.keys) - 1;
    return type === 'int4' ? String(key) : (TEXT_KEYS[key + 1] ?? `key ${key}`);
  }

  /** `key`, and of the other columns each with this chance. */
  #values(table: SimTable, key: SimRow, chance: number): SimRow {
    const values: Record<string, string | null> = {};
    for (const { name, isKey } of table.shape.columns) {
      if (isKey) values[name] = key[name]!;
      else if (chance === 1 || this.#random() < chance) values[name] = this.#random() < 0.1 ? null : this.#text();
    }
    return values;
  }

  /** Never the same twice, and now and then one that formats stumble over. */
  #text(): string {
    const value = `v${this.#value++}`;
    return this.#random() < 0.1 ? value + this.#pick(HARD_TEXTS) : value;
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }
}

const DEFAULT_WEIGHTS: WorkloadWeights = {
  ...{ small: 60, hotKey: 12, truncate: 3, truncateTwice: 2, addColumn: 4, empty: 10, large: 3, idle: 6 },
};
const AS_IT_IS: UpdateOptions = {};
const HARD_TEXTS = ['"\'', ',\n', '\\N', '\t\r\\', ' žluťoučký 🐎', '\u2028', ' '.repeat(40), '\\.'];
const TEXT_KEYS = ['', ' ', 'a', 'A', 'null', '\\N', '"', ',', 'é'];
