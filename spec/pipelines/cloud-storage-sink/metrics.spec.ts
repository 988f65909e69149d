import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { Delivery, type DmlEvent, ddlEvent, dmlEvent, RowBlockWriter } from '../../../lib/events/index.ts';
import { createContext, type MetricDefinition, Metrics } from '../../../lib/flow/index.ts';
import { PrometheusExporter } from '../../../lib/runtime/prometheus.ts';
import type { SpoolStatus } from '../../../lib/spool/index.ts';
import { MemoryStore } from '../../../lib/stores/memory.ts';
import {
  GENERIC_SINK_METRICS,
  meterSpool,
  SINK_METRICS,
  SPOOL_METRICS,
  WriteMeter,
} from '../../../pipelines/cloud-storage-sink/metrics.ts';
import { cloudStorage } from '../../../pipelines/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { boundsOf, parseScrape } from '../../support/scrape.ts';
import { settle, table } from '../../support/sink-world.ts';

/** Definitions as they are served. */
async function servedAs(definitions: readonly MetricDefinition[]) {
  const exporter = new PrometheusExporter('p');
  const metrics = new Metrics(exporter);
  for (const definition of definitions) {
    const labels = Object.fromEntries(definition.labels.map((label) => [label, 'x']));
    if (definition.kind === 'histogram') metrics.histogram(definition, labels).observe(1);
    else metrics.watch(definition, labels, () => 1);
  }
  return parseScrape(await exporter.text());
}

const KIB = 1024;
const MS = 0.001;

