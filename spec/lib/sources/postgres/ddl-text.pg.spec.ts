import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../../lib/errors.ts';
import { type DdlEvent, formatPosition } from '../../../../lib/events/index.ts';
import { type JsonValue, stringifyJson } from '../../../../lib/formats/json.ts';
import { parseLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { installCarrierSql } from '../../../../lib/sources/postgres/ddl-text.ts';
import { installDdlText, teardown } from '../../../../lib/sources/postgres/index.ts';
import type { PostgresOptions } from '../../../../lib/sources/postgres/options.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, type LogBook, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '100', autovacuum: 'off' } });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE = "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'a'); CREATE TABLE other (id int PRIMARY KEY)";

/** Once changes are to be told by rows alone, the watch does not look. */
async function capturing(name: string, schema = TABLE, options: Partial<PostgresOptions> = {}) {
  const made = await makeDatabase(server, name, schema);
  const all = { ...made.options, watchInterval: '1h', ddlText: true, ...options };
  const run = await Run.open(all);
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  return { ...made, options: all, run, same: async () => expect(await run.differences(made.url, 'pub')).toEqual([]) };
}

/** The schema changes behind the snapshot: what readers are told, and what the user sent. */
function changesOf({ target }: Run, table = 't') {
  const changes = target.ddl.filter((event) => event.action !== 0 && event.table.name === table);
  return changes.map(({ query, statement }) => [query.replaceAll(/"public"\.|"/g, ''), statement]);
}

function place({ table, position, query, action, statement, startsEmpty }: DdlEvent) {
  return `${table.name} v${table.version} ${formatPosition(position)} ${action} ${query} ← ${statement}${startsEmpty ? ', empty' : ''}`;
}

/** Until the stream has passed all that was committed. */
async function pullToNow(run: Run, query: (sql: string) => Promise<Record<string, unknown>[]>): Promise<void> {
  const [row] = await query("SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'x', '') AS lsn");
  await run.pullUntil(() => run.resolvedTs >= parseLsn(String(row!['lsn']))!);
}

function secretsIn(log: LogBook): string[] {
  return log.lines.map((line) => stringifyJson(line as unknown as JsonValue)).filter((line) => /hunter2/.test(line));
}

describe('ddlText: the text of a schema change comes with it', () => {
  it('in the same transaction and in another one, and no log shows it', async () => {
    const { run, query, same } = await capturing('text');
    await query("BEGIN; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2, 'b', 3); COMMIT");
    await query("ALTER TABLE t ADD COLUMN b text DEFAULT 'hunter2' /* mine */");
    await query("INSERT INTO t VALUES (3, 'c', 4)");
    await same();
    expect(changesOf(run)).toEqual([
      ['ALTER TABLE t ADD COLUMN a integer', "BEGIN; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2, 'b', 3); COMMIT"],
      ["ALTER TABLE t ADD COLUMN b text DEFAULT 'hunter2'", "ALTER TABLE t ADD COLUMN b text DEFAULT 'hunter2' /* mine */"],
    ]);
    expect(secretsIn(run.log)).toEqual([]);
  });

  it.each<[string, string, string, string | null]>([
    [
      'several sub-commands',
      'ALTER TABLE t ADD COLUMN a int, DROP COLUMN note',
      'ALTER TABLE t DROP COLUMN note, ADD COLUMN a integer',
      '',
    ],
    ['a replica identity', 'ALTER TABLE t REPLICA IDENTITY FULL', 'ALTER TABLE t REPLICA IDENTITY FULL', ''],
    ['a DO block', 'DO $$ BEGIN ALTER TABLE t ADD COLUMN a int; END $$', 'ALTER TABLE t ADD COLUMN a integer', ''],
    ['a function', 'SELECT migrate()', 'ALTER TABLE t ADD COLUMN a integer', ''],
    ['a column that falls with its extension', 'DROP EXTENSION citext CASCADE', 'ALTER TABLE t DROP COLUMN ci', ''],
    ['a column that falls with its type', 'DROP TYPE mood CASCADE', 'ALTER TABLE t DROP COLUMN mood', ''],
    ['a schema that takes the type along', 'DROP SCHEMA types CASCADE', 'ALTER TABLE t DROP COLUMN kind', ''],
    [
      'two tables in one string',
      'ALTER TABLE other ADD COLUMN x int; ALTER TABLE t ADD COLUMN x int',
      'ALTER TABLE t ADD COLUMN x integer',
      '',
    ],
    [
      'a text too long to be carried',
      `ALTER TABLE t ADD COLUMN x int /* ${'x'.repeat(33_000)} */`,
      'ALTER TABLE t ADD COLUMN x integer',
      null,
    ],
    ['characters of all kinds', 'ALTER TABLE t ADD COLUMN "größe €😀" int', 'ALTER TABLE t ADD COLUMN größe €😀 integer', ''],
  ])('%s', async (title, statement, made, text) => {
    const schema = `CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('x'); CREATE SCHEMA types; CREATE TYPE types.kind AS ENUM ('y');
      CREATE TABLE t (id int PRIMARY KEY, note text, mood mood, kind types.kind, ci citext); CREATE TABLE other (id int PRIMARY KEY);
      CREATE FUNCTION migrate() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE t ADD COLUMN a int; END'`;
    const { run, query, same } = await capturing(`change_${title.replaceAll(/\W/g, '_').toLowerCase()}`, schema);
    await query(statement);
    await query('INSERT INTO t (id) VALUES (5); UPDATE t SET id = 6');
    await same();
    expect(changesOf(run)).toEqual([[made, text === '' ? statement : text]]);
  });

  it('several statements before the next row come together, each string once', async () => {
    const { run, query, same } = await capturing('several');
    await query('ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int');
    await query('ALTER TABLE t ADD COLUMN c int;');
    await query("ALTER TABLE t ADD COLUMN d int -- with a ';'");
    await query('INSERT INTO t (id) VALUES (2)');
    await same();
    expect(changesOf(run).map(([, statement]) => statement)).toEqual([
      "ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int;\nALTER TABLE t ADD COLUMN c int;\nALTER TABLE t ADD COLUMN d int -- with a ';'",
    ]);
  });

  it('one that changed nothing that rows show is not taken for a later one', async () => {
    const { run, query, same } = await capturing('nothing_shown');
    await query("ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0); COMMENT ON TABLE t IS 'x'; CREATE INDEX ON t (note)");
    await query('INSERT INTO t (id) VALUES (2)');
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t (id) VALUES (3)');
    await same();
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN a integer', 'ALTER TABLE t ADD COLUMN a int']]);
  });

  it('nor by a run that starts behind the row that showed nothing of it', async () => {
    const { run, query, same, options } = await capturing('nothing_kept');
    await query('ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)');
    await query('INSERT INTO t (id) VALUES (2)');
    run.checkpoints = false;
    await same();
    // As after a crash: what was stored by then, and the checkpoint of the moment.
    const { state } = run.target;
    run.checkpoint(run.resolvedTs);
    await run.close();
    run.target.state = state;
    const again = await Run.open(options, run.target);
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t (id) VALUES (3)');
    await again.pullUntil(() => changesOf(run).length > 0);
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN a integer', 'ALTER TABLE t ADD COLUMN a int']]);
  });

  it('the first version of a table without a snapshot has none: it is no change', async () => {
    const { options, query } = await makeDatabase(server, 'first_version', TABLE);
    const run = await Run.open({ ...options, ddlText: true, snapshot: 'never' });
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t (id) VALUES (2)');
    await run.pullUntil(() => run.target.ddl.length > 0);
    expect(run.target.ddl.map(({ query: made, statement, action }) => [made, statement, action])).toEqual([['', null, 0]]);
  });

  it('P6: a change that no row tells of has it too', async () => {
    const { run, query } = await capturing('silent_text', TABLE, { watchInterval: '100ms' });
    await query('ALTER TABLE t ADD COLUMN a int');
    await run.pullAlong(() => changesOf(run).length > 0);
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN a integer', 'ALTER TABLE t ADD COLUMN a int']]);
  });

  it('a change of a partitioned table has it; those of its partitions alone do not count as changes of it', async () => {
    const { run, query, same } = await capturing(
      'partitioned',
      'CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (100)',
    );
    await query('ALTER TABLE p1 SET (fillfactor = 50); CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (100) TO (200)');
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t VALUES (1, 2), (150, 3)');
    await same();
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN a integer', 'ALTER TABLE t ADD COLUMN a int']]);
  });

  it('a table that inherits the column has the statement that is made: it was not named', async () => {
    const { run, query, same } = await capturing(
      'inherited',
      'CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE t (PRIMARY KEY (id)) INHERITS (parent)',
    );
    await query('ALTER TABLE parent ADD COLUMN a int');
    await query('INSERT INTO parent VALUES (1, 2); INSERT INTO t VALUES (3, 4)');
    await same();
    expect([changesOf(run, 'parent'), changesOf(run)]).toEqual([
      [['ALTER TABLE parent ADD COLUMN a integer', 'ALTER TABLE parent ADD COLUMN a int']],
      [['ALTER TABLE t ADD COLUMN a integer', null]],
    ]);
  });

  it('a database in another encoding', async () => {
    await server.query("CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0");
    const query = (sql: string) => server.query(sql, [], 'latin');
    await query(TABLE);
    const url = new URL(server.url);
    url.pathname = '/latin';
    const run = await Run.open({ url: url.toString(), slot: 'latin', publication: 'pub', ddlText: true });
    expect(await run.differences(url.toString(), 'pub')).toEqual([]);
    await query('ALTER TABLE t ADD COLUMN "größe" int');
    await query('INSERT INTO t (id) VALUES (2)');
    expect(await run.differences(url.toString(), 'pub')).toEqual([]);
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN größe integer', 'ALTER TABLE t ADD COLUMN "größe" int']]);
  });

  it('messages take no ordinal: positions and versions are those of a capture without', async () => {
    const { run, query, url, same } = await capturing('ordinals');
    const plain = await Run.open({ url, slot: 'ordinals_plain', publication: 'pub', watchInterval: '1h' });
    expect(await plain.differences(url, 'pub')).toEqual([]);
    await query(`BEGIN; INSERT INTO t VALUES (2, 'b'); ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (3, 'c', 1); ALTER TABLE other ADD COLUMN x int;
      TRUNCATE t; ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (4, 5); INSERT INTO other VALUES (1, 2); COMMIT`);
    await same();
    expect(await plain.differences(url, 'pub')).toEqual([]);
    const rows = ({ target }: Run) =>
      [...target.versions]
        .sort()
        .flatMap(([name, versions]) =>
          [...versions]
            .slice(1)
            .map(([version, stored]) => `${name} v${version} ${stored.rows.map(({ position }) => formatPosition(position)).join()}`),
        );
    const shapes = ({ target }: Run) =>
      target.ddl.filter(({ action }) => action !== 0).map((event) => place({ ...event, statement: null }));
    expect(rows(run)).toEqual(rows(plain));
    expect(shapes(run)).toEqual(shapes(plain));
    expect(shapes(run)).toHaveLength(3);
    expect(plain.target.ddl.every(({ statement }) => statement === null)).toBe(true);
  });

  it('it stands before the row that follows it at once, in a savepoint or a block with an exception too', async () => {
    const { run, query, same } = await capturing('in_place');
    await query("BEGIN; INSERT INTO t VALUES (2, 'b'); ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (3, 'c', 1); COMMIT");
    await query(
      "BEGIN; INSERT INTO t VALUES (4, 'b'); SAVEPOINT x; ALTER TABLE t ADD COLUMN b int; RELEASE x; INSERT INTO t VALUES (5, 'c', 1); COMMIT",
    );
    await query(`BEGIN; INSERT INTO t VALUES (6, 'b'); DO $$ BEGIN ALTER TABLE t ADD COLUMN c int; EXCEPTION WHEN OTHERS THEN NULL; END $$;
      INSERT INTO t VALUES (7, 'c', 1); DROP TABLE other; INSERT INTO t VALUES (8); COMMIT`);
    await same();
    expect(changesOf(run).map(([made, statement]) => [made, statement!.includes(made!.slice(-12, -4))])).toEqual([
      ['ALTER TABLE t ADD COLUMN a integer', true],
      ['ALTER TABLE t ADD COLUMN b integer', true],
      ['ALTER TABLE t ADD COLUMN c integer', true],
    ]);
    expect(run.target.ddl.at(-1)).toMatchObject({ action: 4, position: { ordinal: 2 } });
  });

  it('statements that touch no published table do not come into the WAL', async () => {
    const { query } = await capturing('unpublished', `${TABLE}; CREATE TABLE private (id int PRIMARY KEY)`, { tables: ['public.t'] });
    await server.query("SELECT pg_create_logical_replication_slot('peek', 'pgoutput')", [], 'unpublished');
    await query(
      'ALTER TABLE private ADD COLUMN a int; CREATE TABLE t2 AS SELECT 1 AS id; CREATE TEMP TABLE x (id int); ALTER TABLE x ADD y int; DROP TABLE private',
    );
    await query('ALTER TABLE t ADD COLUMN a int');
    // Taken to the disk, where the peek finds it.
    await query("SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'x', '')");
    const messages = await query(`SELECT encode(data, 'escape') AS text FROM pg_logical_slot_peek_binary_changes('peek', NULL, NULL,
      'proto_version', '1', 'publication_names', 'pub', 'messages', 'true') WHERE get_byte(data, 0) = 77`);
    const told = messages.map(({ text }) => String(text)).filter((text) => text.includes('millrace.ddl'));
    expect(told.map((text) => /"query" : "([^"]*)"/.exec(text)![1])).toEqual(['ALTER TABLE t ADD COLUMN a int']);
    await query("SELECT pg_drop_replication_slot('peek')");
  });
});

describe('P7: a replay tells the same text', () => {
  it.each([
    ['from before the statement', 'before'],
    ['from between the statement and the row that shows it', 'between'],
  ])('%s', async (_title, from) => {
    const { run, query, url, options } = await capturing(`replay_${from}`);
    run.checkpoints = false;
    await query('ALTER TABLE t ADD COLUMN a int');
    await pullToNow(run, query);
    if (from === 'between') run.checkpoint(run.resolvedTs);
    await query('INSERT INTO t VALUES (2)');
    await query(
      'BEGIN; INSERT INTO t VALUES (3); ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (4, 5); ALTER TABLE t ADD COLUMN b int DEFAULT 7; INSERT INTO t VALUES (5); COMMIT',
    );
    expect(await run.differences(url, 'pub')).toEqual([]);
    const before = run.target.ddl.map(place);
    expect(before).toHaveLength(5);
    expect(before.slice(2).every((line) => !line.includes('← null'))).toBe(true);
    await run.close();
    await query('ALTER TABLE t ADD COLUMN later int');
    const seen = run.target.ddl.length;
    const again = await Run.open(options, run.target);
    await again.pullUntil(() => again.resolvedTs >= again.source.headTs);
    expect(run.target.ddl.slice(seen).map(place)).toEqual(before.slice(2));
    // What was told and is durable is not kept: texts can hold secrets.
    again.checkpoints = false;
    await query('INSERT INTO t (id) VALUES (9)');
    await again.pullUntil(() => run.target.ddl.at(-1)!.statement === 'ALTER TABLE t ADD COLUMN later int');
    await pullToNow(again, query);
    expect(JSON.stringify(run.target.state)).toContain('ADD COLUMN later');
    again.checkpoint(again.resolvedTs);
    await eventually(async () => !JSON.stringify(run.target.state).includes('ADD COLUMN'));
  });
});

describe('ddlText: DROP TABLE is told', () => {
  it('in its place, with its text, as a last version that is empty', async () => {
    const { run, query, same } = await capturing('drop_told');
    await query("BEGIN; INSERT INTO other VALUES (7); INSERT INTO t VALUES (2, 'b'); DROP TABLE t; INSERT INTO other VALUES (8); COMMIT");
    await same();
    const event = run.target.ddl.at(-1)!;
    expect(changesOf(run)).toEqual([
      [
        'DROP TABLE t',
        "BEGIN; INSERT INTO other VALUES (7); INSERT INTO t VALUES (2, 'b'); DROP TABLE t; INSERT INTO other VALUES (8); COMMIT",
      ],
    ]);
    expect(event).toMatchObject({ action: 4, startsEmpty: true, position: { ordinal: 2 } });
    expect(event.table.version).toBe(event.position.commitTs);
    expect(run.target.rebuild('public.t', ['id'], event.position.commitTs - 1n)).toEqual(['["1"]']);
    expect(run.target.rebuild('public.t', ['id'], event.position.commitTs)).toEqual([]);
    expect(run.log.lines.filter(({ message }) => /was dropped/.test(message))).toHaveLength(1);
    expect(run.source.status().tables.has('public.t')).toBe(false);
  });

  it('with a schema, with a partitioned table, and not where it was rolled back', async () => {
    const { run, query, same } = await capturing(
      'drop_cascade',
      `CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY); CREATE TABLE s.b (id int PRIMARY KEY) PARTITION BY RANGE (id);
       CREATE TABLE s.b1 PARTITION OF s.b FOR VALUES FROM (0) TO (10); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO s.b VALUES (1)`,
    );
    await query('BEGIN; SAVEPOINT x; DROP TABLE t; ROLLBACK TO x; INSERT INTO t VALUES (1); COMMIT');
    await query('DROP SCHEMA s CASCADE');
    await query('INSERT INTO t VALUES (2)');
    await same();
    const dropped = run.target.ddl.filter(({ action }) => action === 4);
    expect(dropped.map(({ table, query: made, statement }) => [table.name, made, statement]).sort()).toEqual([
      ['a', 'DROP TABLE "s"."a"', 'DROP SCHEMA s CASCADE'],
      ['b', 'DROP TABLE "s"."b"', 'DROP SCHEMA s CASCADE'],
    ]);
  });

  it.each([
    ['FOR ALL TABLES', 'CREATE PUBLICATION pub FOR ALL TABLES'],
    ['of a schema', 'CREATE PUBLICATION pub FOR TABLES IN SCHEMA s'],
  ])('and changes too, where the publication is %s', async (_title, publication) => {
    const name = `published_${publication.replaceAll(/\W/g, '_').toLowerCase()}`.slice(0, 60);
    const { run, query, same } = await capturing(
      name,
      `CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY); CREATE TABLE s.u (id int PRIMARY KEY); ${publication}`,
    );
    await query('ALTER TABLE s.t ADD COLUMN a int');
    await query('INSERT INTO s.t VALUES (1, 2)');
    await query('DROP TABLE s.t');
    await query('INSERT INTO s.u VALUES (1)');
    await same();
    expect(changesOf(run).map(([, statement]) => statement)).toEqual(['ALTER TABLE s.t ADD COLUMN a int', 'DROP TABLE s.t']);
    await query('DROP SCHEMA s CASCADE');
    await run.pullUntil(() => changesOf(run, 'u').length > 0);
    expect(changesOf(run, 'u').map(([, statement]) => statement)).toEqual(['DROP SCHEMA s CASCADE']);
  });

  it('P7: again, and the same, where it was not durable', async () => {
    const { run, query, options } = await capturing('drop_replay');
    run.checkpoints = false;
    await query("INSERT INTO t VALUES (2, 'b')");
    await query('DROP TABLE t');
    await run.pullUntil(() => run.target.ddl.at(-1)!.action === 4);
    const before = place(run.target.ddl.at(-1)!);
    await run.close();
    const again = await Run.open(options, run.target);
    await again.pullUntil(() => again.resolvedTs >= again.source.headTs);
    expect(place(run.target.ddl.at(-1)!)).toBe(before);
    expect(run.target.ddl.filter(({ action }) => action === 4)).toHaveLength(2);
    expect(again.log.has('warn', /was dropped/)).toBe(false);
    await again.close();
    const done = await Run.open(options, run.target);
    expect(done.source.status().tables.has('public.t')).toBe(false);
    await done.close();
  });

  it('P6: a new table of the name comes behind it', async () => {
    const { run, query, same } = await capturing('drop_create', TABLE, { watchInterval: '100ms' });
    await query('DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (7)');
    await run.pullAlong(
      () =>
        run.target.versions.get('public.t')!.size >= 2 && run.target.ddl.some(({ startsEmpty, action }) => startsEmpty && action === 11),
    );
    await same();
    expect(run.target.rebuild('public.t', ['id'], run.resolvedTs)).toEqual(['["7"]']);
  });

  it('a message that somebody made up drops no table and breaks nothing', async () => {
    const { run, query, same } = await capturing('forged');
    const [row] = await query("SELECT 't'::regclass::oid::int8 AS oid");
    const forged = JSON.stringify({
      event: 'sql_drop',
      tag: 'DROP TABLE',
      query: 'x',
      objects: [{ objid: Number(row!['oid']), type: 'table' }],
    });
    await query(`SELECT pg_logical_emit_message(true, 'millrace.ddl.forged', '${forged}'), pg_logical_emit_message(true, 'millrace.ddl.forged', 'hunter2 {'),
      pg_logical_emit_message(false, 'millrace.ddl.forged', '${forged}'), pg_logical_emit_message(true, 'millrace.ddl.somebody', '${forged}')`);
    await query("INSERT INTO t VALUES (2, 'b')");
    await same();
    expect(changesOf(run)).toEqual([]);
    expect(run.log.has('warn', /says that a table was dropped, which is there/)).toBe(true);
    expect(run.log.has('warn', /cannot be read/)).toBe(true);
    expect(secretsIn(run.log)).toEqual([]);
  });
});

describe('ddlText: what it puts on the server', () => {
  const objects = async (database: string) => [
    ...(await server.query('SELECT evtname AS name FROM pg_event_trigger ORDER BY 1', [], database)),
    ...(await server.query(
      "SELECT proname AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname = 'millrace' ORDER BY 1",
      [],
      database,
    )),
    ...(await server.query("SELECT nspname AS name FROM pg_namespace WHERE nspname = 'millrace'", [], database)),
  ];
  const names = async (database: string) => (await objects(database)).map(({ name }) => name);

  it('is nothing by default', async () => {
    const { run, query, same } = await capturing('nothing', TABLE, { ddlText: false });
    await query("ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2, 'b', 3)");
    await same();
    expect(changesOf(run)).toEqual([['ALTER TABLE t ADD COLUMN a integer', null]]);
    expect(await names('nothing')).toEqual([]);
  });

  it('two triggers and a function for each slot, which teardown removes', async () => {
    const { run, options, url, query } = await capturing('removed');
    const long = 'l'.repeat(63);
    expect(await installDdlText({ url, slot: long, publication: 'pub' })).toBe('installed');
    expect(await installDdlText({ url, slot: long, publication: 'pub' })).toBe('present');
    const both = await names('removed');
    expect(both).toHaveLength(7);
    expect(both.every((name) => String(name).length <= 63)).toBe(true);
    expect(both).toEqual(expect.arrayContaining(['millrace_ddl_removed', 'millrace_drop_removed', 'ddl_text_removed', 'millrace']));
    await run.close();
    expect(await teardown(options)).toEqual({ slot: 'dropped', publication: 'dropped', ddlText: 'dropped' });
    expect(await names('removed')).toHaveLength(4);
    expect(await teardown({ url, slot: long })).toEqual({ slot: 'absent', publication: 'absent', ddlText: 'dropped' });
    expect(await names('removed')).toEqual([]);
    expect(await teardown(options)).toEqual({ slot: 'absent', publication: 'absent', ddlText: 'absent' });
    await query('ALTER TABLE t ADD COLUMN a int; DROP TABLE t');
  });

  it('asks once what a statement has dropped, not once for each table: a schema of thousands of tables is dropped under locks', () => {
    const sql = installCarrierSql({ slot: 's', publication: 'p', versionNumber: 180000 });
    const asked = sql.split('FROM pg_event_trigger_dropped_objects() e').slice(1);
    expect(asked.map((rest) => /\bd\./.test(rest.slice(0, rest.indexOf(')')))).toString()).toBe('false,false');
  });

  it('does without what PostgreSQL 14 lacks', async () => {
    const { query } = await makeDatabase(server, 'fourteen', `${TABLE}; CREATE PUBLICATION pub FOR TABLE t`);
    const carrier = { slot: 'fourteen', publication: 'pub', versionNumber: 140000 };
    expect(installCarrierSql(carrier)).not.toContain('pg_publication_namespace');
    await query(`BEGIN; ${installCarrierSql(carrier)} COMMIT`);
    const client = await server.client('fourteen');
    const notices: unknown[] = [];
    client.on('notice', ({ message }) => notices.push(message));
    const end = async () => String((await client.query('SELECT pg_current_wal_insert_lsn() AS lsn')).rows[0].lsn);
    await client.query("SELECT pg_create_logical_replication_slot('fourteen', 'pgoutput')");
    await client.query('ALTER TABLE t ADD COLUMN a int');
    await client.query('DROP TABLE t, other');
    await client.query("SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'x', '')");
    const { rows } =
      await client.query(`SELECT encode(data, 'escape') AS text FROM pg_logical_slot_peek_binary_changes('fourteen', '${await end()}', NULL,
      'proto_version', '1', 'publication_names', 'pub', 'messages', 'true') WHERE get_byte(data, 0) = 77`);
    await client.query("SELECT pg_drop_replication_slot('fourteen')");
    await client.end();
    const told = rows.map(({ text }) => String(text)).filter((text) => text.includes('millrace.ddl'));
    expect(told.map((text) => [/"tag" : "(.*?)"/.exec(text)![1], text.match(/"identity"/g)!.length])).toEqual([
      ['ALTER TABLE', 1],
      ['DROP TABLE', 1],
    ]);
    expect(notices).toEqual([]);
  });

  it('what was changed, disabled or taken away is noticed, and mended at the next start', async () => {
    const { run, query, options, url } = await capturing('mended', TABLE, { watchInterval: '100ms' });
    expect(run.log.has('info', /installed the event triggers/)).toBe(true);
    await query('ALTER EVENT TRIGGER millrace_ddl_mended DISABLE');
    await run.pullAlong(() => run.log.has('warn', /dropped, disabled or changed/));
    await run.close();
    for (const [statement, isMended] of [
      ['SELECT 1', true],
      ['SELECT 1', false],
      ['DROP EVENT TRIGGER millrace_drop_mended', true],
      ['ALTER FUNCTION millrace.ddl_text_mended() SECURITY INVOKER', true],
      [
        `CREATE OR REPLACE FUNCTION millrace.ddl_text_mended() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS 'BEGIN END'`,
        true,
      ],
    ] as const) {
      await query(statement);
      const again = await Run.open(options, run.target);
      expect([statement, again.log.has('info', /installed the event triggers/)]).toEqual([statement, isMended]);
      await again.close();
    }
    const last = await Run.open(options, run.target);
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t VALUES (2)');
    expect(await last.differences(url, 'pub')).toEqual([]);
    expect(changesOf(last).at(-1)).toEqual(['ALTER TABLE t ADD COLUMN a integer', 'ALTER TABLE t ADD COLUMN a int']);
  });

  it('needs a superuser once: a role that is none is told so before anything is created, and needs nothing when one has been there', async () => {
    const { options, url, query } = await makeDatabase(server, 'lesser', '');
    await query(`CREATE ROLE lesser LOGIN REPLICATION PASSWORD 'hunter2'; GRANT CREATE ON DATABASE lesser TO lesser; GRANT ALL ON SCHEMA public TO lesser;
      SET ROLE lesser; ${TABLE}`);
    const lesser = new URL(url);
    lesser.username = 'lesser';
    lesser.password = 'hunter2';
    const asLesser = { ...options, url: lesser.toString(), watchInterval: '1h', ddlText: true };
    const error = await Run.open(asLesser).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(isMillraceError(error, 'MR_DDL_TEXT_REFUSED')).toBe(true);
    expect(String(error)).toMatch(
      /role lesser may not install the event triggers .* slot lesser: permission denied to create event trigger/,
    );
    expect(String(error)).toMatch(/let one run millrace ddl-text, once/);
    expect(await names('lesser')).toEqual([]);
    expect(await query('SELECT pubname FROM pg_publication')).toEqual([]);
    await expect(installDdlText({ ...options, url: lesser.toString() })).rejects.toThrow(/MR_DDL_TEXT_REFUSED/);
    expect(await installDdlText(options)).toBe('installed');

    const run = await Run.open(asLesser);
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('SET ROLE lesser; ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t VALUES (2)');
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(changesOf(run).at(-1)).toEqual(['ALTER TABLE t ADD COLUMN a integer', 'SET ROLE lesser; ALTER TABLE t ADD COLUMN a int']);
    await run.close();
    // As after an upgrade: what stands there is of another form, and only a superuser can mend it.
    await query('RESET ROLE; ALTER FUNCTION millrace.ddl_text_lesser() COST 7 SECURITY INVOKER');
    const goesOn = await Run.open(asLesser, run.target);
    expect(goesOn.log.has('warn', /of another form, and this role may not install them anew: run `millrace ddl-text`/)).toBe(true);
    await query('INSERT INTO t VALUES (3)');
    expect(await goesOn.differences(url, 'pub')).toEqual([]);
    await goesOn.close();
    await expect(teardown(asLesser)).rejects.toThrow(
      /^MR_SOURCE_PERMISSION: role lesser may not drop the event triggers of ddl-text.*run millrace teardown/,
    );
    expect(await query("SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'lesser'")).toHaveLength(1);
    expect(await teardown(options)).toEqual({ slot: 'dropped', publication: 'dropped', ddlText: 'dropped' });
  });

  it('cannot break the application: where it fails, a statement has a warning and takes place, and the capture goes on', async () => {
    const { run, query, same, url } = await capturing('failing', TABLE);
    await query(`CREATE ROLE installer SUPERUSER; ALTER FUNCTION millrace.ddl_text_failing() OWNER TO installer; ALTER ROLE installer NOSUPERUSER;
      REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(bool, text, text, bool), pg_logical_emit_message(bool, text, bytea, bool) FROM PUBLIC`);
    const client = await server.client('failing');
    const notices: string[] = [];
    client.on('notice', ({ severity, message }) => notices.push(`${severity} ${message}`));
    await client.query("BEGIN; ALTER TABLE t ADD COLUMN a int DEFAULT 3; INSERT INTO t VALUES (2, 'b'); DROP TABLE other; COMMIT");
    await client.end();
    expect(notices).toEqual([
      'WARNING Millrace cannot tell of this ALTER TABLE: permission denied for function pg_logical_emit_message',
      'WARNING Millrace cannot tell of this DROP TABLE: permission denied for function pg_logical_emit_message',
    ]);
    expect(url).toContain('failing');
    await same();
    expect(changesOf(run)).toEqual([["ALTER TABLE t ADD COLUMN a integer DEFAULT '3'", null]]);
  });

  it('runs as its owner: EXECUTE on pg_logical_emit_message may be taken from everybody', async () => {
    const revoke = `CREATE ROLE app; GRANT ALL ON SCHEMA public TO app; ALTER TABLE t OWNER TO app;
      REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(bool, text, text, bool), pg_logical_emit_message(bool, text, bytea, bool) FROM PUBLIC`;
    const { run, query, same } = await capturing('revoked', `${TABLE}; ${revoke}`);
    await query('SET ROLE app; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2)');
    await same();
    expect(changesOf(run).map(([, statement]) => statement)).toEqual([
      'SET ROLE app; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2)',
    ]);
  });

  it('does not wait for tables that others have locked', async () => {
    const { run, query, same } = await capturing('locked');
    const holder = await server.client('locked');
    await holder.query('BEGIN; LOCK TABLE other');
    await query("SET lock_timeout = '1ms'; ALTER TABLE t ADD COLUMN a int; INSERT INTO t VALUES (2)");
    await holder.query('COMMIT');
    await holder.end();
    await same();
    expect(changesOf(run)).toHaveLength(1);
    expect(changesOf(run)[0]![1]).toMatch(/^SET lock_timeout/);
  });

  it('a server with event triggers switched off is warned about', async () => {
    const made = await makeDatabase(server, 'switched_off', TABLE);
    await server.query('ALTER DATABASE switched_off SET event_triggers = off');
    const run = await Run.open({ ...made.options, ddlText: true });
    expect(run.log.has('warn', /event_triggers is off/)).toBe(true);
  });
});
