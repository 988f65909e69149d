import { MillraceError } from '../../errors.ts';
import { idlePatterns } from '../../events/index.ts';
import { type Clock, elapsedMs, type Logger, noSystemEvents, type SystemEvents } from '../../flow/index.ts';
import type { JsonValue } from '../../formats/json.ts';
import {
  type CatalogTable,
  identifySystem,
  oidsIn,
  type PublicationFacts,
  type PublishedTable,
  readCapturable,
  readPublication,
  readPublishedTables,
  readServer,
  readSlot,
  readTables,
  type ServerFacts,
} from './catalog.ts';
import type { Query } from './connection.ts';
import { checkCarrier, installCarrier, warnIfEventTriggersAreOff } from './ddl-text.ts';
import type { PostgresSettings } from './options.ts';
import {
  addTables,
  checkIdentities,
  createPublication,
  displayName,
  displayNames,
  identityProblems,
  isOwned,
  publicationGap,
  publishesOf,
  removeTables,
} from './publication.ts';
import { checkSlotFacts, checkSlotKind, createSlot, dropSlot, findIntendedSlot, type SlotContext } from './slot.ts';
import { abandon } from './snapshot.ts';
import { needsSnapshot, newTableState, type PostgresState, type TableState } from './state.ts';
import { sqlStateOf } from './wire-frames.ts';

export interface Preflight {
  readonly settings: PostgresSettings;
  readonly query: Query;
  /** On a session that may replicate. */
  readonly replicate: Query;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
  readonly signal: AbortSignal;
  readonly stored: PostgresState | null;
  readonly checkpointTs: bigint | null;
  readonly targetIdentity: JsonValue | null;
  save(state: PostgresState): Promise<void>;
}

export interface Prepared {
  readonly state: PostgresState;
  readonly server: ServerFacts;
  readonly published: readonly PublishedTable[];
}

/**
 * Everything that must hold before a stream begins, looked at in the order in which it can be mended; then what the first start creates: the publication, then
 * the slot (P4), behind a stored intent (P5). What is found wrong is an error with its remedy, and nothing was created then.
 */
export async function prepare(preflight: Preflight): Promise<Prepared> {
  const { settings, query, replicate, stored, checkpointTs, targetIdentity } = preflight;
  const server = await readServer(query);
  checkServer(server, settings);
  const system = await identifySystem(replicate);
  if (stored === null) await checkNothingIsThere(preflight, server);
  else checkSameSource(stored, { ...system, database: settings.database, slot: settings.slot, publication: settings.publication });
  if (checkpointTs !== null && targetIdentity === null) throw new MillraceError('MR_TARGET_MISSING', { checkpoint: checkpointTs });
  const { database, slot, publication } = settings;
  const state = stored ?? {
    ...system,
    database,
    slot,
    publication,
    publicationOid: null,
    publishes: null,
    consistentPoint: null,
    tables: [],
  };
  await checkSlotOf(preflight, state, server);
  const found = await readPublication(query, publication);
  const isNew = state.consistentPoint === null;
  const wanted = await checkTables(preflight, state, server, found);
  const carrier = { slot, publication, versionNumber: server.versionNumber };
  const needsCarrier = settings.ddlText && (await checkCarrier(query, carrier, settings.user, preflight.logger));
  if (stored === null) await preflight.save(state);
  const published = await settlePublication(preflight, server, found, wanted, isNew);
  if (needsCarrier) await installCarrier(query, carrier, settings.user);
  if (needsCarrier) preflight.logger.info({ slot }, 'installed the event triggers that carry the text of schema changes');
  if (settings.ddlText) await warnIfEventTriggersAreOff(query, preflight.logger);
  if (isNew) state.consistentPoint = await settleSlot(preflight, server, found === null);
  state.publicationOid = published.oid;
  state.publishes = published.publishes;
  joinPublished(state, published.tables, settings, checkpointTs, preflight);
  return { state, server, published: published.tables };
}

function checkServer(server: ServerFacts, { address }: PostgresSettings): void {
  if (server.versionNumber < 140000) throw new MillraceError('MR_SOURCE_VERSION', { version: server.version });
  if (server.isStandby) throw new MillraceError('MR_SOURCE_IS_STANDBY', { address });
  if (server.walLevel !== 'logical') throw new MillraceError('MR_WAL_LEVEL', { walLevel: server.walLevel });
}

