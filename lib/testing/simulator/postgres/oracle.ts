import { MillraceError } from '../../../errors.ts';
import { nextVersion } from '../../../sources/postgres/schema-history.ts';
import type { SimDatabase, SimRow } from './database.ts';
import type { SimShape } from './table-shape.ts';

/** A change that a reader must see, exactly once and in this order. */
export interface ExpectedChange {
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly op: 'I' | 'U' | 'D' | 'T';
  /** What was sent of the row before: its key, all of it (replica identity full), or nothing. */
  readonly old: SimRow | null;
  /** Columns that were not sent (unchanged TOAST values) are left out. */
  readonly data: SimRow | null;
  /** The table version that it belongs to. */
  readonly version: bigint;
}

export interface ExpectedTable {
  readonly name: string;
  /** The rows of the snapshot, as inserts at S − 1, then the changes that committed at S or later. */
  readonly changes: readonly ExpectedChange[];
  /** Each version with the position before which it begins; the first is the snapshot's, or that of the first row. */
  readonly versions: readonly { readonly version: bigint; readonly commitTs: bigint; readonly ordinal: number }[];
  /** What is left at the end, in the columns of the newest version. */
  readonly rows: readonly SimRow[];
}

/**
 * What a reader must see of a table.
 *
 * @param from the table's snapshot S, or, without a snapshot (`hasSnapshot` false), where the slot began.
 * @throws MR_INVALID_OPTION when there is no such table, or no snapshot was taken at `from`.
 */
export function expectedOf(database: SimDatabase, oid: number, from: bigint, hasSnapshot = true): ExpectedTable {
  const table = database.tables.get(oid);
  const snapshot = hasSnapshot ? database.snapshots.get(from)?.tables.get(oid) : undefined;
  if (table === undefined || (hasSnapshot && snapshot === undefined)) {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'from', value: String(from), bound: 'a snapshot of a table of the database' });
  }
  const changes: ExpectedChange[] = [];
  const versions: { version: bigint; commitTs: bigint; ordinal: number }[] = [];
  let shape: SimShape | null = null;
  let version: bigint | null = null;
  const begin = (next: bigint, commitTs: bigint, ordinal: number) => {
    version = next;
    versions.push({ version: next, commitTs, ordinal });
    return next;
  };
  if (snapshot !== undefined) {
    const commitTs = from - 1n;
    shape = snapshot.shape;
    begin(commitTs, commitTs, 0);
    for (const [ordinal, data] of snapshot.rows.entries()) changes.push({ commitTs, ordinal, op: 'I', old: null, data, version: commitTs });
  }
  for (const { commitTs, changes: committed } of database.history) {
    if (commitTs < from) continue;
    for (const change of committed) {
      if (change.kind === 'row' && change.shape.oid !== oid) continue;
      const index = change.kind === 'row' ? 0 : change.shapes.findIndex((truncated) => truncated.oid === oid);
      const changed: SimShape | undefined = change.kind === 'row' ? change.shape : change.shapes[index];
      if (changed === undefined) continue;
      const ordinal = change.ordinal + index;
      if (shape !== changed && shape?.signature !== changed.signature) begin(nextVersion(commitTs, version), commitTs, ordinal);
      shape = changed;
      if (change.kind === 'truncate') begin(nextVersion(commitTs, version), commitTs, ordinal);
      const row = change.kind === 'row' ? change : TRUNCATED;
      changes.push({ commitTs, ordinal, op: row.op, old: row.old, data: row.data, version: version! });
    }
  }
  const names = (shape ?? table.shape).columns.map(({ name }) => name);
  return new Expectation(`${table.schema}.${table.name}`, changes, versions, table.rows, names);
}

/**
 * A class: each literal that has a getter is given a hidden class of its own, which holds what the getter sees, a whole world, until V8 collects its old space.
 */
class Expectation implements ExpectedTable {
  readonly name: string;
  readonly changes: readonly ExpectedChange[];
  readonly versions: ExpectedTable['versions'];
  readonly #rows: ReadonlyMap<string, SimRow>;
  readonly #columns: readonly string[];

  constructor(
    name: string,
    changes: readonly ExpectedChange[],
    versions: ExpectedTable['versions'],
    rows: ReadonlyMap<string, SimRow>,
    columns: readonly string[],
  ) {
    this.name = name;
    this.changes = changes;
    this.versions = versions;
    this.#rows = rows;
    this.#columns = columns;
  }

  /** Most who ask have no use for them. */
  get rows(): readonly SimRow[] {
    return [...this.#rows.values()].map((row) => Object.fromEntries(this.#columns.map((name) => [name, row[name] ?? null])));
  }
}

const TRUNCATED = { op: 'T', old: null, data: null } as const;
