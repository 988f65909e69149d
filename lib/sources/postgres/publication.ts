import { isMillraceError, MillraceError } from '../../errors.ts';
import type { CatalogTable, PublicationFacts, PublishedTable } from './catalog.ts';
import type { Query } from './connection.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';
import type { PostgresState } from './state.ts';
import { sqlStateOf } from './wire-frames.ts';

interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** The comment that marks a publication as made for a slot by us: whoever has lost the state can still tell. */
const markOf = (slot: string) => `made by Millrace for the replication slot ${slot}`;

/** Whether we made this publication, for this slot: then its tables are ours to keep in step. */
export function isOwned(publication: PublicationFacts, slot: string): boolean {
  return publication.comment === markOf(slot);
}

/** Creates a publication that lists its tables one by one, so that their entries' oids can be watched (P4). */
export async function createPublication(query: Query, publication: string, slot: string, tables: readonly TableName[]): Promise<void> {
  const name = quoteIdentifier(publication);
  await query(`BEGIN; CREATE PUBLICATION ${name} FOR TABLE ${tables.map(onlyTable).join(', ')} WITH (publish_via_partition_root = true);
    COMMENT ON PUBLICATION ${name} IS ${quoteLiteral(markOf(slot))}; COMMIT`).catch(rollback(query));
}

/** Returns the tables that our role may not add, with the reason: they do not hold up the others. */
export async function addTables<T extends TableName>(
  query: Query,
  publication: string,
  tables: readonly T[],
): Promise<{ readonly table: T; readonly error: MillraceError }[]> {
  if (tables.length === 0) return [];
  try {
    await query(`ALTER PUBLICATION ${quoteIdentifier(publication)} ADD TABLE ${tables.map(onlyTable).join(', ')}`);
    return [];
  } catch (error) {
    if (!isMillraceError(error) || sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) throw error;
    if (tables.length === 1) return [{ table: tables[0]!, error }];
  }
  const refused: { table: T; error: MillraceError }[] = [];
  for (const table of tables) refused.push(...(await addTables(query, publication, [table])));
  return refused;
}

const INSUFFICIENT_PRIVILEGE = '42501';

export async function removeTables(query: Query, publication: string, tables: readonly TableName[]): Promise<void> {
  if (tables.length > 0) await query(`ALTER PUBLICATION ${quoteIdentifier(publication)} DROP TABLE ${tables.map(onlyTable).join(', ')}`);
}

/** `ONLY`: tables that inherit from it are tables of their own. */
function onlyTable(table: TableName): string {
  return `ONLY ${qualified(table)}`;
}

/** The table's name for SQL. */
export function qualified({ schema, name }: TableName): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** The table's name for people: `public.orders`, and `public."Old orders"` where it would not be clear, or not the same to PostgreSQL, without quotes. */
export function displayName({ schema, name }: TableName): string {
  const shown = (part: string) => (/^[\p{Ll}\p{Lo}_][\p{Ll}\p{Lo}\d_$]*$/u.test(part) ? part : quoteIdentifier(part));
  return `${shown(schema)}.${shown(name)}`;
}

/** Names for a message: the first of them, and how many there are beside. */
export function displayNames(tables: readonly TableName[]): string {
  const shown = tables.slice(0, NAMES_SHOWN).map(displayName).join(', ');
  return tables.length > NAMES_SHOWN ? `${shown} and ${tables.length - NAMES_SHOWN} more` : shown;
}

const NAMES_SHOWN = 10;

function rollback(query: Query) {
  return async (error: unknown) => {
    await query('ROLLBACK');
    throw error;
  };
}

/**
 * Tables on which UPDATE and DELETE fail in the application once they are published, each with the reason (P4). On a partitioned table the partitions count.
 *
 * @param published the columns that are published of each; null for all but the generated ones.
 */
export function identityProblems(table: CatalogTable, published: readonly string[] | null, versionNumber: number): string | null {
  const isPublished = ({ name, generated }: { name: string; generated: string }) =>
    published === null ? generated === '' : published.includes(name);
  const live = table.columns.filter(({ isDropped }) => !isDropped);
  const identity = table.replicaIdentity === 'f' ? live : live.filter(({ attnum }) => table.identityKey.includes(attnum));
  if (identity.length === 0) return table.replicaIdentity === 'd' ? 'no primary key' : 'its replica identity names no usable index';
  // Before 18 an unpublished generated column in the identity was accepted.
  const missing = identity.filter((column) => !isPublished(column) && (column.generated === '' || versionNumber >= 180000));
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name).join(', ');
    return `the replica identity has unpublished ${missing.some(({ generated }) => generated !== '') ? 'generated ' : ''}columns ${names}`;
  }
  const bare = table.partitions.filter(
    ({ isLeaf, replicaIdentity, hasIdentityIndex }) => isLeaf && replicaIdentity !== 'f' && !hasIdentityIndex,
  );
  return bare.length === 0 ? null : `partition ${bare.map(({ name }) => name).join(', ')} has none`;
}

