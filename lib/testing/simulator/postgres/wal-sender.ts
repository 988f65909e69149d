import type { Clock } from '../../../flow/index.ts';
import type { SimDatabase, SimTransaction } from './database.ts';
import { FrameWriter } from './frame-writer.ts';
import { streamFrames } from './pgoutput-frames.ts';
import type { SimSlot, SimSlots } from './slots.ts';
import type { SimLink } from './socket.ts';
import type { SimShape } from './table-shape.ts';

export interface WalSenderOptions {
  readonly database: SimDatabase;
  readonly slots: SimSlots;
  readonly slot: SimSlot;
  /** Transactions that commit here or behind it are sent. */
  readonly from: bigint;
  readonly link: SimLink;
  readonly clock: Clock;
  readonly random: () => number;
  /** 0: it waits for ever. */
  readonly timeoutMs: number;
  /** The stream is over, with an error or without: the server ends the session. */
  onEnd(error: { readonly sqlState: string; readonly reason: string } | null): void;
  /** The client has confirmed what this server never sent (I1), or what was never there. */
  onViolation(reason: string): void;
}

/**
 * One COPY BOTH session: sends the transactions of the WAL in commit order as the client takes them, each whole, and says now and then how far it has come.
 *
 * Rules of PostgreSQL that a client may not rest on: relation messages come again in each session and whenever the server feels like it; empty transactions
 * come or are left out; keepalives come at any place, inside a transaction too, and one outside is at the very place where the next may commit (P1).
 */
export class WalSender {
  readonly #options: WalSenderOptions;
  /** In `database.history`. */
  #next: number;
  /** Of the transaction that is being sent: a few frames each, and how many of them are sent. */
  #pieces: readonly Buffer[] = [];
  #sentPieces = 0;
  #current: SimTransaction | null = null;
  /** Everything that committed before was sent. */
  #sent: bigint;
  #toldWalEnd = 0n;
  readonly #described = new Map<number, SimShape>();
  readonly #forgetWrites: () => void;
  #cancelTimer = () => {};
  #heardMs: number;
  #hasAsked = false;
  #isOver = false;