/** A first start: what it will create must not be there, and there must be room for it. */
async function checkNothingIsThere({ settings, query, targetIdentity }: Preflight, server: ServerFacts): Promise<void> {
  const { slot, database } = settings;
  const facts = await readSlot(query, slot, server.versionNumber);
  if (facts !== null) {
    checkSlotKind(slot, facts, database);
    throw new MillraceError('MR_STATE_MISSING', { what: `the replication slot ${slot}` });
  }
  if (targetIdentity !== null) throw new MillraceError('MR_STATE_MISSING', { what: 'a target with changes' });
  const needed = settings.snapshot === 'initial' ? 2 : 1;
  const slots = server.maxSlots - server.usedSlots;
  if (slots < needed) throw new MillraceError('MR_TOO_FEW_SLOTS', { free: slots, max: server.maxSlots, needed });
  // Our own session for this start counts among them.
  const senders = server.maxSenders - server.usedSenders;
  if (senders < needed) throw new MillraceError('MR_TOO_FEW_SENDERS', { free: senders, max: server.maxSenders, needed });
}

type SourceNames = Pick<PostgresState, 'systemIdentifier' | 'timeline' | 'database' | 'slot' | 'publication'>;

/** P2: a position means something in the history of one server only. */
export function checkSameSource(was: SourceNames, is: SourceNames): void {
  const named = [
    ['systemIdentifier', 'the system identifier'],
    ['timeline', 'the timeline (the server was promoted, or restored from a backup)'],
    ['database', 'the database'],
    ['slot', 'the replication slot'],
    ['publication', 'the publication'],
  ] as const;
  for (const [key, what] of named) {
    if (was[key] !== is[key]) throw new MillraceError('MR_SOURCE_CHANGED', { what, was: was[key], is: is[key] });
  }
}

/** A slot that the state knows must still be able to give what follows the checkpoint (P2, I6). */
async function checkSlotOf({ settings, query, checkpointTs }: Preflight, state: PostgresState, server: ServerFacts): Promise<void> {
  if (state.consistentPoint === null) return;
  const { slot, database } = settings;
  const facts = await readSlot(query, slot, server.versionNumber);
  if (facts === null) throw new MillraceError('MR_SLOT_GONE', { slot });
  checkSlotFacts(slot, facts, database, checkpointTs ?? state.consistentPoint - 1n);
}

interface WantedTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

