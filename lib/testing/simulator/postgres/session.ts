import type { Clock } from '../../../flow/index.ts';
import { parseLsn } from '../../../formats/pgoutput/index.ts';
import { Frame } from '../../../sources/postgres/wire-frames.ts';
import type { SimDatabase, SimRow, SimSnapshot, SimTable } from './database.ts';
import { type ResultRow, sessionFrames } from './session-frames.ts';
import type { SimSlot, SimSlots } from './slots.ts';
import type { SimLink } from './socket.ts';
import { WalSender } from './wal-sender.ts';

/** The server that a session belongs to. */
export interface SessionHost {
  readonly database: SimDatabase;
  readonly slots: SimSlots;
  readonly clock: Clock;
  readonly random: () => number;
  readonly walSenderTimeoutMs: number;
  readonly sessions: Set<SimSession>;
  readonly violations: string[];
  readonly silences: Clock[];
  tellFault(what: string): void;
  answer(sql: string, snapshot: SimSnapshot | null): readonly ResultRow[];
  tableOf(quoted: string): SimTable | null;
}

/** One session of the simulated server: answers the statements that the source makes, and streams. */
export class SimSession {
  readonly pid: number;
  readonly #server: SessionHost;
  readonly #link: SimLink;
  #received: Buffer = NOTHING;
  #sender: WalSender | null = null;
  #snapshot: SimSnapshot | null = null;
  #locked: SimTable | null = null;
  #isOver = false;

  constructor(server: SessionHost, link: SimLink, pid: number) {
    this.pid = pid;
    this.#server = server;
    this.#link = link;
    link.accept({ data: (bytes) => this.#receive(bytes), drained: () => this.#sender?.send(), closed: () => this.close() });
  }

  /** Makes the client hear why, and ends. */
  fail(sqlState: string, message: string): void {
    if (this.#isOver) return;
    this.#link.send(sessionFrames.error('FATAL', sqlState, message));
    this.#link.end();
    this.close();
  }

  /** The server itself is gone: the client hears what its link tells. */
  kill(): void {
    this.close();
    this.#link.break();
  }

  /** Nobody is there any more. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#sender?.stop();
    this.#unlock();
    this.#server.sessions.delete(this);
  }

  /** The client's node has crashed. */
  abandon(isNoticed: boolean): void {
    this.#link.abandon(isNoticed);
  }

  isOf(clientClock: Clock): boolean {
    return this.#link.clientClock === clientClock;
  }

  isStreamingFrom(slot: string): boolean {
    return this.#sender?.slot === slot;
  }

  #receive(bytes: Buffer): void {
    if (this.#isOver) return;
    const received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    let at = 0;
    while (received.length - at >= 5 && !this.#isOver) {
      const end = at + 1 + received.readUInt32BE(at + 1);
      if (received.length < end) break;
      const type = received[at]!;
      if (type === Frame.query) this.#query(received.toString('utf8', at + 5, end - 1));
      else if (type === Frame.copyData) this.#status(received, at + 5);
      else if (type === Frame.terminate) this.#terminate();
      at = end;
    }
    this.#received = at === received.length ? NOTHING : received.subarray(at);
  }

  #giveUp(): void {
    this.#server.tellFault(`gives up connection ${this.pid}: it has heard nothing for ${this.#server.walSenderTimeoutMs} ms`);
    this.#server.silences.push(this.#link.clientClock);
    this.#terminate();
  }

  #terminate(): void {
    this.#link.end();
    this.close();
  }

  #status(bytes: Buffer, at: number): void {
    if (bytes[at] === STANDBY_STATUS) this.#sender?.confirmed(bytes.readBigUInt64BE(at + 9), bytes[at + 33] === 1);
  }

  #query(sql: string): void {
    if (sql.startsWith('START_REPLICATION')) this.#start(sql);
    else this.#link.send(sql.startsWith('COPY ') ? this.#copy(sql) : this.#answer(sql));
  }

  #answer(sql: string): Buffer {
    if (sql.startsWith('BEGIN')) this.#begin(sql);
    else if (sql.startsWith('ROLLBACK')) this.#unlock();
    else if (sql.startsWith('SAVEPOINT')) this.#lock(/LOCK TABLE (\S+) IN ACCESS SHARE MODE/.exec(sql)![1]!);
    return sessionFrames.result(this.#server.answer(sql, this.#snapshot));
  }

  #begin(sql: string): void {
    const snapshot = /SET TRANSACTION SNAPSHOT '(\d+)'/.exec(sql);
    if (snapshot !== null) this.#snapshot = this.#server.database.snapshots.get(BigInt(snapshot[1]!)) ?? null;
  }

  #start(sql: string): void {
    const [, name, lsn] = /SLOT "([^"]+)" LOGICAL (\S+) /.exec(sql)!;
    const { database, slots, clock, random, walSenderTimeoutMs: timeoutMs } = this.#server;
    const slot = slots.get(name!);
    if (slot === null || slot.activePid !== null || slot.invalidated !== null) {
      this.#link.send(refusalOf(name!, slot));
      return;
    }
    slot.activePid = this.pid;
    this.#link.send(sessionFrames.copyBoth());
    const sender = new WalSender({
      database,
      slots,
      slot,
      clock,
      random,
      timeoutMs,
      from: parseLsn(lsn!)!,
      link: this.#link,
      onEnd: (error) => (error === null ? this.#giveUp() : this.fail(error.sqlState, error.reason)),
      onViolation: (reason) => this.#server.violations.push(reason),
    });
    this.#sender = sender;
    sender.send();
  }

  #copy(sql: string): Buffer {
    const [, name, list] = /^COPY (\S+) \((.*)\) TO STDOUT$/.exec(sql)!;
    const table = this.#server.tableOf(name!);
    const rows = table === null ? undefined : this.#snapshot?.tables.get(table.oid)?.rows;
    if (rows === undefined) return sessionFrames.error('ERROR', '42P01', `relation ${name} does not exist`);
    const columns = list!.split(', ').map((column) => column.slice(1, -1));
    const lines = rows.map((row) => copyLine(row, columns));
    return sessionFrames.copyOut(lines, columns.length);
  }

  #lock(name: string): void {
    this.#locked = this.#server.tableOf(name);
    if (this.#locked !== null) this.#locked.locks++;
  }

  #unlock(): void {
    if (this.#locked !== null) this.#locked.locks--;
    this.#locked = null;
  }
}

function refusalOf(name: string, slot: SimSlot | null): Buffer {
  if (slot === null) return sessionFrames.error('ERROR', '42704', `replication slot "${name}" does not exist`);
  if (slot.activePid === null) return sessionFrames.error('ERROR', '55000', `can no longer access replication slot "${name}"`);
  return sessionFrames.error('ERROR', '55006', `replication slot "${name}" is active for PID ${slot.activePid}`);
}

const NOTHING = Buffer.alloc(0);
const STANDBY_STATUS = 0x72;

function copyLine(row: SimRow, columns: readonly string[]): string {
  let line = '';
  for (let i = 0; i < columns.length; i++) line += `${i === 0 ? '' : '\t'}${copyText(row[columns[i]!] ?? null)}`;
  return `${line}\n`;
}

function copyText(value: string | null): string {
  if (value === null) return '\\N';
  return ESCAPED.test(value) ? value.replace(ALL_ESCAPED, (character) => ESCAPES[character]!) : value;
}

const ESCAPED = /[\\\n\r\t]/;
const ALL_ESCAPED = /[\\\n\r\t]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
