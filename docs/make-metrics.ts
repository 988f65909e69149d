import { writeFileSync } from 'node:fs';
import { COMPONENT_METRICS, CUSTOM_TOTAL, type MetricDefinition } from '../lib/flow/index.ts';
import { METRIC_PREFIX } from '../lib/runtime/prometheus.ts';
import { RUN_METRICS } from '../lib/runtime/run-metrics.ts';
import { POSTGRES_METRICS } from '../lib/sources/postgres/metrics.ts';
import { CLEAN_UP_METRICS } from '../pipelines/cloud-storage-sink/clean-up/clean-up-job.ts';
import { GENERIC_SINK_METRICS, SINK_METRICS, SPOOL_METRICS } from '../pipelines/cloud-storage-sink/metrics.ts';
import { RECORDER_METRICS } from '../pipelines/event-recorder/metrics.ts';

/** Every metric there is, by the part that counts it. */
export const METRIC_GROUPS: Readonly<Record<string, readonly MetricDefinition[]>> = {
  'Each component': Object.values(COMPONENT_METRICS),
  'The run': Object.values(RUN_METRICS),
  'PostgreSQL as a source': Object.values(POSTGRES_METRICS),
  'The cloud storage sink': [...Object.values(SINK_METRICS), ...Object.values(GENERIC_SINK_METRICS)],
  'Its spool': Object.values(SPOOL_METRICS),
  'Its clean-up': Object.values(CLEAN_UP_METRICS),
  'An event recorder': Object.values(RECORDER_METRICS),
  'Of your own': [CUSTOM_TOTAL],
};

/** `docs/metrics.md`, made from the definitions: `tsx docs/make-metrics.ts` writes it, a spec fails when it is stale. */
export function metricsDocument(): string {
  const groups = Object.entries(METRIC_GROUPS).flatMap(([title, definitions]) => [
    `## ${title}`,
    '',
    '| metric | kind | labels | |',
    '|---|---|---|---|',
    ...definitions.map(metricRow),
    '',
  ]);
  return [...INTRO, ...groups].join('\n');
}

const INTRO = [
  '# Metrics',
  '',
  'Nothing listens unless it is asked for: `millrace capture --metrics-port 9464`, or `run(pipeline, { metricsPort: 9464 })`. A port alone is one of the',
  'loopback interface; `0.0.0.0:9464` or `[::1]:9464` names another, and whoever reaches it may read: there is no password, and no secret in what is read. 0 takes',
  'any free port, which the log tells. The port is given free when the run ends; each run has its own (`MR_METRICS_UNSERVED` where it is in use).',
  '',
  "- `/metrics`: Prometheus's text format, read at the moment of the scrape.",
  '- `/healthz`: 200 and `{"status":"ok","pipeline":"…","phase":"…"}` while the run is well, in whatever phase; 503 when it has failed or is ending.',
  '',
  `Every name begins with \`${METRIC_PREFIX}\`, and every series has the label \`pipeline\` beside those named below. Numbers are those of this run: a restart begins`,
  'anew. Positions (`…_ts`) are commit-ts, for PostgreSQL the LSN as a number of bytes.',
  '',
  'A component is the source, a stage or the sink; `kind` says which, `stage` is its name (the second of one name is `name#2`). An event is a block of rows, a schema',
  'change, a TRUNCATE or a syncpoint; resolved marks are none. Bytes are counted by delivery: those of the buffers in which its rows stand.',
  '',
  'The sink counts under the names of TiCDC, `millrace_` in place of `ticdc_sink_`; before its general ones `sink_` stays, with the suffixes of Prometheus. Where another number',
  'says the same there is no second: `batch_write_bytes` and `write_bytes_total` are `cloud_storage_flush_bytes` and its `_sum`, `dml_event_count` is',
  '`component_rows_out_total{kind="sink"}`.',
  '',
  'Worth an alert: `source_wal_retained_bytes` that grows (the disk of the server), `checkpoint_lag_seconds`, `source_tables{state="stopped"}` above 0,',
  '`run_phase{phase="reconnecting"}` that stays 1, `rate(component_errors_total[5m])`, and no scrape at all.',
  '',
  'The lag is of what was received: `checkpoint_lag_seconds` is 0 when everything that the source has told of (`source_ts`) is durable. While the stream is broken it tells of nothing, and the lag',
  'may stay 0, whatever is committed meanwhile; where the server cannot be reached at all, `source_wal_retained_bytes` stays at its last look.',
  '',
];

function metricRow({ name, kind, labels, help, buckets }: MetricDefinition): string {
  const bounds = buckets === undefined ? '' : ` Bounds: ${buckets[0]} to ${Number(buckets.at(-1)!.toFixed(6))}, each twice the one before.`;
  return `| \`${METRIC_PREFIX}${name}\` | ${kind} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help}${bounds} |`;
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file:').href) {
  writeFileSync(new URL('./metrics.md', import.meta.url), metricsDocument());
}
