import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../lib/flow/index.ts';
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

  it('P5: names the prepared transactions that hold up a slot, since no server process does', async () => {
    const { options, query } = await makeDatabase(server, 'held_by_prepared', TABLE);
    await query("BEGIN; INSERT INTO t VALUES (900, 'p'); PREPARE TRANSACTION 'forgotten one'");
    const log = new LogBook();
    // The ten seconds pass at once.
    const clock = { ...systemClock, after: (delayMs: number, fn: () => void) => systemClock.after(delayMs === 10_000 ? 1 : delayMs, fn) };
    const opening = Run.open(options, new MemoryTarget(), { log, clock });
    try {
      await eventually(async () => log.has('warn', /waits for open transactions/));
    } finally {
      await query("COMMIT PREPARED 'forgotten one'");
    }
    await (await opening).close();
    expect(log.lines.find(({ message }) => /waits for open transactions/.test(message))?.details['prepared']).toEqual(['forgotten one']);
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
    const { options, url } = await makeDatabase(
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
    await eventually(async () => {
      const old = "usename = 'hasty' AND xact_start < clock_timestamp() - interval '700 ms'";
      return (await server.query(`SELECT pid FROM pg_stat_activity WHERE ${old}`)).length > 0;
    });
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });
});

describe('the server and its names', () => {
  it('I10: a sink that blocks for several times wal_sender_timeout keeps its connection', async () => {
    const { run, query, same } = await capturing('blocking');
    await query("INSERT INTO t SELECT i, repeat('v', 1000) FROM generate_series(10000, 30000) AS i");
    await run.pull();
    const sender = "FROM pg_stat_replication WHERE application_name = 'millrace test'";
    const [before] = await server.query(`SELECT pid, now()::text AS time ${sender}`);
    const later = `reply_time > $1::timestamptz + interval '3 s'`;
    await eventually(async () => (await server.query(`SELECT 1 ${sender} AND ${later}`, [before!['time']])).length > 0);
    expect(await server.query(`SELECT pid ${sender}`)).toEqual([{ pid: before!['pid'] }]);
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

describe('P4: a publication of the user', () => {
  const USERS = 'CREATE TABLE t (id int PRIMARY KEY, note text); CREATE SCHEMA s; CREATE TABLE s.u (id int PRIMARY KEY)';

  it.each([
    [
      'a schema that was taken out and added again',
      'FOR TABLES IN SCHEMA s',
      'ALTER PUBLICATION pub DROP TABLES IN SCHEMA s; ALTER PUBLICATION pub ADD TABLES IN SCHEMA s',
    ],
    ['kinds of changes that are left out', 'FOR TABLE t', "ALTER PUBLICATION pub SET (publish = 'insert')"],
    [
      'partitions that are published for themselves',
      'FOR TABLE t WITH (publish_via_partition_root)',
      'ALTER PUBLICATION pub SET (publish_via_partition_root = false)',
    ],
    ['a row filter that is changed', 'FOR TABLE t WHERE (id > 0)', 'ALTER PUBLICATION pub SET TABLE t WHERE (id > 10)'],
    ['a column list that is changed', 'FOR TABLE t', 'ALTER PUBLICATION pub SET TABLE t (id)'],
  ])('%s is a gap, while it runs and at the next start', async (title, what, change) => {
    const name = `changed_${title.replaceAll(/\W/g, '_')}`.slice(0, 50);
    const { run, options, query } = await capturing(name, `${USERS}; CREATE PUBLICATION pub ${what}`);
    await query(change);
    await expect(run.pullAlong(() => false)).rejects.toThrow(/^MR_PUBLICATION_GAP: /);
    await run.close();
    await expect(Run.open(options, run.target)).rejects.toThrow(/^MR_PUBLICATION_GAP: /);
  });

  it('of all tables, or a schema: new tables join, and views, foreign, unlogged and temporary ones are let be', async () => {
    const { run, query, same } = await capturing(
      'all_tables',
      `${USERS}; CREATE VIEW v AS SELECT 1 AS id; CREATE UNLOGGED TABLE unlogged (id int);
      CREATE MATERIALIZED VIEW m AS SELECT 2 AS id; CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root)`,
      { tables: ['*.*'] },
    );
    await query(`CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN temper AS mood; CREATE TABLE late (id int PRIMARY KEY, m mood, d temper, a mood[],
      g int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO late VALUES (1, 'sad', 'glad', '{sad,glad}')`);
    await run.pullAlong(() => run.target.versions.has('public.late'));
    await query(
      "INSERT INTO late VALUES (2, 'glad', 'sad', '{}'); ALTER TABLE t ADD COLUMN m mood DEFAULT 'glad'; INSERT INTO t VALUES (5, 'x', 'sad')",
    );
    await same();
    expect([...run.target.versions.keys()].sort()).toEqual(['public.late', 'public.t', 's.u']);
  });
});

describe('P4: a publication of ours', () => {
  it('a new table of somebody else holds up neither the tables that may join, nor the next start', async () => {
    const { url, query } = await makeDatabase(server, 'foreign_owner', '');
    await query(`CREATE ROLE app LOGIN REPLICATION PASSWORD 'hunter2'; GRANT CREATE ON DATABASE foreign_owner TO app; GRANT CREATE ON SCHEMA public TO app;
      SET ROLE app; ${TABLE}`);
    const app = new URL(url);
    app.username = 'app';
    app.password = 'hunter2';
    const options = { url: app.toString(), slot: 'foreign_owner', publication: 'pub', watchInterval: '100ms' };
    const run = await Run.open(options);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query(
      'CREATE TABLE a_foreign (id int PRIMARY KEY); SET ROLE app; CREATE TABLE mine (id int PRIMARY KEY); INSERT INTO mine VALUES (1)',
    );
    await run.pullAlong(() => run.target.versions.has('public.mine'));
    expect(run.log.has('warn', /a_foreign.*must be owner/)).toBe(true);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await run.close();
    const again = await Run.open(options, run.target);
    expect(again.log.has('warn', /a_foreign/)).toBe(true);
    expect(await again.differences(url, 'pub')).toEqual([]);
  });

  it('a table that only the patterns make join is not called new', async () => {
    const { options, url } = await makeDatabase(server, 'wider_patterns', `${TABLE}; CREATE TABLE keyless (a int)`);
    const run = await Run.open({ ...options, tables: ['public.t'] });
    expect(await run.differences(url, 'pub')).toEqual([]);
    await run.close();
    const again = await Run.open({ ...options, tables: ['public.*'] }, run.target);
    expect(again.log.has('warn', /a table that is to join has no usable replica identity; it is not captured/)).toBe(true);
    expect(again.log.has('warn', /new table/)).toBe(false);
    await again.close();
  });
});

describe('stopping', () => {
  it('ends a start that waits for open transactions to create the slot, and the next start resumes there', async () => {
    const { options, url } = await makeDatabase(server, 'stop_slot', TABLE);
    const writer = await server.client('stop_slot');
    await writer.query("BEGIN; INSERT INTO t VALUES (900, 'open')");
    const target = new MemoryTarget();
    const abort = new AbortController();
    const opening = Run.open(options, target, { abort });
    opening.catch(() => {});
    await eventually(async () => (await server.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'stop_slot'")).length > 0);
    abort.abort();
    await expect(opening).rejects.toThrow(/^MR_/);
    await writer.query('COMMIT');
    await writer.end();
    const run = await Run.open(options, target);
    expect(await run.differences(url, 'pub')).toEqual([]);
  });

  it("ends a snapshot that waits for somebody's lock, and a stream that waits for its server", async () => {
    const { options, url, query } = await makeDatabase(server, 'stop_lock', TABLE);
    const waiting = await Run.open(options);
    const locker = await server.client('stop_lock');
    await locker.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
    const pull = waiting.pullUntil(() => false);
    pull.catch(() => {});
    await eventually(async () => (await query("SELECT 1 FROM pg_locks WHERE relation = 't'::regclass AND NOT granted")).length > 0);
    waiting.abort.abort();
    await expect(pull).rejects.toThrow('the source ended');
    await waiting.close();
    await locker.query('COMMIT');
    await locker.end();
    const run = await Run.open(options, waiting.target);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await server.query('ALTER DATABASE stop_lock ALLOW_CONNECTIONS false');
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'stop_lock'");
    const lost = run.pullUntil(() => false);
    lost.catch(() => {});
    await eventually(async () => run.log.has('warn', /stream broke/));
    run.abort.abort();
    await expect(lost).rejects.toThrow(/the source ended|MR_/);
    await run.close();
  });
});
