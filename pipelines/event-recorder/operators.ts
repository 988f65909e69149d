import type { TwoStageAck } from '../../lib/events/index.ts';
import type { Operator } from '../../lib/flow/index.ts';
import { flushBy, groupByType, retryBackoff, watermarkBackpressure } from '../../operators/index.ts';
import type { Entry } from './entry.ts';
import { FailedCall, type Settlement } from './handler-calls.ts';
import type { RecorderLimits } from './options.ts';

/** An entry on its way into the queue; its producer waits for the enqueue ack. */
export interface Arrival {
  readonly bytes: number;
  readonly ack: TwoStageAck;
  readonly entry: Entry;
}

/** Policy `block`: entries pass at once, and their producers are held above the high mark until the level is down at the low one. */
export function arrivals({ queueBytes }: RecorderLimits) {
  return watermarkBackpressure<Arrival>({ high: queueBytes, low: Math.min(queueBytes - 1, Math.floor(queueBytes * LOW_RATIO)) });
}

const LOW_RATIO = 0.75;

export function batches({ lingerMs, batchBytes, batchEvents }: RecorderLimits) {
  const since = ({ acceptedMs }: Entry) => acceptedMs;
  return flushBy<Entry>({ key: () => '', since, intervalMs: lingerMs, bytes: batchBytes, count: batchEvents });
}

export function groups() {
  return groupByType<Entry>({ type: ({ event }) => `${event.table}\0${event.type}` });
}

/** @param failingSinceMs since when these events fail, where they have done so in a larger group. */
export function attempts({ retry }: RecorderLimits, failingSinceMs: number | null = null) {
  return retryBackoff<Settlement>({ ...retry, failingSinceMs, retryable: (error) => error instanceof FailedCall && error.mayPass });
}

/** In the order in which events pass them, as `describe` prints them. */
export function recorderStages(limits: RecorderLimits): readonly Operator<never, unknown>[] {
  return [...(limits.overflow === 'block' ? [arrivals(limits)] : []), batches(limits), groups(), attempts(limits)];
}
