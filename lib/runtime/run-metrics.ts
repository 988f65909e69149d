import { type Clock, ComponentMetrics, distinctNames, exponentialBuckets, type MetricDefinition, Metrics } from '../flow/index.ts';
import type { PipelineDefinition } from './define.ts';
import { type MetricsAddress, serveMetrics } from './metrics-server.ts';
import type { RunPhase, RunStatus } from './status.ts';

function gauge<Label extends string = never>(name: string, help: string, labels: readonly Label[] = []): MetricDefinition<Label> {
  return { name, kind: 'gauge', labels, help };
}

/** The run as a whole. */
export const RUN_METRICS = {
  phase: gauge('run_phase', '1 for the phase that the run is in, 0 for the others.', ['phase']),
  checkpointTs: gauge('checkpoint_ts', 'Everything up to this commitTs is durable at the target.'),
  resolvedTs: gauge('resolved_ts', 'The source has emitted everything up to this commitTs.'),
  sourceTs: gauge('source_ts', 'The newest commitTs that the source has told of.'),
  checkpointLag: gauge(
    'checkpoint_lag_seconds',
    "How old the checkpoint is by the source's commit times; 0 when the target has all that the source has told of; absent while unknown.",
  ),
  pendingEvents: gauge('pending_events', 'Events that reached the sink and are not durable.'),
  pendingBytes: gauge('pending_bytes', 'Bytes, as they were encoded, that the sink has accepted and not made durable.'),
  snapshotRows: {
    name: 'source_snapshot_rows_total',
    kind: 'counter',
    labels: [],
    help: 'Rows of snapshots emitted.',
  } satisfies MetricDefinition<never>,
  tables: gauge('source_tables', 'Captured tables: whose snapshot is not complete, that stream, that were given up (the log says why).', [
    'state',
  ]),
  checkpointSave: {
    name: 'checkpoint_save_duration_seconds',
    kind: 'histogram',
    labels: [],
    help: 'How long saving a checkpoint or a state of the source took.',
    buckets: exponentialBuckets(0.001, 2, 15),
  } satisfies MetricDefinition<never>,
} as const;

/** What each part of a pipeline counts. */
export function meterPipeline({ source, stages, sink }: PipelineDefinition, metrics: Metrics) {
  const names = distinctNames(stages.map(({ operatorName }) => operatorName));
  return {
    source: new ComponentMetrics(metrics, 'source', source.name),
    stages: names.map((name) => new ComponentMetrics(metrics, 'stage', name)),
    sink: new ComponentMetrics(metrics, 'sink', sink.name),
  };
}

export interface ServedRun {
  readonly pipeline: string;
  readonly address: MetricsAddress;
  readonly clock: Clock;
  status(): RunStatus;
  /** False when the run ends, or has failed. */
  isWell(): boolean;
}

/**
 * The metrics of a run that somebody may look at, until they are closed.
 *
 * @throws MR_METRICS_UNSERVED
 */
export async function serveRunMetrics({
  pipeline,
  address,
  clock,
  status,
  isWell,
}: ServedRun): Promise<{ readonly metrics: Metrics; readonly url: string; close(): Promise<void> }> {
  // Loaded only here: most runs have nobody who looks.
  const { PrometheusExporter } = await import('./prometheus.ts');
  const exporter = new PrometheusExporter(pipeline);
  const metrics = new Metrics(exporter);
  watchRun(metrics, status);
  const server = await serveMetrics(
    address,
    {
      contentType: exporter.contentType,
      text: () => exporter.text(),
      health: () => ({ isWell: isWell(), details: { pipeline, phase: status().phase } }),
    },
    clock,
  );
  return { metrics, url: server.url, close: () => server.close().finally(() => exporter.clear()) };
}

/** Tells what a run's status says, whenever somebody looks. */
function watchRun(metrics: Metrics, status: () => RunStatus): void {
  const look = oncePerTurn(status);
  for (const phase of PHASES) metrics.watch(RUN_METRICS.phase, { phase }, () => (look().phase === phase ? 1 : 0));
  metrics.watch(RUN_METRICS.checkpointTs, {}, () => Number(look().checkpointTs));
  metrics.watch(RUN_METRICS.resolvedTs, {}, () => Number(look().resolvedTs));
  metrics.watch(RUN_METRICS.sourceTs, {}, () => Number(look().sourceTs));
  metrics.watch(RUN_METRICS.checkpointLag, {}, () => {
    const { lagMs } = look();
    return lagMs === null ? null : lagMs / 1000;
  });
  metrics.watch(RUN_METRICS.pendingEvents, {}, () => look().pendingEvents);
  metrics.watch(RUN_METRICS.pendingBytes, {}, () => look().pendingBytes);
  metrics.watch(RUN_METRICS.snapshotRows, {}, () => tablesOf(look()).reduce((sum, { snapshotRows }) => sum + snapshotRows, 0));
  const states = { stopped: 0, snapshot: 0, streaming: 0 };
  for (const state of Object.keys(states) as (keyof typeof states)[]) {
    metrics.watch(RUN_METRICS.tables, { state }, () => tablesOf(look()).filter((table) => stateOf(table) === state).length);
  }
}

type Table = RunStatus['tables'][string];

function tablesOf({ tables }: RunStatus): Table[] {
  return Object.values(tables);
}

function stateOf({ stopped, snapshotDone }: Table): 'stopped' | 'snapshot' | 'streaming' {
  if (stopped) return 'stopped';
  return snapshotDone ? 'streaming' : 'snapshot';
}

const PHASES: readonly RunPhase[] = ['starting', 'snapshot', 'streaming', 'reconnecting', 'draining', 'failed', 'closed'];

/** A scrape reads many numbers of one status within a turn, and a status looks at every table. */
function oncePerTurn<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    if (made === null) {
      made = { value: make() };
      queueMicrotask(() => {
        made = null;
      });
    }
    return made.value;
  };
}
