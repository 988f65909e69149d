import { MillraceError } from '../../lib/errors.ts';
import { type PlainOptions, requireNumber } from '../../lib/flow/index.ts';
import type { Disk } from '../../lib/stores/disk.ts';
import { parseBytes, parseDurationMs } from '../../lib/units.ts';
import type { DeadLetterStore } from './dead-letters.ts';
import { DEFAULT_TABLE, type EventHandler } from './event.ts';
import { isName, NAME_BYTES_MAX } from './event-fault.ts';
import { type HintOptions, hintsByType } from './hints.ts';

/** What a recorder is told (spec event-recorder C3). Sizes are such as `64MiB` or a number of bytes, durations such as `5s` or a number of ms. */
export interface EventRecorderOptions<Policy extends OverflowPolicy = OverflowPolicy> {
  /** Where events go. */
  readonly handler: EventHandler;
  /** In logs and metrics. Default `events`. */
  readonly name?: string;
  /** The types that are recorded; left out: all, empty: none. */
  readonly eventTypes?: readonly string[];
  readonly hints?: HintOptions;
  /** Events in memory at most, those on the way to the handler included; with `spill` as many once more, which wait to be written. Default 2048. */
  readonly queueEvents?: number;
  /** Their bytes at most (`RecordedEvent.bytes`), as with `queueEvents`. Default 16MiB. */
  readonly queueBytes?: string | number;
  /**
   * What becomes of an event for which there is no room. `dropNewest` (default): it is refused. `dropOldest`: the oldest that is not on its way is dropped for it.
   * `block`: it is taken, and the promise that `record` then gives resolves when there is room; of a producer that does not wait, as much as the queue holds is
   * taken once more, then refused. `spill`: events stand in a log on disk before they are delivered, and beyond the queue only there.
   */
  readonly overflow?: Policy;
  /** Events after which a batch goes, at most `queueEvents`: a full queue waits for nothing. Default 100. */
  readonly batchEvents?: number;
  /** Bytes after which it goes, at most half of `queueBytes`. Default 1MiB. */
  readonly batchBytes?: string | number;
  /** It goes when its first event has waited for so long. Default 5s. */
  readonly linger?: string | number;
  readonly retry?: EventRetryOptions;
  /** How long one call of the handler may take; then it has failed, and its signal is aborted. Default 30s. */
  readonly handlerTimeout?: string | number;
  /** How long a call whose signal was aborted is waited for, before the next one or the end of `close`. Default 1s. */
  readonly abortGrace?: string | number;
  /**
   * What becomes of events whose last retry failed. `keep`: they are tried again for ever, and hold up what is behind them (default with `spill`). `drop`
   * (default otherwise); `deadLetter` (default where there is a store for them).
   */
  readonly whenExhausted?: ExhaustionPolicy;
  /** Where events go that the target refuses for good, and exhausted ones. Default: nowhere, they are dropped and counted. */
  readonly deadLetters?: DeadLetterStore;
  /** Needed for policy `spill`. */
  readonly spill?: SpillOptions;
  /** How often an event tells what was lost, while something is. Default 60s; false: never. */
  readonly lossSummary?: string | number | false;
  /** The table of that event: 1 to 63 bytes. Default `events`. */
  readonly lossTable?: string;
  /** A loss is logged at most so often. Default 10s. */
  readonly lossLog?: string | number;
}

export type OverflowPolicy = 'dropNewest' | 'dropOldest' | 'block' | 'spill';
export type ExhaustionPolicy = 'drop' | 'deadLetter' | 'keep';

