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
