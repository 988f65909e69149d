import type { Socket } from 'node:net';
import pg from 'pg';
import { isMillraceError, MillraceError, reasonOf } from '../../errors.ts';
import type { Clock } from '../../flow/index.ts';
import { Arena } from './arena.ts';
import { pinSessionSql } from './session-settings.ts';
import { Frame, readFields, type ServerNotice, serverError } from './wire-frames.ts';
import { nodeWireSocket, plainSocket, READ_BYTES, type WireSocket } from './wire-socket.ts';

export interface WireOptions extends SessionOptions {
  /** Addresses, TLS and authentication are `pg`'s business. */
  readonly config: pg.ClientConfig;
  /** A walsender session of the database: START_REPLICATION and CREATE_REPLICATION_SLOT work in it, beside SQL. Default false. */
  readonly replication?: boolean;
}

/** What a session needs, whatever socket it is on. */
export interface SessionOptions {
  readonly clock: Clock;
  /** Size of the chunks that are read into. Default 1 MiB. */
  readonly chunkBytes?: number;
  /** Warnings of the server. What it throws ends whatever the connection is doing. */
  readonly onNotice?: (notice: ServerNotice) => void;
}

/** A row of a simple query: values as text under the pinned settings. */
export type TextRow = Readonly<Record<string, string | null>>;

/**
 * Connects with `pg`, takes the socket over from it and pins the session's settings (P8).
 *
 * Throws MR_SERVER_ERROR when the server refuses, MR_SOURCE_UNREACHABLE when there is none.
 */
export async function connectWire(options: WireOptions): Promise<WireConnection> {
  const config: pg.ClientConfig & { replication?: string } = {
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    ...options.config,
  };
  if (options.replication === true) config.replication = 'database';
  const client = new pg.Client(usesTls(config) ? config : { ...config, stream: plainSocket });
  const { connectionParameters: startup } = client as unknown as { connectionParameters: { options?: string } };
  // A timeout of the database or the role could be too short for the statement that takes it away (`pinSessionSql`).
  startup.options = `${startup.options || ''} -c statement_timeout=0`.trim();
  // After the take-over the connection hears of errors itself; before it `connect` rejects.
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (cause) {
    client.end().catch(() => {});
    throw connectError(cause, client);
  }
  const { connection: taken, processID } = client as unknown as { connection: { stream: Socket }; processID: number | null };
  const connection = new WireConnection(nodeWireSocket(taken.stream), processID ?? 0, options);
  try {
    await connection.query(pinSessionSql());
  } catch (error) {
    connection.destroy();
    throw error;
  }
  return connection;
}

/**
 * One session with the server on our own frame loop: simple queries, COPY OUT, and the COPY BOTH of a replication stream. It does one thing at a time.
 *
 * Nothing is read unless somebody waits in `fill` (back-pressure); what is read stands in `arena`, and frames are parsed there in place.
 */
export class WireConnection {
  readonly arena: Arena;
  /** The server's process: what `pg_stat_activity` calls it. */
  readonly processId: number;
  /** After `nextFrame`: the frame's type byte and where its payload begins and ends in `arena.bytes`. */
  frameType = 0;
  frameAt = 0;
  frameEnd = 0;
  /** Bytes read so far. */
  bytesRead = 0;
  readonly #socket: WireSocket;
  readonly #clock: Clock;
  readonly #onNotice: (notice: ServerNotice) => void;
  #waiter: { resolve: () => void; reject: (error: unknown) => void } | null = null;
  #wakeScheduled = false;
  /** Why it is gone. The error is made for whoever waits or comes: nearly always the connection is closed and nobody does. */
  #lost: string | null = null;
  #closed = false;
  #ended = false;
  /** Wait for the socket's end. */
  readonly #closers: (() => void)[] = [];
  /** Bytes that the frame at `arena.at` needs in all, as far as its header is there. */
  #frameBytes = HEADER_BYTES;

  /** @internal `connectWire` makes connections. `socket`: one on which a session is ready for its first query. */
  constructor(socket: WireSocket, processId: number, { clock, chunkBytes = DEFAULT_CHUNK_BYTES, onNotice = () => {} }: SessionOptions) {
    this.arena = new Arena(chunkBytes);
    this.processId = processId;
    this.#socket = socket;
    this.#clock = clock;
    this.#onNotice = onNotice;
    socket.listen({
      data: (chunk) => this.#receive(chunk),
      error: (reason) => this.#lose(reason),
      end: () => this.#lose('the server closed it'),
      close: () => this.#onClose(),
    });
  }

  get isLost(): boolean {
    return this.#lost !== null;
  }