/** Which tables the publication should hold; checked before anything is created or altered (P4). */
async function checkTables(
  { settings, query, logger }: Preflight,
  state: PostgresState,
  server: ServerFacts,
  publication: PublicationFacts | null,
): Promise<WantedTable[]> {
  const { slot, isWanted, isResnapshot } = settings;
  const name = settings.publication;
  const capturable = await readCapturable(query);
  const wanted = capturable.filter((table) => isWanted(table.schema, table.name));
  const isFirst = state.publicationOid === null;
  const published = publication === null ? [] : await readPublishedTables(query, name, server.versionNumber);
  const present = isFirst ? [] : await readTables(query, oidsIn(state.tables.map(({ oid }) => oid)));
  if (!isFirst) {
    const forgiven = new Set(present.filter((table) => isResnapshot(table.schema, table.name)).map(({ oid }) => oid));
    const reason = publicationGap(state, publication, published, present, forgiven);
    if (reason !== null) throw new MillraceError('MR_PUBLICATION_GAP', { publication: name, reason });
  }
  const isOurs = publication === null || isOwned(publication, slot);
  const taken = isOurs ? wanted : published.filter((table) => isWanted(table.schema, table.name));
  // Later too: patterns that fit nothing there is or was are a slip, and would take every table out of the publication.
  if (taken.length === 0 && (isFirst || !state.tables.some((table) => isWanted(table.schema, table.name)))) {
    const patterns = settings.tables?.join(', ') ?? '*.*';
    throw new MillraceError('MR_NO_TABLES', { database: settings.database, patterns });
  }
  const held = new Set(state.tables.filter(({ status }) => status !== 'left').map(({ oid }) => oid));
  const kept = present.filter((table) => held.has(table.oid) && isWanted(table.schema, table.name));
  checkResnapshot(settings, [...new Map([...kept, ...taken].map((table) => [table.oid, table])).values()]);
  const idle = idlePatterns(settings.tables ?? [], capturable);
  if (idle.length > 0) logger.warn({ patterns: idle.join(', ') }, 'no table fits these patterns of the tables option (yet)');
  const columns = new Map(published.map((table) => [table.oid, table.columns]));
  const lacking = isOurs ? [] : wanted.filter(({ oid }) => !columns.has(oid));
  if (settings.tables !== null && lacking.length > 0) {
    const tables = lacking.map(displayName).join(', ');
    if (isFirst) {
      const leaves = (table: CatalogTable) => table.partitions.some(({ oid }) => columns.has(oid));
      const split = (await readTables(query, oidsIn(lacking.map(({ oid }) => oid)))).filter(leaves);
      if (split.length === 0) throw new MillraceError('MR_PUBLICATION_LACKS_TABLE', { publication: name, tables });
      throw new MillraceError('MR_PUBLICATION_BY_PARTITION', { publication: name, tables: split.map(displayName).join(', ') });
    }
    logger.warn({ publication: name, tables }, 'tables match the patterns and are not in the publication; they are not captured');
  }
  const changes = publication === null || publication.updates || publication.deletes;
  const catalogs = await readTables(query, oidsIn(taken.map(({ oid }) => oid)));
  if (isFirst && changes) checkIdentities(catalogs, (oid) => columns.get(oid) ?? null, server.versionNumber);
  if (isFirst || !isOurs) return taken;
  // A running pipeline is not held up by a table that is to join and cannot: one that is new, or that new patterns fit.
  return taken.filter(({ oid }) => {
    const table = catalogs.find((catalog) => catalog.oid === oid);
    const problem = table === undefined || columns.has(oid) ? null : identityProblems(table, null, server.versionNumber);
    if (problem !== null)
      logger.warn({ table: displayName(table!), problem }, 'a table that is to join has no usable replica identity; it is not captured');
    return problem === null;
  });
}

/** Each pattern of tables to take again must choose a table that is captured: a slip would take none, and say nothing. */
function checkResnapshot({ resnapshot, isResnapshot }: PostgresSettings, captured: readonly WantedTable[]): void {
  const again = captured.filter(({ schema, name }) => isResnapshot(schema, name));
  const [idle] = idlePatterns(resnapshot, again);
  if (idle === undefined) return;
  const bound = `a table that this capture has, such as ${displayNames(captured)}`;
  throw new MillraceError('MR_INVALID_OPTION', { option: 'resnapshot', value: JSON.stringify(idle), bound });
}

/** Creates the publication, or brings ours in step; one of somebody else is used as it is. */
async function settlePublication(
  { settings, query, logger }: Preflight,
  server: ServerFacts,
  found: PublicationFacts | null,
  wanted: readonly WantedTable[],
  isNew: boolean,
): Promise<{ oid: number; publishes: string; tables: PublishedTable[] }> {
  const { publication: name, slot, user, isWanted } = settings;
  const allowed = async (what: string, action: Promise<void>) => {
    await action.catch((error: unknown) => {
      if (sqlStateOf(error) !== '42501') throw error;
      throw new MillraceError('MR_SOURCE_PERMISSION', { user, what, reason: (error as MillraceError).details['reason'] }, error);
    });
  };
  if (found === null) {
    await allowed('create a publication', createPublication(query, name, slot, wanted));
    logger.info({ publication: name, tables: wanted.map(displayName) }, 'created the publication');
  } else if (isOwned(found, slot)) {
    const held = await readPublishedTables(query, name, server.versionNumber);
    const heldOids = new Set(held.map(({ oid }) => oid));
    const added = wanted.filter(({ oid }) => !heldOids.has(oid));
    for (const { table, error } of await addTables(query, name, added)) {
      // A first start says what is wrong; a running pipeline is not held up by a table that is to join and cannot.
      if (isNew) await allowed('alter the publication', Promise.reject(error));
      logger.warn(
        { table: displayName(table), reason: error.details['reason'] },
        'a table that is to join cannot be added to the publication; it is not captured',
      );
    }
    const left = held.filter((table) => !isWanted(table.schema, table.name));
    if (added.length > 0) logger.info({ publication: name, tables: added.map(displayName) }, 'tables join the publication');
    if (left.length > 0) logger.info({ publication: name, tables: left.map(displayName) }, 'tables leave the publication');
    await allowed('alter the publication', removeTables(query, name, left));
  } else if (isNew) {
    const left = (['inserts', 'updates', 'deletes', 'truncates'] as const).filter((kind) => !found[kind]);
    if (left.length > 0) logger.warn({ publication: name, left }, 'the publication leaves out kinds of changes; the target will lack them');
  }
  const publication = await readPublication(query, name);
  if (publication === null) throw new MillraceError('MR_PUBLICATION_GAP', { publication: name, reason: 'it was dropped' });
  const tables = (await readPublishedTables(query, name, server.versionNumber)).filter((table) => isWanted(table.schema, table.name));
  return { oid: publication.oid, publishes: publishesOf(publication), tables };
}

