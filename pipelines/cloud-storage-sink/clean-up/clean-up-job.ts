import { isMillraceError, reasonOf } from '../../../lib/errors.ts';
import { type Context, elapsedMs, errorText, type MetricDefinition } from '../../../lib/flow/index.ts';
import { dateComponent } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/object-store.ts';
import type { SinkSettings } from '../options.ts';
import type { Epoch } from '../root/epoch.ts';
import { type CleanUpJob, cleanUp, expiryDay } from './clean-up.ts';
import { nextTime } from './clean-up-times.ts';
import { NOTHING_CLEANED, readCleanedMark } from './cleaned-mark.ts';
import { PublishedTime } from './published-time.ts';

/** What clean-up counts. */
export const CLEAN_UP_METRICS = {
  runs: {
    name: 'cloud_storage_clean_up_total',
    kind: 'counter',
    labels: ['outcome'],
    help: 'Runs of clean-up: `done`, `skipped` (nothing is known to have expired, or the last run goes on), `failed`.',
  },
  files: counter('files', 'Files that clean-up removed, index files and sidecars among them.'),
  bytes: counter('bytes', 'Bytes of data files and sidecars that clean-up removed.'),
} as const satisfies Record<string, MetricDefinition<'outcome'> | MetricDefinition<never>>;

/** What clean-up needs of its sink. */
export interface CleanUpParts {
  readonly store: ObjectStore;
  readonly settings: Pick<SinkSettings, 'dateSeparator' | 'fileExpirationDays' | 'fileCleanupCronSpec'>;
  readonly context: Pick<Context, 'clock' | 'logger' | 'metrics' | 'events' | 'progress'>;
  readonly epoch: Pick<Epoch, 'check'>;
}

/** Who knows the checkpoint in `metadata`; null before the first. */
export interface Publisher {
  readonly publishedTs: bigint | null;
}

/**
 * Runs clean-up at the times of its cron spec, by the clock of the run (spec storage-sink §9.3). One run at a time; a failure is logged and ends that run alone.
 * Where it is off it keeps rows out of the folders that an earlier run of the pipeline has cleaned up, and does nothing else.
 */
export class CleanUp {
  readonly #parts: CleanUpParts;
  readonly #published = new PublishedTime();
  readonly #job: Pick<CleanUpJob, 'mark'> = { mark: NOTHING_CLEANED };
  #floor = '';
  #publisher: Publisher | null = null;
  #cancelTimer = () => {};
  #running: Promise<void> | null = null;
  #isClosed = false;

  constructor(parts: CleanUpParts) {
    this.#parts = parts;
  }

  /** Reads what earlier runs removed, once the target is this run's, and waits for the first time to run. Throws MR_STORAGE_FILE_MALFORMED and what the store throws. */
  async open(publisher: Publisher): Promise<void> {
    const { store, settings, context } = this.#parts;
    this.#publisher = publisher;
    if (settings.dateSeparator !== 'day') return;
    this.#job.mark = await readCleanedMark(store);
    this.#floor = this.#job.mark.floor;
    if (settings.fileExpirationDays > 0 && !this.#isClosed) this.#schedule(context.clock.now());
  }

  /**
   * The date of the folder that rows of this moment go to, in UTC: never one that has been cleaned up, also when the clock was set back, because nothing that is
   * there is read.
   */
  dateOfWrite(): string {
    const { context, settings } = this.#parts;
    const date = dateComponent(context.clock.now(), settings.dateSeparator);
    return settings.dateSeparator === 'day' && date < this.#floor ? this.#floor : date;
  }

  /** Whether a folder of that date has not been cleaned up: those of a month or a year never are. */
  takesRows(date: string): boolean {
    return this.#parts.settings.dateSeparator !== 'day' || date.length < 'YYYY-MM-DD'.length || date >= this.#floor;
  }

  /** The checkpoint has moved, or has been published. */
  noteCheckpoint(): void {
    this.#published.note(this.#parts.context.progress, this.#publisher?.publishedTs ?? null);
  }

  /** Begins no further run, and resolves when the one under way has ended: between two batches. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer();
    await this.#running;
  }

  #schedule(afterMs: number): void {
    const { clock } = this.#parts.context;
    const nextMs = nextTime(this.#parts.settings.fileCleanupCronSpec, afterMs);
    if (nextMs === null) return;
    this.#cancelTimer = clock.after(Math.max(0, nextMs - clock.now()), () => {
      this.#start();
      const nowMs = clock.now();
      // A timer can come a little early: its own time does not count again. One that comes much too early has another clock now.
      this.#schedule(nextMs - nowMs < EARLY_MS ? Math.max(nextMs, nowMs) : nowMs);
    });
  }

  #start(): void {
    const { logger } = this.#parts.context;
    if (this.#running !== null) {
      logger.warn({}, 'clean-up is due and the last run of it goes on: left out');
      this.#count('skipped');
      return;
    }
    this.#running = this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** Never fails. */
  async #run(): Promise<void> {
    const { store, settings, context, epoch } = this.#parts;
    const { clock, logger, metrics, events } = context;
    this.noteCheckpoint();
    const commitTimeMs = this.#published.ms;
    const publishedTs = this.#publisher?.publishedTs ?? null;
    if (commitTimeMs === null || publishedTs === null) {
      logger.info({}, 'clean-up left out: no transaction of this run has been published yet, so that nothing tells what has expired');
      this.#count('skipped');
      return;
    }
    const before = expiryDay(commitTimeMs, clock.now(), settings.fileExpirationDays);
    if (this.#floor < before) this.#floor = before;
    const startedMs = clock.now();
    const { files, bytes } = CLEAN_UP_METRICS;
    try {
      const removed = await cleanUp(
        Object.assign(this.#job, {
          ...{ store, before, publishedTs },
          checkEpoch: () => epoch.check(),
          isStopped: () => this.#isClosed,
          onKept: (path: string, reason: string) => logger.warn({ path, reason }, 'clean-up leaves a folder whose day has expired'),
          onRemoved: (count: number, size: number) => {
            metrics.counter(files, {}).add(count);
            metrics.counter(bytes, {}).add(size);
          },
        }),
      );
      // Another run may have written down more.
      if (this.#floor < this.#job.mark.floor) this.#floor = this.#job.mark.floor;
      logger.info({ before, ...removed, durationMs: clock.now() - startedMs }, 'clean-up removed data folders of expired days');
      events.record('clean_up_done', () => ({ before, ...removed, duration_ms: elapsedMs(clock, startedMs) }));
      this.#count('done');
    } catch (error) {
      if (this.#isClosed && isMillraceError(error, 'MR_STOPPED')) return;
      logger.error({ before, err: error }, `clean-up failed, the next run goes on: ${reasonOf(error)}`);
      events.record('clean_up_failed', () => ({ before, error: errorText(error) }));
      this.#count('failed');
    }
  }

  #count(outcome: 'done' | 'skipped' | 'failed'): void {
    this.#parts.context.metrics.counter(CLEAN_UP_METRICS.runs, { outcome }).add(1);
  }
}

const EARLY_MS = 1000;

function counter(name: string, help: string): MetricDefinition<never> {
  return { name: `cloud_storage_clean_up_${name}_total`, kind: 'counter', labels: [], help };
}
