import { MillraceError } from '../../../errors.ts';
import type { Clock } from '../../../flow/index.ts';
import { formatLsn } from '../../../formats/pgoutput/index.ts';
import type { CatalogTable } from '../../../sources/postgres/catalog.ts';
import { type TextRow, WireConnection } from '../../../sources/postgres/wire-connection.ts';
import { serverError } from '../../../sources/postgres/wire-frames.ts';
import type { Ground } from '../ground.ts';
import type { SimDatabase, SimSnapshot, SimTable } from './database.ts';
import { type SessionHost, SimSession } from './session.ts';
import { SimSlots } from './slots.ts';
import { FAIR_FATE, type LinkFate, SimLink } from './socket.ts';

/** What goes wrong between a client and the simulated server, until `calm`. Chances are from 0 up to 1; default none. */
export interface SimPostgresFaults {
  /** An attempt to connect is refused, or the server has no place free. */
  readonly refuses?: number;
  /** A connection breaks at some byte of either direction. */
  readonly breaks?: number;
  /** About how many bytes it carries before. Default 10 000. */
  readonly breaksAfterBytes?: number;
  /** Of those that break: only one end is told, or none, and the other notices when it has waited long enough. */
  readonly silent?: number;
  /** A connection stalls once, for up to `stallMs` (default 20 000): nothing moves in it. */
  readonly stalls?: number;
  readonly stallMs?: number;
}

export interface SimServerOptions {
  readonly database: SimDatabase;
  /** The server's own. */
  readonly clock: Clock;
  /** The simulation it stands in: its trace is told what goes wrong, and when it is calm nothing does any more. Default none. */
  readonly sim?: Ground;
  /** Default: the clock's. */
  readonly random?: () => number;
  readonly faults?: SimPostgresFaults;
  /** What befalls a connection, counted from 0; null leaves it to chance. Default: always. */
  readonly fateOf?: (connection: number) => Partial<LinkFate> | null;
  /** Default 10 s. */
  readonly walSenderTimeoutMs?: number;
  /** Longest time that a message is under way. Default 1. */
  readonly latencyMs?: number;
}

/** What the server needs to know of a node: `SimNode` is one. */
export interface ClientNode {
  readonly clock: Clock;
  attach(device: { crash(): void; kill(): void }): void;
}

/** A PostgreSQL server in memory: sessions over links that break, slots, walsenders over the WAL of a `SimDatabase`. */
export class SimServer implements SessionHost {
  readonly database: SimDatabase;
  readonly clock: Clock;
  readonly random: () => number;
  readonly slots: SimSlots;
  readonly walSenderTimeoutMs: number;
  readonly sessions = new Set<SimSession>();
  /** What clients did that they must not: empty when all is well. */
  readonly violations: string[] = [];
  /** The clocks of the clients whose streams it gave up because it heard nothing of them. */
  readonly silences: Clock[] = [];
  readonly #sim: Ground | null;
  readonly #latencyMs: number;
  readonly #fateOf: NonNullable<SimServerOptions['fateOf']>;
  #connections = 0;
  #faults: SimPostgresFaults;
  #downUntilMs = 0;
  #pid = 1000;

  constructor(options: SimServerOptions) {
    const { database, clock, random = () => clock.random(), faults = {}, walSenderTimeoutMs = 10_000, latencyMs = 1 } = options;
    this.database = database;
    this.clock = clock;
    this.random = random;
    this.slots = new SimSlots(database, random);
    this.walSenderTimeoutMs = walSenderTimeoutMs;
    this.#latencyMs = latencyMs;
    this.#faults = faults;
    this.#fateOf = options.fateOf ?? (() => null);
    this.#sim = options.sim ?? null;
    this.#sim?.onCalm(() => this.calm());
  }

