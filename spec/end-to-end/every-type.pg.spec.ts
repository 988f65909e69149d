import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { cli, verdictsOf } from '../support/cli.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

/** A type of the type map and values that are hard on it, as SQL. */
const TYPES: readonly (readonly [type: string, values: readonly string[]])[] = [
  ['bool', ['true', 'false']],
  ['int2', ['-32768', '32767', '0']],
  ['int4', ['-2147483648', '2147483647']],
  ['int8', ['-9223372036854775808', '9223372036854775807']],
  ['float4', ['0', '1e20', '1e-20', '3.4028235e38', '1.17549435e-38', '123456.79', "'NaN'", "'Infinity'", "'-Infinity'", '-0.0', '0.1']],
  [
    'float8',
    [
      '0',
      '1e300',
      '5e-324',
      '1.7976931348623157e308',
      '100000',
      '1000000',
      '123456.789',
      '1234567',
      '0.0001',
      '0.00001',
      "'NaN'",
      "'-Infinity'",
      "'-0'",
    ],
  ],
  ['numeric', ['0', "'NaN'", "'Infinity'", `'${'9'.repeat(130)}.${'1'.repeat(70)}'`, '-0.000000000000000000000000000001', '1.10']],
  ['numeric(12, 4)', ['12345678.9012', '-0.5']],
  ['char(5)', ["'ab'", "''", "'abcde'"]],
  ['varchar(20)', ["''", `'comma, "quote" ''s'`, "E'tab\\tnew\\nline\\rcr\\\\back'"]],
  [
    'text',
    [
      "''",
      "E'\\x01\\x02\\x1f\\x7f'",
      "E'\\u2028\\u2029<>&'",
      "'🚀 ünïcödé 漢字'",
      "E'\\\\N'",
      "'\\N'",
      "' lead'",
      "'\"'",
      "E'a\\r\\nb'",
      "'null'",
    ],
  ],
  ['citext', ["'Ab'", "''", "'ÄÖ'"]],
  ['name', ["'a name'"]],
  ['bytea', ["''", "'\\x00ff80417f0a0d5c22'", "decode(repeat('00ff', 300), 'hex')"]],
  ['date', ["'2024-02-29'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'99999-01-01'"]],
  ['time', ["'23:59:59.999999'", "'24:00:00'", "'00:00'"]],
  ['timetz', ["'12:00:00+02'"]],
  ['timestamp', ["'2024-01-01 00:00:00'", "'2024-01-01 12:34:56.789012'", "'infinity'", "'4713-01-01 00:00:00 BC'"]],
  ['timestamptz', ["'2024-06-01 12:00:00+09'", "'-infinity'", "'0001-01-01 00:00:00+00 BC'"]],
  ['interval', ["'1 year 2 mons -3 days 04:05:06.789'", "'-1 sec'", "'0'"]],
  ['json', [`'{"a": [1, 2, {"b": null}], "c": "\\u00e9 \\" \\\\"}'`, "'null'", "'  [1 ]'"]],
  ['jsonb', [`'{"z": 1.10, "a": "<&>"}'`, '\'"text"\'']],
  ['uuid', ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]],
  ['inet', ["'10.0.0.1/8'", "'::1'"]],
  ['cidr', ["'192.168.0.0/16'"]],
  ['macaddr', ["'08:00:2b:01:02:03'"]],
  ['bit(5)', ["B'10101'"]],
  ['varbit', ["B''", "B'1'"]],
  ['mood', ["'sad'", "'it''s ok'"]],
  ['positive', ['1', '2147483647']],
  ['int4[]', ["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'"]],
  ['text[]', [`ARRAY['a', NULL, '', 'b,c', 'q"q', E'back\\\\slash', 'NULL']`]],
  ['int4range', ["'[1,5)'", "'empty'"]],
  ['tstzmultirange', ["'{}'", "'{[2024-01-01 00:00:00+00,2024-01-02 00:00:00+00)}'"]],
  ['pair', ["ROW(1, 'x,\"y')", 'ROW(NULL, NULL)']],
  ['point', ["'(1.5,-2)'"]],
  ['polygon', ["'((0,0),(1,1),(1,0))'"]],
  ['tsvector', ["'a fat cat'"]],
  ['xml', ["'<a>1</a>'"]],
  ['money', ["'12.34'"]],
  ['pg_lsn', ["'16/B374D848'"]],
  ['hstoreish', ["ROW('k', ARRAY[1,2])"]],
];

