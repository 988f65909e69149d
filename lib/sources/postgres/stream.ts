import { MillraceError, reasonOf } from '../../errors.ts';
import type { Delivery } from '../../events/index.ts';
import {
  type Clock,
  COMPONENT_METRICS,
  type Counter,
  elapsedMs,
  type Logger,
  type Metrics,
  noSystemEvents,
  type SystemEvents,
} from '../../flow/index.ts';
import { encodeStandbyStatus, formatLsn } from '../../formats/pgoutput/index.ts';
import { Assembler } from './assembler.ts';
import { recordLoss } from './loss-events.ts';
import { POSTGRES_METRICS } from './metrics.ts';
import type { SchemaResolver } from './schema-resolver.ts';
import { checkSlot, fateOf, type SlotFacts, type StreamNames, startReplicationSql } from './stream-fate.ts';
import type { WireConnection } from './wire-connection.ts';
import { Frame } from './wire-frames.ts';

export interface StreamOptions extends StreamNames {
  /** Makes a replication connection: `connectWire({ replication: true, … })`. Called again after each loss. */
  connect(): Promise<WireConnection>;
  /** Runs on each new connection before it streams: what must hold of the server. What it throws ends the stream, unless it is transient. */
  readonly onConnected?: (connection: WireConnection) => Promise<void>;
  readonly resolver: SchemaResolver;
  /** Everything up to this commitTs is durable; the stream gives what follows. */
  readonly fromTs: bigint;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Default: nobody listens. */
  readonly events?: SystemEvents;
  /** Aborted: `deliveries` ends at once; what was confirmed is still reported until `close`. */
  readonly signal: AbortSignal;
  /** A delivery that has read this much is cut, inside a transaction too. Default 1 MiB; the connection's chunks bound it as well. */
  readonly maxDeliveryBytes?: number;
  /** Longest time between two status reports. Default 10 s; at most a third of the server's `wal_sender_timeout`. */
  readonly statusIntervalMs?: number;
  /** Attempts to connect again, one after another without a byte between, before the stream fails. Default: without end. */
  readonly retries?: number;
}

export interface StreamStatus {
  readonly phase: 'streaming' | 'reconnecting' | 'closed';
  /** The newest position that the server has told of. */
  readonly sourceTs: bigint;
  readonly confirmedTs: bigint;
  /** Failed attempts since the last byte from the server, and why the last failed. */
  readonly attempts: number;
  readonly lastError: string | null;
}

export interface PostgresStream {
  /** Pull-driven; iterated once. Positions ascend over reconnections. Ends with the error of the stream. */
  readonly deliveries: AsyncIterable<Delivery>;
  /** Everything up to this commitTs is durable and checkpointed: reported to the server soon, as its successor (P1). */
  confirm(checkpointTs: bigint): void;
  status(): StreamStatus;
  /** Reports what was confirmed and ends the connection. Idempotent. */
  close(): Promise<void>;
}

/** The changes of a publication through a slot. Nothing connects before the first delivery is pulled. */
export function openStream(options: StreamOptions): PostgresStream {
  return new ReplicationStream(options);
}

/**
 * Reads only while somebody pulls; parses what one read brought into one delivery; connects again when the connection is lost, and goes on exactly behind
 * the last position. Under load it leaves the socket alone for 3 ms before each read, because the server sends every row in a packet of its own and each
 * packet read alone costs more than its rows; a lone change is read when it comes.
 */
class ReplicationStream implements PostgresStream {
  readonly deliveries: AsyncIterable<Delivery>;
  readonly #options: StreamOptions;
  readonly #assembler: Assembler;
  readonly #reconnects: Counter;
  readonly #errors: Counter;
  readonly #events: SystemEvents;
  #connection: WireConnection | null = null;
  /** The connection takes status reports. */
  #isStreaming = false;
  #confirmedTs: bigint;
  #isClosed = false;
  #attempts = 0;
  #lastError: string | null = null;
  #slotActiveSinceMs: number | null = null;
  #brokenSinceMs: number | null = null;
  #slot: SlotFacts = { activePid: null, walSenderTimeoutMs: DEFAULT_WAL_SENDER_TIMEOUT_MS };
  #cancelTimer = () => {};
  #statusDueMs = Number.POSITIVE_INFINITY;
  #statusSentMs = 0;
  /** Since when the server owes us bytes; null while nobody waits for any. */
  #waitingSinceMs: number | null = null;
  #silences = 0;
  #lastReadMs = 0;
  /** Reads in a row that found bytes at once. */
  #quickReads = 0;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#assembler = new Assembler(options.resolver, options.fromTs, options.messagePrefix);
    this.#confirmedTs = options.fromTs;
    this.#reconnects = options.metrics.counter(POSTGRES_METRICS.reconnects, {});
    this.#errors = options.metrics.counter(COMPONENT_METRICS.errors, { kind: 'source', stage: 'postgres' });
    this.#events = options.events ?? noSystemEvents;
    this.deliveries = this.#run();
    options.signal.addEventListener('abort', () => this.#connection?.interrupt(), { once: true });
  }

