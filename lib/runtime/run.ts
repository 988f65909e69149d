import { type Observable, Subscription } from 'rxjs';
import { catchError, tap } from 'rxjs/operators';
import { isMillraceError, MillraceError, reasonOf } from '../errors.ts';
import { type Clock, type Context, createContext, type Logger, Metrics, Progress, pump, silentLogger, systemClock } from '../flow/index.ts';
import type { OpenSource, SourceContext } from '../sources/source.ts';
import { formatBytes, formatDuration } from '../units.ts';
import { CheckpointLoop } from './checkpoint-loop.ts';
import { Closers } from './closers.ts';
import type { PipelineDefinition } from './define.ts';
import { type MetricsAddress, metricsAddress } from './metrics-server.ts';
import { type Place, takePlace } from './one-run.ts';
import { RunEvents } from './run-events.ts';
import { meterPipeline, RUN_METRICS, serveRunMetrics } from './run-metrics.ts';
import { checkOptions, type RunOptions } from './run-options.ts';
import type { OpenSink } from './sink.ts';
import { guardStage } from './stage-guard.ts';
import { type RunStatus, StatusBoard } from './status.ts';
import { whenTaken } from './when-taken.ts';

/** A run that was started. */
export interface Running {
  /** Status now, about twice a second, and a last one; completes when the run has ended. Never errors. */
  readonly status$: Observable<RunStatus>;
  /** Resolves when the run has ended well and everything is closed; rejects with the error that ended it. */
  readonly done: Promise<RunSummary>;
  /**
   * Ends the run; resolves and rejects as `done` does. With drain (the default) the source ends, everything accepted is flushed and the checkpoint
   * stored; without, what is not yet flushed is left to the next run. A stop without drain may follow one with drain.
   */
  stop(options?: { readonly drain?: boolean }): Promise<RunSummary>;
}

export interface RunSummary {
  /** Whether everything accepted was flushed and checkpointed; false after a stop without drain. */
  readonly drained: boolean;
  readonly checkpointTs: bigint;
  /** Rows, bytes and pieces (files) made durable by this run. */
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
  readonly tables: RunStatus['tables'];
}

const DRAIN_TIMEOUT_MS = 60_000;
/** Why a source's signal is aborted: one for all, because an exception takes a stack each time it is made. */
const STOPPING = new DOMException('The run stops', 'AbortError');

/**
 * Runs a pipeline: loads its checkpoint, opens sink and source, and moves deliveries from one to the other until it is stopped, fails, or the source ends.
 *
 * In plain words: this is what makes a definition happen.
 *
 * Any error ends the run: everything is closed and `done` rejects with it. The next run resumes from the checkpoint.
 *
 * @throws through `done`: MR_ALREADY_RUNNING, MR_METRICS_UNSERVED, MR_STAGE_FAILED, MR_STAGE_CONTRACT, MR_CHECKPOINT_FAILED, MR_DRAIN_TIMEOUT,
 * MR_SOURCE_FAILED, MR_SINK_FAILED, and the errors of the parts.
 */
export function run(definition: PipelineDefinition, options: RunOptions = {}): Running {
  return new Run(definition, options);
}

class Run implements Running {
  readonly status$: Observable<RunStatus>;
  readonly done: Promise<RunSummary>;
  readonly #definition: PipelineDefinition;
  readonly #options: RunOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #told: RunEvents;
  readonly #metricsAddress: MetricsAddress | null;
  readonly #board: StatusBoard;
  /** Aborted: the source ends its deliveries. */
  readonly #draining = new AbortController();
  /** Settles when the run must end at once: rejects with its error, resolves when it was stopped without drain. */
  readonly #halted: Promise<void>;
  readonly #stream = new Subscription();
  #resolveHalted: () => void = () => {};
  #rejectHalted: (error: unknown) => void = () => {};
  #isHalted = false;
  #loop: CheckpointLoop | null = null;
  readonly #closers: Closers;
  #cancelDrainTimer = () => {};
  #caughtUpAt: bigint | null = null;