/** spec storage-sink §8, the names of HEAD */
describe('the metrics of the cloud storage sink', () => {
  it.each<[string, 'histogram' | 'counter' | 'gauge', readonly string[], readonly [first: number, count: number] | null]>([
    ['cloud_storage_flush_bytes', 'histogram', [], [KIB, 20]],
    ['cloud_storage_flush_duration_seconds', 'histogram', [], [MS, 15]],
    ['cloud_storage_ddl_flush_dml_duration_seconds', 'histogram', [], [MS, 16]],
    ['cloud_storage_worker_busy_ratio', 'counter', ['id'], null],
    ['cloud_storage_spool_memory_bytes', 'gauge', [], null],
    ['cloud_storage_spool_disk_bytes', 'gauge', [], null],
    ['cloud_storage_pending_post_enqueue', 'gauge', [], null],
    ['cloud_storage_spool_disk_quota_wait_duration_seconds', 'histogram', [], [MS, 16]],
    ['cloud_storage_spool_disk_quota_waiters', 'gauge', [], null],
    ['cloud_storage_load_bytes', 'histogram', [], [KIB, 20]],
    ['cloud_storage_rotate_total', 'counter', [], null],
    ['cloud_storage_spool_segment_count', 'gauge', [], null],
    ['cloud_storage_flush_total', 'counter', ['reason'], null],
    ['sink_batch_row_count', 'histogram', [], [1, 21]],
    ['sink_execution_error_total', 'counter', ['event_type'], null],
    ['sink_ddl_exec_duration_seconds', 'histogram', ['type'], [MS, 16]],
    ['sink_checkpoint_ts_message_duration_seconds', 'histogram', [], [MS, 16]],
  ])('%s is a %s with the labels %j and the bounds %j of the spec', async (name, kind, labels, bounds) => {
    const scrape = await servedAs([SINK_METRICS, GENERIC_SINK_METRICS, SPOOL_METRICS].flatMap((group) => Object.values(group)));
    const served = `millrace_${name}`;
    expect(scrape.types.get(served)).toBe(kind);
    const expected = bounds === null ? [] : Array.from({ length: bounds[1] }, (_, index) => bounds[0] * 2 ** index);
    expect(boundsOf(scrape, served)).toEqual(expected);
    const own = labels.map((label) => `${label}="x"`);
    const shown = kind === 'histogram' ? ['pipeline="p"', ...own] : [...own, 'pipeline="p"'];
    expect(scrape.series.get(`${served}${kind === 'histogram' ? '_count' : ''}{${shown.join(',')}}`)).toBe(1);
  });

  it('count each data file by its size and by what made it due, and what a schema change waited for', async () => {
    const users = table('users', 1n, ['id', 'name'], ['id']);
    const wider = table('users', 2n, ['id', 'name', 'age'], ['id']);
    const clock = manualClock();
    const exporter = new PrometheusExporter('p');
    const context = createContext({ clock, metrics: new Metrics(exporter) });
    const store = new MemoryStore();
    const sink = await cloudStorage({ store, protocol: 'canal-json' }).open({ pipeline: 'p', context });
    await sink.claim({ source: 'world' });
    const deliveries = new Subject<Delivery>();
    const bytes: number[] = [];
    const done = new Promise<void>((resolve, reject) => {
      sink.write(deliveries).subscribe({
        next: (report) => (report.rows > 0 ? bytes.push(report.bytes) : undefined),
        error: reject,
        complete: resolve,
      });
    });
    const row = (commitTs: bigint, of = users): DmlEvent =>
      dmlEvent(
        new RowBlockWriter(of)
          .beginTransaction(commitTs)
          .insert({ id: String(commitTs), name: 'x' })
          .build(),
      );
    deliveries.next(new Delivery([row(10n)]));
    clock.advance(5000);
    await settle();
    deliveries.next(new Delivery([row(11n)]));
    deliveries.next(new Delivery([ddlEvent({ position: { commitTs: 12n, ordinal: 0 }, commitTimeUs: 0n, table: wider })]));
    await settle();
    deliveries.next(new Delivery([row(13n, wider)]));
    deliveries.complete();
    await done;
    const { series } = parseScrape(await exporter.text());
    const value = (name: string) => series.get(`millrace_cloud_storage_${name}`);
    expect(bytes).toHaveLength(3);
    expect(value('flush_bytes_count{pipeline="p"}')).toBe(3);
    expect(value('flush_bytes_sum{pipeline="p"}')).toBe(bytes.reduce((sum, count) => sum + count));
    expect(value('flush_bytes_bucket{le="1024",pipeline="p"}')).toBe(3);
    expect(value('flush_duration_seconds_count{pipeline="p"}')).toBe(3);
    expect(value('ddl_flush_dml_duration_seconds_count{pipeline="p"}')).toBe(1);
    const reasons = ['size', 'interval', 'barrier', 'quota', 'oversized', 'close'];
    expect(reasons.map((reason) => [reason, value(`flush_total{reason="${reason}",pipeline="p"}`)])).toEqual([
      ['size', 0],
      ['interval', 1],
      ['barrier', 1],
      ['quota', 0],
      ['oversized', 0],
      ['close', 1],
    ]);
    expect(value('worker_busy_ratio{id="0",pipeline="p"}')).toBe(0);
    await sink.close();
  });

  it('count the seconds in which a place for writing is busy, also of work that goes on', async () => {
    const clock = manualClock();
    const exporter = new PrometheusExporter('p');
    const meter = new WriteMeter({ metrics: new Metrics(exporter), clock });
    const busy = async () => {
      const { series } = parseScrape(await exporter.text());
      return ['0', '1'].map((id) => series.get(`millrace_cloud_storage_worker_busy_ratio{id="${id}",pipeline="p"}`));
    };
    const ends: (() => void)[] = [];
    const work = () => meter.busy(() => new Promise((resolve) => ends.push(resolve)));
    expect(await busy()).toEqual([undefined, undefined]);
    const first = work();
    clock.advance(1000);
    const second = work();
    clock.advance(500);
    expect(await busy()).toEqual([1.5, 0.5]);
    ends[0]!();
    await first;
    clock.advance(2000);
    expect(await busy()).toEqual([1.5, 2.5]);
    const third = work();
    clock.advance(250);
    for (const end of ends) end();
    await Promise.all([second, third]);
    expect(await busy()).toEqual([1.75, 2.75]);
  });

  it('go on counting a place whose work failed as free', async () => {
    const exporter = new PrometheusExporter('p');
    const meter = new WriteMeter({ metrics: new Metrics(exporter), clock: manualClock() });
    await expect(meter.busy(() => Promise.reject(new Error('boom')))).rejects.toThrow('boom');
    await meter.busy(async () => {});
    const { series } = parseScrape(await exporter.text());
    expect(series.has('millrace_cloud_storage_worker_busy_ratio{id="1",pipeline="p"}')).toBe(false);
  });

  it('say what the spool says when somebody looks, and nothing while there is none', async () => {
    const exporter = new PrometheusExporter('p');
    let status: SpoolStatus | null = null;
    const { loaded, waited } = meterSpool(new Metrics(exporter), () => status);
    const before = parseScrape(await exporter.text());
    expect(before.series.has('millrace_cloud_storage_spool_memory_bytes{pipeline="p"}')).toBe(false);
    status = {
      ...{ memoryBytes: 1, diskBytes: 2, fileBytes: 9, entries: 9, isPaused: true },
      ...{ heldAcks: 3, waiting: 4, segments: 5, rotations: 6 },
    };
    loaded(4096);
    waited(1500);
    const { series } = parseScrape(await exporter.text());
    const values = [
      'spool_memory_bytes',
      'spool_disk_bytes',
      'pending_post_enqueue',
      'spool_disk_quota_waiters',
      'spool_segment_count',
      'rotate_total',
      'load_bytes_sum',
      'spool_disk_quota_wait_duration_seconds_sum',
    ].map((name) => series.get(`millrace_cloud_storage_${name}{pipeline="p"}`));
    expect(values).toEqual([1, 2, 3, 4, 5, 6, 4096, 1.5]);
  });
});