export interface EventRetryOptions {
  /** Before the first retry. Default 1666 ms. */
  readonly base?: string | number;
  /** By how much each delay exceeds the one before. Default 2. */
  readonly factor?: number;
  /** No delay exceeds it. Default 5s. */
  readonly cap?: string | number;
  /** Default 3: four attempts. Not with `keep`. */
  readonly retries?: number;
  /** From the first failure of a group, how long it is tried again: no retry begins later. Default: none, `retries` alone bounds it. Not with `keep`. */
  readonly deadline?: string | number;
  /** `full`: a random part of each delay. Default false. */
  readonly jitter?: false | 'full';
  /**
   * Whether an error of `deliver` may pass. One that may not is as if the target had refused the events for good (`EventRejectedError`): they are not tried again, and of
   * several, halves find out which are to blame. Asked once for each call that fails; not about errors that say so themselves (a rejection, rows that do not fit their
   * table), nor about a call that was late or a handler that could not be opened: these may pass. One that throws, or answers with something else, has said yes.
   * Default: every error may.
   */
  readonly retryable?: (error: unknown) => boolean;
}

export interface SpillOptions {
  /** An absolute path, of this recorder alone. */
  readonly folder: string;
  /** Bytes that its files may take; beyond, events are refused. Default 1GiB. */
  readonly quota?: string | number;
  /** Bytes of one file, at most a quarter of `quota`: files go when all of their events are settled, and the last one stays. Default 16MiB. */
  readonly segment?: string | number;
  /** `always` (default): events are on the disk itself before they are delivered, and survive a power failure. `never`: they survive the end of the process only. */
  readonly fsync?: 'always' | 'never';
  /** Default: this machine's. */
  readonly disk?: Disk;
}

export type RecorderLimits = ReturnType<typeof recorderLimits>;

/** Every option, checked, with its default. @throws MR_INVALID_OPTION */
export function recorderLimits(options: EventRecorderOptions) {
  const { handler, name = 'events', eventTypes, retry = {}, overflow = 'dropNewest', deadLetters, spill, lossSummary = '60s' } = options;
  check(typeof handler?.deliver === 'function', 'handler', typeof handler, 'an event handler, such as stdoutEvents()');
  check(NAME.test(name), 'name', JSON.stringify(name), '1 to 128 letters, digits, ".", "_" or "-"');
  check(POLICIES.includes(overflow), 'overflow', overflow, POLICIES.join(', '));
  check(
    eventTypes === undefined || (Array.isArray(eventTypes) && eventTypes.every((type) => typeof type === 'string')),
    'eventTypes',
    typeof eventTypes,
    'a list of types',
  );
  check(
    (overflow === 'spill') === (spill !== undefined),
    'spill',
    spill === undefined ? 'missing' : 'given',
    'given with overflow spill, and only then',
  );
  const { whenExhausted = overflow === 'spill' ? 'keep' : deadLetters === undefined ? 'drop' : 'deadLetter' } = options;
  check(EXHAUSTIONS.includes(whenExhausted), 'whenExhausted', whenExhausted, EXHAUSTIONS.join(', '));
  check(whenExhausted !== 'deadLetter' || deadLetters !== undefined, 'deadLetters', 'missing', 'given with whenExhausted deadLetter');
  const { lossTable = DEFAULT_TABLE } = options;
  check(isName(lossTable), 'lossTable', JSON.stringify(lossTable), `a name of 1 to ${NAME_BYTES_MAX} bytes`);
  const queueBytes = parseBytes(options.queueBytes ?? '16MiB', 'queueBytes', { min: 1 });
  const queueEvents = requireNumber('queueEvents', options.queueEvents ?? 2048, 1, 2 ** 24);
  const batchEvents = requireNumber('batchEvents', options.batchEvents ?? 100, 1, 100_000);
  const batchBytes = parseBytes(options.batchBytes ?? '1MiB', 'batchBytes', { min: 1 });
  const base = parseDurationMs(retry.base ?? 1666, 'retry.base', { min: 1 });
  const jitter = retry.jitter ?? false;
  check(jitter === false || jitter === 'full', 'retry.jitter', String(jitter), 'false or full');
  const { retryable = () => true } = retry;
  check(typeof retryable === 'function', 'retry.retryable', typeof retryable, 'a function that says whether an error may pass');
  return Object.freeze({
    name,
    handler,
    eventTypes: eventTypes === undefined ? null : Object.freeze([...new Set(eventTypes)].sort()),
    hintsOf: hintsByType(options.hints),
    queueEvents,
    queueBytes,
    overflow: overflow as OverflowPolicy,
    batchEvents: Math.min(batchEvents, queueEvents),
    batchBytes: Math.min(batchBytes, Math.ceil(queueBytes / 2)),
    lingerMs: parseDurationMs(options.linger ?? '5s', 'linger', { min: 1 }),
    retry: Object.freeze({
      base,
      factor: requireNumber('retry.factor', retry.factor ?? 2, 1, 1000, true),
      cap: Math.max(base, parseDurationMs(retry.cap ?? '5s', 'retry.cap', { min: 1 })),
      retries: whenExhausted === 'keep' ? Number.POSITIVE_INFINITY : requireNumber('retry.retries', retry.retries ?? 3, 0, 1_000_000),
      deadline:
        whenExhausted === 'keep' || retry.deadline === undefined
          ? Number.POSITIVE_INFINITY
          : parseDurationMs(retry.deadline, 'retry.deadline'),
      jitter,
    }),
    retryable,
    handlerTimeoutMs: parseDurationMs(options.handlerTimeout ?? '30s', 'handlerTimeout', { min: 1 }),
    abortGraceMs: parseDurationMs(options.abortGrace ?? '1s', 'abortGrace'),
    whenExhausted,
    deadLetters: deadLetters ?? null,
    spill: spill === undefined ? null : spillLimits(spill),
    lossTable,
    lossSummaryMs: lossSummary === false ? null : parseDurationMs(lossSummary, 'lossSummary', { min: 1 }),
    lossLogMs: parseDurationMs(options.lossLog ?? '10s', 'lossLog'),
  });
}

