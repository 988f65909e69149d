import { MillraceError } from '../errors.ts';
import { parseDurationMs } from '../units.ts';
import { type Clock, systemClock } from './clock.ts';
import { type EventPort, errorText, type ProducedColumn, recordQuietly } from './record-quietly.ts';

export interface SlowOperationOptions {
  readonly events: EventPort;
  /** Default `slow_operation`. */
  readonly type?: string;
  /** Default `slow_operations`. */
  readonly table?: string;
  /** An operation that took longer is recorded. Default `30s`. */
  readonly threshold?: string | number;
  /** Which part of the slow ones is recorded, 0 to 1. Default 1. */
  readonly sampleRatio?: number;
  /** Default: the real one. */
  readonly clock?: Clock;
}

/** One operation under way. */
export interface RunningOperation {
  /** Ends it; a second call does nothing. `force`: it is recorded whatever it took. `error`: it failed. Never throws. */
  end(result?: { readonly force?: boolean; readonly error?: unknown }): void;
  [Symbol.dispose](): void;
}

/** Watches operations and records those that are slow. */
export interface SlowOperations {
  /** `details`: a JSON value that is recorded with it; a function makes it only where it is recorded. */
  start(operation: string, details?: unknown): RunningOperation;
}

/**
 * Records operations that took longer than a threshold, or a sample of them: `using running = slow.start('flush', { table })`.
 *
 * @throws MR_INVALID_OPTION.
 */
export function slowOperations(options: SlowOperationOptions): SlowOperations {
  const { events, type = 'slow_operation', table = 'slow_operations', threshold = '30s', sampleRatio = 1, clock = systemClock } = options;
  const thresholdMs = parseDurationMs(threshold, 'threshold');
  if (!(sampleRatio >= 0 && sampleRatio <= 1)) {
    throw new MillraceError('MR_INVALID_OPTION', { option: 'sampleRatio', value: sampleRatio, bound: 'a number from 0 to 1' });
  }
  const isSampled = () => sampleRatio >= 1 || (sampleRatio > 0 && clock.random() < sampleRatio);
  return {
    start(operation, details = null) {
      const startMs = clock.now();
      let isEnded = false;
      const end: RunningOperation['end'] = ({ force = false, error } = {}) => {
        if (isEnded) return;
        isEnded = true;
        const costMs = clock.now() - startMs;
        if (!force && !(costMs > thresholdMs && isSampled())) return;
        recordQuietly(events, type, () => ({
          type,
          table,
          payload: typeof details === 'function' ? details() : details,
          extraSchema: SLOW_COLUMNS,
          extraRows: [[BigInt(Math.max(0, Math.round(costMs))), thresholdMs, operation, error === undefined ? null : errorText(error)]],
        }));
      };
      return { end, [Symbol.dispose]: () => end() };
    },
  };
}

const SLOW_COLUMNS: readonly ProducedColumn[] = Object.freeze(
  [
    { name: 'cost_ms', type: 'uint64', semantic: 'field', nullable: false },
    { name: 'threshold_ms', type: 'uint64', semantic: 'field', nullable: false },
    { name: 'operation', type: 'string', semantic: 'field', nullable: false },
    { name: 'error', type: 'string', semantic: 'field', nullable: true },
  ].map((column) => Object.freeze(column as ProducedColumn)),
);
