import { MillraceError } from '../../../errors.ts';
import { SimCatalog, type SimColumn, type SimShape, shapeOf } from './table-shape.ts';

/** A row's values by column name, as PostgreSQL's text; a column that is left out was not sent (an unchanged TOAST value). */
export type SimRow = Readonly<Record<string, string | null>>;

/** A table as the database has it now. */
export interface SimTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** Changes of others are filtered: their transactions are empty for the stream. */
  readonly isPublished: boolean;
  readonly isFull: boolean;
  /** Names of the primary key's columns. */
  readonly key: readonly string[];
  shape: SimShape;
  /** By key. */
  rows: Map<string, SimRow>;
  /** Changes with each TRUNCATE. */
  fileNode: number;
  /** Snapshots that have it locked against TRUNCATE and ALTER TABLE. */
  locks: number;
}

/** A change of a published table. `ordinal` is that of its first position in the transaction. */
export type SimChange =
  | {
      readonly kind: 'row';
      readonly op: 'I' | 'U' | 'D';
      readonly ordinal: number;
      readonly shape: SimShape;
      /** What is sent of the row before: its key, all of it (replica identity full), or nothing. */
      readonly old: SimRow | null;
      readonly data: SimRow | null;
    }
  | { readonly kind: 'truncate'; readonly ordinal: number; readonly shapes: readonly SimShape[] };

/** A committed transaction. */
export interface SimTransaction {
  /** Where its commit record begins (P1). */
  readonly commitTs: bigint;
  /** Where its commit record ends; the next may begin there. */
  readonly endLsn: bigint;
  /** Microseconds since 1970 UTC. */
  readonly commitTimeUs: bigint;
  readonly xid: number;
  /** None: an empty or filtered transaction. */
  readonly changes: readonly SimChange[];
}

/** The database as transactions that begin at S see it. */
export interface SimSnapshot {
  /** S: exactly the transactions with a lower commitTs are in it. */
  readonly consistentPoint: bigint;
  readonly timeUs: bigint;
  readonly tables: ReadonlyMap<number, { readonly shape: SimShape; readonly rows: readonly SimRow[]; readonly catalog: SimCatalog }>;
}

export interface SimTableOptions {
  /** `schema.name`. */
  readonly name: string;
  /** A column a word, `!` before those of the primary key: `!id int4`. */
  readonly columns: readonly string[];
  /** REPLICA IDENTITY FULL. Default false. */
  readonly isFull?: boolean;
  /** Default true. */
  readonly isPublished?: boolean;
}

export interface SimDatabaseOptions {
  /** From 0 up to 1: where commits stand in the WAL. */
  readonly random: () => number;
  /** Milliseconds since 1970 UTC. */
  readonly now: () => number;
  readonly tables?: readonly SimTableOptions[];
}

/** A database in memory: tables, transactions over them, and everything that was ever committed, as the oracle of what a reader must see. */
export class SimDatabase {
  readonly name = 'sim';
  readonly systemIdentifier = '7000000000000000001';
  readonly tables = new Map<number, SimTable>();
  /** Every committed transaction, in commit order. */
  readonly history: SimTransaction[] = [];
  /** Every snapshot that was taken, by S. */
  readonly snapshots = new Map<bigint, SimSnapshot>();
  /** How many of `history` the WAL does not hold any more. */
  forgotten = 0;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();
  #walEnd = 0x0150_0028n;
  #xid = 700;

  constructor({ random, now, tables }: SimDatabaseOptions) {
    this.#random = random;
    this.#now = now;
    for (const design of tables === undefined ? DEFAULT_DESIGNS : tables.map(designOf)) this.#create(design);
  }

  /** Behind everything that was written. */
  get walEnd(): bigint {
    return this.#walEnd;
  }

  /** `schema.name`. Throws MR_INVALID_OPTION when there is none. */
  table(name: string): SimTable {
    for (const table of this.tables.values()) if (`${table.schema}.${table.name}` === name) return table;
    throw new MillraceError('MR_INVALID_OPTION', { option: 'table', value: name, bound: 'a table of the simulated database' });
  }

