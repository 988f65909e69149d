import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { stringifyJson } from '../../../../lib/formats/json.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({ settings: { autovacuum: 'off', max_replication_slots: '50' } });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const T = 'CREATE TABLE t (id int PRIMARY KEY, key int NOT NULL, a varchar(9))';
const ROW = 'INSERT INTO t (id, key) VALUES (1, 1)';
/** What comes of a statement: the statement that is made, and the text beside it; null where there is no event. */
type Told = readonly [made: string, text: 'as it was sent' | null] | null;

let databases = 0;

/** Captures `schema`, runs the statement, then a row. What its event was, if it had one. */
async function told(schema: string, statement: string, row: string): Promise<Told> {
  const name = `command_${++databases}`;
  const { options, url, query } = await makeDatabase(server, name, `${schema}; CREATE TABLE other (id int PRIMARY KEY)`);
  const run = await Run.open({ ...options, watchInterval: '1h', ddlText: true });
  expect(await run.differences(url, 'pub')).toEqual([]);
  const before = run.target.ddl.length;
  await query(statement);
  if (row !== '') await query(row);
  await query('INSERT INTO other VALUES (1)');
  expect(await run.differences(url, 'pub')).toEqual([]);
  await eventually(async () => !stringifyJson(run.target.state).includes(stringifyJson(statement)));
  const events = run.target.ddl.slice(before).filter(({ action }) => action !== 0);
  expect(events.length).toBeLessThanOrEqual(1);
  const [event] = events;
  if (event === undefined) return null;
  expect([null, statement]).toContain(event.statement);
  return [event.query.replaceAll(/"public"\.|"/g, ''), event.statement === null ? null : 'as it was sent'];
}

describe('ddlText: which commands bring their text', () => {
  it.each<[statement: string, made: string, schema?: string, row?: string]>([
    ['ALTER TABLE t ADD COLUMN b int', 'ALTER TABLE t ADD COLUMN b integer'],
    ['ALTER TABLE t DROP COLUMN a', 'ALTER TABLE t DROP COLUMN a'],
    ['ALTER TABLE t ALTER a TYPE text', 'ALTER TABLE t ALTER COLUMN a TYPE text'],
    ['ALTER TABLE t REPLICA IDENTITY FULL', 'ALTER TABLE t REPLICA IDENTITY FULL'],
    ['ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, key)', 'ALTER TABLE t REPLICA IDENTITY DEFAULT'],
    [
      'DROP TYPE kind CASCADE',
      'ALTER TABLE t DROP COLUMN kind',
      `${T}; CREATE TYPE kind AS ENUM ('x'); ALTER TABLE t ADD COLUMN kind kind`,
    ],
    ['DROP TABLE t', 'DROP TABLE t', T, ''],
    ['DROP OWNED BY owner_of_t', 'DROP TABLE t', `CREATE ROLE owner_of_t; ${T}; ALTER TABLE t OWNER TO owner_of_t`, ''],
    ['DROP SCHEMA s CASCADE', 'DROP TABLE s.t', 'CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY)', ''],
  ])('%s', async (statement, made, schema = T, row = ROW) => {
    expect(await told(schema, statement, row)).toEqual([made, 'as it was sent']);
  });

  it.each<[statement: string, made: string, schema?: string, row?: string]>([
    [
      'ALTER TYPE shape ADD ATTRIBUTE b int CASCADE',
      'ALTER TABLE t ADD COLUMN b integer',
      'CREATE TYPE shape AS (id int, key int); CREATE TABLE t OF shape (PRIMARY KEY (id))',
    ],
    [
      'DROP INDEX by_key',
      'ALTER TABLE t REPLICA IDENTITY INDEX',
      'CREATE TABLE t (id int, key int NOT NULL); CREATE UNIQUE INDEX by_key ON t (key); ALTER TABLE t REPLICA IDENTITY USING INDEX by_key',
    ],
  ])('a change of a table by another command has the made statement only: %s', async (statement, made, schema = T, row = ROW) => {
    expect(await told(schema, statement, row)).toEqual([made, null]);
  });

  it.each<[statement: string, schema?: string, row?: string]>([
    ['ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)'],
    ['ALTER TABLE t ALTER key SET DEFAULT 7'],
    ['CREATE INDEX ON t (a)'],
    ["COMMENT ON TABLE t IS 'x'"],
    ['GRANT SELECT ON t TO PUBLIC'],
    ['CREATE TABLE u AS SELECT 1 AS id'],
    [
      'CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (10)',
      'CREATE TABLE t (id int PRIMARY KEY, key int NOT NULL) PARTITION BY RANGE (id)',
    ],
  ])('what readers see no difference by is no event, and its text does not stay: %s', async (statement, schema = T, row = ROW) => {
    expect(await told(schema, statement, row)).toBeNull();
  });

  it("CREATE TABLE does not: a table that joins begins with its snapshot, whose version is nobody's change", async () => {
    const { options, url, query } = await makeDatabase(server, 'joins', T);
    const run = await Run.open({ ...options, ddlText: true });
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)');
    await run.pullAlong(() => run.target.ddl.some(({ table }) => table.name === 'u'));
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('ALTER TABLE u ADD COLUMN a int');
    await query('INSERT INTO u VALUES (2, 3)');
    await run.pullAlong(() => run.target.ddl.filter(({ table }) => table.name === 'u').length > 1);
    expect(run.target.ddl.filter(({ table }) => table.name === 'u').map((event) => [event.query, event.statement])).toEqual([
      ['', null],
      ['ALTER TABLE "public"."u" ADD COLUMN "a" integer', 'ALTER TABLE u ADD COLUMN a int'],
    ]);
  });
});

describe('ddlText: names in texts', () => {
  it('are those that were sent, in the order of the changes: a column that was renamed before a row showed it has its first name in the first', async () => {
    const { options, url, query } = await makeDatabase(server, 'renamed_column', T);
    const run = await Run.open({ ...options, watchInterval: '1h', ddlText: true });
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('ALTER TABLE t ADD COLUMN b int');
    await query('INSERT INTO t (id, key) VALUES (1, 1)');
    await query('SET search_path = pg_catalog, public; ALTER TABLE t ADD COLUMN c int');
    await query('ALTER TABLE t RENAME b TO d');
    await query('ALTER TABLE t RENAME c TO e');
    await query('INSERT INTO t (id, key) VALUES (2, 1)');
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.target.ddl.slice(1).map(({ statement, table }) => [statement, table.columns.map(({ name }) => name).join()])).toEqual([
      ['ALTER TABLE t ADD COLUMN b int', 'id,key,a,b'],
      [
        'SET search_path = pg_catalog, public; ALTER TABLE t ADD COLUMN c int;\nALTER TABLE t RENAME b TO d;\nALTER TABLE t RENAME c TO e',
        'id,key,a,d,e',
      ],
    ]);
  });

  it.each([
    ['ALTER TABLE t RENAME a TO d', 'public.t'],
    ['ALTER TABLE t RENAME TO u', 'public.u'],
    ['ALTER TABLE t SET SCHEMA s', 's.t'],
    ['ALTER SCHEMA public RENAME TO p', 'p.t'],
  ])(
    'a table that gets another name, or whose column does, stops, and neither that text nor one that waited is told of it: %s',
    async (rename, name) => {
      const { options, url, query } = await makeDatabase(server, `renamed_${name.replace('.', '_')}`, `CREATE SCHEMA s; ${T}`);
      const run = await Run.open({ ...options, ddlText: true });
      expect(await run.differences(url, 'pub')).toEqual([]);
      await query('ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)');
      await query(rename);
      await query(`INSERT INTO ${name} (id, key) VALUES (1, 1)`);
      await run.pullAlong(() => [...run.source.status().tables.values()].some(({ stopped }) => stopped));
      await run.close();
      const again = await Run.open({ ...options, ddlText: true, resnapshot: [name] }, run.target);
      expect(await again.differences(url, 'pub')).toEqual([]);
      await query(`ALTER TABLE ${name} ADD COLUMN b int`);
      await query(`INSERT INTO ${name} (id, key) VALUES (2, 1)`);
      expect(await again.differences(url, 'pub')).toEqual([]);
      expect(run.target.ddl.map(({ table, statement }) => [`${table.sourceSchema}.${table.sourceName}`, statement])).toEqual([
        ['public.t', null],
        [name, null],
        [name, `ALTER TABLE ${name} ADD COLUMN b int`],
      ]);
    },
  );
});
