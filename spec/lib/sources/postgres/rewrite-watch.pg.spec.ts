import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../lib/flow/index.ts';
import { type CatalogTable, readTables } from '../../../../lib/sources/postgres/catalog.ts';
import { compareCatalog } from '../../../../lib/sources/postgres/rewrite-watch.ts';
import { connectWire, type WireConnection } from '../../../../lib/sources/postgres/wire-connection.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';

let server: TestPostgres;
let session: WireConnection;

beforeAll(async () => {
  server = await startPostgres({ settings: { autovacuum: 'off' } });
  session = await connectWire({ config: { connectionString: server.url }, clock: systemClock });
});
afterAll(async () => {
  await session.close();
  await server.stop();
});

/** The table `t` of the schema `s`. */
async function look(): Promise<CatalogTable> {
  const [table] = await readTables((sql) => session.query(sql), "n.nspname = 's' AND c.relname = 't'");
  return table!;
}

/** What is made of two readings, with `statements` between them, each a transaction of its own. */
async function verdict(schema: string, statements: readonly string[]): Promise<string> {
  await session.query(`DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; SET search_path = s; ${schema}`);
  const before = await look();
  for (const statement of statements) await session.query(statement);
  const result = compareCatalog(before, await look());
  return result.kind === 'fine' ? 'fine' : `${result.kind}: ${result.reason}`;
}

const ROWS = 'INSERT INTO t (id) SELECT generate_series(1, 50)';
const PLAIN = `CREATE TABLE t (id int PRIMARY KEY, note text); ${ROWS}`;
const PARTITIONED = `CREATE TABLE t (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
  CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (0) TO (30); CREATE TABLE p2 PARTITION OF t FOR VALUES FROM (30) TO (99); ${ROWS}`;
const WITH_MISSING = `${PLAIN}; ALTER TABLE t ADD COLUMN d text DEFAULT 'd'; ALTER TABLE t ALTER d DROP DEFAULT`;

