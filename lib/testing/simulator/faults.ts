import { MillraceError } from '../../errors.ts';
import { requireNumber } from '../../flow/index.ts';

/** From, to; both included. */
export type Range = readonly [min: number, max: number];

/** Chances, from 0 (default) to 1, that one call of an object store meets this. */
export interface StoreFaults {
  /** It fails, and has done nothing. */
  readonly before?: number;
  /** It has done what it was asked, and fails. */
  readonly after?: number;
  /** It is refused because there were too many (HTTP 503 SlowDown). */
  readonly throttled?: number;
  /** It fails after `timeoutMs`; what it was asked happens later than that, behind whatever others did meanwhile, or never. */
  readonly timeout?: number;
  /** Default 1000. */
  readonly timeoutMs?: number;
  /** How long after the failure it happens. Default 0 to 5000. */
  readonly lateMs?: Range;
  /** The share of timeouts after which it never happens. Default 0.5. */
  readonly never?: number;
}

/** Chances, from 0 (default) to 1, that one call of a disk meets this; `torn` at a crash. */
export interface DiskFaults {
  /** EIO, and nothing was done. */
  readonly fails?: number;
  /** A sync fails (EIO), and what was to be synced never becomes durable, though later syncs succeed. */
  readonly syncFails?: number;
  /** The disk is full (ENOSPC) for `fullMs`. */
  readonly full?: number;
  /** Default 100 to 2000. */
  readonly fullMs?: Range;
  /** The call takes `slowMs` longer. */
  readonly slow?: number;
  /** Default 100 to 5000. */
  readonly slowMs?: Range;
  /** A read of an open file gives one byte back wrong. */
  readonly corrupts?: number;
  /** At a crash, of the first write that is lost a part is there: cut anywhere, or as long as the whole with zeros for its rest. Default 0.5. */
  readonly torn?: number;
}

/** Chances, from 0 (default) to 1, that one message meets this. */
export interface LinkFaults {
  readonly loss?: number;
  /** It comes twice, the second right behind the first. */
  readonly duplicate?: number;
  /** It, and all behind it, take `delayMs` longer. */
  readonly delay?: number;
  /** Default 100 to 5000. */
  readonly delayMs?: Range;
  /** Its two ends are parted, both ways, for `partitionMs`. */
  readonly partition?: number;
  /** Default 500 to 10 000. */
  readonly partitionMs?: Range;
}

/** What befalls a node, at random times. */
export interface NodeFaults {
  /** The power fails about this often, in ms. Default never. */
  readonly crashEveryMs?: number;
  /** The process is killed about this often; what it wrote stays on its disk. Default never. */
  readonly killEveryMs?: number;
  /** It is down for so long after either. Default 0 to 2000. */
  readonly downMs?: Range;
  /** The process stands still about this often, in ms. Default never. */
  readonly pauseEveryMs?: number;
  /** Default 1000 to 30 000: longer than a lease. */
  readonly pauseMs?: Range;
  /** The chance, from 0 (default) to 1, that its event loop is busy for `stallMs` when something is to run. */
  readonly stall?: number;
  /** Default 1 to 200. */
  readonly stallMs?: Range;
  /** At each start its clock is wrong by up to this much, either way. Default 0. */
  readonly skewMs?: number;
}

/**
 * Takes chances from 0 to 1, times and sizes from 0.
 *
 * @throws MR_INVALID_OPTION naming the member, its value and the bound.
 */
export function checkFaults(faults: object): void {
  for (const [name, value] of Object.entries(faults) as [string, unknown][]) {
    const option = `faults.${name}`;
    if (value === undefined) continue;
    if (Array.isArray(value)) checkRange(option, value as unknown as Range);
    else requireNumber(option, value as number, 0, /(?:Ms|Bytes)$/.test(name) ? undefined : 1, true);
  }
}

/** @throws MR_INVALID_OPTION unless it is two times from 0, the longer one last. */
export function checkRange(option: string, range: Range): void {
  const [min, max] = range;
  if (range.length === 2 && min >= 0 && max >= min) return;
  throw new MillraceError('MR_INVALID_OPTION', {
    option,
    value: `[${String(range)}]`,
    bound: 'a range [min, max] in ms with 0 ≤ min ≤ max',
  });
}
