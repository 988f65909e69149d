import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../lib/flow/index.ts';
import { EventLog } from '../../../support/event-log.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { errorOf } from '../../../support/run-world.ts';
import { closeRuns, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({ settings: { autovacuum: 'off' } });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLES = `CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 100) AS i;
  CREATE TABLE other (id int PRIMARY KEY)`;

async function capturing(name: string) {
  const log = new EventLog();
  const made = await makeDatabase(server, name, TABLES);
  const run = await Run.open(made.options, undefined, { events: log });
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  return { ...made, run, log };
}

describe('what the PostgreSQL source tells', () => {
  it('of a first start: the slot, and the copy of each table; of no table that it joins', async () => {
    const { log } = await capturing('first');
    expect(log.types.slice(0, 1)).toEqual(['slot_created']);
    expect(log.told('slot_created')).toEqual([
      { pipeline: 'test', slot: 'first', consistent_point: expect.stringMatching(/^\d+$/), duration_ms: expect.any(Number) },
    ]);
    const started = log.told('table_snapshot_started');
    expect(started.map(({ table }) => table).sort()).toEqual(['public.other', 'public.t']);
    const completed = log.told('table_snapshot_completed').sort((a, b) => Number(a['rows']) - Number(b['rows']));
    expect(completed).toMatchObject([
      { table: 'public.other', rows: 0 },
      { table: 'public.t', rows: 100, version: expect.stringMatching(/^\d+$/), duration_ms: expect.any(Number) },
    ]);
    expect(new Set(log.types)).toEqual(new Set(['slot_created', 'table_snapshot_started', 'table_snapshot_completed']));
  });

  it('of tables: columns that change, one that joins, one that is dropped, one that is rewritten, one that the patterns leave out', async () => {
    const { run, query, log, options } = await capturing('tables');
    await query("ALTER TABLE t ADD COLUMN extra int; INSERT INTO t VALUES (200, 'x', 1)");
    await run.pullAlong(() => log.has('schema_changed'));
    expect(log.told('schema_changed')).toMatchObject([{ table: 'public.t', columns: ['id', 'note', 'extra'] }]);
    await query('CREATE TABLE late (id int PRIMARY KEY)');
    await run.pullAlong(() => log.told('table_snapshot_completed').some(({ table }) => table === 'public.late'));
    expect(log.told('table_joined')).toEqual([{ pipeline: 'test', table: 'public.late' }]);
    await query('DROP TABLE other');
    await run.pullAlong(() => log.has('table_dropped'));
    expect(log.told('table_dropped')).toEqual([{ pipeline: 'test', table: 'public.other' }]);
    await query("ALTER TABLE t ALTER note TYPE text USING upper(note); INSERT INTO t VALUES (300, 'x', 1)");
    await run.pullAlong(() => log.has('table_rewritten'));
    expect(log.told('table_rewritten')).toEqual([{ pipeline: 'test', table: 'public.t', reason: 'column note was rewritten' }]);
    await run.close();
    const narrow = await Run.open({ ...options, tables: ['public.t'] }, run.target, { events: log });
    expect(log.told('table_left')).toContainEqual({ pipeline: 'test', table: 'public.late' });
    expect(narrow.log.has('warn', /no pattern of the tables option fits public\.other, public\.late any more/)).toBe(true);
    await narrow.close();
  });

  it('of a stream that broke and goes on; of a slot that is lost, while it runs and at a start', async () => {
    const { run, query, log, options } = await capturing('slots');
    const killed = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'slots'";
    await query(killed);
    await run.pullAlong(() => log.has('stream_reconnected'));
    expect(log.told('stream_broken')).toMatchObject([{ slot: 'slots', error: expect.stringMatching(/\S/) }]);
    expect(log.told('stream_reconnected')).toMatchObject([{ slot: 'slots', attempts: expect.any(Number) }]);
    await query(`${killed}; SELECT pg_sleep(0.05); SELECT pg_drop_replication_slot('slots')`);
    expect(await errorOf(run.pullAlong(() => false))).toMatchObject({ code: 'MR_SLOT_GONE' });
    expect(log.told('slot_lost')).toMatchObject([{ slot: 'slots', code: 'MR_SLOT_GONE', error: expect.stringMatching(/^MR_SLOT_GONE: /) }]);
    await run.close();
    expect(await errorOf(Run.open(options, run.target, { events: log }))).toMatchObject({ code: 'MR_SLOT_GONE' });
    expect(log.told('slot_lost')).toHaveLength(2);
  });

  it('of a table that takes long to copy, what the sink makes it wait included', async () => {
    const log = new EventLog();
    let aheadMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    const made = await makeDatabase(server, 'slow', TABLES);
    const run = await Run.open(made.options, undefined, { events: log, clock });
    await run.pullUntil(() => log.has('table_snapshot_started'));
    aheadMs = 60_000;
    expect(await run.differences(made.url, 'pub')).toEqual([]);
    const { table } = log.told('table_snapshot_started')[0]!;
    expect(log.all.filter(({ type }) => type === 'slow_operation')).toContainEqual(
      expect.objectContaining({ payload: { pipeline: 'test', table }, extraRows: [[expect.any(BigInt), 30_000, 'snapshot_table', null]] }),
    );
  });

  it('of a gap in the publication', async () => {
    const { run, query, log } = await capturing('gap');
    await query('ALTER PUBLICATION pub DROP TABLE t');
    expect(await errorOf(run.pullAlong(() => false))).toMatchObject({ code: 'MR_PUBLICATION_GAP' });
    expect(log.told('publication_gap')).toMatchObject([{ publication: 'pub', error: expect.stringContaining('public.t was taken out') }]);
  });
});
