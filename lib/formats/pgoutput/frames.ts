import { malformed, POSTGRES_EPOCH_US, timeUs, u64 } from './fields.ts';

/** What a CopyData message of a replication stream holds (PostgreSQL, "Streaming Replication Protocol"). */
export const FrameKind = { xlogData: 0x77, keepalive: 0x6b } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/**
 * Reads the payloads of a replication stream's CopyData messages. Checked as a whole when read; LSNs and times are decoded when asked for, because
 * each row comes in a frame of its own and nearly nobody asks. Valid until the next `read`, and as long as the bytes are.
 */
export class ReplicationFrame {
  /** xlogData: where the pgoutput message begins; it ends where the frame does. */
  payloadAt = 0;
  /** keepalive: the server wants a status update now. */
  replyRequested = false;
  #kind: FrameKind = FrameKind.keepalive;
  #bytes: Buffer = EMPTY;
  #at = 0;

  /** Reads the frame of `bytes` from `at` to before `end`. Throws MR_PGOUTPUT_MALFORMED. */
  read(bytes: Buffer, at: number, end: number): FrameKind {
    if (!(at >= 0 && at < end && end <= bytes.length)) throw malformed('frame', 0, `no bytes from ${at} to ${end} of ${bytes.length}`);
    const kind = bytes[at]!;
    if (kind === FrameKind.xlogData) {
      if (end - at < 26) throw malformed('XLogData', end - at, `it has ${end - at} bytes and no message`);
      this.payloadAt = at + 25;
      this.replyRequested = false;
    } else if (kind === FrameKind.keepalive) {
      if (end - at !== 18) throw malformed('keepalive', Math.min(end - at, 18), `it has ${end - at} bytes instead of 18`);
      if (bytes[at + 17]! > 1) throw malformed('keepalive', 17, `a flag is ${bytes[at + 17]} instead of 0 or 1`);
      this.replyRequested = bytes[at + 17] === 1;
    } else {
      throw malformed('frame', 0, `${kind} is no kind of frame`);
    }
    this.#kind = kind;
    this.#bytes = bytes;
    this.#at = at;
    return kind;
  }

  /** xlogData: where its data stands in the WAL; it does not ascend from row to row (I2). Of a keepalive the same as `walEnd`. */
  get walStart(): bigint {
    return u64(this.#bytes, this.#at + 1);
  }

  /** The end of what the server has, as it said. Of row frames it resolves nothing (P1). */
  get walEnd(): bigint {
    return u64(this.#bytes, this.#kind === FrameKind.xlogData ? this.#at + 9 : this.#at + 1);
  }

  /** The server's clock when it sent the frame, microseconds since 1970 UTC. */
  get sendTimeUs(): bigint {
    return timeUs(this.#bytes, this.#kind === FrameKind.xlogData ? this.#at + 17 : this.#at + 9);
  }
}

const EMPTY = Buffer.alloc(18);

/** What a client tells the server of how far it has come: each LSN is that of the last byte *plus one*. */
export interface StandbyStatus {
  readonly writeLsn: bigint;
  /** The server may forget what stands before. */
  readonly flushLsn: bigint;
  readonly applyLsn: bigint;
  /** The client's clock, microseconds since 1970 UTC. */
  readonly clientTimeUs: bigint;
  /** Ask for a keepalive at once. Default false. */
  readonly replyRequested?: boolean;
}

/** A standby status update: 34 bytes, the payload of a CopyData message. */
export function encodeStandbyStatus(status: StandbyStatus): Buffer {
  const bytes = Buffer.allocUnsafe(34);
  bytes[0] = 0x72;
  bytes.writeBigUInt64BE(status.writeLsn, 1);
  bytes.writeBigUInt64BE(status.flushLsn, 9);
  bytes.writeBigUInt64BE(status.applyLsn, 17);
  bytes.writeBigInt64BE(status.clientTimeUs - POSTGRES_EPOCH_US, 25);
  bytes[33] = status.replyRequested === true ? 1 : 0;
  return bytes;
}
