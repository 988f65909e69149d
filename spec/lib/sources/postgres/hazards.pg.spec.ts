import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, LogBook, MemoryTarget, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({
    settings: { max_replication_slots: '100', autovacuum: 'off', max_prepared_transactions: '10', wal_sender_timeout: '1s' },
  });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 100) AS i;
  CREATE TABLE other (id int PRIMARY KEY)`;

async function capturing(name: string, schema = TABLE, more = {}) {
  const made = await makeDatabase(server, name, schema);
  const options = { ...made.options, ...more };
  const run = await Run.open(options);
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  return { ...made, options, run, same: async (of = run) => expect(await of.differences(made.url, 'pub')).toEqual([]) };
}

describe('transactions', () => {
  it('savepoints that are rolled back, and two-phase commits under protocol 1, by COMMIT PREPARED in commit order', async () => {
    const { query, same } = await capturing('transactions');
    await query(`BEGIN; INSERT INTO t VALUES (200, 'a'); SAVEPOINT s; INSERT INTO t VALUES (201, 'b'); DELETE FROM t; ROLLBACK TO s;
      SAVEPOINT s2; UPDATE t SET note = 'kept' WHERE id = 200; RELEASE s2; COMMIT`);
    await query("BEGIN; INSERT INTO t VALUES (300, 'prepared'); TRUNCATE other; PREPARE TRANSACTION 'p1'");
    await query("BEGIN; INSERT INTO t VALUES (302, 'given up'); PREPARE TRANSACTION 'p2'");
    await query("INSERT INTO t VALUES (301, 'between')");
    await query("COMMIT PREPARED 'p1'");
    await query("UPDATE t SET note = 'after' WHERE id = 300");
    await query("ROLLBACK PREPARED 'p2'");
    await same();
  });

  it('TRUNCATE … CASCADE over captured tables and others, several at once, with rows between, over a restart in the middle', async () => {
    const { run, query, same, options } = await capturing(
      'cascade',
      `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); CREATE SCHEMA private;
       CREATE TABLE private.c (id int PRIMARY KEY, b int REFERENCES b); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1); INSERT INTO private.c VALUES (1, 1)`,
      { tables: ['public.*'] },
    );
    run.checkpoints = false;
    await query(`BEGIN; INSERT INTO a VALUES (2); TRUNCATE a CASCADE; INSERT INTO a VALUES (3); INSERT INTO b VALUES (3, 3); INSERT INTO private.c VALUES (3, 3);
      TRUNCATE b CASCADE; INSERT INTO b VALUES (4, 3); COMMIT; INSERT INTO a VALUES (5)`);
    await same();
    await run.close();
    const again = await Run.open(options, run.target);
    await same(again);
  });
});

describe('schema changes', () => {
  it('P7: a replay after later changes takes rows before and after a change in one transaction by the history, not by the catalog', async () => {
    const { run, query, same, options } = await capturing('replayed');
    run.checkpoints = false;
    await query(`BEGIN; INSERT INTO t VALUES (200, 'before'); ALTER TABLE t ADD COLUMN x int DEFAULT 5; INSERT INTO t VALUES (201, 'after', 6);
      ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (202, 7); COMMIT`);
    await same();
    await run.close();
    await query(
      'ALTER TABLE t ADD COLUMN y bigint DEFAULT 9; INSERT INTO t VALUES (203, 8, 10); ALTER TABLE t DROP COLUMN x; INSERT INTO t VALUES (204, 11)',
    );
    const again = await Run.open({ ...options, watchInterval: '1h' }, run.target);
    await same(again);
  });

  it('P7: the same when the first run was killed before it read any of it', async () => {
    const { run, query, same, options } = await capturing('unread', TABLE, { watchInterval: '1h' });
    await run.close();
    await query(
      `BEGIN; INSERT INTO t VALUES (200, 'before'); ALTER TABLE t ADD COLUMN x int DEFAULT 5; INSERT INTO t VALUES (201, 'after', 6); COMMIT`,
    );
    await query(
      'ALTER TABLE t ADD COLUMN y bigint DEFAULT 9; INSERT INTO t VALUES (203, $$n$$, 8, 10); ALTER TABLE t DROP COLUMN x; INSERT INTO t VALUES (204, $$n$$, 11)',
    );
    const again = await Run.open(options, run.target);
    await same(again);
    expect(again.source.status().tables.get('public.t')?.stopped).toBe(false);
  });

  it('P6: the TRUNCATE of a partitioned table that was streamed before a restart explains its emptied partitions', async () => {
    const { run, query, same, options } = await capturing(
      'truncated_root',
      `CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (100);
       CREATE TABLE other (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 99)`,
      { watchInterval: '1h' },
    );
    await query('TRUNCATE t; INSERT INTO t VALUES (5)');
    await same();
    await run.close();
    const again = await Run.open({ ...options, watchInterval: '100ms' }, run.target);
    await query('INSERT INTO other VALUES (1)');
    await same(again);
    await query('INSERT INTO other VALUES (2)');
    await same(again);
    expect(again.source.status().tables.get('public.t')?.stopped).toBe(false);
  });

  it('P6: a table that is dropped and created again under traffic, twice, over a restart', async () => {
    const { run, query, same, options, url } = await capturing('recreated');
    const write = (from: number) =>
      query(`INSERT INTO t (id) SELECT generate_series(${from}, ${from + 50}); UPDATE t SET id = id + 1000 WHERE id % 7 = 0`);
    await query('DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, other int)');
    await write(1);
    await run.pullAlong(() => run.target.versions.get('public.t')!.size === 2);
    await write(100);
    await same();
    await query('DROP TABLE t');
    await query('CREATE TABLE t (id int PRIMARY KEY, third text)');
    await write(1);
    await run.close();
    await write(200);
    const again = await Run.open(options, run.target);
    await write(300);
    await again.pullUntil(() => again.target.versions.get('public.t')!.size === 3);
    expect(await again.differences(url, 'pub')).toEqual([]);
  });
});

describe('P5: snapshots beside a stream', () => {
  it('I5: a table that joins under load while the process is killed, again and again', async () => {
    const { run, query, url, options } = await capturing('join_killed');
    let load = 1000;
    const write = () =>
      query(
        `INSERT INTO t VALUES (${++load}, 'x'); INSERT INTO late VALUES (${load}, 'y'); UPDATE late SET v = v || 'z' WHERE id % 3 = ${load % 3}`,
      );
    await query(
      "CREATE TABLE late (id int PRIMARY KEY, v text); INSERT INTO late SELECT i, repeat('v', 2000) FROM generate_series(1, 900) AS i",
    );
    await run.close();
    for (let pulls = 1; pulls <= 6; pulls++) {
      const killed = await Run.open({ ...options, snapshotConnections: 1 }, run.target);
      killed.checkpoints = pulls % 2 === 0;
      for (let i = 0; i < pulls; i++) {
        await write();
        await killed.pull();
      }
      await killed.close();
    }
    const last = await Run.open(options, run.target);
    await write();
    expect(await last.differences(url, 'pub')).toEqual([]);
    expect(last.target.versions.get('public.late')!.size).toBe(1);
  });

  it('I5: a resnapshot that is killed in the middle is taken again without being asked for', async () => {
    const { run, query, url, options } = await capturing(
      'again_killed',
      `${TABLE}; INSERT INTO t SELECT i, repeat('v', 3000) FROM generate_series(1000, 1999) AS i`,
    );
    await run.close();
    await query("UPDATE t SET note = 'changed' WHERE id < 10");
    const killed = await Run.open({ ...options, resnapshot: ['public.t'] }, run.target);
    for (let i = 0; i < 3; i++) await killed.pull();
    await killed.close();
    await query('DELETE FROM t WHERE id > 1500');
    const last = await Run.open(options, run.target);
    expect(await last.differences(url, 'pub')).toEqual([]);
    await query('DELETE FROM t WHERE id > 1400');
    expect(await last.differences(url, 'pub')).toEqual([]);
    expect(last.target.versions.get('public.t')!.size).toBe(2);
  });

  it('a server that restarts at once, and server processes that are killed, in the middle of a snapshot', async () => {
    const { options, url, query } = await makeDatabase(
      server,
      'snapshot_restart',
      `${TABLE}; CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT i, repeat('v', 1000) FROM generate_series(1, 20000) AS i`,
    );
    const run = await Run.open(options);
    for (let i = 0; i < 3; i++) await run.pull();
    await server.restart('immediate');
    await query("DELETE FROM big WHERE id % 2 = 0; INSERT INTO t VALUES (500, 'x')");
    await run.pullUntil(
      () =>
        run.log.has('info', /copying tables.*copying tables/s) ||
        run.log.lines.filter(({ message }) => message === 'copying tables').length > 1,
    );
    await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
    await query('DELETE FROM big WHERE id % 3 = 0');
    expect(await run.differences(url, 'pub')).toEqual([]);
  });

  it('names the prepared transactions that hold up a snapshot', async () => {
    const { options, query } = await makeDatabase(server, 'held_by_prepared', TABLE);
    await query("BEGIN; INSERT INTO t VALUES (900, 'p'); PREPARE TRANSACTION 'forgotten one'");
    const log = new LogBook();
    const opening = Run.open(options, new MemoryTarget(), { log });
    await eventually(async () => log.has('warn', /waits for open transactions.*forgotten one/));
    await query("COMMIT PREPARED 'forgotten one'");
    await (await opening).close();
  });

  it("does not hold a table's lock longer than its copy takes", async () => {
    const { options, query } = await makeDatabase(
      server,
      'locks',
      `${TABLE}; CREATE TABLE zz (id int PRIMARY KEY, v text); INSERT INTO zz SELECT i, repeat('v', 1000) FROM generate_series(1, 20000) AS i`,
    );
    const run = await Run.open({ ...options, snapshotConnections: 1 });
    await run.pullUntil(() => [...(run.target.versions.get('public.zz')?.values() ?? [])].some(({ rows }) => rows.length > 0));
    await query("SET lock_timeout = '5s'; ALTER TABLE t ADD COLUMN x int");
    await run.close();
  });

  it("a role's own timeouts do not break it off", async () => {
    const { options, url, query } = await makeDatabase(
      server,
      'timeouts',
      `${TABLE}; CREATE ROLE hasty SUPERUSER LOGIN REPLICATION PASSWORD 'hunter2';
      ALTER ROLE hasty SET transaction_timeout = '300ms'; ALTER ROLE hasty SET idle_session_timeout = '300ms'; ALTER ROLE hasty SET default_transaction_read_only = on`,
    );
    const hasty = new URL(url);
    hasty.username = 'hasty';
    hasty.password = 'hunter2';
    const run = await Run.open({ ...options, url: hasty.toString(), watchInterval: '1h' });
    await run.pull();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
    await query('SELECT 1');
  });
});

describe('the server and its names', () => {
  it('I10: a sink that blocks for ten times wal_sender_timeout, in the snapshot and in the stream, keeps its connection', async () => {
    const { run, query, same } = await capturing(
      'blocking',
      `${TABLE}; INSERT INTO t SELECT i, repeat('v', 1000) FROM generate_series(1000, 9000) AS i`,
    );
    await query("INSERT INTO t SELECT i, repeat('v', 1000) FROM generate_series(10000, 30000) AS i");
    await run.pull();
    const [before] = await server.query("SELECT pid FROM pg_stat_replication WHERE application_name = 'millrace test'");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const [after] = await server.query("SELECT pid FROM pg_stat_replication WHERE application_name = 'millrace test'");
    expect(after).toEqual(before);
    await same();
    expect(run.log.has('warn', /stream broke/)).toBe(false);
  });

  it('databases, publications, schemas, tables and columns with quotes, and a role with just the rights that it needs', async () => {
    const name = `we"ird 'db' %41`;
    await server.query(`CREATE DATABASE "${name.replaceAll('"', '""')}"`);
    await server.query(
      `CREATE ROLE "o'h""ara" LOGIN REPLICATION PASSWORD 'p@ss/w:rd''"'; CREATE SCHEMA "s""1"; CREATE TABLE "s""1"."t'able" ("co""l" int PRIMARY KEY, "d'ef" text DEFAULT 'x''"');
       INSERT INTO "s""1"."t'able" VALUES (1); GRANT USAGE ON SCHEMA "s""1" TO "o'h""ara"; GRANT SELECT ON ALL TABLES IN SCHEMA "s""1" TO "o'h""ara";
       CREATE PUBLICATION "p""u'b" FOR TABLE "s""1"."t'able" WITH (publish_via_partition_root)`,
      [],
      name,
    );
    const url = new URL(server.url);
    url.username = encodeURIComponent(`o'h"ara`);
    url.password = encodeURIComponent(`p@ss/w:rd'"`);
    url.pathname = `/${encodeURIComponent(name)}`;
    const options = { url: url.toString(), slot: 'quoted', publication: `p"u'b`, watchInterval: '100ms' };
    const run = await Run.open(options);
    expect(await run.differences(url.toString(), options.publication)).toEqual([]);
    await server.query(`INSERT INTO "s""1"."t'able" VALUES (2)`, [], name);
    await server.query(
      `ALTER TABLE "s""1"."t'able" ADD COLUMN "n""ew" text DEFAULT 'y'''; INSERT INTO "s""1"."t'able" VALUES (3)`,
      [],
      name,
    );
    expect(await run.differences(url.toString(), options.publication)).toEqual([]);
    await run.close();
    const again = await Run.open(options, run.target);
    expect(await again.differences(url.toString(), options.publication)).toEqual([]);
  });
});
