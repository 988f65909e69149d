import { type DispatcherId, defineTable, dispatcherOfTable, type Table } from '../../../events/index.ts';
import type { Clock } from '../../../flow/index.ts';

/** A row's values, as text. */
export type ServiceRow = Readonly<Record<string, string | null>>;

/** A row that a transaction changed: its old image and its new one. */
export interface ServiceRowChange {
  readonly op: 'I' | 'U' | 'D';
  readonly old: ServiceRow | null;
  readonly data: ServiceRow | null;
}

/** What the log of a table holds, in order. At one commitTs: transactions by startTs, then a schema change or TRUNCATE, then a syncpoint. */
export type ServiceEvent = (Numbered & ServiceRows) | (Numbered & ServiceDdl) | ServiceSyncpoint;

interface Numbered {
  /** Of the first change: they count on over all transactions of the table at this commitTs, so that a place names one change. */
  readonly ordinal: number;
}

export interface ServiceRows {
  readonly kind: 'dml';
  readonly commitTs: bigint;
  readonly startTs: bigint;
  readonly table: Table;
  readonly changes: readonly ServiceRowChange[];
}

export interface ServiceDdl {
  readonly kind: 'ddl' | 'truncate';
  readonly commitTs: bigint;
  readonly table: Table;
  readonly query: string;
}

export interface ServiceSyncpoint {
  readonly kind: 'syncpoint';
  readonly commitTs: bigint;
}

/** One table: its log up to the resolved-ts. */
export interface ServiceTable {
  readonly tableId: number;
  readonly dispatcher: DispatcherId;
  table: Table;
  readonly rows: Map<string, ServiceRow>;
  readonly log: ServiceEvent[];
  /** Committed, and not resolved yet. */
  pending: PendingEvent[];
}

export interface SimEventServiceOptions {
  readonly random: () => number;
  /** The pipeline whose dispatchers it serves. */
  readonly pipeline: string;
  /** Default 3. */
  readonly tables?: number;
  /** Before the first commit. Default 100; TiDB's are beyond 2^53. */
  readonly beginningTs?: bigint;
  /** Whether syncpoints come now and then. Default true. */
  readonly syncpoints?: boolean;
}

/**
 * The change log behind an event service, of the kind that TiDB has: a commitTs is a moment, several transactions may share one, and none numbers its changes
 * (spec event-collector §2). A transaction changes a row once at most, and those of one commitTs never the same.
 */
export class SimEventService {
  readonly tables: readonly ServiceTable[];
  /** Everything up to here is in the logs; nothing commits there any more. */
  resolvedTs: bigint;
  /** Before the first commit of every table. */
  readonly beginningTs: bigint;
  readonly #random: () => number;
  readonly #syncpoints: boolean;
  readonly #listeners = new Set<() => void>();
  #ts: bigint;
  #startTs = 1n;
  #value = 0;
  /** `table key` of what was changed at `#ts`, and the tables that take nothing more there. */
  #touched = new Set<string>();
  #closed = new Set<number>();

  constructor({ random, pipeline, tables = 3, beginningTs = 100n, syncpoints = true }: SimEventServiceOptions) {
    this.beginningTs = beginningTs;
    this.resolvedTs = beginningTs;
    this.#ts = beginningTs;
    const commitTs = beginningTs + 1n;
    this.#random = random;
    this.#syncpoints = syncpoints;
    this.tables = Array.from({ length: tables }, (_, index): ServiceTable => {
      const tableId = 41 + index;
      const dispatcher = dispatcherOfTable(pipeline, tableId);
      const table = firstVersion(dispatcher, tableId, `t${index + 1}`, commitTs);
      return { tableId, dispatcher, table, rows: new Map(), log: [], pending: [{ kind: 'ddl', commitTs, table, query: '' }] };
    });
    this.#tick();
    this.resolve();
  }

