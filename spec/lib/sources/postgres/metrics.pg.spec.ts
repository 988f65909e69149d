import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { definePipeline, memoryCheckpoint, run, silentLogger } from '../../../../lib/index.ts';
import { postgres } from '../../../../lib/sources/postgres/index.ts';
import { memorySink } from '../../../../lib/testing/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { parseScrape } from '../../../support/scrape.ts';
import { eventually, makeDatabase } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

it('the metrics of a PostgreSQL source tell of its snapshot, its slot and its connections', async () => {
  const { options, query } = await makeDatabase(
    server,
    'metrics',
    'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)',
  );
  const definition = definePipeline({
    name: 'p',
    source: postgres({ ...options, watchInterval: '100ms' }),
    sink: memorySink(),
    checkpoint: memoryCheckpoint(),
  });
  let url = '';
  const info = (details: object) => {
    if ('url' in details) url = String(details.url);
  };
  const running = run(definition, { metricsPort: 0, logger: { ...silentLogger, info } });
  running.done.catch(() => {});
  try {
    await eventually(async () => url !== '');
    const value = async (name: string) => parseScrape(await (await fetch(url)).text()).series.get(`millrace_${name}`);
    const component = (name: string) => value(`component_${name}_total{kind="source",stage="postgres",pipeline="p"}`);
    await eventually(async () => (await value('source_tables{state="streaming",pipeline="p"}')) === 1);
    expect(await value('source_snapshot_rows_total{pipeline="p"}')).toBe(100);
    expect(await component('rows_out')).toBe(100);
    await query('INSERT INTO t VALUES (101), (102)');
    await eventually(async () => (await component('rows_out')) === 102);
    // Known after the first look at the catalog.
    await eventually(async () => (await value('source_wal_retained_bytes{pipeline="p"}')) !== undefined);
    expect(await value('source_slot_lag_bytes{pipeline="p"}')).toBeGreaterThanOrEqual(0);
    expect(await value('source_reconnects_total{pipeline="p"}')).toBe(0);
    await query("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = 'metrics' AND active_pid IS NOT NULL");
    await eventually(async () => ((await value('source_reconnects_total{pipeline="p"}')) ?? 0) > 0);
    expect(await component('errors')).toBeGreaterThan(0);
    await query('INSERT INTO t VALUES (103)');
    await eventually(async () => (await component('rows_out')) === 103);
    await eventually(async () => ((await value('checkpoint_lag_seconds{pipeline="p"}')) ?? -1) >= 0);
  } finally {
    await running.stop({ drain: false });
  }
});
