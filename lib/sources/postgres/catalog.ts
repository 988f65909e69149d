import type { Clock } from '../../flow/index.ts';
import { parseLsn } from '../../formats/pgoutput/index.ts';
import { type Query, textOf } from './connection.ts';
import { quoteLiteral } from './session-settings.ts';

/** What a server says of itself. */
export interface ServerFacts {
  /** `server_version_num`: 180004. */
  readonly versionNumber: number;
  readonly version: string;
  readonly isStandby: boolean;
  readonly walLevel: string;
  /** Milliseconds; 0 is never. */
  readonly walSenderTimeoutMs: number;
  readonly maxSlots: number;
  readonly usedSlots: number;
  readonly maxSenders: number;
  /** Those that our role may see. */
  readonly usedSenders: number;
}

export async function readServer(query: Query): Promise<ServerFacts> {
  const [row] = await query(`SELECT current_setting('server_version_num') AS version_number, current_setting('server_version') AS version,
    pg_is_in_recovery()::text AS is_standby, current_setting('wal_level') AS wal_level,
    (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout,
    current_setting('max_replication_slots') AS max_slots, (SELECT count(*) FROM pg_replication_slots) AS used_slots,
    current_setting('max_wal_senders') AS max_senders, (SELECT count(*) FROM pg_stat_replication) AS used_senders`);
  const number = (column: string) => Number(textOf(row, column));
  return {
    versionNumber: number('version_number'),
    version: textOf(row, 'version'),
    isStandby: textOf(row, 'is_standby') === 'true',
    walLevel: textOf(row, 'wal_level'),
    walSenderTimeoutMs: number('wal_sender_timeout'),
    maxSlots: number('max_slots'),
    usedSlots: number('used_slots'),
    maxSenders: number('max_senders'),
    usedSenders: number('used_senders'),
  };
}

/** IDENTIFY_SYSTEM, on a session that may replicate. */
export async function identifySystem(query: Query): Promise<{ systemIdentifier: string; timeline: number }> {
  const [row] = await query('IDENTIFY_SYSTEM');
  return { systemIdentifier: textOf(row, 'systemid'), timeline: Number(textOf(row, 'timeline')) };
}

/** Up to where the server's WAL is safe on its disk. */
export async function readWalPosition(query: Query): Promise<bigint> {
  const [row] = await query('SELECT pg_current_wal_flush_lsn() AS lsn');
  return parseLsn(textOf(row, 'lsn')) ?? 0n;
}

/**
 * Up to where the WAL was written when it was asked for, once that is on disk: whatever anybody has seen as committed lies before, also what was committed
 * with `synchronous_commit = off`, which the server takes to its disk within three times `wal_writer_delay`. WAL that is no commit may stay behind for longer
 * and is not waited for.
 */
export async function readCommittedPosition(query: Query, clock: Clock): Promise<bigint> {
  const position = async (which: 'insert' | 'flush') => {
    const [row] = await query(`SELECT pg_current_wal_${which}_lsn() AS lsn`);
    return parseLsn(textOf(row, 'lsn')) ?? 0n;
  };
  const written = await position('insert');
  for (let waitedMs = 0; ; waitedMs += FLUSH_POLL_MS) {
    const flushed = await position('flush');
    if (flushed >= written || waitedMs >= FLUSH_WAIT_MS) return flushed;
    await clock.sleep(FLUSH_POLL_MS);
  }
}

const FLUSH_POLL_MS = 50;
const FLUSH_WAIT_MS = 800;

/** Behind everything that the server has written, on its disk or not: what a catalog query before this has seen stands below it. */
export async function readWalEnd(query: Query): Promise<bigint> {
  const [row] = await query('SELECT pg_current_wal_insert_lsn() AS lsn');
  return parseLsn(textOf(row, 'lsn')) ?? 0n;
}

