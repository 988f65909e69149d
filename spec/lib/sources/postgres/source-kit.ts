import { type DdlEvent, type Delivery, type DmlEvent, type Position, rowsOf, type Table, tableName } from '../../../../lib/events/index.ts';
import { comparePositions, formatPosition } from '../../../../lib/events/position.ts';
import { type Clock, type EventPort, type Logger, Metrics, noSystemEvents, SystemEvents, systemClock } from '../../../../lib/flow/index.ts';
import type { JsonValue } from '../../../../lib/formats/json.ts';
import { parseJson, stringifyJson } from '../../../../lib/formats/json.ts';
import { openSnapshot, type PostgresOptions, postgres } from '../../../../lib/sources/postgres/index.ts';
import type { OpenSource } from '../../../../lib/sources/source.ts';
import type { TestPostgres } from '../../../support/postgres.ts';

/** One row as it is at a target: text by column name; a column that was not sent is absent. */
type Values = Readonly<Record<string, string | null>>;

interface StoredRow {
  readonly position: Position;
  readonly op: 'insert' | 'update' | 'delete';
  readonly old: Values | null;
  readonly data: Values | null;
}

interface StoredVersion {
  readonly table: Table;
  clears: boolean;
  readonly rows: StoredRow[];
}

/**
 * A target in memory that keeps everything it was given, as files would, and shows what a reader may see: versions and rows up to the checkpoint, each
 * position once.
 */
export class MemoryTarget {
  readonly versions = new Map<string, Map<bigint, StoredVersion>>();
  /** `ddl public.t 0 <query>`, in order of arrival. */
  readonly statements: string[] = [];
  readonly ddl: DdlEvent[] = [];
  checkpointTs: bigint | null = null;
  identity: JsonValue | null = null;
  state: JsonValue | null = null;
  readonly #last = new Map<string, Position>();

  /** Takes a delivery and returns the resolved mark in it, if there is one. */
  write(delivery: Delivery): bigint | null {
    let resolved: bigint | null = null;
    for (const event of delivery.events) {
      switch (event.type) {
        case 'resolved':
          if (resolved !== null) throw new Error('two resolved marks in one delivery');
          resolved = event.commitTs;
          break;
        case 'ddl':
          this.statements.push(`ddl ${tableName(event.table)} ${event.action} ${event.query}`);
          this.ddl.push(event);
          for (const version of event.abandons) this.#versionsOf(event.table).delete(version);
          this.#versionOf(event.table).clears ||= event.startsEmpty;
          break;
        case 'truncate':
          this.statements.push(`truncate ${tableName(event.table)} ${event.query}`);
          this.#versionOf(event.table).clears = true;
          break;
        case 'dml': {
          const { rows } = this.#versionOf(event.rows.table);
          let index = 0;
          for (const row of rowsOf(event.rows)) {
            const position = event.rows.positionOf(index++);
            this.#check(event.dispatcher, position);
            const old = row.isOld ? row.toObject() : (row.old?.toObject() ?? null);
            rows.push({ position, op: row.op, old: old as Values | null, data: row.isOld ? null : (row.toObject() as Values) });
          }
          break;
        }
        default:
          throw new Error(`a source does not emit ${event.type}`);
      }
    }
    return resolved;
  }

  /** A new run may repeat what was not checkpointed. */
  restarted(): void {
    this.#last.clear();
  }

  /** The rows of a table that a reader sees at the checkpoint `at`, as JSON texts, sorted. */
  rebuild(name: string, columns: readonly string[], at: bigint): string[] {
    const rows = new Map<string, Values>();
    const versions = [...(this.versions.get(name) ?? [])].filter(([version]) => version <= at).sort(([a], [b]) => (a < b ? -1 : 1));
    let last: Position = { commitTs: -1n, ordinal: 0 };
    for (const [, { table, clears, rows: stored }] of versions) {
      if (clears) rows.clear();
      for (const column of table.columns) {
        for (const [key, row] of rows) if (!(column.name in row)) rows.set(key, { ...row, [column.name]: column.defaultText });
      }
      const visible = stored.filter(({ position }) => position.commitTs <= at);
      for (const row of visible.sort((a, b) => comparePositions(a.position, b.position))) {
        if (comparePositions(row.position, last) <= 0) continue;
        last = row.position;
        apply(rows, table, row);
      }
    }
    return [...rows.values()].map((row) => JSON.stringify(columns.map((column) => row[column] ?? null))).sort();
  }