  /**
   * A session for a client whose node has this clock, on a real `WireConnection`.
   *
   * @throws MR_SOURCE_UNREACHABLE, and MR_SERVER_ERROR when it is full or starting.
   */
  async connect(clientClock: Clock): Promise<WireConnection> {
    await this.#answerTime(clientClock);
    if (this.clock.now() < this.#downUntilMs) {
      throw serverError({ severity: 'FATAL', sqlState: '57P03', message: 'the database system is starting up', detail: '' });
    }
    if (this.#meets(this.#faults.refuses)) {
      this.tellFault('refuses a connection');
      throw this.#refusal();
    }
    const pid = this.#pid++;
    const link = new SimLink({
      clientClock,
      serverClock: this.clock,
      random: this.random,
      fate: this.#fate(),
      latencyMs: this.#latencyMs,
      tellFault: (what) => this.tellFault(`connection ${pid} ${what}`),
    });
    this.sessions.add(new SimSession(this, link, pid));
    return new WireConnection(link, pid, { clock: clientClock, chunkBytes: CHUNK_BYTES });
  }

  /** What a session of no snapshot answers, asked from a node with this clock. Throws MR_CONNECTION_LOST and MR_SERVER_ERROR. */
  async query(clientClock: Clock, sql: string): Promise<TextRow[]> {
    await this.#reached(clientClock);
    return this.answer(sql, null);
  }

  /** What `readTables` makes of such an answer, without the way through SQL and JSON. */
  async catalogs(clientClock: Clock, oids: readonly number[]): Promise<CatalogTable[]> {
    await this.#reached(clientClock);
    return oids.map((oid) => this.database.catalog(oid)?.toTable()).filter((table) => table !== undefined);
  }

  /** Rows for a statement that the source makes. A statement that it does not know is an error, so that nobody rests on it. */
  answer(sql: string, snapshot: SimSnapshot | null): TextRow[] {
    const { database } = this;
    // The statement about tables is long, and what it asks for stands at its end.
    const oids = textBetween(sql, 'c.oid IN (', ')');
    if (oids !== null) {
      const catalogs = oids.split(', ').map((oid) => snapshot?.tables.get(Number(oid))?.catalog ?? database.catalog(Number(oid)));
      return catalogs.filter((catalog) => catalog !== null).map((catalog) => ({ table: catalog.toText() }));
    }
    const slot = textBetween(sql, "FROM pg_replication_slots s WHERE slot_name = '", "'");
    if (slot !== null) return this.slots.row(slot, this.walSenderTimeoutMs);
    if (sql === 'IDENTIFY_SYSTEM') {
      const xlogpos = formatLsn(database.walEnd);
      return [{ systemid: database.systemIdentifier, timeline: '1', xlogpos, dbname: database.name }];
    }
    if (/^(BEGIN|SAVEPOINT|ROLLBACK) /.test(sql)) return [];
    throw serverError({ severity: 'ERROR', sqlState: '0A000', message: `the simulated server does not know: ${sql}`, detail: '' });
  }

  /** The table that SQL calls `"schema"."name"`; null when there is none. */
  tableOf(quoted: string): SimTable | null {
    const [schema, name] = quoted.split('.').map((part) => part.slice(1, -1));
    for (const table of this.database.tables.values()) if (table.schema === schema && table.name === name) return table;
    return null;
  }

  /** Nothing goes wrong any more; connections that are broken stay so. */
  calm(): void {
    this.#faults = {};
  }

  /** The server crashes and is back after `downMs`: it remembers what it had written down of the slots. */
  restart(downMs = 0): void {
    this.tellFault(`crashes, and is back after ${downMs} ms`);
    this.#downUntilMs = this.clock.now() + downMs;
    for (const session of [...this.sessions]) session.kill();
    this.slots.recover();
  }

  /** All present connections break. */
  disconnect(): void {
    for (const session of [...this.sessions]) session.kill();
  }

  /** `node` has clients of this server: when it goes down they go with it. */
  attach(node: ClientNode): void {
    node.attach({ crash: () => this.abandon(node.clock), kill: () => this.abandon(node.clock, true) });
  }

