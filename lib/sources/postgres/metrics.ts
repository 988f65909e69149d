import type { MetricDefinition } from '../../flow/index.ts';

function metric(kind: 'counter' | 'gauge', name: string, help: string): MetricDefinition<never> {
  return { name, kind, labels: [], help };
}

/** What a PostgreSQL source says beyond what every source does. */
export const POSTGRES_METRICS = {
  reconnects: metric('counter', 'source_reconnects_total', 'How often the stream broke and is connected again.'),
  slotLag: metric(
    'gauge',
    'source_slot_lag_bytes',
    'WAL between what was confirmed to the server and the newest position that it has told of; absent before the stream begins.',
  ),
  walRetained: metric(
    'gauge',
    'source_wal_retained_bytes',
    'WAL that the server keeps for the slot, as of the last look at its catalog; absent before the first.',
  ),
} as const;
