import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type JsonValue, stringifyJson } from '../../../../lib/formats/json.ts';
import { parseLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '100', autovacuum: 'off' } });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE = `CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 100) AS i;
  CREATE TABLE other (id int PRIMARY KEY)`;

async function capturing(name: string, schema = TABLE, watchInterval = '100ms') {
  const made = await makeDatabase(server, name, schema);
  const run = await Run.open({ ...made.options, watchInterval });
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  return { ...made, run, same: async () => expect(await run.differences(made.url, 'pub')).toEqual([]) };
}

describe('P7: schema changes come in order with the rows', () => {
  it('P6: a constant default reaches the rows that were there before the column', async () => {
    const { run, query, same } = await capturing('add_column');
    await query(
      "UPDATE t SET note = 'a' WHERE id = 1; ALTER TABLE t ADD COLUMN extra text DEFAULT 'it''s'; INSERT INTO t VALUES (200, 'b', 'c')",
    );
    await same();
    await query("ALTER TABLE t ALTER COLUMN extra SET DEFAULT 'other'; INSERT INTO t VALUES (201, 'b')");
    await same();
    expect(run.target.statements.filter((text) => text.includes('ALTER'))).toEqual([
      `ddl public.t 5 ALTER TABLE "public"."t" ADD COLUMN "extra" text DEFAULT 'it''s'`,
    ]);
  });

  it('P6: the default is not forgotten when VACUUM FULL takes it out of the catalog before a row tells of it', async () => {
    const { run, query, same } = await capturing('vacuumed_default');
    await query("ALTER TABLE t ADD COLUMN extra text DEFAULT 'x'");
    await run.pullUntil(() => run.resolvedTs > run.source.headTs);
    await run.pullAlong(() => JSON.stringify(run.target.state).includes('"3":"x"'));
    await query('VACUUM FULL t');
    await query("INSERT INTO t VALUES (200, 'b', 'c')");
    await same();
    expect(run.source.status().tables.get('public.t')?.stopped).toBe(false);
  });

  it('P6: a new column reaches readers though no row tells of it', async () => {
    const { run, query, same, url, options } = await capturing('silent');
    await query('ALTER TABLE t ADD COLUMN extra int DEFAULT 7');
    await run.pullAlong(() => run.target.statements.some((text) => text.includes('ALTER')));
    await same();
    await query('INSERT INTO t VALUES (200), (201); ALTER TABLE t DROP COLUMN note');
    run.checkpoints = false;
    await run.pullAlong(() => run.target.statements.some((text) => text.includes('DROP COLUMN')));
    await query('INSERT INTO t VALUES (202), (203)');
    await same();
    const before = shape(run);
    await run.close();
    const again = await Run.open(options, run.target);
    expect(await again.differences(url, 'pub')).toEqual([]);
    expect(shape(again)).toEqual(before);
    expect(again.target.statements.filter((text) => text.includes('ALTER')).slice(0, 2)).toEqual([
      'ddl public.t 5 ALTER TABLE "public"."t" ADD COLUMN "extra" integer DEFAULT \'7\'',
      'ddl public.t 6 ALTER TABLE "public"."t" DROP COLUMN "note"',
    ]);
    await again.close();
  });

  it('P6: a new column is told of though the stream passed it while it was looked at, and nothing follows on a quiet server', async () => {
    const made = await makeDatabase(server, 'quiet', TABLE);
    let hold: (() => Promise<void>) | null = null;
    // Of the look that has found the column: held in a save of its own, the stream would never pass what is waited for.
    const onSave = (state: JsonValue) => (stringifyJson(state).includes('"extra"') ? hold?.() : undefined);
    const run = await Run.open(made.options, undefined, { onSave });
    expect(await run.differences(made.url, 'pub')).toEqual([]);
    const wake = await stopBackgroundWriter();
    try {
      hold = async () => {
        hold = null;
        const [last] = await made.query("SELECT pg_logical_emit_message(true, 'test', '') AS lsn");
        await eventually(async () => run.resolvedTs >= parseLsn(String(last!['lsn']))!);
      };
      await made.query('ALTER TABLE t ADD COLUMN extra int');
      await run.pullAlong(() => run.target.statements.some((text) => text.includes('ADD COLUMN')));
      expect(hold).toBeNull();
    } finally {
      wake();
    }
  });

  it('several changes of the schema, TRUNCATEs and several changes of a key in one transaction', async () => {
    const { run, query, same } = await capturing('one_transaction');
    await query(`BEGIN; INSERT INTO t VALUES (500, 'a'); UPDATE t SET note = 'b' WHERE id = 500; UPDATE t SET id = 501 WHERE id = 500; DELETE FROM t WHERE id = 501;
      INSERT INTO t VALUES (500, 'again'); TRUNCATE t; INSERT INTO t VALUES (1, 'one'); ALTER TABLE t ADD COLUMN a int DEFAULT 3; INSERT INTO t VALUES (2, 'two', 4);
      TRUNCATE t; INSERT INTO t VALUES (3, 'three', 5); ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (4, 6); COMMIT`);
    await same();
    const versions = [...run.target.versions.get('public.t')!.keys()];
    // The snapshot's, and commitTs + k for each of two TRUNCATEs and two changes of columns.
    expect(versions.slice(2).map((version) => version - versions[1]!)).toEqual([1n, 2n, 3n]);
  });

  it('versions are the same on a replay, and are not read from a catalog that has moved on', async () => {
    const { run, query, url, options } = await capturing('replay');
    run.checkpoints = false;
    await query("ALTER TABLE t ADD COLUMN a int DEFAULT 1; INSERT INTO t VALUES (200, 'x', 2)");
    await query('ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (201, 3)');
    expect(await run.differences(url, 'pub')).toEqual([]);
    const before = shape(run);
    await run.close();
    await query('ALTER TABLE t ADD COLUMN note text; ALTER TABLE t DROP COLUMN a; INSERT INTO t VALUES (202)');
    const again = await Run.open({ ...options, watchInterval: '1h' }, run.target);
    await again.pullUntil(() => again.resolvedTs >= again.source.headTs);
    expect(shape(again).slice(0, before.length)).toEqual(before);
    await again.close();
  });

  it('a replica identity that changes is a version of its own', async () => {
    const { run, query, same } = await capturing('identity_change');
    await query("ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET note = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2");
    await same();
    expect(run.target.statements.at(-1)).toBe('ddl public.t 12 ALTER TABLE "public"."t" REPLICA IDENTITY FULL');
  });

  it('a type that changes without a rewrite is a version of its own', async () => {
    const { run, query, same } = await capturing('widened', 'CREATE TABLE t (id int PRIMARY KEY, note varchar(5))');
    await query("INSERT INTO t VALUES (1, 'abc'); ALTER TABLE t ALTER note TYPE varchar(50); INSERT INTO t VALUES (2, 'abcdefgh')");
    await same();
    expect(run.target.statements.at(-1)).toBe('ddl public.t 12 ALTER TABLE "public"."t" ALTER COLUMN "note" TYPE character varying(50)');
  });
});

