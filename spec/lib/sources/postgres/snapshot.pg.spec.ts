import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../lib/flow/index.ts';
import { parseLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, LogBook, MemoryTarget, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterEach(closeRuns);
afterAll(() => server.stop());

const SCHEMA = `CREATE TABLE items (id int PRIMARY KEY, note text, price numeric(10, 2));
  CREATE TABLE "odd ""Schema" (id int PRIMARY KEY);
  INSERT INTO items SELECT i, 'note ' || i, i / 7.0 FROM generate_series(1, 5000) AS i;
  INSERT INTO "odd ""Schema" VALUES (1), (2)`;

const database = (name: string, schema = SCHEMA) => makeDatabase(server, name, schema);

describe('the snapshot and its handover to the stream', () => {
  it('P5: copies what is there, then streams what follows, with no gap and no repeat', async () => {
    const { url, options, query } = await database('handover');
    const run = await Run.open(options);
    await query("INSERT INTO items VALUES (10001, 'before the snapshot', 1)");
    await run.pull();
    await query(
      "INSERT INTO items VALUES (10002, 'in the snapshot''s time', 1); DELETE FROM items WHERE id <= 10; UPDATE items SET note = 'x' WHERE id < 20",
    );
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('UPDATE items SET id = id + 20000 WHERE id < 100; INSERT INTO items VALUES (10003, NULL, NULL); TRUNCATE "odd ""Schema"');
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.source.status().tables.get('public.items')).toMatchObject({ snapshotDone: true, stopped: false });
    await run.close();
  });

  it('tells of each table when it is copied, while the snapshot that they share is not done', async () => {
    const { url, options, query } = await database('copied');
    const run = await Run.open({ ...options, snapshotConnections: 1 });
    const told = () =>
      [...run.source.status().tables.values()].map(({ snapshotRows, snapshotCopied, snapshotDone }) => [
        snapshotRows,
        snapshotCopied,
        snapshotDone,
      ]);
    const copying = (count: number) => run.pullUntil(() => told().filter(([, isCopied]) => isCopied).length === count);
    expect(told()).toEqual([
      [0, false, false],
      [0, false, false],
    ]);
    await copying(1);
    expect([told(), run.source.status().phase]).toEqual([
      [
        [5000, true, false],
        [0, false, false],
      ],
      'snapshot',
    ]);
    expect(await run.differences(url, 'pub')).toEqual([]);
    const done = [
      [5000, true, true],
      [2, true, true],
    ];
    expect(told()).toEqual(done);
    await query('CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1); ALTER PUBLICATION pub ADD TABLE later');
    await run.pullUntil(() => told().length === 3 && run.source.status().phase === 'streaming' && told()[2]![2] === true);
    expect(told()).toEqual([...done, [1, true, true]]);
    await run.close();
  });

  it('goes on from the checkpoint after a restart', async () => {
    const { url, options, query } = await database('restart');
    const first = await Run.open(options);
    expect(await first.differences(url, 'pub')).toEqual([]);
    await first.close();
    await query("UPDATE items SET note = 'changed while nobody listened' WHERE id % 2 = 0");
    const second = await Run.open(options, first.target);
    expect(await second.differences(url, 'pub')).toEqual([]);
    expect(second.target.statements.filter((statement) => statement.startsWith('ddl public.items'))).toHaveLength(1);
    await second.close();
  });

  it('I5, P5: a snapshot that was killed before its checkpoint is taken again, and its version removed', async () => {
    const { url, options, query } = await database('killed_snapshot');
    const target = new MemoryTarget();
    const states: string[] = [];
    for (const deliveries of [0, 1, 2, 3, 4]) {
      const run = await Run.open(options, target);
      run.checkpoints = false;
      for (let i = 0; i < deliveries; i++) await run.pull();
      await run.close();
      states.push(JSON.stringify(target.versions.get('public.items')?.size ?? 0));
      await query(`INSERT INTO items VALUES (${20000 + deliveries})`);
    }
    const run = await Run.open(options, target);
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect([...target.versions.values()].map(({ size }) => size)).toEqual([1, 1]);
    await run.close();
  });

  it('P5: a start that was killed at any of its saves resumes, with one slot', async () => {
    for (let killAt = 1; killAt <= 3; killAt++) {
      const name = `killed_start_${killAt}`;
      const { url, options, query } = await database(name);
      const target = new MemoryTarget();
      let saves = 0;
      const onSave = () => {
        if (++saves >= killAt) throw new Error('killed');
      };
      await expect(
        Run.open(options, target, { onSave }).then(async (run) => {
          await run.pullUntil(() => false);
        }),
      ).rejects.toThrow('killed');
      await closeRuns();
      await query('INSERT INTO items VALUES (20000)');
      const run = await Run.open(options, target);
      expect(await run.differences(url, 'pub')).toEqual([]);
      await run.close();
      expect(await server.query(`SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE '${name}%'`)).toEqual([
        { slot_name: name },
      ]);
    }
  });

  it('P5: takes a table again whose definition changed between the snapshot and its turn', async () => {
    const { url, options, query } = await database('changed_between');
    const run = await Run.open({ ...options, snapshotConnections: 1 });
    await run.pull();
    await query(
      'TRUNCATE "odd ""Schema"; ALTER TABLE "odd ""Schema" ADD COLUMN n int DEFAULT 5; INSERT INTO "odd ""Schema" VALUES (7), (8)',
    );
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.log.has('warn', /taken again/)).toBe(true);
    await run.close();
  });

  it('P4: a partitioned table is copied and streamed as one, its leaves are not captured apart', async () => {
    const { url, options, query } = await database(
      'partitioned',
      `CREATE TABLE logs (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
       CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
       CREATE TABLE logs_2 (at date NOT NULL, id int NOT NULL, PRIMARY KEY (id, at)); ALTER TABLE logs ATTACH PARTITION logs_2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
       INSERT INTO logs SELECT i, date '2020-01-01' + i FROM generate_series(1, 700) AS i`,
    );
    const run = await Run.open(options);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query(
      "UPDATE logs SET at = at + 1 WHERE id % 2 = 0; DELETE FROM logs WHERE id < 5; INSERT INTO logs VALUES (9000, '2021-03-03')",
    );
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect([...run.target.versions.keys()]).toEqual(['public.logs']);
    await run.close();
  });

  it('P4: row filters and column lists of a publication hold for the snapshot too', async () => {
    const { url, options, query } = await database(
      'filtered',
      `CREATE TABLE t (id int PRIMARY KEY, secret text, name text); INSERT INTO t SELECT i, 's', 'n' || i FROM generate_series(1, 100) AS i;
       CREATE TABLE untouched (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t (id, name) WHERE (id > 50)`,
    );
    const run = await Run.open(options);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query("UPDATE t SET name = 'x' WHERE id > 40; INSERT INTO t VALUES (1000, 's', 'new')");
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect([...run.target.versions.keys()]).toEqual(['public.t']);
    const [version] = [...run.target.versions.get('public.t')!.values()];
    expect(version!.table.columns.map(({ name }) => name)).toEqual(['id', 'name']);
    expect(version!.rows).toHaveLength(50 + 50 + 1);
    await run.close();
  });

  it('`never` streams from the slot on, without what was there', async () => {
    const { options, query } = await database('never');
    const run = await Run.open({ ...options, snapshot: 'never' });
    await query("INSERT INTO items VALUES (30000, 'new', 1)");
    await run.pullUntil(() => run.target.versions.has('public.items') && run.resolvedTs >= run.source.headTs);
    await run.pullUntil(() => [...run.target.versions.get('public.items')!.values()].some(({ rows }) => rows.length > 0));
    const versions = [...run.target.versions.get('public.items')!.values()];
    expect(versions.flatMap(({ rows }) => rows.map(({ data }) => data!['id']))).toEqual(['30000']);
    expect(versions.map(({ clears }) => clears)).toEqual([false]);
    await run.close();
  });

  it('P5: names the transactions that hold up the slot', async () => {
    const { options } = await database('held_up');
    const writer = await server.client('held_up');
    await writer.query("BEGIN; INSERT INTO items VALUES (40000, 'open', 1)");
    const [{ pid }] = (await writer.query('SELECT pg_backend_pid() AS pid')).rows as [{ pid: number }];
    const log = new LogBook();
    // The ten seconds pass at once.
    const clock = { ...systemClock, after: (delayMs: number, fn: () => void) => systemClock.after(delayMs === 10_000 ? 1 : delayMs, fn) };
    const opening = Run.open(options, new MemoryTarget(), { clock, log });
    await eventually(async () => log.has('warn', /waits for open transactions/));
    await writer.query('COMMIT');
    await writer.end();
    const run = await opening;
    expect(log.lines.find(({ message }) => /waits for open transactions/.test(message))?.details['pids']).toEqual([pid]);
    await run.close();
  });

  it('goes on when its connections are lost in the middle of a copy: the tables that were cut off are taken again', async () => {
    const { url, options, query } = await database('cut_off');
    // More than the sockets between server and reader can hold: when the first rows are here, the copy is not over.
    await query("INSERT INTO items SELECT i, repeat('x', 1500) FROM generate_series(6000, 46000) AS i");
    const run = await Run.open({ ...options, snapshotConnections: 2 });
    await run.pullUntil(() => [...(run.target.versions.get('public.items')?.values() ?? [])].some(({ rows }) => rows.length > 0));
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut_off' AND application_name LIKE 'millrace %' AND backend_type = 'client backend'",
    );
    await query('DELETE FROM items WHERE id % 2 = 0');
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.log.has('warn', /broke off/)).toBe(true);
    expect(run.target.versions.get('public.items')!.size).toBe(1);
    await run.close();
  });

  it('P8: the text of values does not depend on what the database or the role prefers', async () => {
    const { url, options, query } = await database(
      'settings',
      `CREATE TABLE t (id int PRIMARY KEY, at timestamptz, on_day date, span interval, f float8, b bytea, r regclass, m money);
       INSERT INTO t VALUES (1, '2024-03-01 12:00:00+02', '2024-03-01', '1 day 02:00', 0.1::float8 + 0.2::float8, 'x', 't', 12.5)`,
    );
    await query(`ALTER DATABASE settings SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE settings SET DateStyle = 'SQL, DMY'; ALTER DATABASE settings SET IntervalStyle = 'iso_8601';
      ALTER DATABASE settings SET extra_float_digits = -10; ALTER DATABASE settings SET bytea_output = 'escape'; ALTER DATABASE settings SET statement_timeout = '1ms'`);
    const run = await Run.open(options);
    await run.pullUntil(() => run.target.checkpointTs !== null);
    await query('SET statement_timeout = 0; INSERT INTO t SELECT 2, at, on_day, span, f, b, r, m FROM t');
    expect(await run.differences(url, 'pub')).toEqual([]);
    const [version] = [...run.target.versions.get('public.t')!.values()];
    const [copied, streamed] = version!.rows.map(({ data }) => ({ ...data, id: null }));
    expect(copied).toEqual(streamed);
    expect(copied).toMatchObject({
      at: '2024-03-01 10:00:00+00',
      on_day: '2024-03-01',
      span: '1 day 02:00:00',
      f: '0.30000000000000004',
      b: '\\x78',
      r: 'public.t',
    });
    await run.close();
  });

  it('I7: a database in which nothing of ours happens lets its WAL go', async () => {
    const { options, query } = await database('quiet', `${SCHEMA}; CREATE TABLE unseen (id int PRIMARY KEY)`);
    const run = await Run.open({ ...options, tables: ['public.items'] });
    await run.pullUntil(() => run.target.checkpointTs !== null);
    const before = run.target.checkpointTs!;
    await query('INSERT INTO unseen SELECT generate_series(1, 1000)');
    const [row] = (await query('SELECT pg_current_wal_insert_lsn() AS lsn')) as [{ lsn: string }];
    const end = parseLsn(row.lsn)!;
    await run.pullUntil(() => run.resolvedTs >= end - 1n);
    expect(before).toBeLessThan(end - 1n);
    await eventually(async () => {
      const [slot] = await server.query<{ lsn: string }>(
        "SELECT confirmed_flush_lsn AS lsn FROM pg_replication_slots WHERE slot_name = 'quiet'",
      );
      return parseLsn(slot!.lsn)! >= end;
    });
    expect([...run.target.versions.keys()]).toEqual(['public.items']);
    await run.close();
  });

  it('stops at once when it is told to, while a table is copied', async () => {
    const { options, query } = await database('stopped');
    await query("INSERT INTO items SELECT i, repeat('x', 500) FROM generate_series(6000, 60000) AS i");
    const run = await Run.open(options);
    await run.pullUntil(() => run.target.versions.size > 0);
    run.abort.abort();
    while ((await run.pull()) !== null);
    await run.close();
    expect(
      await query("SELECT FROM pg_stat_activity WHERE datname = 'stopped' AND application_name LIKE 'millrace %' AND state = 'idle'"),
    ).toEqual([]);
  });
});
