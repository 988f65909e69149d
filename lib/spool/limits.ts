import { formatBytes } from '../units.ts';

/** What a spool is told. A member that is left out or 0 has its default (spec storage-sink §2.2). */
export interface SpoolLimitOptions {
  /** Bytes that the files of the spool may take. Default 10 GiB. */
  readonly diskQuotaBytes?: number;
  /** Bytes of entries that stay in memory; what comes beyond goes to disk. Default 64 MiB: it does not grow with the disk quota. */
  readonly memoryBytes?: number;
  /** Bytes of one file. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Share of the disk quota above which enqueue acks are held, memory and disk together. Default 0.8; below 1. */
  readonly highRatio?: number;
  /** Share of it at which they run again; below `highRatio`. Default 0.6. */
  readonly lowRatio?: number;
}

/** Every limit of a spool. */
export interface SpoolLimits {
  readonly diskQuotaBytes: number;
  readonly memoryBytes: number;
  readonly segmentBytes: number;
  readonly highBytes: number;
  readonly lowBytes: number;
  /** As `highBytes` and `lowBytes`, of how many there are (`SpoolLevel`): each entry keeps a little in memory wherever its bytes are. */
  readonly highEntries: number;
  readonly lowEntries: number;
}

/**
 * The limits of a spool. A value that makes no sense is replaced by its default, and `note` told: negative bytes, a ratio outside 0 to 1, and both ratios
 * when the low one is not below the high one.
 */
export function spoolLimits(options: SpoolLimitOptions = {}, note: (text: string) => void = () => {}): SpoolLimits {
  const bytes = (name: 'diskQuotaBytes' | 'memoryBytes' | 'segmentBytes', byDefault: number) => {
    const value = options[name] ?? 0;
    if (Number.isSafeInteger(value) && value > 0) return value;
    if (value !== 0) note(`${name} is ${value}, no size: ${formatBytes(byDefault)} is used`);
    return byDefault;
  };
  const ratio = (name: 'highRatio' | 'lowRatio', byDefault: number) => {
    const value = options[name] ?? 0;
    if (value > 0 && value < 1) return value;
    if (value !== 0) note(`${name} is ${value}, not between 0 and 1: ${byDefault} is used`);
    return byDefault;
  };
  const diskQuotaBytes = bytes('diskQuotaBytes', DISK_QUOTA_BYTES);
  const memoryBytes = bytes('memoryBytes', MEMORY_BYTES);
  let [high, low] = [ratio('highRatio', HIGH_RATIO), ratio('lowRatio', LOW_RATIO)];
  if (low >= high) {
    note(`lowRatio is ${low}, not below highRatio, which is ${high}: ${LOW_RATIO} and ${HIGH_RATIO} are used`);
    [high, low] = [HIGH_RATIO, LOW_RATIO];
  }
  const highEntries = Math.max(ENTRIES_MIN, Math.trunc(memoryBytes / BYTES_KEPT_PER_ENTRY));
  return Object.freeze({
    diskQuotaBytes,
    memoryBytes,
    segmentBytes: bytes('segmentBytes', SEGMENT_BYTES),
    highBytes: Math.trunc(diskQuotaBytes * high),
    lowBytes: Math.trunc(diskQuotaBytes * low),
    highEntries,
    lowEntries: Math.trunc(highEntries * 0.75),
  });
}

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const DISK_QUOTA_BYTES = 10 * GIB;
const MEMORY_BYTES = 64 * MIB;
const SEGMENT_BYTES = 64 * MIB;
const HIGH_RATIO = 0.8;
const LOW_RATIO = 0.6;
/** What an entry on disk keeps in memory is bounded by the memory tier once more: about so much it takes, with its acks and all who wait for them. */
export const BYTES_KEPT_PER_ENTRY = 1536;
/** However small the memory tier is: else a spool that is meant for the disk could not fill a file. */
const ENTRIES_MIN = 16_384;
