import { MillraceError } from '../../errors.ts';
import {
  type DdlEvent,
  type Delivery,
  type DispatcherId,
  ddlEvent,
  dispatcherOfTable,
  type Position,
  type Table,
  type TruncateEvent,
  tableName,
  truncateEvent,
} from '../../events/index.ts';
import { noSystemEvents, type SystemEvents } from '../../flow/index.ts';
import type { LogicalMessage, RelationMessage } from '../../formats/pgoutput/index.ts';
import { type Captured, type CapturedTablesOptions, capturedTable, hasSameColumns, type Look } from './captured-table.ts';
import type { CatalogTable } from './catalog.ts';
import { parseDdlMessage } from './ddl-message.ts';
import { pruneStatements, restoreStatements, tellStatements, withStatement } from './ddl-statements.ts';
import { displayName } from './publication.ts';
import { compareCatalog, isTorn, knownMissing } from './rewrite-watch.ts';
import {
  ACTION_DROP_TABLE,
  ACTION_FIRST,
  describeChange,
  dropQuery,
  matchesRelation,
  nextVersion,
  pruneHistory,
  type TableVersion,
  tableOf,
  truncateQuery,
  versionFromCatalog,
  versionFromRelation,
} from './schema-history.ts';
import type { ChangePosition, Resolution, SchemaResolver, TableInForce } from './schema-resolver.ts';
import type { TableState } from './state.ts';

/**
 * The tables that are captured, with the versions in force: the schema history at work (P7), and the watch over rewrites (P6). The stream asks here for
 * each relation message and TRUNCATE; whatever is answered is stored before.
 */
export class CapturedTables implements SchemaResolver {
  readonly #options: CapturedTablesOptions;
  readonly #byOid = new Map<number, Captured>();
  readonly #events: SystemEvents;

  /** `checkpointTs`: the versions up to it are in force; later ones are met again on replay. */
  constructor(options: CapturedTablesOptions, checkpointTs: bigint) {
    this.#options = options;
    this.#events = options.events ?? noSystemEvents;
    for (const state of options.state.tables) {
      state.history = pruneHistory(state.history, checkpointTs);
      state.statements = restoreStatements(state.statements, checkpointTs);
      this.#byOid.set(state.oid, this.#captured(state, state.history.findLast(({ version }) => version <= checkpointTs) ?? null));
    }
  }

  get states(): readonly TableState[] {
    return this.#options.state.tables;
  }

  stateOf(oid: number): TableState | null {
    return this.#byOid.get(oid)?.state ?? null;
  }

  /** Begins to capture tables that came to the state. */
  adopt(states: readonly TableState[]): void {
    for (const state of states) this.#byOid.set(state.oid, this.#captured(state, null));
  }

  /** Puts a version in force that a snapshot begins. */
  begin(oid: number, version: TableVersion): Table {
    const captured = this.#byOid.get(oid)!;
    captured.state.history.push(version);
    captured.state.schema = version.schema;
    captured.state.name = version.name;
    return this.#enforce(captured, version);
  }