  constructor(options: WalSenderOptions) {
    const { database, slot, clock } = options;
    this.#options = options;
    // P2: below what was confirmed it begins, without a word, at that.
    this.#sent = slot.confirmedFlush;
    if (options.from > this.#sent) this.#sent = options.from;
    this.#next = database.history.findIndex(({ commitTs }) => commitTs >= this.#sent);
    if (this.#next < 0) this.#next = database.history.length;
    this.#heardMs = clock.now();
    this.#forgetWrites = database.onWrite(() => this.send());
    this.#watch();
    if (this.#next < database.forgotten) this.#over({ sqlState: '58P01', reason: 'requested WAL segment has already been removed' });
  }

  /** The name of the slot that it streams from. */
  get slot(): string {
    return this.#options.slot.name;
  }

  /** Sends as long as the client takes. */
  send(): void {
    const { link } = this.#options;
    while (!this.#isOver && link.queuedBytes < WINDOW_BYTES) {
      if (this.#current === null && !this.#begin()) {
        this.#tellIdle();
        break;
      }
      link.send(this.#pieces[this.#sentPieces++]!);
      if (this.#sentPieces === this.#pieces.length) this.#finish();
    }
  }

  /** A standby status update: the client has everything before `flushLsn`. */
  confirmed(flushLsn: bigint, replyRequested: boolean): void {
    const { slots, slot, database, onViolation, clock } = this.#options;
    this.#heardMs = clock.now();
    this.#hasAsked = false;
    if (flushLsn > database.walEnd) onViolation(`${flushLsn} was confirmed and nothing is written beyond ${database.walEnd}`);
    else slots.confirm(slot, flushLsn);
    if (!replyRequested || this.#isOver) return;
    if (this.#current === null) this.#keepalive(this.#sent, false);
    else this.#keepalive(this.#current.commitTs, false);
  }

  /** The session is over; the slot is free. */
  stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    this.#forgetWrites();
    this.#options.slot.activePid = null;
  }

  #begin(): boolean {
    const { history } = this.#options.database;
    const { random } = this.#options;
    while (this.#next < history.length) {
      const transaction = history[this.#next]!;
      // Versions before 15 send those that hold nothing too.
      if (transaction.changes.length > 0 || random() < 0.5) {
        this.#current = transaction;
        this.#pieces = this.#piecesOf(transaction);
        this.#sentPieces = 0;
        return true;
      }
      this.#next++;
      this.#sent = transaction.endLsn;
    }
    return false;
  }

  #finish(): void {
    this.#sent = this.#current!.endLsn;
    this.#current = null;
    this.#next++;
    const { random, database } = this.#options;
    if (random() > 0.1) return;
    // Up to where the next one commits: it may be sent before that does.
    const next = database.history[this.#next];
    this.#keepalive(next !== undefined && random() < 0.5 ? next.commitTs : this.#sent, false);
  }

  #piecesOf(transaction: SimTransaction): Buffer[] {
    const { random, clock } = this.#options;
    const { changes, endLsn } = transaction;
    const pieces: Buffer[] = [];
    // An invalidation makes it describe a relation again that has not changed.
    if (random() < 0.03) this.#described.clear();
    const keepaliveAt = random() < 0.1 ? Math.floor(random() * changes.length) : -1;
    streamFrames.begin(frames, transaction);
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i]!;
      if (i === keepaliveAt) streamFrames.keepalive(frames, endLsn, timeUs(clock), random() < 0.1);
      if (change.kind === 'row') this.#describe(change.shape);
      else for (const shape of change.shapes) this.#describe(shape);
      streamFrames.change(frames, change);
      if (frames.length > PIECE_BYTES) pieces.push(frames.take());
    }
    streamFrames.commit(frames, transaction);
    pieces.push(frames.take());
    return pieces;
  }

  #describe(shape: SimShape): void {
    if (this.#described.get(shape.oid) === shape) return;
    this.#described.set(shape.oid, shape);
    streamFrames.relation(frames, shape);
  }

  /** All is sent: it says so soon, or when it is asked. */
  #tellIdle(): void {
    const { database, random } = this.#options;
    this.#sent = database.walEnd;
    if (this.#sent > this.#toldWalEnd && random() < 0.7) this.#keepalive(this.#sent, random() < 0.1);
  }

  #keepalive(walEnd: bigint, replyRequested: boolean): void {
    const { link, clock } = this.#options;
    if (walEnd > this.#toldWalEnd) this.#toldWalEnd = walEnd;
    streamFrames.keepalive(frames, walEnd, timeUs(clock), replyRequested);
    link.send(frames.take());
  }

  /** A client that says nothing is asked at half of the timeout, and given up at the whole. */
  #watch(): void {
    const { clock, timeoutMs } = this.#options;
    if (timeoutMs <= 0) return;
    const silentMs = clock.now() - this.#heardMs;
    if (silentMs >= timeoutMs) {
      this.#over(null);
      return;
    }
    if (silentMs >= timeoutMs / 2 && !this.#hasAsked) {
      this.#hasAsked = true;
      this.#keepalive(this.#current === null ? this.#sent : this.#current.commitTs, true);
    }
    const dueMs = this.#heardMs + (this.#hasAsked ? timeoutMs : timeoutMs / 2);
    this.#cancelTimer = clock.after(Math.max(1, dueMs - clock.now()), () => this.#watch());
  }

  #over(error: { sqlState: string; reason: string } | null): void {
    this.stop();
    this.#options.onEnd(error);
  }
}

function timeUs(clock: Clock): bigint {
  return BigInt(Math.trunc(clock.now() * 1000));
}

const frames = new FrameWriter();
const PIECE_BYTES = 2048;
/** What stands between server and client before the server waits. */
const WINDOW_BYTES = 8 * 1024;
