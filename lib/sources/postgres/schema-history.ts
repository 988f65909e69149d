import { MillraceError } from '../../errors.ts';
import { type DispatcherId, defineTable, type ReplicaIdentity, type Table } from '../../events/index.ts';
import type { RelationMessage } from '../../formats/pgoutput/index.ts';
import type { CatalogColumn, CatalogTable, ReplicaIdentityCode } from './catalog.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';

/**
 * The versions of a table (P7): what a relation message leaves out (attnums, nullability, defaults, the primary key) is read from the catalog when a
 * shape first appears, kept under (oid, version), and never read again for that version. Pure.
 */
export interface TableVersion {
  readonly version: bigint;
  readonly schema: string;
  readonly name: string;
  readonly replicaIdentity: ReplicaIdentityCode;
  /** The published columns, in the order of the wire tuples. */
  readonly columns: readonly ColumnVersion[];
}

export interface ColumnVersion {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  readonly baseType: string;
  readonly baseTypeModifier: number;
  readonly sqlType: string;
  readonly isNullable: boolean;
  readonly isPrimaryKey: boolean;
  readonly isIdentity: boolean;
  /** What rows written before the column existed read as. */
  readonly missing: string | null;
}

const IDENTITIES: Readonly<Record<ReplicaIdentityCode, ReplicaIdentity>> = { d: 'default', f: 'full', i: 'index', n: 'nothing' };

/** The table that events carry. */
export function tableOf(dispatcher: DispatcherId, oid: number, version: TableVersion): Table {
  return defineTable({
    dispatcher,
    sourceSchema: version.schema,
    sourceName: version.name,
    schema: version.schema,
    name: version.name,
    tableId: oid,
    version: version.version,
    replicaIdentity: IDENTITIES[version.replicaIdentity],
    columns: version.columns.map((column, wireIndex) => ({
      name: column.name,
      wireIndex,
      columnId: column.attnum,
      type: column.baseType,
      typeModifier: column.baseTypeModifier,
      nullable: column.isNullable,
      isPrimaryKey: column.isPrimaryKey,
      isIdentity: column.isIdentity,
      defaultText: column.missing,
    })),
  });
}

/** The version that the catalog shows, of the given published columns. */
export function versionFromCatalog(catalog: CatalogTable, published: readonly string[], version: bigint): TableVersion {
  const names = new Set(published);
  return {
    version,
    schema: catalog.schema,
    name: catalog.name,
    replicaIdentity: catalog.replicaIdentity,
    columns: catalog.columns.filter(({ isDropped, name }) => !isDropped && names.has(name)).map((column) => fromCatalog(catalog, column)),
  };
}

/** Whether a relation message shows this very version, as far as it can show it. */
export function matchesRelation(version: TableVersion, relation: RelationMessage): boolean {
  return (
    version.replicaIdentity === relation.replicaIdentity &&
    version.columns.length === relation.columns.length &&
    version.columns.every((column, index) => {
      const { name, typeOid, typeModifier, isKey } = relation.columns[index]!;
      return column.name === name && column.typeOid === typeOid && column.typeModifier === typeModifier && column.isIdentity === isKey;
    })
  );
}

/**
 * The version that a relation message begins. The catalog may already be further than the stream: it is believed for a column that has the same name
 * and type in it; else the previous version is, with the type of the message; what neither knows is a column that came and went, whose attnum is
 * among the dropped ones between its neighbours.
 *
 * @param missing by attnum, what rows older than a column read as: used where the column is new.
 */
export function versionFromRelation(
  relation: RelationMessage,
  version: bigint,
  previous: TableVersion | null,
  catalog: CatalogTable | null,
  missing: Readonly<Record<string, string | null>>,
  { schema, name: tableName }: { readonly schema: string; readonly name: string },
): TableVersion {
  const taken = new Set<number>();
  const columns: ColumnVersion[] = [];
  for (const { name, typeOid, typeModifier, isKey } of relation.columns) {
    const shape = { name, typeOid, typeModifier, isIdentity: isKey };
    const isSame = (column: { name: string; typeOid: number; typeModifier: number }) =>
      column.name === name && column.typeOid === typeOid && column.typeModifier === typeModifier;
    const present = catalog?.columns.find((column) => !column.isDropped && isSame(column));
    const before = previous?.columns.find(isSame) ?? previous?.columns.find((column) => column.name === name);
    const lowest = columns.at(-1)?.attnum ?? 0;
    let column: ColumnVersion;
    if (present !== undefined && catalog !== null && present.attnum > lowest) {
      column = { ...fromCatalog(catalog, present), ...shape };
    } else if (before !== undefined && before.attnum > lowest) {
      column = { ...before, ...shape };
      if (before.typeOid !== typeOid) column = { ...column, ...UNKNOWN_TYPE };
    } else {
      const gone = catalog?.columns.find(({ isDropped, attnum }) => isDropped && attnum > lowest && !taken.has(attnum));
      column = { ...shape, ...UNKNOWN_TYPE, attnum: gone?.attnum ?? lowest + 1, isNullable: true, isPrimaryKey: isKey, missing: null };
    }
    taken.add(column.attnum);
    const known = previous?.columns.find(({ attnum }) => attnum === column.attnum);
    columns.push({ ...column, missing: known === undefined ? (missing[column.attnum] ?? null) : known.missing });
  }
  return { version, schema, name: tableName, replicaIdentity: relation.replicaIdentity, columns };
}

