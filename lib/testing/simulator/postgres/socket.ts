import type { Clock } from '../../../flow/index.ts';
import type { WireSocket, WireSocketHandlers } from '../../../sources/postgres/wire-socket.ts';

/** What is going to happen to one connection. */
export interface LinkFate {
  /** It breaks when so many bytes have come from the server, or from the client; ∞ for never. */
  readonly breaksAfterDown: number;
  readonly breaksAfterUp: number;
  /** Which end is told that it broke; whoever is not hears nothing more: the client's kernel gives up after a minute. */
  readonly tells: 'both' | 'client' | 'server' | 'nobody';
  /** When so many bytes have come from the server nothing moves for `stallMs`, in either direction. */
  readonly stallsAfterDown: number;
  readonly stallMs: number;
}

export const FAIR_FATE: LinkFate = {
  ...{ breaksAfterDown: Number.POSITIVE_INFINITY, breaksAfterUp: Number.POSITIVE_INFINITY, tells: 'both' },
  ...{ stallsAfterDown: Number.POSITIVE_INFINITY, stallMs: 0 },
};

/** What the server's end hears. */
export interface ServerEndHandlers {
  /** Bytes have come from the client. */
  data(chunk: Buffer): void;
  /** The client has taken some: there may be room for more. */
  drained(): void;
  /** The client is gone. */
  closed(): void;
}

export interface LinkOptions {
  /** What the client hears, it hears on its own clock: nothing once its node has crashed, later while it is paused. */
  readonly clientClock: Clock;
  readonly serverClock: Clock;
  readonly random: () => number;
  readonly fate: LinkFate;
  readonly latencyMs: number;
  tellFault(what: string): void;
}

/**
 * A connection between a client and the simulated server: bytes in order, cut anywhere, until it breaks at any byte of either direction.
 *
 * The client's end is the socket of a real `WireConnection`. Bytes stand in the link until the client reads them, so that one that does not read holds up
 * the server.
 */
export class SimLink implements WireSocket {
  writable = true;
  readonly #options: LinkOptions;
  #client: WireSocketHandlers | null = null;
  #server: ServerEndHandlers | null = null;
  /** From server to client; `#from` bytes of the first are taken. */
  readonly #queue: Buffer[] = [];
  #from = 0;
  #queuedBytes = 0;
  #downBytes = 0;
  #upBytes = 0;
  #upAtMs = 0;
  #stalledUntilMs = 0;
  #isReading = false;
  #isScheduled = false;
  #isBroken = false;
  /** The server sends nothing more: behind what is queued the client hears the end. */
  #isEnded = false;
  #isClosed = false;
  #isServerTold = false;
  /** What is under way to the server is lost with the machine that it came from. */
  #isLostUp = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  // The client's end.

  get clientClock(): Clock {
    return this.#options.clientClock;
  }

  listen(handlers: WireSocketHandlers): void {
    this.#client = handlers;
  }

  resume(): void {
    this.#isReading = true;
    this.#schedule();
  }

  pause(): void {
    this.#isReading = false;
  }

  write(bytes: Uint8Array): void {
    if (!this.writable || this.#isBroken) return;
    const left = this.#options.fate.breaksAfterUp - this.#upBytes;
    this.#upBytes += bytes.length;
    const sent = Buffer.from(bytes.length <= left ? bytes : bytes.subarray(0, Math.max(0, left)));
    this.#toServer(() => {
      if (!this.#isLostUp) this.#server?.data(sent);
    });
    if (bytes.length >= left) this.#break();
  }