  constructor(definition: PipelineDefinition, options: RunOptions) {
    checkOptions(options);
    this.#definition = definition;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#closers = new Closers(this.#clock, this.#logger);
    this.#metricsAddress = options.metricsPort === undefined ? null : metricsAddress(options.metricsPort, 'metricsPort');
    this.#told = new RunEvents(definition, options, this.#clock);
    this.#board = new StatusBoard(this.#clock, (status) => this.#stopIfCaughtUp(status));
    this.status$ = this.#board.status$;
    this.#halted = new Promise((resolve, reject) => {
      this.#resolveHalted = resolve;
      this.#rejectHalted = reject;
    });
    const stop = () => void this.stop();
    options.signal?.addEventListener('abort', stop, { once: true });
    if (options.signal?.aborted) stop();
    this.done = this.#run().finally(() => options.signal?.removeEventListener('abort', stop));
    // Whoever watches only `status$` is no reason to end the process for an unhandled rejection.
    this.done.catch(() => {});
    this.#halted.catch(() => {});
  }

  stop({ drain = true }: { readonly drain?: boolean } = {}): Promise<RunSummary> {
    if (!drain) {
      if (!this.#isHalted) this.#told.stopping(false);
      this.#halt();
      this.#draining.abort(STOPPING);
    } else if (!this.#draining.signal.aborted && !this.#isHalted) {
      this.#logger.info({ pipeline: this.#definition.name }, 'stopping: flushing what was accepted');
      this.#told.stopping(true);
      this.#board.draining();
      const timeoutMs = this.#options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS;
      this.#cancelDrainTimer = this.#clock.after(timeoutMs, () => this.#fail(this.#drainTimeout(timeoutMs)));
      this.#draining.abort(STOPPING);
    }
    return this.done;
  }

  #halt(): void {
    this.#isHalted = true;
    this.#resolveHalted();
  }

  #fail(error: unknown): void {
    this.#isHalted = true;
    this.#rejectHalted(error);
  }

  async #run(): Promise<RunSummary> {
    try {
      const steps = this.#steps();
      // After a halt what the steps still throw has nobody to hear it; before, the race hears it.
      steps.catch(() => {});
      await Promise.race([this.#halted, steps]);
    } catch (error) {
      // Stopped before its source was open: nothing was accepted, so there is nothing to drain.
      return await this.#end(isMillraceError(error, 'MR_STOPPED') ? null : { error });
    }
    return await this.#end(null);
  }

  async #steps(): Promise<void> {
    const { name, checkpoint: store } = this.#definition;
    const place = takePlace(store, name);
    this.#closers.add('checkpoint store', () => this.#closeStore(place));
    const metrics = this.#metricsAddress === null ? new Metrics() : await this.#unlessStopping(this.#serveMetrics(this.#metricsAddress));
    const loaded = await this.#part('MR_CHECKPOINT_FAILED', { pipeline: name, where: store.name }, () =>
      this.#unlessStopping(store.load(name)),
    );
    const progress = new Progress(loaded?.checkpointTs ?? 0n);
    this.#board.resumes(progress.checkpointTs);
    const context = createContext({ clock: this.#clock, logger: this.#logger, metrics, events: this.#told.events, progress });
    const sink = await this.#openSink(context);
    let confirm = (_checkpointTs: bigint) => {};
    const saves = metrics.histogram(RUN_METRICS.checkpointSave, {});
    const loop = new CheckpointLoop({
      pipeline: name,
      store,
      loaded,
      clock: this.#clock,
      events: this.#told.events,
      publish: (checkpointTs, final) => sink.publishCheckpoint(checkpointTs, final),
      confirm: (checkpointTs) => confirm(checkpointTs),
      onSaved: (durationMs) => saves.observe(durationMs / 1000),
      onFailure: (error) => this.#fail(error),
    });
    this.#loop = loop;
    const source = await this.#openSource({ context, loop, loaded, sink });
    confirm = (checkpointTs) => source.confirm(checkpointTs);
    await this.#part('MR_SINK_FAILED', { sink: this.#definition.sink.name }, () =>
      sink.claim(source.identity, { hasOrdinals: source.hasOrdinals ?? false }),
    );
    await loop.resume();
    this.#board.opened(context, source);
    if (this.#isAwaited) this.#caughtUpAt = source.headTs;
    this.#told.running(progress.checkpointTs);
    this.#logger.info({ pipeline: name, checkpointTs: progress.checkpointTs }, 'running');
    this.#stream.add(progress.checkpoint$.subscribe((checkpointTs) => checkpointTs > 0n && loop.advance(checkpointTs)));
    await this.#flow(source, sink, context);
    await loop.finish();
    // The source may store that a snapshot is complete when it hears the confirmation (I5), so it closes before the loop ends.
    await this.#closers.close('source');
    await loop.idle();
    if (!this.#isHalted) this.#told.drained(progress.checkpointTs);
  }

  async #serveMetrics(address: MetricsAddress): Promise<Metrics> {
    const { name: pipeline } = this.#definition;
    const serving = serveRunMetrics({
      ...{ pipeline, address, clock: this.#clock },
      status: () => this.#board.current,
      isWell: () => !this.#isHalted,
    });
    const served = await this.#register('metrics server', serving);
    this.#logger.info({ pipeline, url: served.url }, 'serving metrics');
    return served.metrics;
  }

  async #openSink(context: Context): Promise<OpenSink> {
    const { name, sink } = this.#definition;
    const open = async () => this.#register('sink', sink.open({ pipeline: name, context }));
    const details = { sink: sink.name };
    const timed = () => this.#told.events.timed('open_sink', () => details, open);
    return this.#part('MR_SINK_FAILED', details, () => this.#unlessStopping(timed()));
  }

  async #openSource({ context, loop, loaded, sink }: Opened): Promise<OpenSource> {
    const { name, source } = this.#definition;
    const { clock, logger, metrics, events } = context;
    const { signal } = this.#draining;
    if (signal.aborted) throw this.#stopped();
    try {
      return await this.#part('MR_SOURCE_FAILED', { source: source.name }, async () => {
        const checkpointTs = loaded?.checkpointTs ?? null;
        const state = loaded?.sourceState ?? null;
        const saveState: SourceContext['saveState'] = (newState) => loop.saveState(newState);
        const run = {
          pipeline: name,
          clock,
          logger,
          metrics,
          events,
          checkpointTs,
          state,
          targetIdentity: sink.identity,
          saveState,
          signal,
        };
        const open = async () => this.#register('source', source.open(run));
        return events.timed('open_source', () => ({ source: source.name }), open);
      });
    } catch (error) {
      if (!signal.aborted) throw error;
      this.#logger.info({ pipeline: name, reason: reasonOf(error) }, 'stopped before the source was open');
      throw this.#stopped();
    }
  }

  /** Nothing was accepted yet: a stop does not wait for what opens, but for its closing (`#register`). */
  async #unlessStopping<T>(opening: Promise<T>): Promise<T> {
    const { signal } = this.#draining;
    let stop = () => {};
    const stopping = new Promise<never>((_, reject) => {
      stop = () => reject(this.#stopped());
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
    });
    try {
      return await Promise.race([opening, stopping]);
    } finally {
      signal.removeEventListener('abort', stop);
      // Whoever lost the race is not asked any more.
      opening.catch(() => {});
    }
  }

  /** A part whose opening has begun is closed when it is open, and waited for, however the run ends meanwhile: it may hold what the next run needs. */
  #register<Part extends { close(): Promise<void> }>(part: string, opening: Promise<Part>): Promise<Part> {
    this.#closers.add(part, async () => {
      const opened = await opening.catch(() => null);
      await opened?.close();
    });
    return opening;
  }

  /** Resolves when every delivery has gone through the stages and the sink has completed. */
  #flow(source: OpenSource, sink: OpenSink, context: Context): Promise<void> {
    const { stages, source: sourceDefinition, sink: sinkDefinition } = this.#definition;
    const { maxBytesInFlight } = this.#options;
    const meters = meterPipeline(this.#definition, context.metrics);
    const emitted = pump(source.deliveries, maxBytesInFlight === undefined ? {} : { maxBytesInFlight }).pipe(
      tap((delivery) => meters.source.sent(delivery)),
      catchError((cause: unknown) => {
        meters.source.failed();
        throw inTable(cause, 'MR_SOURCE_FAILED', { source: sourceDefinition.name });
      }),
    );
    const arriving = stages
      .reduce((stream, stage, index) => stream.pipe(guardStage(stage, context, meters.stages[index]!)), emitted)
      .pipe(
        tap((delivery) => meters.sink.accepted(delivery)),
        whenTaken(() => this.#lookForCaughtUp(context)),
        catchError((error: unknown) => {
          // What a sink reports of an error that came down to it must not hide where it came from.
          this.#fail(error);
          throw error;
        }),
      );
    return new Promise((resolve, reject) => {
      this.#stream.add(
        sink.write(arriving).subscribe({
          next: (report) => {
            meters.sink.flushed(report);
            this.#board.flushed(report);
          },
          error: (cause: unknown) => {
            if (!this.#isHalted) meters.sink.failed();
            reject(inTable(cause, 'MR_SINK_FAILED', { sink: sinkDefinition.name }));
          },
          complete: resolve,
        }),
      );
    });
  }

  async #end(failure: { readonly error: unknown } | null): Promise<RunSummary> {
    const pipeline = this.#definition.name;
    const drained = failure === null && !this.#isHalted;
    this.#cancelDrainTimer();
    this.#isHalted = true;
    this.#stream.unsubscribe();
    this.#loop?.stop(failure?.error ?? this.#stopped());
    this.#draining.abort(STOPPING);
    await this.#closers.close();
    const { checkpointTs, rows, bytes, files, tables } = this.#board.close(failure === null ? 'closed' : 'failed');
    if (failure !== null) {
      this.#told.failed(failure.error, { checkpointTs, rows, bytes, files });
      this.#logger.error({ pipeline, checkpointTs, err: failure.error }, reasonOf(failure.error));
      throw failure.error;
    }
    this.#told.stopped(drained, { checkpointTs, rows, bytes, files });
    this.#logger.info({ pipeline, drained, checkpointTs, rows, bytes, files }, 'ended');
    return { drained, checkpointTs, rows, bytes, files, tables };
  }

  /** After the save in flight, so that whoever takes the store next does not meet it. */
  async #closeStore(place: Place): Promise<void> {
    place.leave();
    try {
      await this.#loop?.settled();
      await this.#definition.checkpoint.close?.(this.#definition.name);
    } finally {
      place.giveBack();
    }
  }

  /** One call of a part: what it throws becomes an error of the table. None begins after a halt. */
  async #part<T>(code: PartFailure, details: Record<string, string>, call: () => Promise<T>): Promise<T> {
    if (this.#isHalted) throw this.#stopped();
    try {
      return await call();
    } catch (cause) {
      const error = inTable(cause, code, details);
      if (details['where'] !== undefined) this.#told.checkpointFailed(details['where'], error);
      throw error;
    }
  }

  /** Whether it matters to anybody when the run has caught up. */
  get #isAwaited(): boolean {
    return this.#options.until === 'caught-up' || this.#options.events !== undefined;
  }

  /** At once when the mark comes, for a status costs more than a delivery; what changes without one is seen at the next tick. */
  #lookForCaughtUp({ progress }: Context): void {
    if (this.#options.until !== 'caught-up' || this.#draining.signal.aborted) return;
    if (this.#caughtUpAt === null || progress.resolvedTs < this.#caughtUpAt) return;
    this.#stopIfCaughtUp(this.#board.current);
  }

  /** Once everything up to the mark has reached the sink, the drain of the stop makes it durable. */
  #stopIfCaughtUp({ resolvedTs, phase, tables, checkpointTs }: RunStatus): void {
    if (this.#caughtUpAt === null || resolvedTs < this.#caughtUpAt || phase !== 'streaming') return;
    if (!Object.values(tables).every(({ snapshotDone, stopped }) => snapshotDone || stopped)) return;
    this.#caughtUpAt = null;
    this.#told.caughtUp(checkpointTs);
    if (this.#options.until === 'caught-up') void this.stop();
  }

  #stopped(): MillraceError {
    return new MillraceError('MR_STOPPED', { pipeline: this.#definition.name });
  }

  #drainTimeout(timeoutMs: number): MillraceError {
    const { pendingEvents, pendingBytes, checkpointTs } = this.#board.current;
    return new MillraceError('MR_DRAIN_TIMEOUT', {
      timeout: formatDuration(timeoutMs),
      pendingEvents,
      pendingBytes: formatBytes(pendingBytes),
      checkpointTs,
    });
  }
}

interface Opened {
  readonly context: Context;
  readonly loop: CheckpointLoop;
  readonly loaded: Awaited<ReturnType<PipelineDefinition['checkpoint']['load']>>;
  readonly sink: OpenSink;
}

type PartFailure = 'MR_SOURCE_FAILED' | 'MR_SINK_FAILED' | 'MR_CHECKPOINT_FAILED';

function inTable(cause: unknown, code: PartFailure, details: Record<string, string>): MillraceError {
  return cause instanceof MillraceError ? cause : new MillraceError(code, { ...details, reason: reasonOf(cause) }, cause);
}