/** A column as `pg_attribute` has it, dropped ones included. */
export interface CatalogColumn {
  readonly attnum: number;
  readonly name: string;
  readonly isDropped: boolean;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** `Column.type` and `Column.typeModifier`: of a domain its base type's. */
  readonly baseType: string;
  readonly baseTypeModifier: number;
  /** The type as SQL writes it. */
  readonly sqlType: string;
  readonly isNullable: boolean;
  /** Stored or virtual, by `attgenerated`; empty when it is not generated. */
  readonly generated: '' | 's' | 'v';
  readonly isIdentityColumn: boolean;
  readonly hasDefault: boolean;
  /** `atthasmissing`: rows written before the column existed read as `missing`, nothing rewritten. */
  readonly hasMissing: boolean;
  readonly missing: string | null;
  /** Of an enum, or an array or domain of one: the labels by oid, since renaming one changes what every row reads as; else null. */
  readonly labels: Readonly<Record<string, string>> | null;
  /** Which transactions wrote its `pg_attribute` and `pg_attrdef` rows. */
  readonly xmin: string;
  readonly defaultXmin: string | null;
  /** Settings that change the row of `pg_attribute` and no data: statistics target, storage, options. */
  readonly settings: string;
}

/** A relation below a partitioned table: a leaf, or a partitioned table between. */
export interface CatalogLeaf {
  readonly oid: number;
  readonly isLeaf: boolean;
  readonly name: string;
  readonly replicaIdentity: ReplicaIdentityCode;
  readonly hasIdentityIndex: boolean;
  /** As the transaction's snapshot sees it, and the one that is in force now. */
  readonly snapshotFileNode: number;
  readonly fileNode: number;
  /** As of a table. */
  readonly toastOid: number;
  /** −1 right after a TRUNCATE. */
  readonly rowsEstimated: number;
  /** Which transaction wrote its row of `pg_class`. */
  readonly xmin: string;
  /** Which transaction attached it. */
  readonly attachedXmin: string;
  /** It was made as a partition, empty; not attached later. */
  readonly isBornPartition: boolean;
}

export type ReplicaIdentityCode = 'd' | 'n' | 'f' | 'i';

/** A table as the catalog has it. */
export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `r` a table, `p` a partitioned one. */
  readonly kind: 'r' | 'p';
  readonly isPartition: boolean;
  readonly replicaIdentity: ReplicaIdentityCode;
  /** As the transaction's snapshot sees it. */
  readonly snapshotFileNode: number;
  /** In force now; 0 for a partitioned table. */
  readonly fileNode: number;
  /** Of its TOAST table; 0 when it has none. A rewrite by ALTER TABLE makes another one; VACUUM FULL, CLUSTER and TRUNCATE keep it. */
  readonly toastOid: number;
  readonly columns: readonly CatalogColumn[];
  /** attnums of the primary key, and of the replica identity (for `f`: empty; it is every column). */
  readonly primaryKey: readonly number[];
  readonly identityKey: readonly number[];
  readonly partitions: readonly CatalogLeaf[];
  /** −1 right after a TRUNCATE or a rewrite by ALTER TABLE, not after VACUUM FULL; of a partitioned table not its own rows. */
  readonly rowsEstimated: number;
  /** When statistics were last gathered of it or of a partition, and when this was read: seconds since 1970 by the server; 0 for never. */
  readonly analyzedAt: number;
  readonly readAt: number;
}

/** Of ordinary and partitioned permanent tables that are no partitions: those that could be captured. */
export const CAPTURABLE = `c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'`;

/** The tables that satisfy `where` (over `pg_class c` and `pg_namespace n`), by oid. Catalog rows are read under the session's snapshot. */
export async function readTables(query: Query, where: string): Promise<CatalogTable[]> {
  const rows = await query(`SELECT (${TABLE_JSON})::text AS table FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE ${where} ORDER BY c.oid`);
  return rows.map((row) => JSON.parse(textOf(row, 'table')) as CatalogTable);
}

/** What is cheap to ask of every table: a text that changes when its catalog rows do. */
export interface TableMark {
  readonly oid: number;
  readonly isPartition: boolean;
  readonly mark: string;
}

export async function readTableMarks(query: Query, oids: readonly number[]): Promise<TableMark[]> {
  const rows = await query(`SELECT c.oid, c.relispartition::text AS is_partition,
    concat_ws('/', c.xmin, n.xmin, (SELECT sum(hashtext(a.xmin::text || ' ' || a.attnum)) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
      (SELECT sum(hashtext(f.xmin::text || ' ' || f.adnum)) FROM pg_attrdef f WHERE f.adrelid = c.oid),
      CASE WHEN c.relkind = 'p' THEN (SELECT sum(hashtext(l.xmin::text || ' ' || l.oid)) FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid) END,
      (SELECT sum(hashtext(e.xmin::text || ' ' || e.oid)) FROM pg_enum e)) AS mark
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${oidsIn(oids)}`);
  return rows.map((row) => ({
    oid: Number(textOf(row, 'oid')),
    isPartition: textOf(row, 'is_partition') === 'true',
    mark: textOf(row, 'mark'),
  }));
}

