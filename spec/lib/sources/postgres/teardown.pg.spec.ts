import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { teardown } from '../../../../lib/sources/postgres/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { errorOf } from '../../../support/run-world.ts';
import { closeRuns, eventually, MemoryTarget, makeDatabase, Run } from './source-kit.ts';

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
  await server.query("CREATE ROLE lesser LOGIN REPLICATION PASSWORD 'first-light'");
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE =
  "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, repeat('v', 3000) FROM generate_series(1, 3000) AS i";

/** A capture that has come to where its slot is not active: nobody streams from it. */
async function inactive(name: string, reach: (run: Run) => Promise<unknown>, more: { watchInterval?: string } = {}) {
  const made = await makeDatabase(server, name, TABLE);
  const run = await Run.open({ ...made.options, ...more });
  await reach(run);
  expect(await made.query(`SELECT active FROM pg_replication_slots WHERE slot_name = '${name}'`)).toEqual([{ active: false }]);
  const holders = async () => {
    const rows = await made.query(
      "SELECT pid, mode FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    return rows as { pid: number; mode: string }[];
  };
  return { ...made, run, holders };
}

const copying = async (run: Run) => {
  await run.pull();
  await run.pull();
};

describe('teardown of a slot that a capture has, and does not read at the moment', () => {
  it.each<[string, string, (run: Run) => Promise<unknown>]>([
    ['copies its snapshot', 'copies', copying],
    ['has copied it, and does not stream yet', 'has_copied', (run) => run.pullUntil(() => run.resolvedTs >= 0n)],
  ])('is refused while it %s, to a role of few rights too, and the capture goes on', async (_title, name, reach) => {
    const { run, url, query } = await inactive(name, reach);
    const asLesser = Object.assign(new URL(url), { username: 'lesser' }).href;
    const refused = await errorOf(teardown({ url: asLesser, slot: name, publication: 'pub' }));
    expect(refused).toMatchObject({ code: 'MR_SLOT_ACTIVE', details: { slot: name, pid: expect.stringMatching(/^\d+$/) } });
    expect(await query(`SELECT application_name FROM pg_stat_activity WHERE pid = ${refused.details['pid']}`)).toEqual([
      { application_name: 'millrace test' },
    ]);
    await query("INSERT INTO t VALUES (10000, 'since then')");
    expect(await run.differences(url, 'pub')).toEqual([]);
    await run.close();
    expect(await teardown({ url, slot: name, publication: 'pub' })).toMatchObject({ slot: 'dropped', publication: 'dropped' });
  });

  it('works when the server has lost the sessions of the capture', async () => {
    const { url, query } = await inactive('lost_sessions', copying, { watchInterval: '1h' });
    await query(`SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
      WHERE application_name = 'millrace test' AND datname = current_database()`);
    expect(await teardown({ url, slot: 'lost_sessions', publication: 'pub' })).toMatchObject({ slot: 'dropped', publication: 'dropped' });
  });

  it('is refused again when the capture has made its session for the catalog anew', async () => {
    const { url, query, holders } = await inactive('session_again', copying);
    const [before] = await holders();
    await query(`SELECT pg_terminate_backend(${before!.pid}, 10000)`);
    await eventually(async () => (await holders()).length > 0);
    expect(await errorOf(teardown({ url, slot: 'session_again', publication: 'pub' }))).toMatchObject({ code: 'MR_SLOT_ACTIVE' });
  });

  it('P4: two captures of one slot do not keep each other from starting', async () => {
    const { run, options, holders } = await inactive('two_captures', copying);
    const { state, identity } = run.target;
    await Run.open(options, Object.assign(new MemoryTarget(), { state, identity }));
    expect((await holders()).map(({ mode }) => mode)).toEqual(['ShareLock', 'ShareLock']);
  });

  it('is not in the way of captures with other slots', async () => {
    const { url } = await inactive('one_slot', copying);
    expect(await teardown({ url, slot: 'another', publication: 'other' })).toMatchObject({ slot: 'absent', publication: 'absent' });
  });
});
