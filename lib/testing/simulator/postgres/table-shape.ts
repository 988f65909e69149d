import type { RelationMessage } from '../../../formats/pgoutput/index.ts';
import type { CatalogColumn, CatalogTable } from '../../../sources/postgres/catalog.ts';

export interface SimColumn {
  readonly attnum: number;
  readonly name: string;
  /** As the catalog spells it: `int4`, `text`. */
  readonly type: string;
  readonly isKey: boolean;
  /** What rows older than the column read as. */
  readonly missing: string | null;
}

/** What a table looks like from one schema change to the next. Compared by identity within a session, by `signature` over a table's life. */
export interface SimShape {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** REPLICA IDENTITY FULL. */
  readonly isFull: boolean;
  readonly columns: readonly SimColumn[];
  /** Equal for shapes that a relation message cannot tell apart. */
  readonly signature: string;
}

export function shapeOf({ oid, schema, name, isFull, columns }: Omit<SimShape, 'signature'>): SimShape {
  return { oid, schema, name, isFull, columns, signature: columns.map((column) => `${column.name} ${column.type}`).join() };
}

/** The relation message of a shape. */
export function relationOf({ oid, schema, name, isFull, columns }: SimShape): RelationMessage {
  return {
    type: 'relation',
    relationId: oid,
    namespace: schema,
    name,
    replicaIdentity: isFull ? 'f' : 'd',
    columns: columns.map((column) => ({
      name: column.name,
      isKey: isFull || column.isKey,
      typeOid: typeOid(column.type),
      typeModifier: -1,
    })),
  };
}

/** The catalog's view of a table at one moment, as text: `CatalogTable` in JSON. */
export class SimCatalog {
  readonly #shape: SimShape;
  readonly #fileNode: number;
  readonly #rowCount: number;
  readonly #readAt: number;

  constructor(shape: SimShape, fileNode: number, rowCount: number, readAt: number) {
    this.#shape = shape;
    this.#fileNode = fileNode;
    this.#rowCount = rowCount;
    this.#readAt = readAt;
  }

  toText(): string {
    const fileNode = this.#fileNode;
    const rest: ChangingFacts = { fileNode, snapshotFileNode: fileNode, rowsEstimated: this.#rowCount || -1, readAt: this.#readAt };
    return `${lastingText(this.#shape).slice(0, -1)},${JSON.stringify(rest).slice(1)}`;
  }
}

type ChangingFacts = Pick<CatalogTable, 'snapshotFileNode' | 'fileNode' | 'rowsEstimated' | 'readAt'>;

/** Written once for a shape. */
function lastingText(shape: SimShape): string {
  const known = lastingTexts.get(shape);
  if (known !== undefined) return known;
  const primaryKey = shape.columns.filter(({ isKey }) => isKey).map(({ attnum }) => attnum);
  const lasting: Omit<CatalogTable, keyof ChangingFacts> = {
    oid: shape.oid,
    schema: shape.schema,
    name: shape.name,
    kind: 'r',
    isPartition: false,
    replicaIdentity: shape.isFull ? 'f' : 'd',
    toastOid: 0,
    columns: shape.columns.map(catalogColumn),
    primaryKey,
    identityKey: shape.isFull ? [] : primaryKey,
    partitions: [],
    analyzedAt: 0,
  };
  const text = JSON.stringify(lasting);
  lastingTexts.set(shape, text);
  return text;
}

const lastingTexts = new WeakMap<SimShape, string>();

function catalogColumn({ attnum, name, type, isKey, missing }: SimColumn): CatalogColumn {
  return {
    attnum,
    name,
    isDropped: false,
    typeOid: typeOid(type),
    typeModifier: -1,
    baseType: type,
    baseTypeModifier: -1,
    sqlType: type === 'int4' ? 'integer' : type,
    isNullable: !isKey,
    generated: '',
    isIdentityColumn: false,
    hasDefault: missing !== null,
    hasMissing: missing !== null,
    missing,
    labels: null,
    xmin: String(500 + attnum),
    defaultXmin: missing === null ? null : String(500 + attnum),
    settings: 'x',
  };
}

function typeOid(type: string): number {
  return type === 'int4' ? 23 : 25;
}