export function oidsIn(oids: readonly number[]): string {
  return oids.length === 0 ? 'false' : `c.oid IN (${oids.join(', ')})`;
}

/** The names of those that could be captured: a light query, for the timer. */
export async function readCapturable(query: Query): Promise<{ oid: number; schema: string; name: string }[]> {
  const rows =
    await query(`SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${CAPTURABLE}
    ORDER BY c.oid`);
  return rows.map((row) => ({ oid: Number(textOf(row, 'oid')), schema: textOf(row, 'nspname'), name: textOf(row, 'relname') }));
}

/** attnums of a valid index that a replica identity may use. */
const indexKey = (condition: string, table = 'c.oid') => `(SELECT json_agg(k.attnum ORDER BY k.ordinal) FROM pg_index i,
  unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ordinal)
  WHERE i.indrelid = ${table} AND i.indisvalid AND k.ordinal <= i.indnkeyatts AND ${condition})`;
const IDENTITY_INDEX = (table: string) => `CASE ${table}.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
  WHEN 'i' THEN i.indisreplident ELSE false END`;

const BASE_TYPE = `(WITH RECURSIVE d AS (
    SELECT t.*, a.atttypmod AS modifier FROM pg_type t WHERE t.oid = a.atttypid
    UNION ALL SELECT t.*, CASE WHEN d.modifier = -1 THEN d.typtypmod ELSE d.modifier END FROM d JOIN pg_type t ON t.oid = d.typbasetype WHERE d.typtype = 'd')
  SELECT json_build_object('modifier', d.modifier, 'type', CASE WHEN d.typtype = 'e' THEN 'enum'
    WHEN d.typlen = -1 AND d.typelem <> 0 AND d.typcategory = 'A' THEN 'array'
    WHEN d.typname = 'citext' OR d.typnamespace = 'pg_catalog'::regnamespace AND d.typtype = 'b' THEN d.typname::text ELSE 'other' END)
  FROM d WHERE d.typtype <> 'd')`;

/** A partitioned table keeps no rows and no missing values; its leaves do. */
const LEAF_MISSING = `(SELECT (la.attmissingval::text::text[])[1] FROM pg_partition_tree(c.oid) l JOIN pg_attribute la ON la.attrelid = l.relid
    WHERE l.isleaf AND la.attname = a.attname AND la.atthasmissing LIMIT 1)`;

const LABELS = `(WITH RECURSIVE e AS (
    SELECT t.oid, t.typtype, t.typcategory, t.typbasetype, t.typelem FROM pg_type t WHERE t.oid = a.atttypid
    UNION ALL SELECT t.oid, t.typtype, t.typcategory, t.typbasetype, t.typelem FROM e
      JOIN pg_type t ON t.oid = CASE WHEN e.typtype = 'd' THEN e.typbasetype ELSE e.typelem END WHERE e.typtype = 'd' OR e.typcategory = 'A')
  SELECT json_object_agg(v.oid, v.enumlabel ORDER BY v.oid) FROM e JOIN pg_enum v ON v.enumtypid = e.oid)`;