  /** Runs `work` and commits what it did. */
  transact(work: (transaction: SimWriter) => void): SimTransaction {
    const writer = new SimWriter(this.#walEnd);
    work(writer);
    const { changes } = writer;
    // Whatever it wrote may stand before another's commit; then its own follows that at once.
    if (this.#random() < 0.7) this.#walEnd += BigInt(8 * (1 + Math.floor(this.#random() * 30 * (changes.length + 1))));
    const commitTs = this.#walEnd;
    this.#walEnd += BigInt(40 + 8 * Math.floor(this.#random() * 4));
    const commitTimeUs = BigInt(Math.trunc(this.#now() * 1000));
    const transaction = { commitTs, endLsn: this.#walEnd, commitTimeUs, xid: this.#xid++, changes };
    this.history.push(transaction);
    this.#wrote();
    return transaction;
  }

  /** WAL that is no commit. */
  writeIdle(bytes = 8 * (1 + Math.floor(this.#random() * 20))): void {
    this.#walEnd += BigInt(bytes);
    this.#wrote();
  }

  /** A snapshot of the database now: what is committed from here on is not in it. */
  snapshot(): SimSnapshot {
    // The slot that exports it writes which transactions run: its S lies behind that of every slot before.
    this.#walEnd += 56n;
    const tables: [number, { shape: SimShape; rows: SimRow[]; catalog: SimCatalog }][] = [...this.tables.values()].map((table) => [
      table.oid,
      { shape: table.shape, rows: [...table.rows.values()], catalog: this.catalog(table.oid)! },
    ]);
    const snapshot = { consistentPoint: this.#walEnd, timeUs: BigInt(Math.trunc(this.#now() * 1000)), tables: new Map(tables) };
    this.snapshots.set(snapshot.consistentPoint, snapshot);
    return snapshot;
  }

  /** The catalog's present view of a table; null when there is none. */
  catalog(oid: number): SimCatalog | null {
    const table = this.tables.get(oid);
    return table === undefined ? null : new SimCatalog(table.shape, table.fileNode, table.rows.size, this.#now() / 1000);
  }

  /** The WAL before `lsn` is removed: transactions that committed there can be sent no more. */
  forgetBefore(lsn: bigint): void {
    while (this.forgotten < this.history.length && this.history[this.forgotten]!.commitTs < lsn) this.forgotten++;
  }

  /** Calls `fn` whenever WAL was written; the returned function ends that. */
  onWrite(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  #wrote(): void {
    for (const listener of this.#listeners) listener();
  }

  #create({ shape, key, isPublished }: TableDesign): void {
    const { oid, schema, name, isFull } = shape;
    this.tables.set(oid, { oid, schema, name, isPublished, isFull, key, shape, rows: new Map(), fileNode: oid, locks: 0 });
  }
}

export interface UpdateOptions {
  readonly newKey?: SimRow;
  readonly unchanged?: readonly string[];
}

/** What a transaction does. Changes are visible at once, to itself and to others: nothing else runs meanwhile. */
export class SimWriter {
  readonly changes: SimChange[] = [];
  readonly #walEnd: bigint;
  #ordinal = 0;

  constructor(walEnd: bigint) {
    this.#walEnd = walEnd;
  }

  /** Columns that are left out are null. False: there is a row of that key. */
  insert(table: SimTable, values: SimRow): boolean {
    const key = keyOf(table, values);
    if (table.rows.has(key)) return false;
    const row = wholeRow(table, values);
    table.rows.set(key, row);
    this.#row(table, 'I', null, row);
    return true;
  }

  /**
   * Changes the row whose key `values` has, and with `newKey` moves it there. `unchanged` are columns whose value is long and is not sent when it stays. False:
   * there is no such row, or the new key is taken.
   */
  update(table: SimTable, values: SimRow, { newKey = STAYS, unchanged = NONE }: UpdateOptions = {}): boolean {
    const key = keyOf(table, values);
    const before = table.rows.get(key);
    if (before === undefined) return false;
    const row = changedRow(before, values, newKey);
    const moved = newKey === STAYS ? key : keyOf(table, row);
    if (moved !== key) {
      if (table.rows.has(moved)) return false;
      table.rows.delete(key);
    }
    table.rows.set(moved, row);
    const old = table.isFull ? before : moved === key ? null : keyPart(table, before);
    this.#row(table, 'U', old, unchanged.length === 0 ? row : sentPart(table, before, row, unchanged));
    return true;
  }

  /** False: there is no row of that key. */
  delete(table: SimTable, values: SimRow): boolean {
    const before = table.rows.get(keyOf(table, values));
    if (before === undefined) return false;
    table.rows.delete(keyOf(table, before));
    this.#row(table, 'D', table.isFull ? before : keyPart(table, before), null);
    return true;
  }

  truncate(...tables: readonly SimTable[]): void {
    for (const table of tables) {
      table.rows = new Map();
      table.fileNode = Number(this.#walEnd) + this.#ordinal + table.oid;
    }
    const shapes = tables.filter(({ isPublished }) => isPublished).map(({ shape }) => shape);
    if (shapes.length === 0) return;
    this.changes.push({ kind: 'truncate', ordinal: this.#ordinal, shapes });
    this.#ordinal += shapes.length;
  }

  /** `missing`: the constant default that the rows so far read as. No change is sent: the next row is one of the new shape. */
  addColumn(table: SimTable, name: string, missing: string | null = null): void {
    const { shape } = table;
    const attnum = shape.columns.length + 1;
    table.shape = shapeOf({ ...shape, columns: [...shape.columns, { attnum, name, type: 'text', isKey: false, missing }] });
    for (const [key, row] of table.rows) table.rows.set(key, { ...row, [name]: missing });
  }

  #row(table: SimTable, op: 'I' | 'U' | 'D', old: SimRow | null, data: SimRow | null): void {
    if (table.isPublished) this.changes.push({ kind: 'row', op, ordinal: this.#ordinal++, shape: table.shape, old, data });
  }
}

/** Names the row in `SimTable.rows`. */
export function keyOf(table: Pick<SimTable, 'key'>, row: SimRow): string {
  let named = String(row[table.key[0]!]);
  for (let i = 1; i < table.key.length; i++) named += `\u0000${row[table.key[i]!]}`;
  return named;
}

function keyPart(table: SimTable, row: SimRow): SimRow {
  const part: Record<string, string | null> = {};
  for (const name of table.key) part[name] = row[name] ?? null;
  return part;
}

/** `values` itself when nothing is left out, so nobody may change it any more: stores under names that are computed cost most of what a change does. */
function wholeRow(table: SimTable, values: SimRow): SimRow {
  const { columns } = table.shape;
  if (columns.every(({ name }) => values[name] !== undefined)) return values;
  const row: Record<string, string | null> = {};
  for (const { name } of columns) row[name] = values[name] ?? null;
  return row;
}

/** Not by spreads, which take several times as long. */
function changedRow(before: SimRow, values: SimRow, newKey: SimRow): SimRow {
  const row: Record<string, string | null> = {};
  for (const name in before) row[name] = before[name]!;
  for (const name in values) row[name] = values[name]!;
  for (const name in newKey) row[name] = newKey[name]!;
  return row;
}

/** Without those of the columns whose value is long and stays. */
function sentPart(table: SimTable, before: SimRow, row: SimRow, long: readonly string[]): SimRow {
  const absent = long.filter((name) => row[name] !== null && row[name] === before[name] && !table.key.includes(name));
  return absent.length === 0 ? row : Object.fromEntries(Object.entries(row).filter(([name]) => !absent.includes(name)));
}

const STAYS: SimRow = {};
const NONE: readonly string[] = [];

/** A table as it begins. */
type TableDesign = Pick<SimTable, 'shape' | 'key' | 'isPublished'>;

function designOf({ name, columns, isFull = false, isPublished = true }: SimTableOptions, index: number): TableDesign {
  const [schema, tableName] = name.split('.') as [string, string];
  const parsed = columns.map((column, at): SimColumn => {
    const [columnName, type = 'text'] = column.replace('!', '').split(' ') as [string, string?];
    return { attnum: at + 1, name: columnName, type, isKey: column.startsWith('!'), missing: null };
  });
  const shape = shapeOf({ oid: 16384 + index * 7, schema, name: tableName, isFull, columns: parsed });
  return { shape, key: parsed.filter(({ isKey }) => isKey).map((column) => column.name), isPublished };
}

const DEFAULT_TABLES: readonly SimTableOptions[] = [
  { name: 'public.users', columns: ['!id int4', 'email text', 'note text'] },
  { name: 'public.orders', columns: ['!id int4', 'total text'], isFull: true },
  { name: 'shop.items', columns: ['!shop int4', '!sku text', 'title text'] },
  { name: 'public.private', columns: ['!id int4', 'secret text'], isPublished: false },
];
/** Made once: a design never changes, and what is kept for its shape serves every database that begins with it. */
const DEFAULT_DESIGNS = DEFAULT_TABLES.map(designOf);