const UNKNOWN_TYPE = { baseType: 'other', baseTypeModifier: -1, sqlType: 'text' };

/** The action codes of schema files that a change of columns may have (TiDB's numbers). */
export const ACTION_FIRST = 0;
export const ACTION_DROP_TABLE = 4;
export const ACTION_ADD_COLUMN = 5;
export const ACTION_DROP_COLUMN = 6;
export const ACTION_TRUNCATE = 11;
export const ACTION_MODIFY_COLUMN = 12;

/**
 * A statement that leads from one version to the next, and its action code. PostgreSQL's stream does not carry the user's own statement: this one is
 * made from what differs. Anything but added or dropped columns alone counts as a modification.
 */
export function describeChange(previous: TableVersion, next: TableVersion): { query: string; action: number } {
  const clauses: string[] = [];
  const kinds = new Set<number>();
  const change = (action: number, clause: string) => {
    kinds.add(action);
    clauses.push(clause);
  };
  const byAttnum = new Map(previous.columns.map((column) => [column.attnum, column]));
  for (const column of previous.columns) {
    if (!next.columns.some(({ attnum }) => attnum === column.attnum))
      change(ACTION_DROP_COLUMN, `DROP COLUMN ${quoteIdentifier(column.name)}`);
  }
  for (const column of next.columns) {
    const before = byAttnum.get(column.attnum);
    const name = quoteIdentifier(column.name);
    if (before === undefined) {
      const fallback = column.missing === null ? '' : ` DEFAULT ${quoteLiteral(column.missing)}`;
      change(ACTION_ADD_COLUMN, `ADD COLUMN ${name} ${column.sqlType}${fallback}${column.isNullable ? '' : ' NOT NULL'}`);
    } else if (before.name !== column.name) {
      change(ACTION_MODIFY_COLUMN, `RENAME COLUMN ${quoteIdentifier(before.name)} TO ${name}`);
    } else if (before.typeOid !== column.typeOid || before.typeModifier !== column.typeModifier) {
      change(ACTION_MODIFY_COLUMN, `ALTER COLUMN ${name} TYPE ${column.sqlType}`);
    }
  }
  if (clauses.length === 0) change(ACTION_MODIFY_COLUMN, `REPLICA IDENTITY ${IDENTITIES[next.replicaIdentity].toUpperCase()}`);
  const table = `${quoteIdentifier(next.schema)}.${quoteIdentifier(next.name)}`;
  return { query: `ALTER TABLE ${table} ${clauses.join(', ')}`, action: kinds.size === 1 ? [...kinds][0]! : ACTION_MODIFY_COLUMN };
}

export function truncateQuery({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `TRUNCATE TABLE ${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

export function dropQuery({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `DROP TABLE ${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** The next version of a table in the transaction at `commitTs`: commitTs + k for its k-th. */
export function nextVersion(commitTs: bigint, current: bigint | null): bigint {
  const version = current === null || current < commitTs ? commitTs : current + 1n;
  if (version - commitTs >= VERSIONS_PER_TRANSACTION_MAX) {
    throw new MillraceError('MR_COUNTER_OVERFLOW', {
      counter: 'the versions of a table in one transaction',
      bound: VERSIONS_PER_TRANSACTION_MAX,
    });
  }
  return version;
}

/** A commit record is at least 34 bytes long, and the next commitTs stands behind it: a version below that meets no other transaction's. */
const VERSIONS_PER_TRANSACTION_MAX = 32n;

/** The history without what no replay from `checkpointTs` can ask for. */
export function pruneHistory(history: readonly TableVersion[], checkpointTs: bigint): TableVersion[] {
  const inForce = history.findLastIndex(({ version }) => version <= checkpointTs);
  return history.slice(Math.max(inForce, 0));
}

function fromCatalog(catalog: CatalogTable, column: CatalogColumn): ColumnVersion {
  const { attnum, name, typeOid, typeModifier, baseType, baseTypeModifier, sqlType, isNullable } = column;
  return {
    attnum,
    name,
    typeOid,
    typeModifier,
    baseType,
    baseTypeModifier,
    sqlType,
    isNullable,
    missing: null,
    isPrimaryKey: catalog.primaryKey.includes(attnum),
    isIdentity: catalog.replicaIdentity === 'f' || catalog.identityKey.includes(attnum),
  };
}
