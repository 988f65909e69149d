import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { installCarrierSql } from '../../../../lib/sources/postgres/ddl-text.ts';
import { installDdlText, teardown } from '../../../../lib/sources/postgres/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY)';

async function schemas(database: string): Promise<unknown[]> {
  const rows = await server.query(
    "SELECT obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace WHERE nspname = 'millrace'",
    [],
    database,
  );
  return rows.map(({ mark }) => mark);
}

/** Whether somebody waits for a lock there. */
async function isWaiting(database: string): Promise<boolean> {
  const waiting = await server.query(`SELECT FROM pg_stat_activity WHERE datname = '${database}' AND wait_event_type = 'Lock'`);
  return waiting.length > 0;
}

describe('the event triggers of two slots, installed at once', () => {
  it('wait for each other: neither fails because the other made the schema just now', async () => {
    const { url } = await makeDatabase(server, 'at_once', TABLE);
    const other = await server.client('at_once');
    await other.query(`BEGIN; ${installCarrierSql({ slot: 'other', publication: 'pub', versionNumber: 180000 })}`);
    const installed = installDdlText({ url, slot: 'mine', publication: 'pub' });
    await eventually(() => isWaiting('at_once'));
    await other.query('COMMIT');
    await other.end();
    expect(await installed).toBe('installed');
    expect(await installDdlText({ url, slot: 'mine', publication: 'pub' })).toBe('present');
  });

  it('and as first captures, and of one slot twice', async () => {
    const { url, options } = await makeDatabase(server, 'captures', TABLE);
    const captures = ['one', 'two', 'three'].map((slot) => Run.open({ ...options, slot, publication: slot, ddlText: true }));
    const same = [0, 1, 2].map(() => installDdlText({ url, slot: 'four', publication: 'four' }));
    await Promise.all([...captures, ...same]);
    expect(await server.query('SELECT FROM pg_event_trigger', [], 'captures')).toHaveLength(8);
  });

  it('and one removed meanwhile does not take the schema away from under the other', async () => {
    const { url } = await makeDatabase(server, 'removing', TABLE);
    await installDdlText({ url, slot: 'old', publication: 'pub' });
    const other = await server.client('removing');
    await other.query(`BEGIN; ${installCarrierSql({ slot: 'new', publication: 'pub', versionNumber: 180000 })}`);
    const removed = teardown({ url, slot: 'old' });
    await eventually(() => isWaiting('removing'));
    await other.query('COMMIT');
    await other.end();
    expect(await removed).toMatchObject({ ddlText: 'dropped' });
    expect(await installDdlText({ url, slot: 'new', publication: 'pub' })).toBe('present');
    expect(await teardown({ url, slot: 'new' })).toMatchObject({ ddlText: 'dropped' });
    expect(await schemas('removing')).toEqual([]);
  });
});

describe('the schema millrace', () => {
  it('goes with the last function if it was made for them', async () => {
    const { url } = await makeDatabase(server, 'made', TABLE);
    for (const slot of ['a', 'b']) await installDdlText({ url, slot });
    expect(await schemas('made')).toEqual(['made by Millrace']);
    await teardown({ url, slot: 'a' });
    expect(await schemas('made')).toEqual(['made by Millrace']);
    await teardown({ url, slot: 'b' });
    expect(await schemas('made')).toEqual([]);
  });

  it.each([
    ['that somebody made stays, empty as it is', 'own_schema', 'CREATE SCHEMA millrace', ''],
    ['that somebody made and described stays', 'own_comment', "CREATE SCHEMA millrace; COMMENT ON SCHEMA millrace IS 'mine'", ''],
    ['with something else in it stays', 'own_table', '', 'CREATE TABLE millrace.mine (id int)'],
  ])('%s', async (_title, name, before, after) => {
    const { url } = await makeDatabase(server, name, `${TABLE}; ${before}`);
    const marks = before === '' ? ['made by Millrace'] : await schemas(name);
    await installDdlText({ url });
    if (after !== '') await server.query(after, [], name);
    expect(await teardown({ url })).toMatchObject({ ddlText: 'dropped' });
    expect(await schemas(name)).toEqual(marks);
    expect(await server.query('SELECT FROM pg_event_trigger', [], name)).toEqual([]);
  });
});

describe('a message under the prefix of ddlText', () => {
  it('that changes nothing costs no fsync of the state, whoever writes it and however often', async () => {
    const { options, query, url } = await makeDatabase(server, 'writers', TABLE);
    let saves = 0;
    const run = await Run.open({ ...options, watchInterval: '1h', ddlText: true }, undefined, { onSave: () => void saves++ });
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query('ALTER TABLE t ADD COLUMN a int');
    await query('INSERT INTO t VALUES (1, 2)');
    await run.pullUntil(() => run.target.ddl.at(-1)!.statement !== null);
    const before = saves;
    const forged = JSON.stringify({ event: 'ddl_command_end', tag: 'ALTER TABLE', query: 'x', objects: [{ objid: 1, type: 'table' }] });
    for (const prefix of ['millrace.ddl.writers', 'millrace.ddl.somebody', 'outbox']) {
      await query(`SELECT pg_logical_emit_message(true, '${prefix}', '${forged}') FROM generate_series(1, 50)`);
    }
    await query('INSERT INTO t VALUES (2, 3)');
    expect(await run.differences(url, 'pub')).toEqual([]);
    // The checkpoint passed the event meanwhile: its text was forgotten, and that stored.
    expect(saves - before).toBeLessThanOrEqual(2);
  });
});
