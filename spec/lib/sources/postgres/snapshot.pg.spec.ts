import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

const SCHEMA = `CREATE TABLE items (id int PRIMARY KEY, note text, price numeric(10, 2));
  CREATE TABLE "odd ""Schema" (id int PRIMARY KEY);
  INSERT INTO items SELECT i, 'note ' || i, i / 7.0 FROM generate_series(1, 5000) AS i;
  INSERT INTO "odd ""Schema" VALUES (1), (2)`;

async function database(name: string, schema = SCHEMA) {
  const url = await server.createDatabase(name);
  await server.query(schema, [], name);
  const options = { url, slot: name, publication: 'pub', watchInterval: '200ms' };
  return { url, options, query: (sql: string) => server.query(sql, [], name) };
}

describe('the snapshot and its handover to the stream', () => {
  it('P5: copies what is there, then streams what follows, with no gap and no repeat', async () => {
    const { url, options, query } = await database('handover');
    const run = await Run.open(options);
    await query("INSERT INTO items VALUES (10001, 'before the snapshot', 1)");
    await run.pull();
    await query("INSERT INTO items VALUES (10002, 'in the snapshot''s time', 1); DELETE FROM items WHERE id <= 10; UPDATE items SET note = 'x' WHERE id < 20");
    expect(await run.differences(url, 'pub')).toEqual([]);
    await query("UPDATE items SET id = id + 20000 WHERE id < 100; INSERT INTO items VALUES (10003, NULL, NULL); TRUNCATE \"odd \"\"Schema\"");
    expect(await run.differences(url, 'pub')).toEqual([]);
    expect(run.source.status().tables.get('public.items')).toMatchObject({ snapshotDone: true, stopped: false });
    await run.close();
  });

  it('goes on from the checkpoint after a restart', async () => {
    const { url, options, query } = await database('restart');
    const first = await Run.open(options);
    expect(await first.differences(url, 'pub')).toEqual([]);
    await first.close();
    await query("UPDATE items SET note = 'changed while nobody listened' WHERE id % 2 = 0");
    const second = await Run.open(options, first.target);
    expect(await second.differences(url, 'pub')).toEqual([]);
    expect(second.target.statements.filter((statement) => statement.startsWith('ddl public.items'))).toHaveLength(1);
    await second.close();
  });
});
