import { isMillraceError, type MillraceError } from '../errors.ts';
import { type Clock, elapsedMs, errorText, noSystemEvents, SystemEvents } from '../flow/index.ts';
import type { PipelineDefinition } from './define.ts';
import type { RunOptions } from './run-options.ts';

/** How far a run came. */
interface Reached {
  readonly checkpointTs: bigint;
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
}

/** What becomes of a run, told to whoever listens. */
export class RunEvents {
  /** For the parts of the run. */
  readonly events: SystemEvents;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #stoppingMs: number | null = null;

  constructor({ name, source, sink }: PipelineDefinition, options: RunOptions, clock: Clock) {
    this.events = systemEventsOf(name, options, clock);
    this.#clock = clock;
    this.#startedMs = clock.now();
    this.events.record('pipeline_started', () => ({ source: source.name, sink: sink.name }));
  }

  running(checkpointTs: bigint): void {
    this.events.record('pipeline_running', () => ({ checkpoint_ts: checkpointTs, duration_ms: this.#since(this.#startedMs) }));
  }

  caughtUp(checkpointTs: bigint): void {
    this.events.record('pipeline_caught_up', () => ({ checkpoint_ts: checkpointTs, duration_ms: this.#since(this.#startedMs) }));
  }

  stopping(drain: boolean): void {
    this.#stoppingMs ??= this.#clock.now();
    this.events.record('pipeline_stopping', () => ({ drain }));
  }

  drained(checkpointTs: bigint): void {
    const sinceMs = this.#stoppingMs;
    const durationMs = sinceMs === null ? null : this.#since(sinceMs);
    this.events.record('pipeline_drained', () => ({ checkpoint_ts: checkpointTs, duration_ms: durationMs }));
  }

  checkpointFailed(where: string, error: MillraceError): void {
    // Before its checkpoint was there, a stop waits for nobody.
    if (error.code === 'MR_STOPPED') return;
    this.events.record('checkpoint_failed', () => ({ where, code: error.code, error: errorText(error) }));
  }

  stopped(drained: boolean, reached: Reached): void {
    this.events.record('pipeline_stopped', () => ({ drained, ...this.#ended(reached) }));
  }

  failed(error: unknown, reached: Reached): void {
    this.events.record('pipeline_failed', () => ({
      code: isMillraceError(error) ? error.code : null,
      error: errorText(error),
      ...this.#ended(reached),
    }));
  }

  #ended({ checkpointTs, rows, bytes, files }: Reached) {
    return { checkpoint_ts: checkpointTs, rows, bytes, files, duration_ms: this.#since(this.#startedMs) };
  }

  #since(ms: number): number {
    return elapsedMs(this.#clock, ms);
  }
}

function systemEventsOf(pipeline: string, { events, slowThreshold, slowSampleRatio }: RunOptions, clock: Clock): SystemEvents {
  if (events === undefined) return noSystemEvents;
  return new SystemEvents({
    ...{ pipeline, events, clock },
    ...(slowThreshold !== undefined && { slowThreshold }),
    ...(slowSampleRatio !== undefined && { slowSampleRatio }),
  });
}