/** @throws MR_NO_REPLICA_IDENTITY, naming every table and what would help it. */
export function checkIdentities(
  tables: readonly CatalogTable[],
  columnsOf: (oid: number) => readonly string[] | null,
  versionNumber: number,
): void {
  const bad = tables.flatMap((table) => {
    const published = columnsOf(table.oid);
    const problem = identityProblems(table, published, versionNumber);
    return problem === null ? [] : [{ table, problem, canBeFull: canBeFull(table, published, versionNumber) }];
  });
  if (bad.length === 0) return;
  const names = (list: typeof bad) => list.map(({ table }) => displayName(table)).join(', ');
  const full = bad.filter(({ canBeFull }) => canBeFull);
  const keyed = bad.filter(({ canBeFull }) => !canBeFull);
  const advice = [
    full.length === 0 ? '' : `Give ${names(full)} a primary key, or run ALTER TABLE … REPLICA IDENTITY FULL`,
    keyed.length === 0
      ? ''
      : `Give ${names(keyed)} a primary key (or REPLICA IDENTITY USING INDEX) of published columns; FULL would not help`,
    'or leave them out of the tables option',
  ];
  throw new MillraceError('MR_NO_REPLICA_IDENTITY', {
    tables: bad.map(({ table, problem }) => `${displayName(table)} (${problem})`).join(', '),
    advice: advice.filter((text) => text !== '').join('; '),
  });
}

/** FULL makes every column part of the identity: then UPDATE fails when one of them is not published. */
function canBeFull(table: CatalogTable, published: readonly string[] | null, versionNumber: number): boolean {
  return identityProblems({ ...table, replicaIdentity: 'f', partitions: [] }, published, versionNumber) === null;
}

/** Which changes a publication publishes, and how, in words. */
export function publishesOf({ inserts, updates, deletes, truncates, viaRoot }: PublicationFacts): string {
  const kinds = Object.entries({ inserts, updates, deletes, truncates }).flatMap(([kind, isOn]) => (isOn ? [kind] : []));
  return `${kinds.join(', ') || 'nothing'} ${viaRoot ? 'by root' : 'by partition'}`;
}

/**
 * Whether what is published is still what the state knows (P4): a publication or a table's entry that was dropped and added again has lost the rows between,
 * and the server says so in a warning at most.
 *
 * @param present the tables of the state that exist. One that became a partition is published with its root, and is not missed.
 * @param forgiven tables that are copied anew anyway.
 * @returns what is wrong; null when nothing is.
 */
export function publicationGap(
  state: PostgresState,
  publication: PublicationFacts | null,
  published: readonly PublishedTable[],
  present: readonly Pick<CatalogTable, 'oid' | 'isPartition'>[],
  forgiven: ReadonlySet<number> = new Set(),
): string | null {
  if (publication === null) return 'it was dropped';
  if (state.publicationOid !== null && publication.oid !== state.publicationOid) return 'it was dropped and created again';
  const isTakenAgain = state.tables.every(({ oid, status }) => status === 'left' || forgiven.has(oid));
  if (state.publishes !== null && state.publishes !== publishesOf(publication) && !isTakenAgain) {
    return `it published ${state.publishes}, and now ${publishesOf(publication)}`;
  }
  const entries = new Map(published.map((table) => [table.oid, table]));
  const existing = new Set(present.filter(({ oid, isPartition }) => !isPartition || entries.has(oid)).map(({ oid }) => oid));
  for (const table of state.tables) {
    if (table.status === 'left' || forgiven.has(table.oid) || !existing.has(table.oid)) continue;
    const found = entries.get(table.oid);
    if (found === undefined) return `table ${displayName(table)} was taken out of it`;
    // One that moved to another schema, which is published too, is a renamed table (P6).
    if (found.entry !== table.entry && found.schema === table.schema)
      return `table ${displayName(table)} was taken out of it and added again`;
  }
  return null;
}