  /** Runs SQL (several statements too) and returns the rows of the last statement that has any. Throws MR_SERVER_ERROR; the session is usable after that. */
  async query(sql: string): Promise<TextRow[]> {
    this.#send(Frame.query, cString(sql));
    let columns: string[] = [];
    let rows: TextRow[] = [];
    await this.#answer((type) => {
      if (type === Frame.rowDescription) {
        columns = readColumns(this.arena.bytes, this.frameAt);
        rows = [];
      } else if (type === Frame.dataRow) {
        rows.push(readRow(this.arena.bytes, this.frameAt, columns));
      }
      return false;
    });
    return rows;
  }

  /**
   * Runs a `COPY … TO STDOUT`: `onRow` is told where each row stands in `bytes`, which hold until the next pull; after each read the number of rows that came
   * in it is yielded. Pull-driven. Throws MR_SERVER_ERROR. When it was iterated to its end the session is usable again; otherwise close it.
   */
  async *copyOut(sql: string, onRow: (bytes: Buffer, from: number, to: number) => void): AsyncGenerator<number, void, undefined> {
    this.#send(Frame.query, cString(sql));
    let error: MillraceError | null = null;
    for (;;) {
      let rows = 0;
      let done = false;
      while (!done && this.nextFrame()) {
        if (this.frameType === Frame.copyData) {
          onRow(this.arena.bytes, this.frameAt, this.frameEnd);
          rows++;
        } else if (this.frameType === Frame.error) {
          error = this.takeError();
        }
        done = this.frameType === Frame.readyForQuery;
        this.skipFrame();
      }
      if (rows > 0) yield rows;
      if (done) break;
      this.arena.reclaim(this.neededBytes);
      await this.fill();
    }
    if (error !== null) throw error;
  }

  /** Runs a command that turns the session into COPY BOTH (START_REPLICATION). Its CopyData frames are read with `fill` and `nextFrame` from then on. */
  async startCopyBoth(sql: string): Promise<void> {
    this.#send(Frame.query, cString(sql));
    let isOpen = false;
    await this.#answer((type) => {
      isOpen ||= type === Frame.copyBothResponse;
      return isOpen;
    });
    if (!isOpen) throw new MillraceError('MR_WIRE_MALFORMED', { reason: 'the server did not begin to stream' });
  }

  /** Sends one CopyData message. Whether it arrives, only the server's answer tells. */
  sendCopyData(payload: Buffer): void {
    this.#send(Frame.copyData, payload);
  }

  /** Finds the next whole frame at `arena.at`; false when bytes are missing (`neededBytes` says how many). Notices and parameter changes are handled on the way. */
  nextFrame(): boolean {
    const { arena } = this;
    for (;;) {
      const { bytes, at, end } = arena;
      this.#frameBytes = HEADER_BYTES;
      if (end - at < HEADER_BYTES) return false;
      const length = bytes.readUInt32BE(at + 1);
      if (length < 4 || length > MAX_FRAME_BYTES) {
        throw new MillraceError('MR_WIRE_MALFORMED', { reason: `a message says that it has ${length} bytes` });
      }
      this.#frameBytes = length + 1;
      if (end - at <= length) return false;
      this.frameType = bytes[at]!;
      this.frameAt = at + HEADER_BYTES;
      this.frameEnd = at + 1 + length;
      if (this.frameType === Frame.notice) this.#onNotice(readFields(bytes, this.frameAt, this.frameEnd));
      else if (this.frameType !== Frame.parameterStatus && this.frameType !== Frame.notification) return true;
      this.skipFrame();
    }
  }

  /** Moves on behind the frame that `nextFrame` found. */
  skipFrame(): void {
    this.arena.at = this.frameEnd;
  }

  /** After `nextFrame` was false: bytes that the frame at `arena.at` needs in all, and a read's worth more. */
  get neededBytes(): number {
    return this.#frameBytes + READ_BYTES;
  }

  /** The error that stands in the present frame. */
  takeError(): MillraceError {
    return serverError(readFields(this.arena.bytes, this.frameAt, this.frameEnd));
  }

  /** Reads until at least some bytes have come; then reading is paused again. The caller has made room in the arena. Throws MR_CONNECTION_LOST. */
  fill(): Promise<void> {
    if (this.#lost !== null) return Promise.reject(lostError(this.#lost));
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#socket.resume();
    });
  }

  /** Makes a pending `fill` resolve without bytes: whoever waits looks again why it does. */
  interrupt(): void {
    if (this.#waiter === null || this.#wakeScheduled) return;
    this.#socket.pause();
    this.#takeWaiter()?.resolve();
  }

  /** Ends the session in good order, what was sent before included, and resolves when the server has let go. Idempotent. */
  async close(): Promise<void> {
    if (!this.#closed && !this.#ended) {
      this.#send(Frame.terminate, Buffer.alloc(0));
      this.#closed = true;
      this.#lose('it was closed here');
      // The server may have to get rid of what it has already written before it reads that we go.
      this.#socket.resume();
    }
    this.#closed = true;
    if (this.#ended) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(CLOSE_TIMEOUT_MS, () => this.#socket.destroy());
      this.#closers.push(() => {
        cancel();
        resolve();
      });
    });
  }

  /** Drops the connection at once: the way out when the server does not answer. */
  destroy(reason = 'it was dropped here'): void {
    this.#closed = true;
    this.#lose(reason);
    this.#socket.destroy();
  }

  /** Frames up to ReadyForQuery, or to where `onFrame` returns true; an error is thrown when the session is ready again. */
  async #answer(onFrame: (type: number) => boolean): Promise<void> {
    let error: MillraceError | null = null;
    for (;;) {
      while (this.nextFrame()) {
        const type = this.frameType;
        if (type === Frame.error) error = this.takeError();
        const stop = onFrame(type);
        this.skipFrame();
        if (stop) return;
        if (type === Frame.readyForQuery) {
          if (error !== null) throw error;
          return;
        }
      }
      this.arena.reclaim(this.neededBytes);
      try {
        await this.fill();
      } catch (lost) {
        // A fatal error of the server is followed by the end of the connection; it says more than that.
        throw error ?? lost;
      }
    }
  }

  #send(type: number, payload: Buffer): void {
    if (this.#closed || this.#ended || !this.#socket.writable) return;
    const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
    frame[0] = type;
    frame.writeUInt32BE(payload.length + 4, 1);
    frame.set(payload, HEADER_BYTES);
    this.#socket.write(frame);
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return;
    this.bytesRead += chunk.length;
    this.arena.append(chunk);
    if (this.arena.room < READ_BYTES) this.#socket.pause();
    if (this.#waiter === null || this.#wakeScheduled) return;
    // Everything that the kernel holds is taken in one go.
    this.#wakeScheduled = true;
    this.#socket.afterRound(() => {
      this.#wakeScheduled = false;
      if (!this.#closed) this.#socket.pause();
      this.#takeWaiter()?.resolve();
    });
  }

  #onClose(): void {
    this.#ended = true;
    this.#lose('it was closed');
    for (const closed of this.#closers.splice(0)) closed();
  }

  #lose(reason: string): void {
    this.#lost ??= reason;
    if (!this.#wakeScheduled) this.#takeWaiter()?.reject(lostError(this.#lost));
  }

  #takeWaiter() {
    const waiter = this.#waiter;
    this.#waiter = null;
    return waiter;
  }
}