  confirm(checkpointTs: bigint): void {
    if (checkpointTs <= this.#confirmedTs) return;
    this.#confirmedTs = checkpointTs;
    this.#reportSoon();
  }

  status(): StreamStatus {
    return {
      phase: this.#isClosed ? 'closed' : this.#attempts > 0 ? 'reconnecting' : 'streaming',
      // A server at L has committed up to L − 1 (P1).
      sourceTs: this.#assembler.serverTs > 0n ? this.#assembler.serverTs - 1n : 0n,
      confirmedTs: this.#confirmedTs,
      attempts: this.#attempts,
      lastError: this.#lastError,
    };
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    if (!this.#isClosed) this.#report();
    this.#isClosed = true;
    this.#cancelStatus();
    await connection?.close();
  }

  get #isStopped(): boolean {
    return this.#isClosed || this.#options.signal.aborted;
  }

  async *#run(): AsyncGenerator<Delivery, void, undefined> {
    while (!this.#isStopped) {
      try {
        const connection = await this.#open();
        if (this.#isStopped) return;
        yield* this.#session(connection);
      } catch (error) {
        if (this.#isClosed) return;
        const connection = this.#connection;
        if (connection !== null) yield* this.#cut(connection);
        this.#cancelStatus();
        this.#connection = null;
        this.#isStreaming = false;
        connection?.destroy();
        this.#assembler.reconnected();
        await this.#backOff(error);
      }
    }
  }

  async #open(): Promise<WireConnection> {
    const { connect, onConnected, logger, slot } = this.#options;
    const connection = await connect();
    this.#connection = connection;
    if (this.#isClosed) {
      await connection.close();
      return connection;
    }
    await onConnected?.(connection);
    this.#slot = await checkSlot(connection, slot, this.#confirmedTs);
    const fromTs = this.#confirmedTs;
    await connection.startCopyBoth(startReplicationSql(this.#options, fromTs));
    logger.info({ slot, after: formatLsn(fromTs) }, 'streaming');
    this.#isStreaming = true;
    this.#slotActiveSinceMs = null;
    this.#tellReconnected();
    // Asks where the server stands: an idle one says it by itself only when its own timeout nears.
    this.#report(true);
    this.#scheduleStatus(this.#statusIntervalMs);
    return connection;
  }

  /** One connection's deliveries, until the stream is stopped. Whatever ends the connection is thrown when all that it brought was given. */
  async *#session(connection: WireConnection): AsyncGenerator<Delivery, void, undefined> {
    const { arena } = connection;
    const assembler = this.#assembler;
    const maxBytes = this.#options.maxDeliveryBytes ?? DEFAULT_MAX_DELIVERY_BYTES;
    while (!this.#isStopped) {
      while (connection.nextFrame()) {
        if (connection.frameType !== Frame.copyData) {
          if (assembler.hasOutput) yield* this.#cut(connection);
          // The cut has moved the frame.
          connection.nextFrame();
          throw connection.frameType === Frame.error
            ? connection.takeError()
            : new MillraceError('MR_CONNECTION_LOST', { reason: 'the server ended the stream' });
        }
        if (assembler.feed(arena.bytes, connection.frameAt, connection.frameEnd)) {
          connection.skipFrame();
          if (arena.at < maxBytes || assembler.rowCount === 0) continue;
        } else if (await assembler.settle()) {
          connection.skipFrame();
        }
        yield* this.#cut(connection);
        if (this.#isStopped) return;
      }
      if (assembler.replyRequested) {
        assembler.replyRequested = false;
        this.#reportSoon();
      }
      if (assembler.hasOutput) {
        yield* this.#cut(connection);
      } else {
        arena.reclaim(connection.neededBytes);
        await this.#read(connection);
      }
    }
  }

  #cut({ arena }: WireConnection): Delivery[] {
    return this.#assembler.take(() => arena.take());
  }

  async #read(connection: WireConnection): Promise<void> {
    const { clock, signal } = this.#options;
    const gathers = this.#quickReads >= BUSY_READS && clock.now() - this.#lastReadMs < GATHER_MS;
    if (gathers) await clock.sleep(GATHER_MS, signal);
    if (this.#isStopped) return;
    const startedMs = clock.now();
    this.#waitingSinceMs = startedMs;
    const readBefore = connection.bytesRead;
    try {
      await connection.fill();
    } finally {
      this.#waitingSinceMs = null;
    }
    const bytes = connection.bytesRead - readBefore;
    if (bytes === 0) return;
    this.#lastReadMs = clock.now();
    const isLoad = this.#lastReadMs - startedMs <= GATHER_MS && (!gathers || bytes >= WORTH_GATHERING_BYTES);
    this.#quickReads = isLoad ? this.#quickReads + 1 : 0;
    this.#attempts = 0;
    this.#silences = 0;
  }

  /** Waits before the next attempt; throws the error that ends the stream. */
  async #backOff(cause: unknown): Promise<void> {
    const { clock, logger, signal, slot, retries = Number.POSITIVE_INFINITY } = this.#options;
    const fate = fateOf(cause, this.#options);
    if (fate.kind === 'end') {
      recordLoss(this.#events, this.#options, fate.error);
      throw fate.error;
    }
    if (fate.kind === 'slotActive') {
      // A connection that broke without our server noticing still holds the slot, for as long as the server believes in it.
      this.#slotActiveSinceMs ??= clock.now();
      if (clock.now() - this.#slotActiveSinceMs > this.#silenceLimitMs) {
        throw new MillraceError('MR_SLOT_ACTIVE', { slot, pid: this.#slot.activePid ?? 'unknown' }, cause);
      }
    }
    if (this.#attempts >= retries) throw cause;
    const ceilingMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(this.#attempts, 16));
    const delayMs = Math.floor((ceilingMs / 2) * (1 + clock.random()));
    this.#attempts++;
    this.#lastError = reasonOf(cause);
    this.#reconnects.add(1);
    this.#errors.add(1);
    if (this.#brokenSinceMs === null) this.#events.record('stream_broken', () => ({ slot, error: reasonOf(cause) }));
    this.#brokenSinceMs ??= clock.now();
    logger.warn({ slot, attempt: this.#attempts, delayMs, reason: this.#lastError }, 'the replication stream broke; connecting again');
    await clock.sleep(delayMs, signal);
  }

  #tellReconnected(): void {
    const sinceMs = this.#brokenSinceMs;
    if (sinceMs === null) return;
    this.#brokenSinceMs = null;
    const { slot, clock } = this.#options;
    const attempts = this.#attempts;
    this.#events.record('stream_reconnected', () => ({ slot, attempts, duration_ms: elapsedMs(clock, sinceMs) }));
  }

  get #statusIntervalMs(): number {
    const { statusIntervalMs = DEFAULT_STATUS_INTERVAL_MS } = this.#options;
    const { walSenderTimeoutMs } = this.#slot;
    return walSenderTimeoutMs > 0 ? Math.min(statusIntervalMs, Math.ceil(walSenderTimeoutMs / 3)) : statusIntervalMs;
  }

  /** How long a server that we listen to may say nothing. It doubles with each time that it did: it may be at work on what it does not send. */
  get #silenceLimitMs(): number {
    return (this.#slot.walSenderTimeoutMs || DEFAULT_WAL_SENDER_TIMEOUT_MS) * 2 ** Math.min(this.#silences, 5);
  }

  /** At once, or a little later: a server that shuts down asks again after each answer. */
  #reportSoon(): void {
    this.#scheduleStatus(Math.max(0, this.#statusSentMs + MIN_STATUS_INTERVAL_MS - this.#options.clock.now()));
  }

  /** The timer runs whether somebody pulls or not (I10): a paused reader sees no request for a status. */
  #scheduleStatus(delayMs: number): void {
    if (!this.#isStreaming || this.#isClosed) return;
    const { clock } = this.#options;
    const dueMs = clock.now() + delayMs;
    if (dueMs >= this.#statusDueMs) return;
    this.#cancelStatus();
    this.#statusDueMs = dueMs;
    this.#cancelTimer = clock.after(delayMs, () => {
      this.#cancelStatus();
      this.#report();
      this.#checkSilence();
      this.#scheduleStatus(this.#statusIntervalMs);
    });
  }

  #cancelStatus(): void {
    this.#cancelTimer();
    this.#statusDueMs = Number.POSITIVE_INFINITY;
  }

  /** Says what was confirmed and nothing beyond (I1, I10). */
  #report(replyRequested = false): void {
    if (!this.#isStreaming) return;
    const nowMs = this.#options.clock.now();
    const lsn = this.#confirmedTs + 1n;
    const status = { writeLsn: lsn, flushLsn: lsn, applyLsn: lsn, clientTimeUs: BigInt(Math.trunc(nowMs)) * 1000n, replyRequested };
    this.#connection?.sendCopyData(encodeStandbyStatus(status));
    this.#statusSentMs = nowMs;
  }

  #checkSilence(): void {
    if (this.#waitingSinceMs === null) return;
    const silentMs = this.#options.clock.now() - this.#waitingSinceMs;
    if (silentMs > this.#silenceLimitMs) {
      this.#silences++;
      this.#connection?.destroy(`the server said nothing for ${silentMs} ms`);
    } else if (silentMs > this.#silenceLimitMs / 2) {
      this.#report(true);
    }
  }
}

const DEFAULT_MAX_DELIVERY_BYTES = 1024 * 1024;
const DEFAULT_STATUS_INTERVAL_MS = 10_000;
const DEFAULT_WAL_SENDER_TIMEOUT_MS = 60_000;
const MIN_STATUS_INTERVAL_MS = 100;
const RETRY_BASE_MS = 200;
const RETRY_CAP_MS = 10_000;
const GATHER_MS = 3;
/** A few transactions, each in a handful of packets, are no load. */
const BUSY_READS = 16;
/** Gathering that brings less than this delays single changes for nothing: it stops. */
const WORTH_GATHERING_BYTES = 2048;
