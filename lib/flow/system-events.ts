import { scrubText } from '../redact.ts';
import type { Clock } from './clock.ts';
import { type EventPort, recordQuietly } from './record-quietly.ts';
import { type RunningOperation, type SlowOperations, slowOperations } from './slow-operations.ts';
import type { SlowOperationDetails, SlowOperationName, SystemEventPayload, SystemEventType } from './system-event-types.ts';

/** Tables of what a run tells: names that no table of a user's is likely to have. */
export const SYSTEM_EVENTS_TABLE = 'millrace_events';
export const SLOW_OPERATIONS_TABLE = 'millrace_slow_operations';

export interface SystemEventsParts {
  /** Stands in each payload. */
  readonly pipeline: string;
  readonly events: EventPort;
  readonly clock: Clock;
  /** An operation that took longer is recorded. Default `30s`. */
  readonly slowThreshold?: string | number;
  /** Which part of the slow ones is recorded, 0 to 1. Default 1. */
  readonly slowSampleRatio?: number;
}

/**
 * Tells somebody what happens in a run. Whoever tells is never held up and never fails because of it (C5.40), and while nobody listens no payload is built.
 * Texts go without secrets, and bigints as texts, for JSON has none.
 */
export class SystemEvents {
  readonly #events: EventPort | null;
  readonly #pipeline: string;
  readonly #slow: SlowOperations | null;

  /** Without parts nobody listens. @throws MR_INVALID_OPTION. */
  constructor(parts: SystemEventsParts | null = null) {
    this.#events = parts?.events ?? null;
    this.#pipeline = parts?.pipeline ?? '';
    this.#slow = parts === null ? null : watchSlow(parts);
  }

  /** `payload` is called only when the event is wanted. Never throws. */
  record<Type extends SystemEventType>(type: Type, payload: () => SystemEventPayload<Type>): void {
    if (this.#events === null) return;
    recordQuietly(this.#events, type, () => ({ type, table: SYSTEM_EVENTS_TABLE, payload: this.#plain(payload()) }));
  }

  /** Begins an operation that may turn out to be slow; `details` is called only when it did. */
  slow<Name extends SlowOperationName>(operation: Name, details: () => SlowOperationDetails<Name>): RunningOperation {
    return this.#slow === null ? UNWATCHED : this.#slow.start(operation, () => this.#plain(details()));
  }

  /** `work`, as an operation that may turn out to be slow. */
  timed<Name extends SlowOperationName, T>(operation: Name, details: () => SlowOperationDetails<Name>, work: () => Promise<T>): Promise<T> {
    return this.#slow === null ? work() : this.#timed(this.slow(operation, details), work);
  }

  async #timed<T>(running: RunningOperation, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      running.end();
      return result;
    } catch (error) {
      running.end({ error });
      throw error;
    }
  }

  #plain(payload: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const plain: Record<string, unknown> = { pipeline: this.#pipeline };
    for (const [field, value] of Object.entries(payload)) plain[field] = Array.isArray(value) ? value.map(plainValue) : plainValue(value);
    return plain;
  }
}

/** Nobody listens. */
export const noSystemEvents = new SystemEvents();

function watchSlow({ events, clock, slowThreshold, slowSampleRatio }: SystemEventsParts): SlowOperations {
  return slowOperations({
    ...{ events, clock, table: SLOW_OPERATIONS_TABLE },
    ...(slowThreshold !== undefined && { threshold: slowThreshold }),
    ...(slowSampleRatio !== undefined && { sampleRatio: slowSampleRatio }),
  });
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'string') return scrubText(value);
  return typeof value === 'bigint' ? String(value) : value;
}

const UNWATCHED: RunningOperation = { end: () => {}, [Symbol.dispose]: () => {} };
