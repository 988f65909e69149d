import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { isMillraceError } from '../../../../lib/errors.ts';
import { systemClock } from '../../../../lib/flow/index.ts';
import { connectWire, type WireConnection } from '../../../../lib/sources/postgres/wire-connection.ts';
import { type ServerNotice, sqlStateOf } from '../../../../lib/sources/postgres/wire-frames.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';

describe('connectWire', () => {
  let server: TestPostgres;
  let connection: WireConnection;
  const notices: ServerNotice[] = [];

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterEach(async () => {
    await connection.close();
  });
  afterAll(async () => {
    await server.stop();
  });

  async function open(replication = false): Promise<void> {
    notices.length = 0;
    connection = await connectWire({
      config: { connectionString: server.url },
      replication,
      clock: systemClock,
      onNotice: (notice) => notices.push(notice),
    });
  }

  async function copy(sql: string): Promise<string[]> {
    const rows: string[] = [];
    for await (const count of connection.copyOut(sql, (bytes, from, to) => rows.push(bytes.toString('utf8', from, to)))) {
      expect(count).toBeGreaterThan(0);
    }
    return rows;
  }

  it.each([false, true])('queries as text, with nulls and several statements (replication: %s)', async (replication) => {
    await open(replication);
    const sql = `SELECT 1 AS one, NULL AS nothing, 'zwölf €' AS text, '' AS empty; SELECT true AS yes, 2 AS two UNION ALL SELECT false, 3`;
    expect(await connection.query(sql)).toEqual([
      { yes: 't', two: '2' },
      { yes: 'f', two: '3' },
    ]);
    expect(await connection.query(`SELECT 1 AS one, NULL AS nothing, 'zwölf €' AS text, '' AS empty`)).toEqual([
      { one: '1', nothing: null, text: 'zwölf €', empty: '' },
    ]);
    expect(await connection.query('SELECT 1 AS one WHERE false')).toEqual([]);
    expect(connection.processId).toBe(Number((await connection.query('SELECT pg_backend_pid() AS pid'))[0]?.pid));
  });

  it.each(['', '?options=-c%20geqo%3Doff'])(
    'P8: no timeout of the database reaches the statement that pins the settings (%s)',
    async (parameters) => {
      await server.query("ALTER DATABASE postgres SET statement_timeout = '1ms'");
      connection = await connectWire({ config: { connectionString: server.url + parameters }, clock: systemClock });
      // What the session began with, before anything was pinned.
      await connection.query('RESET statement_timeout');
      expect(await connection.query('SHOW statement_timeout')).toEqual([{ statement_timeout: '0' }]);
      expect(await connection.query('SHOW geqo')).toEqual([{ geqo: parameters === '' ? 'on' : 'off' }]);
      await connection.query('ALTER DATABASE postgres RESET statement_timeout');
    },
  );

  it('gives an error of the server its SQLSTATE, and goes on', async () => {
    await open();
    const error = await connection.query('SELECT * FROM nowhere').catch((reason: unknown) => reason);
    expect(isMillraceError(error, 'MR_SERVER_ERROR')).toBe(true);
    expect(sqlStateOf(error)).toBe('42P01');
    expect(await connection.query('SELECT 1 AS one')).toEqual([{ one: '1' }]);
  });

  it('copies out row by row, and is free for the next command, in the same transaction', async () => {
    await open();
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const rows = await copy('COPY (SELECT g, NULL, g % 3 FROM generate_series(1, 50000) g) TO STDOUT');
    expect(rows).toHaveLength(50_000);
    expect([rows[0], rows[49_999]]).toEqual(['1\t\\N\t1\n', '50000\t\\N\t2\n']);
    expect(await copy('COPY (SELECT 1 WHERE false) TO STDOUT')).toEqual([]);
    expect(await connection.query('COMMIT; SELECT 7 AS seven')).toEqual([{ seven: '7' }]);
  });

  it('copies out a row larger than a chunk', async () => {
    await open();
    const rows = await copy(`COPY (SELECT 1, repeat('x', 5000000) UNION ALL SELECT 2, 'y') TO STDOUT`);
    expect(rows.map((row) => row.length)).toEqual([5_000_003, 4]);
  });

  it('an error in the middle of a copy comes behind the rows before it, and the connection goes on', async () => {
    await open();
    const error = await copy('COPY (SELECT 1 / (20000 - g) FROM generate_series(1, 30000) g) TO STDOUT').catch((reason: unknown) => reason);
    expect(sqlStateOf(error)).toBe('22012');
    expect(await connection.query('SELECT 1 AS one')).toEqual([{ one: '1' }]);
  });

  it('does not read a copy that nobody pulls, and closes in the middle of it', async () => {
    await open();
    const rows = connection.copyOut(`COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000) g) TO STDOUT`, () => {});
    await rows.next();
    const { bytesRead } = connection;
    expect(bytesRead).toBeLessThan(4 * 1024 * 1024);
    await server.query('SELECT count(*) FROM generate_series(1, 100000)');
    expect(connection.bytesRead).toBe(bytesRead);
    await connection.close();
    await connection.close();
    expect(isMillraceError(await rows.next().catch((reason: unknown) => reason), 'MR_CONNECTION_LOST')).toBe(true);
  });

  it('hears of warnings', async () => {
    await open();
    await connection.query('ROLLBACK');
    expect(notices).toEqual([expect.objectContaining({ severity: 'WARNING', sqlState: '25P01' })]);
  });

  it('a connection that the server ends is an error with its reason, then lost', async () => {
    await open();
    const sleeping = connection.query('SELECT pg_sleep(60)').catch((reason: unknown) => reason);
    await server.query(`SELECT pg_terminate_backend(${connection.processId})`);
    expect(sqlStateOf(await sleeping)).toBe('57P01');
    expect(isMillraceError(await connection.query('SELECT 1').catch((reason: unknown) => reason), 'MR_CONNECTION_LOST')).toBe(true);
    expect(connection.isLost).toBe(true);
  });

  it.each([
    { title: 'a wrong password', change: (url: URL) => (url.password = 'secret-guess'), code: 'MR_SERVER_ERROR', state: '28P01' },
    { title: 'a missing database', change: (url: URL) => (url.pathname = '/nowhere'), code: 'MR_SERVER_ERROR', state: '3D000' },
    { title: 'no server', change: (url: URL) => (url.port = '1'), code: 'MR_SOURCE_UNREACHABLE', state: null },
    {
      title: 'TLS asked of a server that has none',
      change: (url: URL) => (url.search = '?sslmode=verify-full'),
      code: 'MR_SOURCE_UNREACHABLE',
      state: null,
    },
  ] as const)('refuses with a typed error that holds no password: $title', async ({ change, code, state }) => {
    await open();
    const url = new URL(server.url);
    change(url);
    const error = await connectWire({ config: { connectionString: url.toString() }, clock: systemClock }).catch(
      (reason: unknown) => reason,
    );
    expect(isMillraceError(error, code)).toBe(true);
    expect(sqlStateOf(error)).toBe(state);
    expect(String(error)).not.toMatch(new RegExp(`${url.password}|${new URL(server.url).password}`));
  });
});