const COLUMNS_JSON = `(SELECT json_agg(json_build_object('attnum', a.attnum, 'name', a.attname, 'isDropped', a.attisdropped,
    'typeOid', a.atttypid::int8, 'typeModifier', a.atttypmod,
    'baseType', coalesce(b.base ->> 'type', 'other'), 'baseTypeModifier', coalesce((b.base ->> 'modifier')::int, -1),
    'sqlType', format_type(a.atttypid, a.atttypmod), 'isNullable', NOT a.attnotnull, 'generated', a.attgenerated,
    'isIdentityColumn', a.attidentity <> '', 'hasDefault', a.atthasdef, 'hasMissing', m.missing IS NOT NULL,
    'missing', m.missing, 'labels', ${LABELS}, 'xmin', a.xmin::text, 'defaultXmin', f.xmin::text,
    'settings', concat_ws(' ', a.attstattarget, a.attstorage, a.attcompression, a.attoptions::text, a.attnotnull, a.attidentity, a.atthasdef,
      a.attacl::text, a.attinhcount, a.attislocal)) ORDER BY a.attnum)
  FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum CROSS JOIN LATERAL (SELECT ${BASE_TYPE} AS base) b
  CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'p' THEN ${LEAF_MISSING} ELSE (a.attmissingval::text::text[])[1] END AS missing) m
  WHERE a.attrelid = c.oid AND a.attnum > 0)`;

const PARTITIONS_JSON = `(WITH RECURSIVE p AS (
    SELECT h.inhrelid, h.xmin::text AS attached_xmin FROM pg_inherits h WHERE h.inhparent = c.oid
    UNION ALL SELECT h.inhrelid, h.xmin::text FROM pg_inherits h JOIN p ON h.inhparent = p.inhrelid)
  SELECT json_agg(json_build_object('oid', l.oid::int8, 'isLeaf', l.relkind <> 'p', 'name', l.relname, 'replicaIdentity', l.relreplident,
    'hasIdentityIndex', ${indexKey(IDENTITY_INDEX('l'), 'l.oid')} IS NOT NULL, 'snapshotFileNode', l.relfilenode::int8, 'fileNode', coalesce(pg_relation_filenode(l.oid), 0)::int8,
    'toastOid', l.reltoastrelid::int8, 'rowsEstimated', l.reltuples, 'xmin', l.xmin::text, 'attachedXmin', p.attached_xmin,
    'isBornPartition', EXISTS (SELECT FROM pg_type t JOIN pg_attribute a ON a.attrelid = l.oid AND a.attnum = 1
      WHERE t.oid = l.reltype AND t.xmin = a.xmin AND t.cmin = a.cmin)) ORDER BY l.oid)
  FROM p JOIN pg_class l ON l.oid = p.inhrelid WHERE c.relkind = 'p')`;

const TABLE_JSON = `json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'isPartition', c.relispartition,
  'replicaIdentity', c.relreplident, 'snapshotFileNode', c.relfilenode::int8, 'fileNode', coalesce(pg_relation_filenode(c.oid), 0)::int8,
  'toastOid', c.reltoastrelid::int8, 'columns', coalesce(${COLUMNS_JSON}, '[]'), 'primaryKey', coalesce(${indexKey('i.indisprimary')}, '[]'),
  'identityKey', coalesce(${indexKey(IDENTITY_INDEX('c'))}, '[]'), 'partitions', coalesce(${PARTITIONS_JSON}, '[]'),
  'rowsEstimated', c.reltuples, 'readAt', extract(epoch FROM clock_timestamp()),
  'analyzedAt', (SELECT coalesce(max(extract(epoch FROM greatest(pg_stat_get_last_analyze_time(s.relid), pg_stat_get_last_autoanalyze_time(s.relid),
      pg_stat_get_last_vacuum_time(s.relid), pg_stat_get_last_autovacuum_time(s.relid)))), 0)
    FROM (SELECT c.oid AS relid UNION SELECT l.relid::oid FROM pg_partition_tree(c.oid) l) s))`;

/** What a publication does, and what its catalog row is. */
export interface PublicationFacts {
  readonly oid: number;
  readonly comment: string | null;
  readonly isForAllTables: boolean;
  readonly viaRoot: boolean;
  readonly inserts: boolean;
  readonly updates: boolean;
  readonly deletes: boolean;
  readonly truncates: boolean;
}

/** Null when there is no such publication. */
export async function readPublication(query: Query, publication: string): Promise<PublicationFacts | null> {
  const [row] =
    await query(`SELECT json_build_object('oid', p.oid::int8, 'comment', obj_description(p.oid, 'pg_publication'), 'isForAllTables', puballtables,
    'viaRoot', pubviaroot, 'inserts', pubinsert, 'updates', pubupdate, 'deletes', pubdelete, 'truncates', pubtruncate)::text AS publication
    FROM pg_publication p WHERE pubname = ${quoteLiteral(publication)}`);
  return row === undefined ? null : (JSON.parse(textOf(row, 'publication')) as PublicationFacts);
}