function lostError(reason: string): MillraceError {
  return new MillraceError('MR_CONNECTION_LOST', { reason });
}

const HEADER_BYTES = 5;
const DEFAULT_CHUNK_BYTES = 1024 * 1024;
/** PostgreSQL bounds a message at 1 GiB. */
const MAX_FRAME_BYTES = 1024 * 1024 * 1024 + 1024;
const CONNECT_TIMEOUT_MS = 30_000;
const KEEPALIVE_DELAY_MS = 10_000;
const CLOSE_TIMEOUT_MS = 1_500;

/** Whether `pg` will wrap the socket: then it must be one of its own. */
function usesTls(config: pg.ClientConfig): boolean {
  const client = new pg.Client(config) as unknown as { connectionParameters: { ssl: unknown } };
  return client.connectionParameters.ssl !== false && client.connectionParameters.ssl !== undefined;
}

function connectError(cause: unknown, client: pg.Client): MillraceError {
  if (isMillraceError(cause)) return cause;
  const { code, severity } = cause as { code?: unknown; severity?: unknown };
  if (typeof severity === 'string' && typeof code === 'string') {
    return serverError({ severity, sqlState: code, message: reasonOf(cause), detail: '' });
  }
  const reason = reasonOf(cause) || String(code);
  return new MillraceError('MR_SOURCE_UNREACHABLE', { address: `${client.host}:${client.port}`, reason, errno: String(code ?? '') }, cause);
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}

function readColumns(bytes: Buffer, at: number): string[] {
  const columns: string[] = [];
  let position = at + 2;
  for (let left = bytes.readUInt16BE(at); left > 0; left--) {
    const end = bytes.indexOf(0, position);
    columns.push(bytes.toString('utf8', position, end));
    position = end + 19;
  }
  return columns;
}

function readRow(bytes: Buffer, at: number, columns: readonly string[]): TextRow {
  const row: Record<string, string | null> = {};
  let position = at + 2;
  for (const column of columns) {
    const length = bytes.readInt32BE(position);
    position += 4;
    row[column] = length < 0 ? null : bytes.toString('utf8', position, position + length);
    position += Math.max(length, 0);
  }
  return row;
}
