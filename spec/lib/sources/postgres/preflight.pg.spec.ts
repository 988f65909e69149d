import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../../lib/errors.ts';
import type { JsonValue } from '../../../../lib/formats/json.ts';
import { teardown } from '../../../../lib/sources/postgres/index.ts';
import type { PostgresOptions } from '../../../../lib/sources/postgres/options.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, MemoryTarget, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterEach(closeRuns);
afterAll(() => server.stop());

/** The error that a start fails with, as its message. */
async function failure(options: PostgresOptions, target = new MemoryTarget()): Promise<string> {
  try {
    const run = await Run.open(options, target);
    await run.pullUntil(() => run.target.checkpointTs !== null);
    await run.close();
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    expect(error.message).not.toMatch(/first-light|hunter2/);
    return error.message;
  }
  throw new Error('it started');
}

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1)';

/** A capture that has run and stopped. */
async function captured(name: string, schema = TABLE) {
  const made = await makeDatabase(server, name, schema);
  const run = await Run.open(made.options);
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  await run.close();
  return { ...made, target: run.target };
}

async function slots(name: string): Promise<unknown[]> {
  return await server.query('SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE $1', [`${name}%`]);
}

describe('what is wrong with the server is found at start, with a remedy', () => {
  it('a host that does not answer, a password, a database and a role that are not right', async () => {
    await server.query("CREATE ROLE plain LOGIN PASSWORD 'hunter2'");
    const at = (change: (url: URL) => void) => {
      const url = new URL(server.url);
      change(url);
      return failure({ url: url.toString() });
    };
    expect(
      await at((url) => {
        url.port = '1';
      }),
    ).toMatch(/^MR_SOURCE_UNREACHABLE: no connection to PostgreSQL at 127.0.0.1:1: /);
    expect(
      await at((url) => {
        url.password = 'hunter2';
      }),
    ).toMatch(/^MR_SOURCE_LOGIN_REFUSED: .* refuses the login of postgres: password authentication failed/);
    expect(
      await at((url) => {
        url.pathname = '/nowhere';
      }),
    ).toMatch(/^MR_SOURCE_DATABASE_MISSING: .* has no database nowhere/);
    expect(
      await at((url) => {
        url.username = 'plain';
        url.password = 'hunter2';
      }),
    ).toMatch(/^MR_NO_REPLICATION_RIGHT: role plain may not replicate: .*ALTER ROLE plain REPLICATION/);
  });

  it('a pattern of several that fits no table is warned about, an exclusion is not', async () => {
    const { options } = await makeDatabase(server, 'slip', TABLE);
    const run = await Run.open({ ...options, tables: ['public.t', 'public.oders', '!public.tmp_*'] });
    await run.close();
    const warnings = run.log.lines.filter(({ level }) => level === 'warn');
    expect(warnings).toEqual([
      expect.objectContaining({ details: { patterns: 'public.oders' }, message: expect.stringContaining('no table fits') }),
    ]);
  });

  it('nothing to capture', async () => {
    const { options } = await makeDatabase(server, 'empty', '');
    expect(await failure({ ...options, tables: ['public.orders'] })).toMatch(
      /^MR_NO_TABLES: no table of database empty matches public.orders/,
    );
  });

  it('a role that may not create the publication, or read a table', async () => {
    const { options, url, query } = await makeDatabase(
      server,
      'unprivileged',
      `${TABLE}; CREATE ROLE reader LOGIN REPLICATION PASSWORD 'hunter2'`,
    );
    const reader = new URL(url);
    reader.username = 'reader';
    reader.password = 'hunter2';
    expect(await failure({ ...options, url: reader.toString() })).toMatch(
      /^MR_SOURCE_PERMISSION: role reader may not create a publication/,
    );
    await query('CREATE PUBLICATION pub FOR TABLE t');
    const target = new MemoryTarget();
    expect(await failure({ ...options, url: reader.toString() }, target)).toMatch(
      /^MR_SOURCE_PERMISSION: role reader may not read table public.t/,
    );
  });

  it('P4: tables without a replica identity are refused by name before a publication makes their UPDATEs fail', async () => {
    const { options, query } = await makeDatabase(
      server,
      'identities',
      `CREATE TABLE keyed (id int PRIMARY KEY); CREATE TABLE keyless (id int); CREATE TABLE nothing (id int PRIMARY KEY);
       ALTER TABLE nothing REPLICA IDENTITY NOTHING;
       CREATE TABLE generated (id int, twice int GENERATED ALWAYS AS (id * 2) STORED);
       CREATE TABLE generated_full (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE generated_full REPLICA IDENTITY FULL`,
    );
    const message = await failure(options);
    expect(message).toMatch(/^MR_NO_REPLICA_IDENTITY: /);
    for (const [table, problem] of [
      ['keyless', 'no primary key'],
      ['nothing', 'names no usable index'],
      ['generated', 'no primary key'],
      ['generated_full', 'unpublished generated columns twice'],
    ]) {
      expect(message).toMatch(new RegExp(`public\\.${table} \\([^)]*${problem}`));
    }
    expect(message).not.toMatch(/keyed/);
    // FULL is advised only where it would help.
    expect(message).toMatch(/Give public.keyless, public.nothing a primary key, or run ALTER TABLE … REPLICA IDENTITY FULL/);
    expect(message).toMatch(/Give public.generated, public.generated_full a primary key .* FULL would not help/);
    expect(await query('SELECT FROM pg_publication')).toEqual([]);
    expect(await slots('identities')).toEqual([]);
    await query('UPDATE generated SET id = 1; UPDATE keyless SET id = 1');
  });

  it('P4: the error before a publication is the error that PostgreSQL would raise after it', async () => {
    const { query } = await makeDatabase(
      server,
      'oracle',
      `CREATE TABLE generated_full (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE generated_full REPLICA IDENTITY FULL;
       CREATE TABLE listed (id int PRIMARY KEY, a int, b int); ALTER TABLE listed REPLICA IDENTITY FULL;
       INSERT INTO generated_full VALUES (1); INSERT INTO listed VALUES (1);
       CREATE PUBLICATION pub FOR TABLE generated_full, listed (id, a)`,
    );
    await expect(query('UPDATE generated_full SET id = 2')).rejects.toThrow(/unpublished generated columns|cannot update/);
    await expect(query('UPDATE listed SET a = 2')).rejects.toThrow(/cannot update/);
    expect(
      await failure({ ...(await makeDatabase(server, 'oracle_2', TABLE)).options, url: new URL('/oracle', server.url).toString() }),
    ).toMatch(
      /public.generated_full \(the replica identity has unpublished generated columns twice\), public.listed \(the replica identity has unpublished columns b\)/,
    );
  });

  it('P4: a publication that exists is used as it is, and must hold the tables that were asked for', async () => {
    const { options, url, query } = await makeDatabase(
      server,
      'existing',
      `${TABLE}; CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t WITH (publish = 'insert, update')`,
    );
    expect(await failure({ ...options, tables: ['public.*'] })).toMatch(
      /^MR_PUBLICATION_LACKS_TABLE: publication pub exists and does not hold public.other.*ADD TABLE/,
    );
    const run = await Run.open(options);
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.log.has('warn', /leaves out kinds of changes.*deletes.*truncates/)).toBe(true);
    expect([...run.target.versions.keys()]).toEqual(['public.t']);
    await run.close();
    expect(await teardown({ url, slot: 'existing', publication: 'pub' })).toEqual({
      slot: 'dropped',
      publication: 'kept',
      ddlText: 'absent',
    });
    expect(await query('SELECT pubname FROM pg_publication')).toEqual([{ pubname: 'pub' }]);
  });
});

