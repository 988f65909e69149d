import type { Column, Table } from '../../events/index.ts';

/** How a PostgreSQL type stands in the storage layout (architecture §5; docs/type-map.md is this table in words). */
export interface StorageType {
  /** `ColumnType` of schema files. */
  readonly columnType: string;
  /** `ColumnPrecision`; null leaves the key out. */
  readonly precision: number | null;
  /** `ColumnScale`; null leaves the key out. */
  readonly scale: number | null;
  /** The JDBC type code of canal-json. */
  readonly sqlType: number;
  /** The type's name in canal-json. */
  readonly mysqlType: string;
  /** Csv writes the value bare, not as a string. */
  readonly isPlain: boolean;
  readonly kind: ValueKind;
}

/** How a value's text is written: as it is, `t`/`f` as `1`/`0`, `\x…` as bytes, a finite float in the format's own number form. */
export type ValueKind = 'text' | 'bool' | 'bytes' | 'float';

const LONG = 4294967295;

/** The storage type of a column. `ColumnScale` of a temporal type is its number of fractional digits, left out when 0 (spec storage-sink §5.4). */
export function storageType({ type, typeModifier }: Pick<Column, 'type' | 'typeModifier'>): StorageType {
  switch (type) {
    case 'numeric':
      return { ...text('DECIMAL', null, 3), ...numericModifier(typeModifier) };
    case 'bpchar':
      return typeModifier < 0 ? LONGTEXT : text('CHAR', typeModifier - VARLENA_HEADER, 1);
    case 'varchar':
      return typeModifier < 0 ? LONGTEXT : text('VARCHAR', typeModifier - VARLENA_HEADER, 12);
    case 'time':
      return { ...text('TIME', null, 92), scale: fraction(typeModifier) };
    case 'timestamp':
      return { ...text('DATETIME', null, 93), scale: fraction(typeModifier) };
    case 'timestamptz':
      return { ...text('TIMESTAMP', null, 93), scale: fraction(typeModifier) };
    case 'bit':
    case 'varbit':
      return typeModifier < 0 ? LONGTEXT : text('VARCHAR', typeModifier, 12);
    default:
      return FIXED.get(type) ?? LONGTEXT;
  }
}

/** The type's name in canal-json with its length, as Canal's own tools have it (`content-compatible`): `int(11)`, `decimal(12,2)`, `time(3)`. */
export function fullMysqlType({ mysqlType, precision, scale }: StorageType): string {
  if (WITHOUT_LENGTH.has(mysqlType) || (precision === null && scale === null)) return mysqlType;
  return precision === null ? `${mysqlType}(${scale})` : `${mysqlType}(${scale === null ? precision : `${precision},${scale}`})`;
}

/** Types whose precision in a schema file is no part of their declaration. */
const WITHOUT_LENGTH = new Set(['float', 'double', 'longtext', 'longblob']);

/**
 * The columns whose values tell one row from another, in table order: the primary key, or the index that is the replica identity, because old images
 * then carry that one. Empty when there is neither: such rows are compared whole.
 */
export function keyColumns(table: Table): readonly Column[] {
  return table.columns.filter((column) => (table.replicaIdentity === 'index' ? column.isIdentity : column.isPrimaryKey));
}

/** PostgreSQL adds it to the length in a type modifier. */
const VARLENA_HEADER = 4;

const LONGTEXT = text('LONGTEXT', LONG, 2005);

function text(columnType: string, precision: number | null, sqlType: number): StorageType {
  return { columnType, precision, scale: null, sqlType, mysqlType: columnType.toLowerCase(), isPlain: false, kind: 'text' };
}

function plain(columnType: string, precision: number, sqlType: number, kind: ValueKind = 'text'): StorageType {
  return { ...text(columnType, precision, sqlType), isPlain: true, kind };
}

/** Types without a modifier; of those with an open length that stay VARCHAR, the longest text they print. */
const FIXED: ReadonlyMap<string, StorageType> = new Map([
  ['bool', plain('TINYINT', 1, -6, 'bool')],
  ['int2', plain('SMALLINT', 6, 5)],
  ['int4', plain('INT', 11, 4)],
  ['int8', plain('BIGINT', 20, -5)],
  ['float4', plain('FLOAT', 12, 7, 'float')],
  ['float8', plain('DOUBLE', 22, 8, 'float')],
  ['bytea', { ...text('LONGBLOB', LONG, 2004), kind: 'bytes' }],
  ['date', text('DATE', null, 91)],
  ['json', text('JSON', null, 12)],
  ['jsonb', text('JSON', null, 12)],
  ['uuid', text('CHAR', 36, 1)],
  ['interval', text('VARCHAR', 255, 12)],
  ['inet', text('VARCHAR', 43, 12)],
  ['cidr', text('VARCHAR', 43, 12)],
  ['macaddr', text('VARCHAR', 17, 12)],
  ['macaddr8', text('VARCHAR', 23, 12)],
  ['enum', text('VARCHAR', 63, 12)],
]);

/** `numeric(p, s)`; a scale may be negative or exceed p. Without a modifier neither is known. */
function numericModifier(typeModifier: number): { precision: number | null; scale: number | null } {
  if (typeModifier < 0) return { precision: null, scale: null };
  const packed = typeModifier - VARLENA_HEADER;
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 };
}

/** Digits of a second; PostgreSQL keeps six unless told otherwise. */
function fraction(typeModifier: number): number | null {
  if (typeModifier < 0) return 6;
  return typeModifier === 0 ? null : typeModifier;
}
