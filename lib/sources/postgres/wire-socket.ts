import { Socket, type SocketConstructorOpts } from 'node:net';

/** What a socket tells the connection above it. */
export interface WireSocketHandlers {
  /** Bytes have come; they hold only during the call. */
  data(chunk: Uint8Array): void;
  /** It broke. */
  error(reason: string): void;
  /** The server sends nothing more. */
  end(): void;
  /** Nothing goes in either direction any more: the last that is told. */
  close(): void;
}

/** A port: the socket below a `WireConnection`. Of `node:net` in production, simulated in tests. */
export interface WireSocket {
  readonly writable: boolean;
  /** Takes the socket over: from now on `handlers` hear of everything, and nothing is read before `resume`. Called once. */
  listen(handlers: WireSocketHandlers): void;
  resume(): void;
  /** Stops reading at once. */
  pause(): void;
  write(bytes: Uint8Array): void;
  /** Ends it at once; `close` follows. */
  destroy(): void;
  /** Runs `fn` behind the present round of IO: everything that has arrived by now was given then. */
  afterRound(fn: () => void): void;
}

/** A socket of Node. */
export function nodeWireSocket(socket: Socket): WireSocket {
  return {
    get writable() {
      return socket.writable;
    },
    listen(handlers) {
      socket.removeAllListeners('data');
      socket.pause();
      if (socket instanceof PlainSocket) socket.feed = (chunk) => handlers.data(chunk);
      else socket.on('data', (chunk: Buffer) => handlers.data(chunk));
      socket.on('error', (error) => handlers.error(error.message));
      socket.on('end', () => handlers.end());
      socket.on('close', () => handlers.close());
    },
    resume: () => void socket.resume(),
    pause: () => void socket.pause(),
    write: (bytes) => void socket.write(bytes),
    destroy: () => void socket.destroy(),
    afterRound: (fn) => void setImmediate(fn),
  };
}

/**
 * A socket that reads into one buffer of its own: `pause` then stops reading at once (a stream's own buffer would go on packet by packet up to its mark),
 * and a read allocates nothing. Until the take-over it emits `data` for `pg`.
 */
export function plainSocket(): Socket {
  const onread = {
    buffer: Buffer.allocUnsafeSlow(READ_BYTES),
    callback: (length: number, buffer: Uint8Array) => {
      const chunk = buffer.subarray(0, length);
      if (socket.feed !== null) socket.feed(chunk);
      else socket.emit('data', Buffer.from(chunk));
      return true;
    },
  };
  // The constructor takes `onread` (as `connect` does); its type does not say so.
  const socket = new PlainSocket({ onread } as SocketConstructorOpts);
  return socket;
}

class PlainSocket extends Socket {
  feed: ((chunk: Uint8Array) => void) | null = null;
}

/** The most that one read brings. */
export const READ_BYTES = 64 * 1024;
