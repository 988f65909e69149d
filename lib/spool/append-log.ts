import { basename, dirname, join } from 'node:path';
import { reasonOf } from '../errors.ts';
import type { Logger } from '../flow/index.ts';
import { crc32Of } from '../formats/checksum.ts';
import type { Disk, DiskFile, DiskLock } from '../stores/disk.ts';
import { makeFolderDurably } from '../stores/durable-file.ts';
import { blobBytes, FRAME_BYTES, readBlob } from './blob.ts';

export interface AppendLogParts {
  /** An absolute path, of this log alone. */
  readonly folder: string;
  readonly disk: Disk;
  readonly logger: Logger;
  /** Bytes after which another file is begun. */
  readonly segmentBytes: number;
  /** Whether what `append` wrote is on the disk itself when it resolves; otherwise the system may keep it for a while. */
  readonly syncs: boolean;
  /** Hears of each record that is there, in order. */
  readonly onRecord: (record: LogRecord, segment: number) => void;
}

export interface LogRecord {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Between two records. */
export interface LogCursor {
  readonly segment: number;
  readonly offset: number;
}

/** A record that was read, and where it stands. */
export interface LogEntry extends LogRecord, LogCursor {}

/**
 * The durable sibling of the spool: records in files `log-000001.log` and on, written one behind another, read from any place, forgotten file by file from the oldest.
 *
 * A record is u32 length and u32 CRC-32 of its blob (little-endian), then the blob, as the spool has it (spec storage-sink §2.7). What a crash cut short, or made of
 * zeros, is no record: a file is read up to there, and never written again. So is a file after a failed write; what was to be written goes to the next one, and a
 * record may then stand twice.
 */
export class AppendLog {
  readonly #parts: AppendLogParts;
  readonly #lock: DiskLock;
  /** By number, ascending; with the bytes that are good. */
  readonly #segments = new Map<number, { size: number }>();
  #active: { readonly id: number; readonly file: DiskFile; size: number } | null = null;
  #reader: { readonly id: number; readonly file: DiskFile } | null = null;
  #lastId = 0;
  #bytes = 0;
  #removing: Promise<void> = Promise.resolve();

  private constructor(parts: AppendLogParts, lock: DiskLock) {
    this.#parts = parts;
    this.#lock = lock;
  }