  dispatcherOf(oid: number): DispatcherId {
    return dispatcherOfTable(this.#options.pipeline, oid);
  }

  async resolve(relation: RelationMessage, at: ChangePosition): Promise<Resolution> {
    const captured = this.#byOid.get(relation.relationId);
    if (captured === undefined) {
      this.#options.onUnknown(relation);
      return NOT_CAPTURED;
    }
    const { state } = captured;
    if (state.status !== 'captured') return NOT_CAPTURED;
    if (at.commitTs < state.dropBefore) return { event: null, ...this.lookup(state.oid) };
    const current = captured.current;
    const isSame = current !== null && matchesRelation(current, relation);
    // The first message of a session repeats what is known; a further one says that something changed.
    if (isSame && !captured.wasDescribed) {
      captured.wasDescribed = true;
      // Stored: a run that starts behind it must not take them for the text of a later change.
      if (this.#tell(state, at) !== null) await this.#options.save();
      return { event: null, ...this.lookup(state.oid) };
    }
    captured.wasDescribed = true;
    const look = await this.#options.look(state.oid);
    if (look.table !== null && !this.compare(state.oid, look.table, look)) {
      await this.#options.save();
      return NOT_CAPTURED;
    }
    if (isSame) {
      if (this.#tell(state, at) !== null) await this.#options.save();
      return { event: null, ...this.lookup(state.oid) };
    }
    // A change that no row had told of, in the run before: it stands where it stood.
    const silent = state.history.find(
      (entry) => current !== null && entry.version > current.version && entry.version < at.commitTs && matchesRelation(entry, relation),
    );
    if (silent !== undefined && current !== null) {
      const table = this.#enforce(captured, silent);
      const position = { commitTs: silent.version, ordinal: 0 };
      const change = { statement: this.#tell(state, position), ...describeChange(current, silent) };
      return { table, dropBefore: state.dropBefore, event: ddlEvent({ position, commitTimeUs: at.commitTimeUs, table, ...change }) };
    }
    const version = nextVersion(at.commitTs, current?.version ?? null);
    const next = this.#remembered(state, version, relation) ?? this.#described(state, version, relation, current, look.table);
    const table = this.#enforce(captured, next);
    const statement = this.#tell(state, at);
    await this.#options.save();
    if (current === null) state.hasPast = true;
    // A first version is nobody's change: what altered the table before it is in it.
    const change = current === null ? { query: '', action: ACTION_FIRST } : { statement, ...describeChange(current, next) };
    const { commitTs, ordinal, commitTimeUs } = at;
    return { table, dropBefore: state.dropBefore, event: ddlEvent({ position: { commitTs, ordinal }, commitTimeUs, table, ...change }) };
  }

  async statement({ content, lsn }: LogicalMessage, at: ChangePosition): Promise<readonly DdlEvent[]> {
    const { save, logger } = this.#options;
    const told = parseDdlMessage(content);
    if (told === null) {
      logger.warn({ lsn: String(lsn) }, 'a logical message that looks like the text of a schema change cannot be read; it is left out');
      return [];
    }
    const { commitTs, ordinal } = at;
    let hasChanged = false;
    for (const state of this.states) {
      if (told.query === null || !told.altered.includes(state.oid) || state.status !== 'captured' || commitTs < state.dropBefore) continue;
      const statements = withStatement(state.statements, { commitTs, ordinal, lsn, query: told.query });
      hasChanged ||= statements !== state.statements;
      state.statements = statements;
    }
    const events: DdlEvent[] = [];
    for (const oid of told.dropped) {
      const event = await this.#drop(oid, told.query, at);
      if (event !== null) events.push(event);
    }
    // Not for a replay, nor for what others write under this prefix: a save is an fsync.
    if (hasChanged || events.length > 0) await save();
    return events;
  }

  /** The stream tells of a DROP TABLE: a last version, which is empty. Null where nothing of it was emitted, or it was told before in this run. */
  async #drop(oid: number, statement: string | null, { commitTs, ordinal, commitTimeUs }: ChangePosition): Promise<DdlEvent | null> {
    const captured = this.#byOid.get(oid);
    if (captured === undefined || captured.current === null || captured.isDropped) return null;
    const { state, current } = captured;
    if (state.status !== 'captured' || commitTs < state.dropBefore) return null;
    // Whoever may write logical messages can say that a table was dropped.
    if ((await this.#options.look(oid)).table !== null) {
      this.#options.logger.warn(
        { table: displayName(state) },
        'a logical message says that a table was dropped, which is there; it is left out',
      );
      return null;
    }
    const table = this.#renew(captured, current, commitTs);
    captured.isDropped = true;
    if (state.droppedBefore === null) this.dropped(oid, { after: commitTs });
    const change = { query: dropQuery(current), statement, action: ACTION_DROP_TABLE, startsEmpty: true };
    return ddlEvent({ position: { commitTs, ordinal }, commitTimeUs, table, ...change });
  }

  async truncate(relationId: number, at: ChangePosition): Promise<TruncateEvent | null> {
    const captured = this.#byOid.get(relationId);
    if (captured === undefined || captured.state.status !== 'captured' || captured.current === null) return null;
    const { state, current } = captured;
    if (at.commitTs < state.dropBefore) return null;
    const table = this.#renew(captured, current, at.commitTs);
    state.truncatedAt = at.commitTs;
    await this.#options.save();
    const { commitTs, ordinal, commitTimeUs } = at;
    return truncateEvent({ position: { commitTs, ordinal }, commitTimeUs, table, query: truncateQuery(current) });
  }

  lookup(relationId: number): TableInForce {
    const captured = this.#byOid.get(relationId);
    if (captured === undefined || captured.state.status !== 'captured') return NOT_CAPTURED;
    return { table: captured.table, dropBefore: captured.state.dropBefore };
  }

  /**
   * The catalog shows columns that no row has told of yet: a version of their own is due once the stream has passed that reading and still nothing has come.
   */
  expect(oid: number, catalog: CatalogTable, published: readonly string[], { after: lsn }: Look): void {
    const captured = this.#byOid.get(oid);
    if (captured === undefined || captured.current === null || captured.silent?.after === captured.current) return;
    captured.silent = null;
    if (hasSameColumns(captured.current, versionFromCatalog(catalog, published, 0n))) return;
    captured.silent = { after: captured.current, catalog, published, lsn };
  }

  /** Whether all that the catalog showed last was understood: no look is needed until its rows change. */
  isSettled(oid: number): boolean {
    const captured = this.#byOid.get(oid);
    return captured === undefined || (captured.awaited === null && captured.silent === null);
  }

  /**
   * The schema changes that are due before the resolved mark of a delivery: those that no row has told of (P6). Stored when it resolves.
   *
   * @returns DDL events at the mark's own position.
   */
  async silentChanges(delivery: Delivery, resolvedTs: bigint, commitTimeUs: bigint): Promise<DdlEvent[]> {
    const events: DdlEvent[] = [];
    for (const captured of this.#byOid.values()) {
      const { silent, state, current } = captured;
      if (silent === null || current === null || resolvedTs < silent.lsn - 1n || resolvedTs <= current.version) continue;
      // Rows of an open transaction stand behind the mark.
      const isAhead = delivery.events.some(
        (event) => event.type === 'dml' && event.rows.table.tableId === state.oid && event.rows.last.commitTs > resolvedTs,
      );
      if (isAhead) continue;
      captured.silent = null;
      if (silent.after !== current || state.status !== 'captured') continue;
      const version = versionFromCatalog(silent.catalog, silent.published, resolvedTs);
      const known = new Map(current.columns.map(({ attnum, missing }) => [attnum, missing]));
      const columns = version.columns.map((column) => ({
        ...column,
        missing: known.has(column.attnum) ? known.get(column.attnum)! : (state.missing[column.attnum] ?? null),
      }));
      const next = { ...version, columns };
      this.#remember(state, next);
      const table = this.#enforce(captured, next);
      const position = { commitTs: resolvedTs, ordinal: 0 };
      const change = { statement: this.#tell(state, position), ...describeChange(current, next) };
      events.push(ddlEvent({ position, commitTimeUs, table, ...change }));
    }
    if (events.length > 0) await this.#options.save();
    return events;
  }

  /** A new session describes each relation once more. */
  reconnected(): void {
    for (const captured of this.#byOid.values()) captured.wasDescribed = false;
  }

  /**
   * Compares what the catalog shows now with what it showed before (P6). What is harmless is remembered; else the table is stopped.
   *
   * @returns whether the table goes on. The state has changed and is not stored.
   */
  compare(oid: number, now: CatalogTable, look: Look): boolean {
    const captured = this.#byOid.get(oid)!;
    const { state } = captured;
    if (state.status !== 'captured') return false;
    if (isTorn(now)) return true;
    if (state.seen !== null) {
      // Somebody else has looked since this was read.
      if (now.readAt <= state.seen.readAt) return true;
      const verdict = compareCatalog(state.seen, now);
      if (verdict.kind === 'rewritten') return this.stop(oid, verdict.reason);
      if (verdict.kind === 'truncated' && state.truncatedAt < state.seenSince) {
        captured.awaited ??= { lsn: look.after, reason: verdict.reason };
        return true;
      }
    }
    captured.awaited = null;
    state.missing = knownMissing(state.missing, now);
    state.seenSince = captured.seenLsn;
    state.seen = now;
    captured.seenLsn = look.before;
    return true;
  }

  /**
   * The stream has given everything up to `resolvedTs`: partitions that were emptied before, and of which it has told nothing, were truncated alone.
   *
   * @returns whether a table was stopped by it.
   */
  resolved(resolvedTs: bigint): boolean {
    let hasStopped = false;
    for (const captured of this.#byOid.values()) {
      const { awaited, state } = captured;
      if (awaited === null) continue;
      if (state.truncatedAt >= state.seenSince) captured.awaited = null;
      else if (resolvedTs >= awaited.lsn) hasStopped = !this.stop(state.oid, awaited.reason) || hasStopped;
    }
    return hasStopped;
  }

  /** Stops a table; its later rows are dropped, the checkpoint goes on for the others. Always false: it does not go on. */
  stop(oid: number, reason: string): false {
    const captured = this.#byOid.get(oid)!;
    captured.awaited = null;
    captured.state.status = 'stopped';
    const table = tableName({ sourceSchema: captured.state.schema, sourceName: captured.state.name });
    const error = new MillraceError('MR_TABLE_REWRITTEN', { table, reason });
    this.#options.logger.error({ code: error.code, table, reason }, error.message);
    this.#events.record('table_rewritten', () => ({ table, reason }));
    return false;
  }

  /** The catalog has the table no more. The stream may still bring rows from before: it is left once they are durable. */
  dropped(oid: number, { after }: Pick<Look, 'after'>): void {
    const { state } = this.#byOid.get(oid)!;
    state.droppedBefore = after;
    const table = displayName(state);
    this.#events.record('table_dropped', () => ({ table }));
    this.#options.logger.warn(
      { table },
      `table ${table} was dropped: nothing more comes of it, and what was written of it stays at the target`,
    );
  }

  /** What the catalog shows as a snapshot begins: nothing from before counts. */
  beganFrom(oid: number, catalog: CatalogTable, lsn: bigint): void {
    const captured = this.#byOid.get(oid)!;
    captured.awaited = null;
    captured.silent = null;
    captured.seenLsn = lsn;
    captured.state.seen = catalog;
    captured.state.seenSince = lsn;
    captured.state.statements = captured.state.statements.filter(({ commitTs }) => commitTs >= lsn);
    // Rows of the snapshot have a value in every column that there was.
    captured.state.missing = Object.fromEntries(catalog.columns.map(({ attnum }) => [attnum, null]));
  }

  /** The checkpoint has passed: what no replay can ask for any more is forgotten. Returns whether there was any; the state is not stored. */
  confirmed(checkpointTs: bigint): boolean {
    let hasForgotten = false;
    for (const { state } of this.#byOid.values()) {
      const left = pruneStatements(state.statements, checkpointTs);
      hasForgotten ||= left !== state.statements;
      state.statements = left;
    }
    return hasForgotten;
  }

  /** The text of the statements that a change at `at` shows; null when none is known. */
  #tell(state: TableState, at: Position): string | null {
    const { text, statements } = tellStatements(state.statements, at);
    state.statements = statements;
    return text;
  }

  /** The version that was made at this very place before: it is the truth, whatever the catalog has become. */
  #remembered(state: TableState, version: bigint, relation: RelationMessage): TableVersion | null {
    const entry = state.history.find((known) => known.version === version);
    return entry !== undefined && matchesRelation(entry, relation) ? entry : null;
  }

  #described(
    state: TableState,
    version: bigint,
    relation: RelationMessage,
    current: TableVersion | null,
    catalog: CatalogTable | null,
  ): TableVersion {
    const next = versionFromRelation(relation, version, current, catalog, state.missing, state);
    this.#remember(state, next);
    return next;
  }

  #remember(state: TableState, version: TableVersion): void {
    if (state.history.includes(version)) return;
    state.history = [...state.history.filter((known) => known.version < version.version), version];
  }

  #captured(state: TableState, current: TableVersion | null): Captured {
    return capturedTable(state, current, current === null ? null : tableOf(this.dispatcherOf(state.oid), state.oid, current));
  }

  /** A new version with the same columns. */
  #renew(captured: Captured, current: TableVersion, commitTs: bigint): Table {
    const version = nextVersion(commitTs, current.version);
    const next = captured.state.history.find((entry) => entry.version === version) ?? { ...current, version };
    this.#remember(captured.state, next);
    return this.#enforce(captured, next);
  }

  #enforce(captured: Captured, version: TableVersion): Table {
    const hasChanged = captured.current !== null && !hasSameColumns(captured.current, version);
    captured.current = version;
    const table = tableOf(this.dispatcherOf(captured.state.oid), captured.state.oid, version);
    captured.table = table;
    const columns = () => table.columns.map(({ name }) => name);
    if (hasChanged) this.#events.record('schema_changed', () => ({ table: tableName(table), version: table.version, columns: columns() }));
    return table;
  }
}

const NOT_CAPTURED: Resolution = { table: null, dropBefore: 0n, event: null };