  #check(dispatcher: string, position: Position): void {
    const last = this.#last.get(dispatcher);
    if (last !== undefined && comparePositions(last, position) >= 0) {
      throw new Error(`${formatPosition(position)} came after ${formatPosition(last)}`);
    }
    this.#last.set(dispatcher, position);
  }

  #versionsOf(table: Table): Map<bigint, StoredVersion> {
    const name = tableName(table);
    const versions = this.versions.get(name) ?? new Map<bigint, StoredVersion>();
    this.versions.set(name, versions);
    return versions;
  }

  #versionOf(table: Table): StoredVersion {
    const versions = this.#versionsOf(table);
    const version = versions.get(table.version) ?? { table, clears: false, rows: [] };
    versions.set(table.version, version);
    return version;
  }
}

function apply(rows: Map<string, Values>, table: Table, { op, old, data }: StoredRow): void {
  const keys = table.columns.filter((column) => (table.replicaIdentity === 'index' ? column.isIdentity : column.isPrimaryKey));
  const keyOf = (row: Values) => JSON.stringify((keys.length > 0 ? keys : table.columns).map(({ name }) => row[name] ?? null));
  const before = old ?? data!;
  if (op !== 'insert') {
    const previous = rows.get(keyOf(before)) ?? {};
    rows.delete(keyOf(before));
    if (op === 'update') rows.set(keyOf({ ...previous, ...data }), { ...previous, ...data });
  } else {
    rows.set(keyOf(data!), data!);
  }
}

/** What was logged, by level. */
export class LogBook implements Logger {
  readonly lines: { level: string; details: Record<string, unknown>; message: string }[] = [];
  readonly debug = this.#at('debug');
  readonly info = this.#at('info');
  readonly warn = this.#at('warn');
  readonly error = this.#at('error');

  has(level: string, text: RegExp): boolean {
    return this.lines.some((line) => line.level === level && text.test(`${line.message} ${stringifyJson(line.details as JsonValue)}`));
  }

  #at(level: string) {
    return (details: object, message: string) => {
      this.lines.push({ level, details: details as Record<string, unknown>, message });
    };
  }
}

/** One run of a source against a memory target: every resolved mark becomes the checkpoint, unless told not to. */
export class Run {
  readonly source: OpenSource;
  readonly target: MemoryTarget;
  readonly log: LogBook;
  readonly abort: AbortController;
  checkpoints = true;
  resolvedTs = -1n;
  readonly #iterator: AsyncIterator<Delivery>;
  #pulling: Promise<Delivery | null> | null = null;

  private constructor(source: OpenSource, target: MemoryTarget, log: LogBook, abort: AbortController) {
    this.source = source;
    this.target = target;
    this.log = log;
    this.abort = abort;
    this.#iterator = source.deliveries[Symbol.asyncIterator]();
  }

  static async open(
    options: PostgresOptions,
    target = new MemoryTarget(),
    hooks: {
      onSave?: (state: JsonValue) => void | Promise<void>;
      clock?: Clock;
      log?: LogBook;
      abort?: AbortController;
      events?: EventPort;
    } = {},
  ): Promise<Run> {
    const log = hooks.log ?? new LogBook();
    const abort = hooks.abort ?? new AbortController();
    target.restarted();
    const source = await postgres(options).open({
      pipeline: 'test',
      clock: hooks.clock ?? systemClock,
      logger: log,
      metrics: new Metrics(),
      events:
        hooks.events === undefined
          ? noSystemEvents
          : new SystemEvents({ pipeline: 'test', events: hooks.events, clock: hooks.clock ?? systemClock }),
      checkpointTs: target.checkpointTs,
      state: target.state,
      targetIdentity: target.identity,
      saveState: async (state) => {
        // Through text, as a file would have it.
        target.state = parseJson(stringifyJson(state));
        await hooks.onSave?.(state);
      },
      signal: abort.signal,
    });
    target.identity = source.identity;
    const run = new Run(source, target, log, abort);
    open.add(run);
    return run;
  }