describe('P4: a publication that publishes partitions for themselves', () => {
  const SPLIT = `CREATE TABLE logs (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10);
    INSERT INTO logs VALUES (1); CREATE PUBLICATION pub FOR TABLE logs`;

  it('is refused for the whole table, with what to set', async () => {
    const { options, url, query } = await makeDatabase(server, 'by_partition', SPLIT);
    expect(await failure({ ...options, tables: ['public.*'] })).toMatch(
      /^MR_PUBLICATION_BY_PARTITION: .* the partitions of public.logs .*ALTER PUBLICATION "pub" SET \(publish_via_partition_root = true\)/,
    );
    await query('ALTER PUBLICATION pub SET (publish_via_partition_root = true)');
    const run = await Run.open({ ...options, tables: ['public.*'] });
    expect(await run.differences(url, 'pub')).toEqual([]);
  });

  it('gives each as a table, where they are what is asked for', async () => {
    const { options, url, query } = await makeDatabase(server, 'partitions_apart', SPLIT);
    const run = await Run.open({ ...options, tables: ['public.logs_*'] });
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('INSERT INTO logs VALUES (2); UPDATE logs SET id = 3 WHERE id = 1');
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect([...run.target.versions.keys()]).toEqual(['public.logs_1']);
  });
});

describe('a table that is to be taken again', () => {
  const TWO = `${TABLE}; CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE out (id int PRIMARY KEY)`;

  it.each<[string, string, string[], string]>([
    ['that is not there', 'again_typo', ['public.tt'], '"public.tt"'],
    ['that is not there, beside one that is', 'again_beside', ['public.t', 'public.tt'], '"public.tt"'],
    ['that is there, and not captured', 'again_not_ours', ['public.out'], '"public.out"'],
    ['that another pattern takes out again', 'again_excluded', ['public.t', '!*.t'], '"public.t"'],
  ])('%s is a slip, and a start says so, the first one and a later one', async (_title, name, resnapshot, value) => {
    const { options, url } = await makeDatabase(server, name, TWO);
    const mine = { ...options, tables: ['public.*', '!public.out'] };
    const message = `MR_INVALID_OPTION: option resnapshot is ${value}; it must be a table that this capture has, such as public.t, public.u. `;
    expect(await failure({ ...mine, resnapshot })).toContain(message);
    expect(await slots(name)).toEqual([]);
    const run = await Run.open(mine);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await run.close();
    expect(await failure({ ...mine, resnapshot }, run.target)).toContain(message);
    const again = await Run.open({ ...mine, resnapshot: ['public.t', '!public.out'] }, run.target);
    expect(await again.differences(url, 'pub')).toEqual([]);
    expect([again.target.versions.get('public.t')!.size, again.target.versions.get('public.u')!.size]).toEqual([2, 1]);
  });
});

