import type { Logger } from '../flow/index.ts';
import { crc32Of } from '../formats/checksum.ts';
import type { Disk, DiskLock } from '../stores/disk.ts';
import { makeFolderDurably } from '../stores/durable-file.ts';
import { blobBytes, readBlob, writeFrame } from './blob.ts';
import { type Place, type Segment, SegmentFiles } from './segment-files.ts';
import { takeFolder } from './spool-folder.ts';

export interface SpoolLogParts {
  /** An absolute path, of this log alone. */
  readonly folder: string;
  readonly disk: Disk;
  readonly logger: Logger;
  /** Bytes after which another file is begun. */
  readonly segmentBytes: number;
  /** Whether what `append` wrote is on the disk itself when it resolves; otherwise the system may keep it for a while. */
  readonly syncs: boolean;
  /** Hears of each record that is there, in order, with its file. Whether it is needed, until `release`. */
  readonly onRecord: (record: LogRecord, segment: Segment) => boolean;
}

export interface LogRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A record that was read, and where it stands. */
export interface LogEntry extends LogRecord, Place {}

/**
 * The files of a spool as a log: what a process left there is read at the start of the next one, and forgotten file by file from the oldest, when it is not needed.
 *
 * A record is u32 length and u32 CRC-32 of its blob (little-endian), then the blob, as the spool has it (spec storage-sink §2.7). What a crash cut short, or made of
 * zeros, is no record: a file is read up to there, and never written again. So is a file after a failed write; what was to be written goes to the next one, and a
 * record may then stand twice.
 */
export class SpoolLog {
  readonly #parts: SpoolLogParts;
  readonly #files: SegmentFiles;
  #lock: DiskLock | null = null;
  #bytes = 0;

  private constructor(parts: SpoolLogParts) {
    const { disk, folder, segmentBytes, syncs, logger } = parts;
    this.#parts = parts;
    this.#files = new SegmentFiles({
      disk,
      folder,
      capacityBytes: segmentBytes,
      logger,
      outlives: syncs ? 'machine' : 'process',
      onRemoved: (bytes) => {
        this.#bytes -= bytes;
      },
    });
  }

  /** Takes the folder for this process and reads what is there. @throws MR_STATE_LOCKED; what the disk says. */
  static async open(parts: SpoolLogParts): Promise<SpoolLog> {
    const log = new SpoolLog(parts);
    log.#lock = await takeFolder(parts.folder, parts.disk, () => log.#recover());
    return log;
  }

  /** Bytes of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Writes records, one call at a time. After an error it is not known which of them are there.
   *
   * @param needed how many of them are needed until `release`; where none is, the system may keep them for a while, whatever `syncs` says.
   * @returns the place of each.
   */
  async append(records: readonly LogRecord[], needed: number): Promise<Place[]> {
    const buffer = Buffer.allocUnsafe(records.reduce((sum, record) => sum + recordBytes(record), 0));
    let at = 0;
    const offsets = records.map((record) => {
      const offset = at;
      at = writeRecord(buffer, at, record);
      return offset;
    });
    const { segment, offset } = await this.#files.append([buffer], at, needed);
    this.#bytes += at;
    return offsets.map((behind) => ({ segment, offset: offset + behind }));
  }

  /**
   * Some records from a place on (null: the beginning), at least one unless it is the end, and where to go on. Files without any that is needed are passed over.
   * What has become unreadable is left out, and logged.
   *
   * @returns null at the end.
   */
  async read(from: Place | null, maxBytes: number): Promise<{ entries: LogEntry[]; next: Place } | null> {
    for (const segment of this.#files.all()) {
      const offset = segment === from?.segment ? from.offset : 0;
      if (segment.refs === 0 || segment.id < (from?.segment.id ?? 0) || offset >= segment.size) continue;
      const entries = await this.#readSegment({ segment, offset }, maxBytes);
      const last = entries.at(-1);
      if (last !== undefined) return { entries, next: { segment, offset: last.offset + recordBytes(last) } };
      this.#parts.logger.error({ path: segment.path, offset, bytes: segment.size - offset }, 'a part of the log cannot be read any more');
    }
    return null;
  }

  /** So many records of this file are not needed any more. */
  release(segment: Segment, count = 1): void {
    this.#files.release(segment, count);
  }

  async close(): Promise<void> {
    try {
      await this.#files.close();
    } finally {
      await this.#lock?.release();
    }
  }

  async #recover(): Promise<void> {
    const { folder, disk, onRecord } = this.#parts;
    // It is there, but perhaps not for good.
    await makeFolderDurably(folder, disk);
    try {
      await this.#files.recover((content, segment) => {
        let [bytes, needed] = [0, 0];
        for (let found = recordAt(content, bytes); found !== null; found = recordAt(content, bytes)) {
          if (onRecord(found, segment)) needed++;
          bytes += recordBytes(found);
        }
        this.#bytes += bytes;
        return { bytes, needed };
      });
    } catch (error) {
      await this.#files.close();
      throw error;
    }
  }

  async #readSegment({ segment, offset }: Place, maxBytes: number): Promise<LogEntry[]> {
    const left = segment.size - offset;
    const file = await this.#parts.disk.open(segment.path, 'r');
    let chunk: Buffer;
    try {
      chunk = await file.read(offset, Math.min(maxBytes, left));
      const first = chunk.length < HEADER_BYTES ? 0 : HEADER_BYTES + chunk.readUInt32LE(0);
      if (first > chunk.length && first <= left) chunk = await file.read(offset, first);
    } finally {
      await file.close();
    }
    const entries: LogEntry[] = [];
    let at = 0;
    for (let found = recordAt(chunk, at); found !== null; found = recordAt(chunk, at)) {
      entries.push({ ...found, segment, offset: offset + at });
      at += recordBytes(found);
    }
    return entries;
  }
}

const HEADER_BYTES = 8;
const EMPTY = Buffer.alloc(0);

function recordBytes({ key, value }: LogRecord): number {
  return HEADER_BYTES + blobBytes(key.length, value.length);
}

/** Gives the place behind it. */
function writeRecord(buffer: Buffer, at: number, { key, value }: LogRecord): number {
  const blob = at + HEADER_BYTES;
  const keyAt = writeFrame(buffer, blob, key.length, value.length, 1);
  key.copy(buffer, keyAt);
  value.copy(buffer, keyAt + key.length);
  const end = keyAt + key.length + value.length;
  buffer.writeUInt32LE(end - blob, at);
  buffer.writeUInt32LE(crc32Of(buffer.subarray(blob, end)), at + 4);
  return end;
}

/** The record that begins there; null when there is none. */
function recordAt(content: Buffer, at: number): LogRecord | null {
  if (content.length - at < HEADER_BYTES) return null;
  const length = content.readUInt32LE(at);
  const blob = content.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
  const found = readBlob(blob, length, content.readUInt32LE(at + 4));
  return typeof found === 'string' ? null : { key: found.key ?? EMPTY, value: found.value };
}
