import { MillraceError } from '../errors.ts';
import { type Clock, type EventPort, type Logger, requireNumber } from '../flow/index.ts';
import { parseDurationMs } from '../units.ts';

export interface RunOptions {
  /** Default: silent. `createLogger` makes one of pino. */
  readonly logger?: Logger;
  /** Aborting it is `stop({ drain: true })`. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** `caught-up`: stop, drained, once everything that the source had when the run started is flushed. Default: run until stopped. */
  readonly until?: 'caught-up';
  /** A stop with drain fails with MR_DRAIN_TIMEOUT after this long. Default 60 s. */
  readonly drainTimeoutMs?: number;
  /** Bytes between source and sink at which the source waits. Default 8 MiB. */
  readonly maxBytesInFlight?: number;
  /**
   * While the run lasts, `/metrics` (Prometheus's text format) and `/healthz` are served at this port of the loopback interface, or at `host:port`; 0 takes any
   * free port, which the log tells. Default: nothing listens.
   */
  readonly metricsPort?: number | string;
  /**
   * Is told what happens in the run: an open event recorder (`eventRecorder({ … }).open()`), which stays open when the run ends. It never holds the run up, whatever it
   * does. Default: nobody.
   */
  readonly events?: EventPort;
  /** With `events`: an operation that took longer is recorded, as `slow_operation`. Default `30s`. */
  readonly slowThreshold?: string | number;
  /** With `events`: which part of the slow operations is recorded, 0 to 1. Default 1. */
  readonly slowSampleRatio?: number;
}

/** @throws MR_INVALID_OPTION */
export function checkOptions({ drainTimeoutMs, maxBytesInFlight, until, events, slowThreshold, slowSampleRatio }: RunOptions): void {
  if (drainTimeoutMs !== undefined) requireNumber('drainTimeoutMs', drainTimeoutMs, 0);
  if (maxBytesInFlight !== undefined) requireNumber('maxBytesInFlight', maxBytesInFlight, 1);
  if (slowThreshold !== undefined) parseDurationMs(slowThreshold, 'slowThreshold');
  if (slowSampleRatio !== undefined) requireNumber('slowSampleRatio', slowSampleRatio, 0, 1, true);
  if (events !== undefined && typeof events?.record !== 'function') {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'events', value: typeof events, bound: 'an open event recorder' });
  }
  if (until !== undefined && until !== 'caught-up') {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'until', value: String(until), bound: "'caught-up', or left out" });
  }
}