  /** The client lets go. The server hears of it, unless the link is broken. */
  destroy(): void {
    if (this.#isClosed) return;
    this.writable = false;
    if (!this.#isBroken) this.#toServer(() => this.#tellServer());
    this.#close();
  }

  afterRound(fn: () => void): void {
    // `queueMicrotask` makes an asynchronous resource of each call.
    void RESOLVED.then(fn);
  }

  // The server's end.

  accept(handlers: ServerEndHandlers): void {
    this.#server = handlers;
  }

  /** Bytes that the client has not taken. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  send(bytes: Buffer): void {
    if (this.#isBroken || this.#isEnded) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#schedule();
  }

  /** The server ends it in good order: what it has sent arrives before. */
  end(): void {
    this.#isEnded = true;
    this.#isServerTold = true;
    this.#schedule();
  }

  /** Breaks now; who is told decides the fate. */
  break(): void {
    this.#break();
  }

  /** The client's node has crashed: it hears nothing more. `isNoticed`: the server is told; else the connection is half open for it. */
  abandon(isNoticed: boolean): void {
    this.writable = false;
    this.#isBroken = true;
    this.#isClosed = true;
    this.#queue.length = 0;
    if (isNoticed) this.#toServer(() => this.#tellServer());
    else this.#isLostUp = true;
  }

  #schedule(): void {
    if (!this.#isReading || this.#isScheduled || this.#isClosed || this.#isBroken || (this.#queuedBytes === 0 && !this.#isEnded)) return;
    this.#isScheduled = true;
    const { clientClock, serverClock, random, latencyMs } = this.#options;
    const stalledMs = Math.max(0, this.#stalledUntilMs - serverClock.now());
    clientClock.after(stalledMs + Math.floor(random() * (latencyMs + 1)), () => {
      this.#isScheduled = false;
      if (!this.#isReading || this.#isClosed) return;
      if (this.#stalledUntilMs > serverClock.now()) this.#schedule();
      else this.#give();
    });
  }

  #give(): void {
    const { random, fate, serverClock } = this.#options;
    if (this.#queuedBytes === 0) {
      if (!this.#isEnded) return;
      this.#client?.end();
      this.#close();
      return;
    }
    // Now a byte or two, now everything.
    const wanted = random() < 0.1 ? 1 + Math.floor(random() * 12) : Math.ceil(CHUNK_BYTES ** (0.6 + 0.4 * random()));
    const untilBreak = fate.breaksAfterDown - this.#downBytes;
    const untilStall = this.#downBytes < fate.stallsAfterDown ? fate.stallsAfterDown - this.#downBytes : Number.POSITIVE_INFINITY;
    const length = this.#fill(Math.min(wanted, untilBreak, untilStall, this.#queuedBytes));
    this.#downBytes += length;
    if (length === untilStall) {
      this.#stalledUntilMs = serverClock.now() + fate.stallMs;
      this.#options.tellFault(`stalls for ${fate.stallMs} ms, after byte ${this.#downBytes} from the server`);
    }
    if (length > 0) this.#client?.data(chunk.subarray(0, length));
    if (length === untilBreak) this.#break();
    this.#schedule();
    if (!this.#isServerTold && !this.#isBroken) this.#server?.drained();
  }

  /** Takes so many bytes out of the queue into `chunk`. */
  #fill(length: number): number {
    let filled = 0;
    while (filled < length) {
      const first = this.#queue[0]!;
      const taken = Math.min(length - filled, first.length - this.#from);
      first.copy(chunk, filled, this.#from, this.#from + taken);
      filled += taken;
      this.#from += taken;
      if (this.#from < first.length) break;
      this.#queue.shift();
      this.#from = 0;
    }
    this.#queuedBytes -= filled;
    return filled;
  }

  /** In order, on the server's clock. */
  #toServer(fn: () => void): void {
    const { serverClock, random, latencyMs } = this.#options;
    const nowMs = serverClock.now();
    this.#upAtMs = Math.max(this.#upAtMs, this.#stalledUntilMs, nowMs + Math.floor(random() * (latencyMs + 1)));
    serverClock.after(this.#upAtMs - nowMs, fn);
  }

  #break(): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    const { tells } = this.#options.fate;
    this.#options.tellFault(`breaks, after bytes ${this.#downBytes} from the server and ${this.#upBytes} to it; told: ${tells}`);
    if (tells === 'both' || tells === 'server') this.#toServer(() => this.#tellServer());
    const isTold = tells === 'client' || tells === 'both';
    // A client that hears nothing has the kernel's keepalive, as `pg` sets it.
    this.#options.clientClock.after(isTold ? 0 : TCP_KEEPALIVE_MS, () => {
      if (this.#isClosed) return;
      this.writable = false;
      this.#client?.error(isTold ? 'read ECONNRESET' : 'read ETIMEDOUT');
      this.#close();
    });
  }

  #tellServer(): void {
    if (this.#isServerTold) return;
    this.#isServerTold = true;
    this.#server?.closed();
  }

  /** Nothing goes any more; the client is told so a moment later, as Node does. */
  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.writable = false;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#options.clientClock.after(0, () => this.#client?.close());
  }
}

const RESOLVED = Promise.resolve();
const TCP_KEEPALIVE_MS = 60_000;
/** The largest chunk that a read brings here. */
const CHUNK_BYTES = 16 * 1024;
/** What is given holds only during the call. */
const chunk = Buffer.alloc(CHUNK_BYTES + 1);
