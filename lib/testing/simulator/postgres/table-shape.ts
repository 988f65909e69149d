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

/** The catalog's view of a table at one moment. */
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

  /** As `readTables` makes it of `toText`. By name: two spreads make a dictionary, which is slow to read. */
  toTable(): CatalogTable {
    const { fileNode, snapshotFileNode, rowsEstimated, readAt } = this.#changing();
    const lasting = lastingOf(this.#shape);
    const { oid, schema, name, kind, isPartition, replicaIdentity, toastOid } = lasting;
    const { columns, primaryKey, identityKey, partitions, analyzedAt } = lasting;
    return {
      oid,
      schema,
      name,
      kind,
      isPartition,
      replicaIdentity,
      snapshotFileNode,
      fileNode,
      toastOid,
      columns,
      primaryKey,
      identityKey,
      partitions,
      rowsEstimated,
      analyzedAt,
      readAt,
    };
  }

  /** As the server tells it: in JSON. */
  toText(): string {
    return `${lastingText(lastingOf(this.#shape)).slice(0, -1)},${JSON.stringify(this.#changing()).slice(1)}`;
  }

  #changing(): ChangingFacts {
    return { fileNode: this.#fileNode, snapshotFileNode: this.#fileNode, rowsEstimated: this.#rowCount || -1, readAt: this.#readAt };
  }
}

type ChangingFacts = Pick<CatalogTable, 'snapshotFileNode' | 'fileNode' | 'rowsEstimated' | 'readAt'>;
type LastingFacts = Omit<CatalogTable, keyof ChangingFacts>;

/** Made once for a shape. */
function lastingOf(shape: SimShape): LastingFacts {
  const known = lastingFacts.get(shape);
  if (known !== undefined) return known;
  const primaryKey = shape.columns.filter(({ isKey }) => isKey).map(({ attnum }) => attnum);
  const lasting: LastingFacts = {
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
  lastingFacts.set(shape, lasting);
  return lasting;
}

function lastingText(lasting: LastingFacts): string {
  const known = lastingTexts.get(lasting);
  if (known !== undefined) return known;
  const text = JSON.stringify(lasting);
  lastingTexts.set(lasting, text);
  return text;
}

const lastingFacts = new WeakMap<SimShape, LastingFacts>();
const lastingTexts = new WeakMap<LastingFacts, string>();

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

export function typeOid(type: string): number {
  return type === 'int4' ? 23 : 25;
}