describe('P6: changes to rows that send no row events stop the table, and no other', () => {
  it.each([
    ['a type', 'ALTER TABLE t ALTER note TYPE varchar(3) USING left(note, 3)', 'the type of column note was changed'],
    ['the values, by a USING of the same type', 'ALTER TABLE t ALTER note TYPE text USING upper(note)', 'column note was rewritten'],
    [
      'a column with a value of its own for each row',
      'ALTER TABLE t ADD COLUMN r float DEFAULT random()',
      'column r was added with values that readers cannot know',
    ],
    ['a serial column', 'ALTER TABLE t ADD COLUMN s serial', 'column s was added with values'],
    ['the name of a column', 'ALTER TABLE t RENAME note TO remark', 'column note was renamed to remark'],
    [
      'a column, dropped and added again',
      "ALTER TABLE t DROP note; ALTER TABLE t ADD note text DEFAULT 'x'",
      'column note was dropped and added again',
    ],
    ['the name of the table', 'ALTER TABLE t RENAME TO t2', 'it was renamed to public.t2'],
    ['the schema', 'CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s', 'it was renamed to s.t'],
    [
      'the values, and then something harmless',
      'ALTER TABLE t ALTER note TYPE text USING upper(note); ALTER TABLE t ADD CHECK (id > 0); ALTER TABLE t ALTER id SET STATISTICS 10',
      'column note was rewritten',
    ],
  ])('%s', async (title, statement, reason) => {
    const name = `rewrite_${title.replaceAll(/\W/g, '_').toLowerCase()}`.slice(0, 60);
    const { run, query, url, options } = await capturing(name);
    await query(statement);
    await run.pullAlong(() => run.log.has('error', new RegExp(`MR_TABLE_REWRITTEN: .*${reason}`)));
    await query('INSERT INTO other VALUES (1)');
    await run.pullUntil(() => [...run.target.versions.get('public.other')!.values()].some(({ rows }) => rows.length > 0));
    expect([...run.source.status().tables].filter(([, { stopped }]) => stopped).map(([table]) => table)).toEqual(['public.t']);
    await run.close();
    // It stays stopped over a restart, until it is taken again.
    const again = await Run.open(options, run.target);
    expect(again.log.has('error', /MR_TABLE_REWRITTEN/)).toBe(true);
    await again.close();
    const resnapshot = await Run.open({ ...options, resnapshot: ['*.*', '!public.other'] }, run.target);
    expect(await resnapshot.differences(url, 'pub')).toEqual([]);
    await query('INSERT INTO other VALUES (2)');
    expect(await resnapshot.differences(url, 'pub')).toEqual([]);
    await resnapshot.close();
  });

  it.each([
    ['VACUUM FULL', 'VACUUM FULL t'],
    ['CLUSTER', 'CLUSTER t USING t_pkey'],
    ['TRUNCATE and a new column', 'TRUNCATE t; ALTER TABLE t ADD COLUMN a int DEFAULT 4'],
    [
      'a constraint, statistics and a default',
      "ALTER TABLE t ADD CHECK (id > 0); ALTER TABLE t ALTER note SET STATISTICS 5; ALTER TABLE t ALTER note SET DEFAULT 'z'",
    ],
    ['an index and ANALYZE', 'CREATE INDEX ON t (note)'],
  ])('%s does not trip it', async (title, statement) => {
    const { run, query, same } = await capturing(`harmless_${title.replaceAll(/\W/g, '_').toLowerCase()}`);
    await query("ALTER TABLE t ADD COLUMN d text DEFAULT 'd'; INSERT INTO t VALUES (1000, 'x')");
    await same();
    const before = JSON.stringify(run.target.state);
    await query(statement);
    await run.pullAlong(() => JSON.stringify(run.target.state) !== before || title.startsWith('an index'));
    await query("INSERT INTO t (id, note) VALUES (1001, 'y'); UPDATE t SET note = 'z' WHERE id = 50");
    await same();
    expect(run.source.status().tables.get('public.t')?.stopped).toBe(false);
  });

  it('a rewrite while nobody listened is found at the next start', async () => {
    const { run, query, options } = await capturing('offline');
    await run.close();
    await query("ALTER TABLE t ALTER note TYPE text USING upper(note); INSERT INTO t VALUES (300, 'x')");
    const again = await Run.open(options, run.target);
    expect(again.source.status().tables.get('public.t')?.stopped).toBe(true);
    await again.close();
  });

  const PARTITIONED = `CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (100);
    CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (100) TO (200); CREATE TABLE loose (id int PRIMARY KEY);
    INSERT INTO loose VALUES (250); INSERT INTO t SELECT generate_series(1, 199)`;

  it.each([
    ['a partition that is detached', 'ALTER TABLE t DETACH PARTITION p1', 'partition p1 was detached or dropped'],
    ['a partition that is dropped', 'DROP TABLE p2', 'partition p2 was detached or dropped'],
    ['a table that is attached', 'ALTER TABLE t ATTACH PARTITION loose FOR VALUES FROM (200) TO (300)', 'partition loose was attached'],
    ['a partition that is truncated alone', 'TRUNCATE p1', 'partition p1 was truncated alone'],
  ])('%s', async (_title, statement, reason) => {
    const { run, query } = await capturing(`part_${statement.replaceAll(/\W/g, '_').toLowerCase()}`.slice(0, 50), PARTITIONED);
    await query(statement);
    await run.pullAlong(() => run.log.has('error', new RegExp(`MR_TABLE_REWRITTEN: .*${reason}`)));
  });

  it('a partition that is created, a TRUNCATE of the whole and VACUUM FULL of a leaf do not trip it', async () => {
    const { run, query, same } = await capturing('partitions_fine', PARTITIONED);
    await query('CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (300) TO (400); INSERT INTO t VALUES (350)');
    await same();
    await query('VACUUM FULL p1');
    await same();
    await query('TRUNCATE t; INSERT INTO t VALUES (5), (150), (360)');
    await same();
    for (let i = 0; i < 3; i++) {
      const before = run.resolvedTs;
      await query("SELECT pg_logical_emit_message(true, 'x', 'y')");
      await run.pullUntil(() => run.resolvedTs > before);
      await same();
    }
    expect(run.source.status().tables.get('public.t')?.stopped).toBe(false);
  });
});

