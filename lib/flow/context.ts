import type { DispatcherId } from '../events/index.ts';
import { type Clock, systemClock } from './clock.ts';
import { Gauge } from './gauge.ts';
import { Metrics } from './metrics.ts';
import { Progress } from './progress.ts';
import { noSystemEvents, type SystemEvents } from './system-events.ts';

/** What Millrace asks of a logger; pino's is one. */
export interface Logger {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** The sessions with an event service: which epoch each dispatcher is in, and how to ask for a new one. */
export interface Sessions {
  /** 0 where there is no session. */
  epochOf(dispatcher: DispatcherId): bigint;
  requestReset(dispatcher: DispatcherId, reason: string): void;
}

/** The live things of one run, which operators use and definitions never hold. */
export interface Context {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Who is told what happens; by default nobody. */
  readonly events: SystemEvents;
  readonly sessions: Sessions;
  readonly gauge: Gauge;
  readonly progress: Progress;
}

const silent = () => {};
export const silentLogger: Logger = { debug: silent, info: silent, warn: silent, error: silent };

const noSessions: Sessions = { epochOf: () => 0n, requestReset: silent };

/** A context of its own for one run or one bare subscription, with `parts` in place of the defaults. */
export function createContext(parts: Partial<Context> = {}): Context {
  return {
    clock: systemClock,
    logger: silentLogger,
    sessions: noSessions,
    metrics: new Metrics(),
    events: noSystemEvents,
    gauge: new Gauge(),
    progress: new Progress(),
    ...parts,
  };
}
