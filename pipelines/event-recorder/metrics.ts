import { exponentialBuckets, type MetricDefinition } from '../../lib/flow/index.ts';

/** What a recorder tells of itself (W13). */
export const RECORDER_METRICS = {
  accepted: counter('accepted_total', 'Events accepted.', ['recorder']),
  refused: counter('refused_total', 'Events not accepted, by reason.', ['recorder', 'reason']),
  delivered: counter('delivered_total', 'Events that the handler has taken.', ['recorder']),
  dropped: counter('dropped_total', 'Accepted events that were given up, by reason.', ['recorder', 'reason']),
  deadLettered: counter('dead_lettered_total', 'Those of them that were kept as dead letters.', ['recorder']),
  failures: counter('handler_failures_total', 'Calls of the handler that failed or took too long.', ['recorder']),
  retries: counter('handler_retries_total', 'Calls of the handler that repeated one before.', ['recorder']),
  pending: gauge('pending_events', 'Events accepted and not settled, those on disk included.'),
  queueEvents: gauge('queue_events', 'Those of them in memory.'),
  queueBytes: gauge('queue_bytes', 'Their bytes.'),
  inFlight: gauge('in_flight_events', 'Events of the batch that is on its way.'),
  oldestAge: gauge('oldest_age_seconds', 'How long the oldest event in memory has waited.'),
  spillBytes: gauge('spill_bytes', 'Bytes of the files of the spill.'),
  handlerDuration: {
    name: 'event_recorder_handler_duration_seconds',
    kind: 'histogram',
    labels: ['recorder'],
    help: 'How long one call of the handler took.',
    buckets: exponentialBuckets(0.001, 2, 16),
  } as MetricDefinition<'recorder'>,
} as const;

function counter<Label extends string>(name: string, help: string, labels: readonly Label[]): MetricDefinition<Label> {
  return { name: `event_recorder_${name}`, kind: 'counter', labels, help };
}

function gauge(name: string, help: string): MetricDefinition<'recorder'> {
  return { name: `event_recorder_${name}`, kind: 'gauge', labels: ['recorder'], help };
}