  /** Commits one transaction of one table or two, or a schema change; often at the commitTs of the one before. */
  commit(): void {
    if (this.#ts <= this.resolvedTs || this.#random() < 0.6) this.#tick();
    const table = this.#pick(this.tables);
    const chance = this.#random();
    if (chance < 0.04) this.#truncate(table);
    else if (chance < 0.08 && table.table.columns.length <= 6) this.#addColumn(table);
    else {
      const other = this.#random() < 0.3 ? this.#pick(this.tables) : table;
      if (this.#closed.has(table.tableId) || this.#closed.has(other.tableId)) this.#tick();
      const startTs = this.#startTs++;
      this.#rows(table, startTs);
      if (other !== table) this.#rows(other, startTs);
    }
  }

  /** Nothing more commits at or below the present commitTs: what did goes to the logs, and to whoever listens. */
  resolve(): void {
    if (this.#syncpoints && this.#random() < 0.1) {
      for (const table of this.tables) table.pending.push({ kind: 'syncpoint', commitTs: this.#ts });
      this.#tick();
    }
    this.resolvedTs = this.#ts;
    for (const table of this.tables) publish(table);
    this.announce();
  }

  /** Says again how far it has come. */
  announce(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Commits so many times, at random times on `clock`, and resolves now and then and behind the last. */
  async run(clock: Clock, { commits, gapMs = 20 }: { commits: number; gapMs?: number }): Promise<void> {
    for (let left = commits; left > 0; left--) {
      await clock.sleep(Math.floor(this.#random() * gapMs));
      this.commit();
      if (this.#random() < 0.3) this.resolve();
    }
    this.resolve();
  }

  /** Calls `fn` whenever it says how far it has come; the returned function ends that. */
  onAnnounce(fn: () => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** The version of a table that was in force behind `commitTs`. */
  tableAt(table: ServiceTable, commitTs: bigint): Table {
    let found: Table | null = null;
    for (const event of table.log) {
      if (event.kind !== 'syncpoint' && (found === null || event.commitTs <= commitTs)) found = event.table;
    }
    return found ?? table.table;
  }

  #rows(table: ServiceTable, startTs: bigint): void {
    const changes: ServiceRowChange[] = [];
    for (let left = 1 + Math.floor(this.#random() * 4); left > 0; left--) {
      const id = String(Math.floor(this.#random() * 12));
      const place = `${table.tableId} ${id}`;
      if (this.#touched.has(place)) continue;
      this.#touched.add(place);
      changes.push(this.#change(table, id));
    }
    if (changes.length > 0) table.pending.push({ kind: 'dml', commitTs: this.#ts, startTs, table: table.table, changes });
  }

  #change(table: ServiceTable, id: string): ServiceRowChange {
    const old = table.rows.get(id) ?? null;
    if (old !== null && this.#random() < 0.3) {
      table.rows.delete(id);
      return { op: 'D', old, data: null };
    }
    const data: Record<string, string | null> = { id };
    for (const { name, isPrimaryKey } of table.table.columns) {
      if (!isPrimaryKey) data[name] = this.#random() < 0.1 ? null : `w${this.#value++}`;
    }
    table.rows.set(id, data);
    return { op: old === null ? 'I' : 'U', old, data };
  }

  #truncate(table: ServiceTable): void {
    this.#close(table);
    table.rows.clear();
    this.#begin(table, 'truncate', { ...table.table, version: this.#ts }, `TRUNCATE TABLE ${table.table.name}`);
  }

  #addColumn(table: ServiceTable): void {
    const { columns, name } = table.table;
    this.#close(table);
    const added = `c${columns.length}`;
    for (const [id, row] of table.rows) table.rows.set(id, { ...row, [added]: null });
    const column = columnOf(added, columns.length, false);
    this.#begin(
      table,
      'ddl',
      { ...table.table, version: this.#ts, columns: [...columns, column] },
      `ALTER TABLE ${name} ADD COLUMN ${added} text`,
    );
  }

  /** A schema change stands behind all rows of its commitTs, and alone there. */
  #close(table: ServiceTable): void {
    if (this.#closed.has(table.tableId)) this.#tick();
    this.#closed.add(table.tableId);
  }

  #begin(table: ServiceTable, kind: 'ddl' | 'truncate', next: Table, query: string): void {
    table.table = defineTable(next);
    table.pending.push({ kind, commitTs: this.#ts, table: table.table, query });
  }

  #tick(): void {
    this.#ts += BigInt(1 + Math.floor(this.#random() * 5));
    this.#touched = new Set();
    this.#closed = new Set();
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)]!;
  }
}

/** What a reader must see of a table, exactly once and in this order: its rows and TRUNCATEs. `op` of a TRUNCATE is T. */
export function expectedOfLog({ log }: ServiceTable): ServiceExpectedChange[] {
  const expected: ServiceExpectedChange[] = [];
  for (const event of log) {
    if (event.kind === 'syncpoint' || event.kind === 'ddl') continue;
    const { commitTs, ordinal } = event;
    const { version } = event.table;
    if (event.kind !== 'dml') expected.push({ commitTs, ordinal, op: 'T', old: null, data: null, version });
    else for (const [index, change] of event.changes.entries()) expected.push({ commitTs, ordinal: ordinal + index, ...change, version });
  }
  return expected;
}

export interface ServiceExpectedChange {
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly op: 'I' | 'U' | 'D' | 'T';
  readonly old: ServiceRow | null;
  readonly data: ServiceRow | null;
  readonly version: bigint;
}

/** An event that has no ordinal yet: others of the same commitTs may come before it. */
type PendingEvent = ServiceRows | ServiceDdl | ServiceSyncpoint;

/** Moves what is resolved to the log, numbered. It was committed in the order of startTs. */
function publish(table: ServiceTable): void {
  let commitTs = -1n;
  let ordinal = 0;
  for (const event of table.pending) {
    if (event.commitTs !== commitTs) ordinal = 0;
    commitTs = event.commitTs;
    if (event.kind === 'syncpoint') {
      table.log.push(event);
    } else {
      table.log.push({ ...event, ordinal });
      ordinal += event.kind === 'dml' ? event.changes.length : 1;
    }
  }
  table.pending = [];
}

function firstVersion(dispatcher: DispatcherId, tableId: number, name: string, version: bigint): Table {
  const names = { sourceSchema: 'shop', sourceName: name, schema: 'shop', name };
  const columns = [columnOf('id', 0, true), columnOf('note', 1, false)];
  return defineTable({ dispatcher, ...names, tableId, version, columns, replicaIdentity: 'full' });
}

function columnOf(name: string, wireIndex: number, isPrimaryKey: boolean): Table['columns'][number] {
  const type = isPrimaryKey ? 'int4' : 'text';
  const flags = { nullable: !isPrimaryKey, isPrimaryKey, isIdentity: true };
  return { name, wireIndex, columnId: wireIndex + 1, type, typeModifier: -1, ...flags, defaultText: null };
}
