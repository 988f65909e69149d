import type { DispatcherId } from './dispatcher.ts';

/** A column of one version of a table. */
export interface Column {
  readonly name: string;
  /** Where the column stands in the wire tuples of this table version; a projection keeps it. */
  readonly wireIndex: number;
  /** The column's stable number in its table (PostgreSQL: attnum, from 1). */
  readonly columnId: number;
  /**
   * The type's name as PostgreSQL's catalog spells it (`int4`, `varchar`, `timestamptz`); a domain carries its base type's name, an enum
   * `enum`, an array `array`, anything outside the type map `other`.
   */
  readonly type: string;
  /** The type's modifier as the catalog keeps it; −1 when there is none. */
  readonly typeModifier: number;
  readonly nullable: boolean;
  /** Part of the primary key. */
  readonly isPrimaryKey: boolean;
  /** Part of the replica identity: present in a key-only old image. */
  readonly isIdentity: boolean;
  /** The constant default that readers fill in rows written before the column existed; null when there is none. */
  readonly defaultText: string | null;
}

/** What an old image holds: the key columns, every column, or nothing. */
export type ReplicaIdentity = 'default' | 'full' | 'index' | 'nothing';

/** One version of a table: its names and columns from `version` on. Frozen; compare by identity. */
export interface Table {
  readonly dispatcher: DispatcherId;
  /** The source's names: filters and row selectors match on these. */
  readonly sourceSchema: string;
  readonly sourceName: string;
  /** The target names (routed); paths and row formats use these. */
  readonly schema: string;
  readonly name: string;
  /** The physical table (PostgreSQL: relation oid). */
  readonly tableId: number;
  /**
   * Whether `tableId` is one physical partition of the table of these names, in a stream of its own. Left out for no. PostgreSQL never says so: a partitioned root
   * is captured as one table (P4).
   */
  readonly isPartition?: boolean;
  /** commitTs of the change that made this version, + k for the k-th version in one transaction (k from 0). */
  readonly version: bigint;
  readonly columns: readonly Column[];
  readonly replicaIdentity: ReplicaIdentity;
}

/** `schema.name` of the source, as messages and selectors write it. */
export function tableName(table: Pick<Table, 'sourceSchema' | 'sourceName'>): string {
  return `${table.sourceSchema}.${table.sourceName}`;
}

/** A frozen table version. */
export function defineTable(table: Table): Table {
  const { dispatcher, sourceSchema, sourceName, schema, name, tableId, isPartition, version, columns, replicaIdentity } = table;
  return Object.freeze({
    dispatcher,
    sourceSchema,
    sourceName,
    schema,
    name,
    tableId,
    version,
    columns: Object.freeze(columns.map(frozenColumn)),
    replicaIdentity,
    ...(isPartition !== undefined && { isPartition }),
  });
}

/**
 * Member by member, so that all tables have one hidden class and all columns another: each frozen `{ ...column }` has a class of its own in V8 11, and
 * whoever reads such objects is slow.
 */
function frozenColumn(column: Column): Column {
  const { name, wireIndex, columnId, type, typeModifier, nullable, isPrimaryKey, isIdentity, defaultText } = column;
  return Object.freeze({ name, wireIndex, columnId, type, typeModifier, nullable, isPrimaryKey, isIdentity, defaultText });
}

/** The position of column `name` in `table.columns`, or −1. Looked up once per table version. */
export function columnIndex(table: Table, name: string): number {
  let byName = indexes.get(table);
  if (byName === undefined) {
    byName = new Map(table.columns.map((column, index) => [column.name, index]));
    indexes.set(table, byName);
  }
  return byName.get(name) ?? -1;
}

const indexes = new WeakMap<Table, Map<string, number>>();