describe('P2: what the state knows must be what the server has', () => {
  it('a slot without a state is not adopted', async () => {
    const { options, url } = await captured('stateless');
    expect(await failure(options)).toMatch(/^MR_STATE_MISSING: the replication slot stateless exists, but there is no state.*teardown/);
    expect(await teardown({ url, slot: 'stateless', publication: 'pub' })).toEqual({
      slot: 'dropped',
      publication: 'dropped',
      ddlText: 'absent',
    });
    expect(await teardown({ url, slot: 'stateless', publication: 'pub' })).toEqual({
      slot: 'absent',
      publication: 'absent',
      ddlText: 'absent',
    });
    const run = await Run.open(options);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await run.close();
  });

  it('a target without its state, and a state without its target', async () => {
    const { options, url, target } = await captured('separated');
    const forgotten = Object.assign(new MemoryTarget(), { state: target.state, checkpointTs: target.checkpointTs });
    expect(await failure(options, forgotten)).toMatch(/^MR_TARGET_MISSING/);
    await teardown({ url, slot: 'separated', publication: 'pub' });
    const stateless = Object.assign(new MemoryTarget(), { identity: target.identity });
    expect(await failure(options, stateless)).toMatch(/^MR_STATE_MISSING: a target with changes exists/);
    expect(await slots('separated')).toEqual([]);
  });

  it('I6: a slot that is gone, and one that was advanced past the checkpoint', async () => {
    const { options, target, query } = await captured('lost');
    await query('INSERT INTO t VALUES (2)');
    await query('SELECT pg_switch_wal()');
    await query("SELECT pg_replication_slot_advance('lost', pg_current_wal_lsn())");
    expect(await failure(options, target)).toMatch(/^MR_SLOT_ADVANCED: the replication slot lost stands at .*, beyond the checkpoint/);
    await query("SELECT pg_drop_replication_slot('lost')");
    expect(await failure(options, target)).toMatch(/^MR_SLOT_GONE/);
    await query("SELECT pg_create_logical_replication_slot('lost', 'pgoutput')");
    expect(await failure(options, target)).toMatch(/^MR_SLOT_ADVANCED/);
  });

  it('I6: a slot that the server has invalidated', async () => {
    const { options, target, query } = await captured('invalidated');
    await query("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    await query('SELECT pg_reload_conf()');
    for (let i = 0; i < 6; i++)
      await query('CREATE TABLE IF NOT EXISTS filler (i int); INSERT INTO filler VALUES (1)').then(() => query('SELECT pg_switch_wal()'));
    await query('CHECKPOINT');
    await query('ALTER SYSTEM RESET max_slot_wal_keep_size');
    await query('SELECT pg_reload_conf()');
    await query('DROP TABLE filler');
    expect(await failure(options, target)).toMatch(/^MR_SLOT_INVALIDATED: .*wal_removed/);
  });

  it('a slot of another kind or database', async () => {
    const { options, url } = await makeDatabase(server, 'foreign_slot', TABLE);
    await server.query("SELECT pg_create_physical_replication_slot('foreign_slot')");
    expect(await failure(options)).toMatch(/^MR_SLOT_FOREIGN: .* of another kind: physical instead of pgoutput/);
    await expect(teardown({ url, slot: 'foreign_slot' })).rejects.toThrow(/^MR_SLOT_FOREIGN/);
    await server.query("SELECT pg_drop_replication_slot('foreign_slot'), pg_create_logical_replication_slot('foreign_slot', 'pgoutput')");
    expect(await failure(options)).toMatch(/^MR_SLOT_FOREIGN: .* of another database: postgres instead of foreign_slot/);
  });

  it('another server, timeline, database, slot or publication', async () => {
    const { options, target, query } = await captured('identity');
    const other = await makeDatabase(server, 'identity_2', TABLE);
    const forged = (change: Record<string, JsonValue>) =>
      Object.assign(new MemoryTarget(), target, { state: { ...(target.state as Record<string, JsonValue>), ...change } });
    expect(await failure(options, forged({ systemIdentifier: '1' }))).toMatch(/^MR_SOURCE_CHANGED: .* the system identifier was 1 and is/);
    expect(await failure(options, forged({ timeline: 7 }))).toMatch(/^MR_SOURCE_CHANGED: .* the timeline .* was 7 and is 1/);
    expect(await failure({ ...options, url: other.url }, forged({}))).toMatch(
      /^MR_SOURCE_CHANGED: .* the database was identity and is identity_2/,
    );
    expect(await failure({ ...options, slot: 'elsewhere' }, forged({}))).toMatch(
      /^MR_SOURCE_CHANGED: .* the replication slot was identity and is elsewhere/,
    );
    expect(await failure({ ...options, publication: 'p2' }, forged({}))).toMatch(
      /^MR_SOURCE_CHANGED: .* the publication was pub and is p2/,
    );
    expect(await failure(options, forged({ format: 99 }))).toMatch(/^MR_STATE_MALFORMED/);
    await query('SELECT 1');
  });

  it('P4: a publication or a table of it that was dropped and added again is a gap', async () => {
    const { options, target, query } = await captured('gap', `${TABLE}; CREATE TABLE u (id int PRIMARY KEY)`);
    await query('ALTER PUBLICATION pub DROP TABLE t; INSERT INTO t VALUES (2)');
    expect(await failure(options, target)).toMatch(/^MR_PUBLICATION_GAP: .*table public.t was taken out of it\. /);
    await query('ALTER PUBLICATION pub ADD TABLE t');
    expect(await failure(options, target)).toMatch(/^MR_PUBLICATION_GAP: .*table public.t was taken out of it and added again/);
    const run = await Run.open({ ...options, resnapshot: ['public.t'] }, target);
    expect(await run.differences(new URL('/gap', server.url).toString(), 'pub')).toEqual([]);
    await run.close();
    await query('DROP PUBLICATION pub');
    expect(await failure(options, target)).toMatch(/^MR_PUBLICATION_GAP: .*it was dropped/);
    await query('CREATE PUBLICATION pub FOR TABLE t');
    expect(await failure(options, target)).toMatch(/^MR_PUBLICATION_GAP: .*dropped and created again/);
  });

  it.each([
    ['a publication that is dropped', 'DROP PUBLICATION pub'],
    ['a table that is dropped from the publication', 'ALTER PUBLICATION pub DROP TABLE t'],
    ['a table that is dropped and added again', 'ALTER PUBLICATION pub DROP TABLE t; ALTER PUBLICATION pub ADD TABLE t'],
  ])('P4: %s while the stream runs ends the run', async (_title, statement) => {
    const name = `gap_${statement.length}`;
    const { options, query } = await makeDatabase(server, name, TABLE);
    const run = await Run.open(options);
    await run.pullUntil(() => run.target.checkpointTs !== null);
    const end = run.pullUntil(() => false);
    await query(`${statement}; INSERT INTO t VALUES (3)`);
    await expect(end).rejects.toThrow(/^MR_PUBLICATION_GAP/);
  });
});

describe('a server that is not set up for it', () => {
  let other: TestPostgres;

  beforeAll(async () => {
    other = await startPostgres({ settings: { wal_level: 'replica', max_replication_slots: '1' } });
  });
  afterAll(() => other.stop());

  it('names wal_level, then the missing slots', async () => {
    await other.query(TABLE);
    expect(await failure({ url: other.url })).toMatch(/^MR_WAL_LEVEL: wal_level is replica\. Run ALTER SYSTEM SET wal_level = logical/);
    await other.restart('fast', { wal_level: 'logical', max_replication_slots: '1' });
    expect(await failure({ url: other.url })).toMatch(/^MR_TOO_FEW_SLOTS: the server has 1 of 1 replication slots free; 2 are needed/);
    expect(await other.query('SELECT FROM pg_publication')).toEqual([]);
  });
});