/** Names that are hard on paths, quoting and row formats: schema, table, column. */
const NAMES: readonly (readonly [schema: string, table: string, column: string])[] = [
  ['public', 'has space', 'a column'],
  ['public', 'has "quotes"', `it's "q"`],
  ['public', 'a/slash\\back', 'x/y\\z'],
  ['public', '100%', '50%25'],
  ['public', '2024-01-01', '2024'],
  ['public', '2024', '1'],
  ['public', 'meta', 'meta'],
  ['public', 'metadata', 'metadata'],
  ['public', '..', '.'],
  ['public', '.hidden', 'id2'],
  ['public', 'Ünïcödé 漢字🚀', 'ключ'],
  ['public', 'comma,table', 'comma,column'],
  ['public', 'CDC', 'CDC.index'],
  ['meta', 'plain', 'v'],
  ['2024-05', 'dated schema', 'v'],
  ['sch.ema', 'ta.ble', 'co.lumn'],
];

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

describe.each(['canal-json', 'csv'])('tables rebuilt from %s files', (protocol) => {
  let postgres: TestPostgres;
  let dir: string;
  const capture = (...extra: string[]) => {
    const target = pathToFileURL(join(dir, 'out')).href;
    return cli([
      'capture',
      '--from',
      postgres.url,
      '--to',
      target,
      '--state',
      join(dir, 'state'),
      '--protocol',
      protocol,
      '--until-caught-up',
      ...extra,
    ]);
  };

  beforeAll(async () => {
    postgres = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-types-'));
  });

  afterAll(async () => {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('are identical for every type, every kind of name and every kind of table, from the snapshot and from the stream', async () => {
    const sql: string[] = [
      'CREATE EXTENSION citext',
      `CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)`,
      `CREATE TYPE pair AS (a int, b text); CREATE TYPE hstoreish AS (k text, v int[])`,
      'CREATE SCHEMA meta; CREATE SCHEMA "2024-05"; CREATE SCHEMA "sch.ema"',
    ];
    const full = protocol === 'csv' ? 'FULL' : 'DEFAULT';
    const typeNames = TYPES.map(([type], i) => `t${i}_${type.replace(/\W/g, '_')}`);
    TYPES.forEach(([type], i) => {
      sql.push(
        `CREATE TABLE ${typeNames[i]} (id int PRIMARY KEY, v ${type}, w ${type}); ALTER TABLE ${typeNames[i]} REPLICA IDENTITY ${full}`,
      );
    });
    for (const [schema, table, column] of NAMES) {
      sql.push(`CREATE TABLE ${quote(schema)}.${quote(table)} (id int PRIMARY KEY, ${quote(column)} text)`);
    }
    sql.push(
      'CREATE TABLE keyless (a int, b text); ALTER TABLE keyless REPLICA IDENTITY FULL',
      'CREATE TABLE composite (b text, a int, v text, PRIMARY KEY (a, b))',
      'CREATE TABLE by_index (a int NOT NULL, b int, v text); CREATE UNIQUE INDEX by_index_a ON by_index (a); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a',
      'CREATE TABLE parted (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)',
      `CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu'); CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us')`,
      `CREATE TABLE toasted (id int PRIMARY KEY, n int, body text); ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL; ALTER TABLE toasted REPLICA IDENTITY ${full}`,
      'CREATE TABLE generated (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)',
      'CREATE TABLE evolving (id int PRIMARY KEY, v text)',
      'CREATE TABLE truncated (id int PRIMARY KEY, v text)',
      'CREATE TABLE emptied (id int PRIMARY KEY, v text)',
    );
    await postgres.query(sql.join(';\n'));

    // `round` keeps keys apart: the first is read by the snapshot, the second comes through the stream.
    const insertAll = (round: number) => {
      const statements: string[] = [];
      TYPES.forEach(([, values], i) => {
        const rows = [...values.map((value, n) => `(${round + n}, ${value}, NULL)`), `(${round + 900}, NULL, ${values[0]})`];
        statements.push(...rows.map((row) => `INSERT INTO ${typeNames[i]} VALUES ${row}`));
      });
      for (const [schema, table, column] of NAMES) {
        statements.push(
          `INSERT INTO ${quote(schema)}.${quote(table)} VALUES (${round}, 'x'), (${round + 1}, NULL), (${round + 2}, ''), (${round + 3}, $q$it's "q"\\$q$)`,
        );
        statements.push(`UPDATE ${quote(schema)}.${quote(table)} SET ${quote(column)} = 'changed' WHERE id = ${round}`);
      }
      statements.push(
        `INSERT INTO keyless VALUES (${round}, 'x'), (${round}, 'x'), (NULL, NULL), (${round}, '')`,
        `INSERT INTO composite VALUES ('k1', ${round}, 'v'), ('k2', ${round}, NULL)`,
        `INSERT INTO by_index VALUES (${round}, 1, 'v'), (${round + 1}, NULL, NULL)`,
        `INSERT INTO parted VALUES (${round}, 'eu', 'v'), (${round}, 'us', 'w')`,
        `INSERT INTO toasted VALUES (${round}, 1, repeat('body "${round}" \\', 2000)), (${round + 1}, 1, repeat('x', 9000))`,
        `INSERT INTO generated (id, a) VALUES (${round}, 21)`,
        `INSERT INTO evolving VALUES (${round}, 'v'), (${round + 1}, NULL)`,
        `INSERT INTO truncated VALUES (${round}, 'gone')`,
        `INSERT INTO emptied VALUES (${round}, 'gone')`,
      );
      return statements.join(';\n');
    };
    await postgres.query(insertAll(1));
    const first = await capture();
    expect({ code: first.code, stderr: first.code === 0 ? '' : first.stderr }).toEqual({ code: 0, stderr: '' });

    await postgres.query(insertAll(1000));
    const changes = [
      ...TYPES.map((_, i) => `UPDATE ${typeNames[i]} SET w = v, v = w WHERE id % 2 = 0; DELETE FROM ${typeNames[i]} WHERE id = 1000`),
      `UPDATE keyless SET b = 'y' WHERE ctid IN (SELECT ctid FROM keyless WHERE a = 1 LIMIT 1); DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless WHERE a = 1000 LIMIT 1)`,
      `UPDATE composite SET a = a + 5 WHERE b = 'k1'; UPDATE composite SET b = 'k3', v = 'moved' WHERE b = 'k2' AND a = 1`,
      'UPDATE by_index SET a = a + 100000; UPDATE by_index SET v = NULL WHERE a = 100001; DELETE FROM by_index WHERE b IS NULL',
      `UPDATE parted SET region = 'us', id = id + 50 WHERE region = 'eu' AND id = 1; UPDATE parted SET v = 'z' WHERE id = 1000`,
      // A key change beside an unchanged TOAST value (P9), and a plain update beside one.
      'UPDATE toasted SET n = n + 1; UPDATE toasted SET id = id + 7 WHERE id = 1; UPDATE toasted SET body = NULL WHERE id = 1001',
      'UPDATE generated SET a = a + 1',
      // Several changes of one key in one transaction, with a TRUNCATE and schema changes between them.
      `BEGIN; INSERT INTO evolving VALUES (50, 'a'); UPDATE evolving SET v = 'b' WHERE id = 50; UPDATE evolving SET id = 51 WHERE id = 50;
       DELETE FROM evolving WHERE id = 51; INSERT INTO evolving VALUES (50, 'c');
       ALTER TABLE evolving ADD COLUMN added text DEFAULT 'constant "d"'; INSERT INTO evolving VALUES (60, 'd'); INSERT INTO evolving VALUES (61, 'e', NULL);
       ALTER TABLE evolving ADD COLUMN n int NOT NULL DEFAULT 7; UPDATE evolving SET n = 8 WHERE id = 60; COMMIT`,
      `BEGIN; INSERT INTO truncated VALUES (70, 'x'); TRUNCATE truncated; INSERT INTO truncated VALUES (70, 'y'), (71, 'y'); TRUNCATE truncated; INSERT INTO truncated VALUES (70, 'z'); COMMIT`,
      'TRUNCATE emptied',
      `ALTER TABLE evolving DROP COLUMN v; INSERT INTO evolving VALUES (80, 'late', 1)`,
    ];
    for (const change of changes) await postgres.query(change);
    const second = await capture();
    expect({ code: second.code, stderr: second.code === 0 ? '' : second.stderr }).toEqual({ code: 0, stderr: '' });

    const verified = await cli(['verify', '--from', postgres.url, '--to', pathToFileURL(join(dir, 'out')).href]);
    const different = Object.entries(verdictsOf(verified.stdout)).filter(([, verdict]) => verdict !== 'identical');
    expect(different).toEqual([]);
    expect(Object.keys(verdictsOf(verified.stdout))).toHaveLength(TYPES.length + NAMES.length + 9);
    expect(verified.code).toBe(0);
  }, 180_000);
});