  /** The node whose clock this is has crashed: its connections are dead. Default: the server notices some at once, others when their time is up. */
  abandon(clientClock: Clock, isNoticed = this.random() < 0.7): void {
    for (const session of [...this.sessions]) if (session.isOf(clientClock)) session.abandon(isNoticed);
  }

  /** Somebody else streams from the slot for `holdMs`; whoever did is thrown out. */
  holdSlot(name: string, holdMs: number): void {
    const slot = this.slots.get(name);
    if (slot === null) return;
    this.tellFault(`gives slot ${name} to somebody else for ${holdMs} ms`);
    this.#throwOut(name);
    const pid = this.#pid++;
    slot.activePid = pid;
    this.clock.after(holdMs, () => {
      if (slot.activePid === pid) slot.activePid = null;
    });
  }

  /** The slot can be read no more: the server has removed WAL that it needs. */
  invalidateSlot(name: string, reason = 'wal_removed'): void {
    const slot = this.slots.get(name);
    if (slot === null) return;
    this.tellFault(`invalidates slot ${name}: ${reason}`);
    slot.invalidated = reason;
    this.#throwOut(name);
  }

  dropSlot(name: string): void {
    this.tellFault(`drops slot ${name}`);
    this.#throwOut(name);
    this.slots.drop(name);
  }

  /** Goes into the trace. */
  tellFault(what: string): void {
    this.#sim?.noteFault('postgres', what);
  }

  #throwOut(slot: string): void {
    for (const session of [...this.sessions]) {
      if (session.isStreamingFrom(slot)) session.fail('57P01', 'terminating process to release replication slot');
    }
  }

  /** The time of a query's answer. Throws MR_CONNECTION_LOST. */
  async #reached(clientClock: Clock): Promise<void> {
    await this.#answerTime(clientClock);
    if (this.clock.now() < this.#downUntilMs || this.#meets(this.#faults.refuses)) {
      this.tellFault('loses the connection of a query');
      throw new MillraceError('MR_CONNECTION_LOST', { reason: 'read ECONNRESET' });
    }
  }

  #answerTime(clientClock: Clock): Promise<void> {
    return clientClock.sleep(Math.floor(this.random() * (2 * this.#latencyMs + 1)));
  }

  #meets(chance = 0): boolean {
    return chance > 0 && this.random() < chance;
  }

  #refusal(): MillraceError {
    return this.random() < 0.5
      ? new MillraceError('MR_SOURCE_UNREACHABLE', { address: 'sim:5432', reason: 'connect ECONNREFUSED', errno: 'ECONNREFUSED' })
      : serverError({ severity: 'FATAL', sqlState: '53300', message: 'sorry, too many clients already', detail: '' });
  }

  #fate(): LinkFate {
    const given = this.#fateOf(this.#connections++);
    if (given !== null) return { ...FAIR_FATE, ...given };
    const { breaks, breaksAfterBytes = 10_000, silent, stalls, stallMs = 20_000 } = this.#faults;
    // Now soon, now late: each order of magnitude as often.
    const some = () => Math.ceil((breaksAfterBytes * 4) ** this.random());
    let fate = FAIR_FATE;
    if (this.#meets(breaks)) {
      const tells = this.#meets(silent) ? ONE_SIDED[Math.floor(this.random() * ONE_SIDED.length)]! : 'both';
      fate =
        this.random() < 0.75
          ? { ...fate, breaksAfterDown: some(), tells }
          : { ...fate, breaksAfterUp: Math.ceil(500 * this.random()), tells };
    }
    if (this.#meets(stalls)) fate = { ...fate, stallsAfterDown: some(), stallMs: Math.ceil(stallMs * this.random()) };
    return fate;
  }
}

/** More than a read needs beside a frame: the chunk is never made anew. */
const CHUNK_BYTES = 128 * 1024;
function textBetween(text: string, before: string, after: string): string | null {
  const at = text.lastIndexOf(before);
  return at < 0 ? null : text.slice(at + before.length, text.indexOf(after, at + before.length));
}

const ONE_SIDED = ['client', 'server', 'nobody'] as const;