  /** Takes the folder for this process and reads what is there. @throws MR_STATE_LOCKED; what the disk says. */
  static async open(parts: AppendLogParts): Promise<AppendLog> {
    const { folder, disk } = parts;
    await makeFolderDurably(dirname(folder), disk);
    const lock = await disk.lock(dirname(folder), basename(folder));
    try {
      const log = new AppendLog(parts, lock);
      await makeFolderDurably(folder, disk);
      await log.#recover();
      return log;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Bytes of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The file that is written now, or will be begun next. */
  get activeSegment(): number {
    return this.#active?.id ?? this.#lastId + 1;
  }

  /**
   * Writes records, one call at a time. After an error it is not known which of them are there.
   *
   * @param syncs false: the system may keep it for a while, whatever `syncs` of the log says.
   * @returns the place of each, and at the end of the last.
   */
  async append(records: readonly LogRecord[], syncs = true): Promise<LogCursor[]> {
    const bytes = records.reduce((sum, { key, value }) => sum + recordBytes(key, value), 0);
    if (this.#active !== null && this.#active.size > 0 && this.#active.size + bytes > this.#parts.segmentBytes) {
      if (this.#parts.syncs) await this.#active.file.sync();
      await this.#seal();
    }
    if (this.#active === null) await this.#rotate();
    const active = this.#active!;
    const buffer = Buffer.allocUnsafe(bytes);
    const places: LogCursor[] = [];
    let at = 0;
    for (const record of records) {
      places.push({ segment: active.id, offset: active.size + at });
      at = writeRecord(buffer, at, record);
    }
    try {
      await active.file.write([buffer]);
      if (syncs && this.#parts.syncs) await active.file.sync();
    } catch (error) {
      await this.#seal();
      throw error;
    }
    active.size += bytes;
    this.#bytes += bytes;
    this.#segments.get(active.id)!.size = active.size;
    places.push({ segment: active.id, offset: active.size });
    return places;
  }

  /**
   * Some records from a place on, at least one unless it is the end, and where to go on. What has become unreadable is left out, and logged.
   *
   * @returns null at the end.
   */
  async read(from: LogCursor, maxBytes: number): Promise<{ entries: LogEntry[]; next: LogCursor } | null> {
    let { segment, offset } = from;
    for (;;) {
      const size = this.#segments.get(segment)?.size ?? 0;
      if (offset < size) {
        const entries = await this.#readSegment(segment, offset, size, maxBytes);
        const last = entries.at(-1);
        if (last !== undefined) return { entries, next: { segment, offset: last.offset + recordBytes(last.key, last.value) } };
        this.#parts.logger.error(
          { folder: this.#parts.folder, segment, offset, bytes: size - offset },
          'a part of the log cannot be read any more',
        );
      }
      const following = [...this.#segments.keys()].find((id) => id > segment);
      if (following === undefined) return null;
      segment = following;
      offset = 0;
    }
  }

  /** Forgets all files before this one, the oldest first: a crash leaves none without those behind it. */
  removeBefore(segment: number): void {
    for (const [id, { size }] of this.#segments) {
      if (id >= segment || id === this.#active?.id) break;
      this.#segments.delete(id);
      this.#removing = this.#removing.then(() => this.#remove(id, size));
    }
  }

  async close(): Promise<void> {
    try {
      await this.#removing;
      if (this.#active !== null && this.#parts.syncs) await this.#active.file.sync().catch(() => {});
      await this.#seal();
      await this.#reader?.file.close();
    } finally {
      await this.#lock.release();
    }
  }

  async #recover(): Promise<void> {
    const { folder, disk, onRecord, logger } = this.#parts;
    for (const { name } of await disk.list(folder)) {
      const id = Number(NAME.exec(name)?.[1] ?? 0);
      if (id === 0) continue;
      const path = join(folder, name);
      // What the end of the process alone left behind is not durable yet.
      const file = await disk.open(path, 'a');
      try {
        await file.sync();
      } finally {
        await file.close();
      }
      const content = await disk.readFile(path);
      let offset = 0;
      for (let found = recordAt(content, offset); found !== null; found = recordAt(content, offset)) {
        onRecord(found, id);
        offset += recordBytes(found.key, found.value);
      }
      if (offset < content.length) {
        logger.warn(
          { path, offset, bytes: content.length - offset },
          'the end of a log file is no record, as after a crash: it is left out',
        );
      }
      this.#segments.set(id, { size: offset });
      this.#bytes += offset;
      this.#lastId = Math.max(this.#lastId, id);
    }
    await disk.syncFolder(folder);
  }

  async #rotate(): Promise<void> {
    const { folder, disk } = this.#parts;
    const id = ++this.#lastId;
    const file = await disk.open(join(folder, nameOf(id)), 'wx');
    try {
      await disk.syncFolder(folder);
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#active = { id, file, size: 0 };
    this.#segments.set(id, { size: 0 });
  }

  async #seal(): Promise<void> {
    const active = this.#active;
    this.#active = null;
    await active?.file.close();
  }

  async #remove(id: number, size: number): Promise<void> {
    const { folder, disk, logger } = this.#parts;
    try {
      if (this.#reader?.id === id) {
        const { file } = this.#reader;
        this.#reader = null;
        await file.close();
      }
      await disk.remove(join(folder, nameOf(id)));
      await disk.syncFolder(folder);
      this.#bytes -= size;
    } catch (error) {
      // The next start finds it again, with what settles its records behind it.
      this.#bytes -= size;
      logger.warn({ folder, segment: id, reason: reasonOf(error) }, 'a log file that is not needed any more could not be removed');
    }
  }

  async #readSegment(id: number, offset: number, size: number, maxBytes: number): Promise<LogEntry[]> {
    const file = await this.#fileOf(id);
    let chunk = await file.read(offset, Math.min(maxBytes, size - offset));
    if (chunk.length >= HEADER_BYTES) {
      const first = HEADER_BYTES + chunk.readUInt32LE(0);
      if (first > chunk.length && first <= size - offset) chunk = await file.read(offset, first);
    }
    const entries: LogEntry[] = [];
    let at = 0;
    for (let found = recordAt(chunk, at); found !== null; found = recordAt(chunk, at)) {
      entries.push({ ...found, segment: id, offset: offset + at });
      at += recordBytes(found.key, found.value);
    }
    return entries;
  }

  async #fileOf(id: number): Promise<DiskFile> {
    if (this.#reader?.id === id) return this.#reader.file;
    const { folder, disk } = this.#parts;
    const file = await disk.open(join(folder, nameOf(id)), 'r');
    const before = this.#reader;
    this.#reader = { id, file };
    await before?.file.close();
    return file;
  }
}

const NAME = /^log-(\d{6,})\.log$/;
const HEADER_BYTES = 8;
const EMPTY = Buffer.alloc(0);

function nameOf(id: number): string {
  return `log-${String(id).padStart(6, '0')}.log`;
}

function recordBytes(key: Buffer, value: Buffer): number {
  return HEADER_BYTES + blobBytes(key.length, value.length);
}

/** Gives the place behind it. */
function writeRecord(buffer: Buffer, at: number, { key, value }: LogRecord): number {
  const length = blobBytes(key.length, value.length);
  const blob = at + HEADER_BYTES;
  buffer.writeUInt32LE(1, blob);
  buffer.writeUInt32LE(key.length, blob + 4);
  buffer.writeUInt32LE(value.length, blob + 8);
  buffer.writeUInt32LE(1, blob + 12);
  key.copy(buffer, blob + FRAME_BYTES);
  value.copy(buffer, blob + FRAME_BYTES + key.length);
  buffer.writeUInt32LE(length, at);
  buffer.writeUInt32LE(crc32Of(buffer.subarray(blob, blob + length)), at + 4);
  return blob + length;
}

/** The record that begins there; null when there is none. */
function recordAt(content: Buffer, at: number): LogRecord | null {
  if (content.length - at < HEADER_BYTES) return null;
  const length = content.readUInt32LE(at);
  const blob = content.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
  const found = readBlob(blob, length, content.readUInt32LE(at + 4));
  return typeof found === 'string' ? null : { key: found.key ?? EMPTY, value: found.value };
}
