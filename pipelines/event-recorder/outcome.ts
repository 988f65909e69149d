/**
 * Why an event was not accepted. `filtered`: its type is not recorded; `invalid`: it breaks a rule of spec event-recorder C2; `empty`: it has no row, so there
 * is nothing to record; `tooLarge`: it alone has more bytes than the queue; `overflow`: no room; `closed`: the recorder is closing or closed.
 */
export type RefusalReason = (typeof REFUSALS)[number];
export const REFUSALS = ['filtered', 'invalid', 'empty', 'tooLarge', 'overflow', 'closed'] as const;

/**
 * Why an accepted event was not delivered. `overflow`: it was the oldest (policy `dropOldest`); `exhausted`: its last retry failed; `rejected`: the target
 * refuses it for good; `closed`: the deadline of `close` had passed; `aborted`: the recorder was ended by its signal; `failed`: a defect of the recorder itself.
 */
export type DropReason = (typeof DROPS)[number];
export const DROPS = ['overflow', 'exhausted', 'rejected', 'closed', 'aborted', 'failed'] as const;

/** What became of a call of `record`. */
export type Outcome = AcceptedOutcome | RefusedOutcome;

export interface AcceptedOutcome {
  readonly accepted: true;
  readonly id: string;
  readonly seq: bigint;
}

export interface RefusedOutcome {
  readonly accepted: false;
  readonly reason: RefusalReason;
  /** What is wrong with it, where it is `invalid`. */
  readonly error?: Error;
}

/**
 * What became of all events, in numbers. At any time `accepted` = `delivered` + `pending` + the sum of `dropped` (G5), and `recorded` + `replayed` = `accepted` +
 * the sum of `refused`.
 */
export interface Tally {
  /** Calls of `record`, and loss summaries. */
  readonly recorded: number;
  /** Those that an earlier process had accepted and left in the spill. */
  readonly replayed: number;
  readonly accepted: number;
  readonly delivered: number;
  /** Accepted and neither delivered nor dropped: in the queue, on disk, or on the way. */
  readonly pending: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
  readonly refused: Readonly<Record<RefusalReason, number>>;
  /** How many of the dropped ones are dead letters. */
  readonly deadLettered: number;
}

/** What `close` gives. */
export interface CloseReport extends Tally {
  /** Whether everything was settled in time. With policy `spill` what is pending stays on disk, for the next start. */
  readonly isComplete: boolean;
}

/** `failing`: the last call of the handler failed. */
export type RecorderHealth = 'ok' | 'failing' | 'closing' | 'closed';

/** How a recorder is at the moment. */
export interface RecorderStatus extends Tally {
  readonly health: RecorderHealth;
  /** In memory, those on their way included. */
  readonly queueEvents: number;
  readonly queueBytes: number;
  /** Of the batch that is on its way. */
  readonly inFlight: number;
  /** How long the oldest in memory waits; null when there is none. */
  readonly oldestAgeMs: number | null;
  readonly spillBytes: number;
  /** Calls of the handler that failed, ever and since the last success. */
  readonly failures: number;
  readonly failuresInARow: number;
  readonly retries: number;
  /** Of the last call that failed, in words; null after a success. */
  readonly lastError: string | null;
}