/** One table of a publication. */
export interface PublishedTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** oid of its row in `pg_publication_rel`, or of its schema's in `pg_publication_namespace`; null when it is published with all tables or its root. */
  readonly entry: number | null;
  /** The published columns, in table order; generated ones only where the server publishes them. */
  readonly columns: readonly string[];
  /** A SQL condition over its columns; null when every row is published. */
  readonly rowFilter: string | null;
}

export async function readPublishedTables(query: Query, publication: string, versionNumber: number): Promise<PublishedTable[]> {
  // Before 18 a generated column is never published, whatever the view lists; before 15 there are neither column lists nor row filters.
  const listed = versionNumber >= 150000 ? 'a.attname = ANY (t.attnames)' : 'true';
  const replicated = versionNumber >= 180000 ? 'true' : "a.attgenerated = ''";
  const filter = versionNumber >= 150000 ? 't.rowfilter' : 'NULL';
  const entry =
    versionNumber >= 150000
      ? 'coalesce(r.oid, (SELECT s.oid FROM pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = n.oid))'
      : 'r.oid';
  const rows =
    await query(`SELECT json_build_object('oid', c.oid::int8, 'schema', t.schemaname, 'name', t.tablename, 'entry', ${entry}::int8, 'rowFilter', ${filter},
    'columns', coalesce((SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND ${listed} AND ${replicated}), '[]'))::text AS published
    FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
    JOIN pg_publication p ON p.pubname = t.pubname LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
    WHERE t.pubname = ${quoteLiteral(publication)} ORDER BY c.oid`);
  return rows.map((row) => JSON.parse(textOf(row, 'published')) as PublishedTable);
}

/** One replication slot. */
export interface SlotFacts {
  readonly plugin: string | null;
  readonly database: string | null;
  readonly isTemporary: boolean;
  /** The server process that uses it, and what that calls itself; null when nobody does. */
  readonly activePid: number | null;
  readonly activeName: string | null;
  readonly restartLsn: bigint | null;
  readonly confirmedFlushLsn: bigint | null;
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus: string | null;
  readonly invalidationReason: string | null;
  /** Bytes of WAL that the server keeps for it. */
  readonly retainedBytes: number;
}

/** Null when there is no such slot. */
export async function readSlot(query: Query, slot: string, versionNumber: number): Promise<SlotFacts | null> {
  const invalidated = versionNumber >= 170000 ? 's.invalidation_reason' : "CASE WHEN s.wal_status = 'lost' THEN 'wal_removed' END";
  const [row] = await query(`SELECT s.plugin, s.database, s.temporary::text AS temporary, s.active_pid, a.application_name, s.restart_lsn,
    s.confirmed_flush_lsn, s.wal_status, ${invalidated} AS invalidation_reason, coalesce(pg_current_wal_lsn() - s.restart_lsn, 0) AS retained
    FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = ${quoteLiteral(slot)}`);
  if (row === undefined) return null;
  const lsn = (column: string) => parseLsn(row[column] ?? '');
  return {
    plugin: row['plugin'] ?? null,
    database: row['database'] ?? null,
    isTemporary: row['temporary'] === 'true',
    activePid: row['active_pid'] ? Number(row['active_pid']) : null,
    activeName: row['application_name'] ?? null,
    restartLsn: lsn('restart_lsn'),
    confirmedFlushLsn: lsn('confirmed_flush_lsn'),
    walStatus: row['wal_status'] ?? null,
    invalidationReason: row['invalidation_reason'] ?? null,
    retainedBytes: Number(row['retained']),
  };
}

/** The transactions that were prepared and are neither committed nor rolled back: no process holds them, and a new slot waits for them too. */
export async function readPrepared(query: Query): Promise<string[]> {
  return (await query('SELECT gid FROM pg_prepared_xacts ORDER BY prepared')).map((row) => textOf(row, 'gid'));
}

/** The pids of the transactions that have written and are still open: what a new slot waits for (P5). */
export async function readOpenWriters(query: Query): Promise<number[]> {
  const rows = await query(
    'SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start',
  );
  return rows.map((row) => Number(textOf(row, 'pid')));
}