/**
 * Creates the durable slot, once. A killed start may have created it: nothing was read of it then, so it serves as it is, unless the publication is younger.
 */
async function settleSlot(preflight: Preflight, server: ServerFacts, isPublicationNew: boolean): Promise<bigint> {
  const { settings, query, replicate, clock, logger, signal, stored } = preflight;
  const { slot, database } = settings;
  const context: SlotContext = { query, replicate, versionNumber: server.versionNumber, clock, logger };
  if (stored !== null) {
    const left = await findIntendedSlot(context, slot, signal);
    if (left !== null) {
      checkSlotKind(slot, left, database);
      const serves = left.confirmedFlushLsn !== null && left.walStatus !== 'lost' && left.invalidationReason === null && !isPublicationNew;
      if (serves) return left.confirmedFlushLsn;
      await dropSlot(replicate, slot);
    }
  }
  const startedMs = clock.now();
  const { consistentPoint } = await createSlot(context, slot, 'durable');
  const durationMs = elapsedMs(clock, startedMs);
  preflight.events?.record('slot_created', () => ({ slot, consistent_point: consistentPoint, duration_ms: durationMs }));
  logger.info({ slot, at: consistentPoint }, 'created the replication slot');
  return consistentPoint;
}

/** Brings the state's tables in step with what is published. A table that comes to a stream that has begun is copied whatever `snapshot` says. */
export function joinPublished(
  state: PostgresState,
  published: readonly PublishedTable[],
  settings: PostgresSettings,
  checkpointTs: bigint | null,
  { logger, events = noSystemEvents }: Pick<Preflight, 'logger' | 'events'>,
): number[] {
  const joined: number[] = [];
  const oids = new Set(published.map(({ oid }) => oid));
  const left = state.tables.filter(
    ({ oid, schema, name, status }) => status !== 'left' && !oids.has(oid) && !settings.isWanted(schema, name),
  );
  for (const table of left) {
    events.record('table_left', () => ({ table: displayName(table) }));
    table.status = 'left';
  }
  if (left.length > 0) {
    const names = displayNames(left);
    logger.warn(
      {},
      `no pattern of the tables option fits ${names} any more: captured no more, and what was written of it stays at the target`,
    );
  }
  for (const table of published) {
    const known = state.tables.find(({ oid }) => oid === table.oid);
    const wantsSnapshot = checkpointTs !== null || settings.snapshot === 'initial';
    if (known !== undefined) {
      if (known.status !== 'left') continue;
      takeAgain(known, checkpointTs);
      known.entry = table.entry;
    } else {
      // A new table under a known name: what comes of the old one is void (P6).
      const old = state.tables.filter((other) => other.schema === table.schema && other.name === table.name);
      for (const other of old) other.status = 'left';
      state.tables.push(newTableState(table, wantsSnapshot, old.length > 0));
    }
    if (checkpointTs !== null) events.record('table_joined', () => ({ table: displayName(table) }));
    if (wantsSnapshot) joined.push(table.oid);
  }
  return joined;
}

/** A snapshot of the table is to be taken; one that was complete stays until then. */
export function takeAgain(table: TableState, checkpointTs: bigint | null): void {
  if (needsSnapshot(table, checkpointTs)) abandon(table);
  table.status = 'captured';
  table.wantsSnapshot = true;
  table.snapshotVersion = null;
}