  /** Pulls one delivery; null at the end. While one is under way, it is the same one for everybody. */
  pull(): Promise<Delivery | null> {
    this.#pulling ??= this.#pull().finally(() => {
      this.#pulling = null;
    });
    return this.#pulling;
  }

  async #pull(): Promise<Delivery | null> {
    const { done, value: delivery } = await this.#iterator.next();
    if (done) return null;
    const resolved = this.target.write(delivery);
    if (resolved !== null) {
      if (resolved <= this.resolvedTs) throw new Error(`resolved went from ${this.resolvedTs} to ${resolved}`);
      this.resolvedTs = resolved;
      if (this.checkpoints) this.checkpoint(resolved);
    }
    return delivery;
  }

  checkpoint(ts: bigint): void {
    this.target.checkpointTs = ts;
    this.source.confirm(ts);
  }

  async pullUntil(isDone: () => boolean): Promise<void> {
    while (!isDone()) if ((await this.pull()) === null) throw new Error('the source ended');
  }

  /** Pulls until the snapshots are complete and the stream has passed all that is committed now. Returns the tables that differ from PostgreSQL. */
  async differences(url: string, publication: string): Promise<string[]> {
    await this.pullUntil(() => [...this.source.status().tables.values()].every(({ snapshotDone, stopped }) => snapshotDone || stopped));
    const snapshot = await openSnapshot(url, { publication });
    try {
      const at = snapshot.consistentPoint - 1n;
      await this.pullUntil(() => this.resolvedTs >= at);
      const different: string[] = [];
      for (const table of snapshot.tables) {
        const rows: string[] = [];
        for await (const batch of snapshot.rows(table)) rows.push(...batch.map((row) => JSON.stringify(row)));
        const columns = table.columns.map(({ name }) => name);
        const rebuilt = this.target.rebuild(tableName(table), columns, at);
        if (JSON.stringify(rows.sort()) !== JSON.stringify(rebuilt)) different.push(tableName(table), ...this.#problems());
      }
      return different;
    } finally {
      await snapshot.close();
    }
  }

  /** What was logged that may be the reason of a difference. */
  #problems(): string[] {
    return this.log.lines.filter(({ level }) => level === 'error' || level === 'warn').map(({ message }) => message);
  }

  /** Pulls along until it holds, which something beside the stream may bring about; the test's own timeout bounds it. */
  async pullAlong(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const ended = (await Promise.race([this.pull(), systemClock.sleep(20)])) === null;
      if (ended) throw new Error('the source ended');
    }
  }

  async close(): Promise<void> {
    open.delete(this);
    await this.source.close();
  }
}

/** The row events of the next deliveries, until they hold `count` rows. */
export async function pullRows(run: Run, count: number): Promise<DmlEvent[]> {
  const events: DmlEvent[] = [];
  for (let rows = 0; rows < count; ) {
    const delivery: Delivery | null = await run.pull();
    for (const event of delivery!.events) {
      if (event.type !== 'dml') continue;
      events.push(event);
      rows += event.rows.rowCount;
    }
  }
  return events;
}

const open = new Set<Run>();

/** For `afterEach`: a test that failed has not closed its runs. */
export async function closeRuns(): Promise<void> {
  await Promise.all([...open].map((run) => run.close()));
}

/** Asks again and again until it holds; the test's own timeout bounds it. */
export async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await systemClock.sleep(20);
}

/** A database of a test's own, and how to capture it. */
export async function makeDatabase(server: TestPostgres, name: string, schema: string) {
  const url = await server.createDatabase(name);
  await server.query(schema, [], name);
  const options = { url, slot: name, publication: 'pub', watchInterval: '100ms' };
  return { url, options, query: (sql: string) => server.query(sql, [], name) };
}