function spillLimits({ folder, quota = '1GiB', segment = '16MiB', fsync = 'always', disk }: SpillOptions) {
  check(typeof folder === 'string' && folder.startsWith('/'), 'spill.folder', JSON.stringify(folder), 'an absolute path');
  check(fsync === 'always' || fsync === 'never', 'spill.fsync', String(fsync), 'always or never');
  const quotaBytes = parseBytes(quota, 'spill.quota', { min: 1 });
  return Object.freeze({
    folder,
    quotaBytes,
    segmentBytes: Math.min(parseBytes(segment, 'spill.segment', { min: 1024 }), Math.ceil(quotaBytes / 4)),
    syncs: fsync === 'always',
    disk: disk ?? null,
  });
}

/** As `describe` would print them: plain data, the same for the same options in whatever order types were given. */
export function plainRecorderOptions({ handler, hintsOf, retryable: _, deadLetters, spill, ...limits }: RecorderLimits): PlainOptions {
  const { retry } = limits;
  return {
    ...limits,
    retry: { ...retry, retries: boundOf(retry.retries), deadline: boundOf(retry.deadline) },
    handler: handler.name,
    hints: hintsOf(''),
    deadLetters: deadLetters?.name ?? null,
    spill:
      spill === null ? null : { folder: spill.folder, quotaBytes: spill.quotaBytes, segmentBytes: spill.segmentBytes, syncs: spill.syncs },
  };
}

function boundOf(value: number): number | string {
  return Number.isFinite(value) ? value : 'unlimited';
}

const NAME = /^[\w.-]{1,128}$/;
const POLICIES: readonly string[] = ['dropNewest', 'dropOldest', 'block', 'spill'];
const EXHAUSTIONS: readonly string[] = ['drop', 'deadLetter', 'keep'];

function check(ok: boolean, option: string, value: string, bound: string): void {
  if (!ok) throw new MillraceError('MR_INVALID_OPTION', { option, value, bound });
}