describe('P6: what the catalog shows of changes to rows that send no row events', () => {
  it.each<[hazard: string, schema: string, statements: string[], expected: RegExp]>([
    [
      'a volatile default that is dropped right after it filled the rows',
      PLAIN,
      ['ALTER TABLE t ADD COLUMN r float DEFAULT random()', 'ALTER TABLE t ALTER r DROP DEFAULT'],
      /column r was added/,
    ],
    [
      'a volatile default of a partitioned table that is dropped right after',
      PARTITIONED,
      ['ALTER TABLE t ADD COLUMN r float DEFAULT random(); ALTER TABLE t ALTER r DROP DEFAULT'],
      /column r was added/,
    ],
    [
      'USING of the same type together with SET NOT NULL',
      PLAIN,
      ["ALTER TABLE t ALTER note TYPE text USING coalesce(note, 'none'), ALTER note SET NOT NULL"],
      /column note was rewritten/,
    ],
    [
      'USING of the same type, and a default that is set after it',
      PLAIN,
      ['ALTER TABLE t ALTER note TYPE text USING upper(note)', "ALTER TABLE t ALTER note SET DEFAULT 'x'"],
      /column note was rewritten/,
    ],
    [
      'USING of the same type on a column whose old rows read as a default that is no more',
      WITH_MISSING,
      ['ALTER TABLE t ALTER d TYPE text USING upper(d)'],
      /column d was rewritten/,
    ],
    ...(
      [
        ['timestamp', 'timestamptz', "'2024-01-02 03:04:05'"],
        ['timestamptz', 'timestamp', "'2024-01-02 03:04:05Z'"],
        ['cidr', 'inet', "'10.1.2.3/32'"],
        ['oid', 'int', '4000000000'],
        ['int', 'oid', '-1'],
        ['regtype', 'oid', "'int4'"],
      ] as const
    ).map(([from, to, value]): [string, string, string[], RegExp] => [
      `a type that changes without a rewrite and reads otherwise (${from} to ${to})`,
      `CREATE TABLE t (id int PRIMARY KEY, v ${from}); INSERT INTO t VALUES (1, ${value}); SET TimeZone = 'UTC'`,
      [`ALTER TABLE t ALTER v TYPE ${to}`],
      /the type of column v was changed/,
    ]),
    [
      'an enum value that is renamed',
      "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE t (id int PRIMARY KEY, m mood); INSERT INTO t VALUES (1, 'sad')",
      ["ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"],
      /value sad of the enum of column m was renamed to blue/,
    ],
    [
      'an enum value that is renamed, in an array of a domain',
      `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN temper AS mood; CREATE TABLE t (id int PRIMARY KEY, m temper[]);
       INSERT INTO t VALUES (1, '{sad}')`,
      ["ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"],
      /value sad of the enum of column m was renamed to blue/,
    ],
    [
      'a partition that is detached, changed and attached again between two readings',
      PARTITIONED,
      ['ALTER TABLE t DETACH PARTITION p1', "UPDATE p1 SET note = 'x'", 'ALTER TABLE t ATTACH PARTITION p1 FOR VALUES FROM (0) TO (30)'],
      /partition p1 was detached and attached again/,
    ],
    [
      'USING of the same type on a column whose old rows read as a default that is no more, and VACUUM FULL behind it',
      WITH_MISSING,
      ['ALTER TABLE t ALTER d TYPE text USING upper(d)', 'VACUUM FULL t'],
      /column d was rewritten/,
    ],
    [
      'a volatile default that is dropped right after it filled the rows, and VACUUM FULL behind it',
      PLAIN,
      ['ALTER TABLE t ADD COLUMN r float DEFAULT random()', 'ALTER TABLE t ALTER r DROP DEFAULT', 'VACUUM FULL t'],
      /column r was added/,
    ],
    [
      'USING of the same type together with SET NOT NULL, and VACUUM FULL behind it',
      PLAIN,
      ["ALTER TABLE t ALTER note TYPE text USING coalesce(note, 'none'), ALTER note SET NOT NULL", 'VACUUM FULL t'],
      /column note was rewritten/,
    ],
    [
      'a partition that is rewritten with its root, and VACUUM FULL of it',
      `${PARTITIONED}; ALTER TABLE t ADD COLUMN d text DEFAULT 'd'; ALTER TABLE t ALTER d DROP DEFAULT`,
      ['ALTER TABLE t ALTER d TYPE text USING upper(d)', 'VACUUM FULL p1', 'VACUUM FULL p2'],
      /column d was rewritten/,
    ],
    [
      'a partition that is truncated behind the whole table',
      PARTITIONED,
      ['TRUNCATE t', 'INSERT INTO t VALUES (1), (40)', 'TRUNCATE p1'],
      /^rewritten: partition p1 was truncated alone/,
    ],
    [
      'a default that was lost before it was seen',
      PLAIN,
      ["ALTER TABLE t ADD COLUMN d text DEFAULT 'd'", 'VACUUM FULL t'],
      /column d was added with values that readers cannot know/,
    ],
    [
      'a column that was rewritten, and analyzed',
      PLAIN,
      ['ALTER TABLE t ALTER note TYPE text USING upper(note)', 'ANALYZE t'],
      /column note was rewritten/,
    ],
  ])('%s stops the table', async (_hazard, schema, statements, expected) => {
    expect(await verdict(schema, statements)).toMatch(expected);
  });

  it.each<[what: string, schema: string, statements: string[]]>([
    ['VACUUM FULL', WITH_MISSING, ['VACUUM FULL t']],
    ['VACUUM FULL with ANALYZE', WITH_MISSING, ['VACUUM (FULL, ANALYZE) t']],
    ['CLUSTER', WITH_MISSING, ['CLUSTER t USING t_pkey']],
    ['VACUUM FULL of a table without rows', 'CREATE TABLE t (id int PRIMARY KEY)', ['VACUUM FULL t']],
    ['a new column and VACUUM FULL', PLAIN, ['ALTER TABLE t ADD COLUMN a int', 'VACUUM FULL t']],
    ['VACUUM FULL and a new column', PLAIN, ['VACUUM FULL t', 'ALTER TABLE t ADD COLUMN a int']],
    ['VACUUM FULL, ANALYZE and a new column', PLAIN, ['VACUUM FULL t', 'ANALYZE t', 'ALTER TABLE t ADD COLUMN a int']],
    ['VACUUM FULL and a type that needs no rewrite', PLAIN, ['VACUUM FULL t', 'ALTER TABLE t ALTER note TYPE varchar']],
    ['VACUUM FULL and SET NOT NULL', PLAIN, ["UPDATE t SET note = ''", 'VACUUM FULL t', 'ALTER TABLE t ALTER note SET NOT NULL']],
    ['VACUUM FULL of a partition', PARTITIONED, ['VACUUM FULL p1']],
    ['a type that changes without a rewrite and reads the same', PLAIN, ['ALTER TABLE t ALTER note TYPE varchar']],
    ['a domain over the same type', `${PLAIN}; CREATE DOMAIN remark AS text`, ['ALTER TABLE t ALTER note TYPE remark']],
    [
      'a new enum value',
      "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int PRIMARY KEY, m mood)",
      ["ALTER TYPE mood ADD VALUE 'glad' BEFORE 'sad'"],
    ],
    ['a new partition', PARTITIONED, ['CREATE TABLE p3 PARTITION OF t FOR VALUES FROM (99) TO (120)']],
    ['TRUNCATE', PLAIN, ['TRUNCATE t']],
    ['TRUNCATE and a new column', PLAIN, ['TRUNCATE t; ALTER TABLE t ADD COLUMN a int']],
    ['moving to unlogged and back', PLAIN, ['ALTER TABLE t SET UNLOGGED', 'ALTER TABLE t SET LOGGED']],
  ])('%s does not', async (_what, schema, statements) => {
    expect(await verdict(schema, statements)).toBe('fine');
  });

  it.each([
    ['a new column without a value, where no TOAST table tells', 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)'],
    ['emptied partitions', PARTITIONED],
  ])('TRUNCATE and %s wait for the TRUNCATE in the stream', async (_what, schema) => {
    expect(await verdict(schema, ['TRUNCATE t; ALTER TABLE t ADD COLUMN a int'])).toMatch(/^truncated: /);
  });
});