describe('tables that come and go', () => {
  it('P5, P10: a table created later joins by itself, and is copied while the stream waits', async () => {
    const { run, query, same } = await capturing('joins');
    await query('CREATE TABLE late (id int PRIMARY KEY, v text)');
    await query("INSERT INTO late SELECT i, 'v' FROM generate_series(1, 1000) AS i");
    await run.pullAlong(() => run.target.versions.has('public.late'));
    await query("UPDATE late SET v = 'w' WHERE id % 3 = 0; INSERT INTO t VALUES (900, 'x')");
    await same();
    expect(run.log.has('info', /a table joins/)).toBe(true);
  });

  it('P4: a new table without a replica identity does not join, and a warning says so once', async () => {
    const { run, query, same } = await capturing('cannot_join');
    await query('CREATE TABLE keyless (id int); INSERT INTO keyless VALUES (1)');
    await run.pullAlong(() => run.log.has('warn', /no usable replica identity/));
    await query('UPDATE keyless SET id = 2; INSERT INTO t VALUES (901)');
    await same();
    expect(run.log.lines.filter(({ message }) => /no usable replica identity/.test(message))).toHaveLength(1);
  });

  it('a table that is dropped is named with what stays of it, once, and its last rows come before it is left', async () => {
    const { run, query, options } = await capturing('dropped', `${TABLE}; CREATE TABLE "Old one" (id int PRIMARY KEY)`);
    run.checkpoints = false;
    await query('INSERT INTO "Old one" VALUES (1), (2)');
    await query('DROP TABLE "Old one"');
    await eventually(async () => run.log.has('warn', /table public."Old one" was dropped: .*stays at the target/));
    await run.close();
    // Nothing of it was durable: the rows are read again though the table is gone.
    const again = await Run.open(options, run.target);
    await again.pullUntil(() => again.resolvedTs >= again.source.headTs);
    expect(again.target.rebuild('public.Old one', ['id'], again.resolvedTs)).toEqual(['["1"]', '["2"]']);
    await query('INSERT INTO other VALUES (1)');
    await again.pullUntil(() => !again.source.status().tables.has('public.Old one'));
    expect(await again.differences(options.url, 'pub')).toEqual([]);
    expect(again.log.has('warn', /was dropped/)).toBe(false);
  });

  it('a table that was dropped while nobody listened is named at the next start', async () => {
    const { run, query, options } = await capturing('dropped_offline');
    await run.close();
    await query('DROP TABLE other');
    const again = await Run.open(options, run.target);
    expect(again.log.has('warn', /table public.other was dropped/)).toBe(true);
    await query("INSERT INTO t VALUES (500, 'x')");
    expect(await again.differences(options.url, 'pub')).toEqual([]);
  });

  it('P6: a new table under a known name clears it', async () => {
    const { run, query, same } = await capturing('same_name');
    await query('DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, other int); INSERT INTO t VALUES (7, 8)');
    await run.pullAlong(() => run.target.versions.get('public.t')!.size === 2);
    await same();
    expect(run.target.statements.filter((text) => text.startsWith('ddl public.t'))).toEqual([
      'ddl public.t 0 ',
      'ddl public.t 11 TRUNCATE TABLE "public"."t"',
    ]);
  });

  it('I5, P5: a table that joined and was killed before the checkpoint passed its snapshot is taken again', async () => {
    const { run, query, url, options } = await capturing('killed_join');
    run.checkpoints = false;
    await query('CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late SELECT generate_series(1, 10)');
    await run.pullAlong(() => run.target.versions.has('public.late'));
    await run.close();
    await query('DELETE FROM late WHERE id < 5');
    const again = await Run.open(options, run.target);
    expect(await again.differences(url, 'pub')).toEqual([]);
    expect(again.target.versions.get('public.late')!.size).toBe(1);
    await again.close();
  });

  it('a table that the patterns leave out later is taken out of our publication, and copied anew when it comes back', async () => {
    const { run, query, url, options } = await capturing('narrowed');
    await run.close();
    const narrow = await Run.open({ ...options, tables: ['public.other'] }, run.target);
    await query('INSERT INTO t VALUES (950)');
    expect(await narrow.differences(url, 'pub')).toEqual([]);
    await narrow.close();
    const wide = await Run.open(options, run.target);
    expect(await wide.differences(url, 'pub')).toEqual([]);
    expect(wide.target.versions.get('public.t')!.size).toBe(2);
    await wide.close();
  });

  it('warns when the slot holds back more WAL than `maxWal`', async () => {
    const { options, query } = await makeDatabase(server, 'retention', TABLE);
    const run = await Run.open({ ...options, maxWal: '1KiB' });
    run.checkpoints = false;
    await query("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1000, 3000) AS i");
    await run.pullAlong(() => run.log.has('warn', /makes the server keep much WAL/));
  });
});

/** Stops the only other process of the server that writes WAL by itself, where it holds no lock. Returns what lets it go on. */
async function stopBackgroundWriter(): Promise<() => void> {
  const read = () =>
    server.query<{ pid: number; idle: boolean }>(
      "SELECT pid, coalesce(wait_event ILIKE 'bgwriter%', false) AS idle FROM pg_stat_activity WHERE backend_type = 'background writer'",
    );
  const { pid } = (await read())[0]!;
  await eventually(async () => {
    process.kill(pid, 'SIGSTOP');
    const { idle } = (await read())[0]!;
    if (!idle) process.kill(pid, 'SIGCONT');
    return idle;
  });
  return () => process.kill(pid, 'SIGCONT');
}

/** The versions that a run's target knows, as texts. */
function shape(run: Run): string[] {
  return [...run.target.versions.get('public.t')!].map(
    ([version, { table }]) => `${version} ${table.columns.map((c) => `${c.columnId} ${c.name}`)}`,
  );
}
