import type { SpoolLimits } from './limits.ts';

/** How full a spool is. Bytes are accounting bytes (`blobBytes`), the same for memory and disk. */
export interface SpoolLevel {
  readonly memoryBytes: number;
  /** Of entries that are not in memory: on disk, on the way there, or moved. */
  readonly diskBytes: number;
  /** What the files take, or will: a file goes when the last of its entries does, so it is more than `diskBytes`. The disk quota bounds this one. */
  readonly fileBytes: number;
  /** How many there are; one for which its owner keeps memory too counts once more for each 1.5 KiB of that. */
  readonly entries: number;
  /** Whether enqueue acks are held. */
  readonly isPaused: boolean;
}

export const EMPTY_LEVEL: SpoolLevel = levelOf(0, 0, 0, 0, false);

export type SpoolTier = 'memory' | 'disk';

export type SpoolInput =
  /** An entry comes; `isBehind`: others wait for disk quota before it; `count`: of how many entries it counts as. */
  | { readonly type: 'enqueue'; readonly bytes: number; readonly count: number; readonly isBehind: boolean }
  /** The bytes of an entry in memory are kept elsewhere from now on: it counts as on disk, and takes no room in files. */
  | { readonly type: 'move'; readonly bytes: number }
  /** An accepted entry goes. */
  | { readonly type: 'release'; readonly tier: SpoolTier; readonly bytes: number; readonly count: number }
  /** Files are gone, or room that an entry would have taken there is not needed. */
  | { readonly type: 'free'; readonly bytes: number };

/**
 * What becomes of an input: where the entry goes (`oversized`: to memory, because no disk quota would ever hold it; `wait`: nowhere, nothing is counted),
 * `resume` when held acks are to run, or nothing.
 */
export type SpoolOutput = SpoolTier | 'oversized' | 'wait' | 'resume' | 'none';

/**
 * One step of the budget (spec storage-sink §2.4, §2.5): memory first, then disk, within the quota; paused above the high marks, until at or below the low
 * ones, and sticky between.
 */
export function spoolStep(
  limits: SpoolLimits,
  level: SpoolLevel,
  input: SpoolInput,
): { readonly level: SpoolLevel; readonly output: SpoolOutput } {
  switch (input.type) {
    case 'enqueue': {
      const output = placeOf(limits, level, input.bytes, input.isBehind);
      return { level: output === 'wait' ? level : acquired(limits, level, output, input), output };
    }
    case 'release': {
      const left = released(level, input);
      if (!level.isPaused || !isLow(limits, left)) return { level: left, output: 'none' };
      const { memoryBytes, diskBytes, fileBytes, entries } = left;
      return { level: levelOf(memoryBytes, diskBytes, fileBytes, entries, false), output: 'resume' };
    }
    case 'move': {
      const { memoryBytes, diskBytes, fileBytes, entries, isPaused } = level;
      return { level: levelOf(memoryBytes - input.bytes, diskBytes + input.bytes, fileBytes, entries, isPaused), output: 'none' };
    }
    case 'free': {
      const { memoryBytes, diskBytes, fileBytes, entries, isPaused } = level;
      return { level: levelOf(memoryBytes, diskBytes, fileBytes - input.bytes, entries, isPaused), output: 'none' };
    }
    default:
      return input satisfies never;
  }
}

function placeOf(limits: SpoolLimits, level: SpoolLevel, bytes: number, isBehind: boolean): SpoolTier | 'oversized' | 'wait' {
  if (level.memoryBytes + bytes <= limits.memoryBytes) return 'memory';
  if (bytes > limits.diskQuotaBytes) return 'oversized';
  // Not past those who wait: a large one would wait for ever.
  return isBehind || level.fileBytes + bytes > limits.diskQuotaBytes ? 'wait' : 'disk';
}

interface Weight {
  readonly bytes: number;
  readonly count: number;
}

function acquired(limits: SpoolLimits, level: SpoolLevel, place: SpoolTier | 'oversized', { bytes, count }: Weight): SpoolLevel {
  const toDisk = place === 'disk' ? bytes : 0;
  const memoryBytes = level.memoryBytes + bytes - toDisk;
  const diskBytes = level.diskBytes + toDisk;
  const entries = level.entries + count;
  const isHigh = memoryBytes + diskBytes > limits.highBytes || entries > limits.highEntries;
  return levelOf(memoryBytes, diskBytes, level.fileBytes + toDisk, entries, level.isPaused || isHigh);
}

function released(level: SpoolLevel, { tier, bytes, count }: Weight & { readonly tier: SpoolTier }): SpoolLevel {
  const fromDisk = tier === 'disk' ? bytes : 0;
  const { memoryBytes, diskBytes, fileBytes, entries, isPaused } = level;
  return levelOf(memoryBytes - bytes + fromDisk, diskBytes - fromDisk, fileBytes, entries - count, isPaused);
}

/** Never below 0. One shape, made here alone: a spread of it costs more than all the rest of a step. */
function levelOf(memoryBytes: number, diskBytes: number, fileBytes: number, entries: number, isPaused: boolean): SpoolLevel {
  return {
    memoryBytes: Math.max(0, memoryBytes),
    diskBytes: Math.max(0, diskBytes),
    fileBytes: Math.max(0, fileBytes),
    entries: Math.max(0, entries),
    isPaused,
  };
}

function isLow(limits: SpoolLimits, { memoryBytes, diskBytes, entries }: SpoolLevel): boolean {
  return memoryBytes + diskBytes <= limits.lowBytes && entries <= limits.lowEntries;
}
