import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../lib/index.ts';
import { ControlConnection } from '../../../../lib/sources/postgres/connection.ts';
import { connectionOf } from '../../../../lib/sources/postgres/options.ts';
import { mayHoldChanges } from '../../../../lib/sources/postgres/slot-peek.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { holdSlot } from '../../../support/slot-holder.ts';

describe('mayHoldChanges', () => {
  let server: TestPostgres;
  let name = '';
  let url = '';
  let count = 0;
  let control: ControlConnection;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());

  afterEach(() => control.close());

  beforeEach(async () => {
    name = `peek${++count}`;
    url = await server.createDatabase(name);
    await sql(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE unpublished (id int);
      CREATE PUBLICATION ${name} FOR TABLE t`);
    await sql(`SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`);
    control = new ControlConnection({ ...connectionOf(url), applicationName: 'peek', clock: systemClock });
  });

  const sql = (text: string) => server.query<Record<string, string>>(text, [], name);
  const position = async () => BigInt((await sql(`SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS lsn`))[0]!['lsn']!);
  const flushed = async () => {
    const lsn = await position();
    while (BigInt((await sql(`SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn AS lsn`))[0]!['lsn']!) < lsn) await sql('CHECKPOINT');
    return lsn;
  };
  /** Everything up to here is captured; what comes then is not. */
  const captured = async () => (await position()) - 1n;
  const ask = async (fromTs: bigint, slot = name, publication = name) =>
    mayHoldChanges(control.query, { slot, publication }, fromTs, await flushed());

  it.each<[string, string, boolean]>([
    ['an insert', 'INSERT INTO t VALUES (2)', true],
    ['a TRUNCATE', 'TRUNCATE t', true],
    ['a row of another table', 'INSERT INTO unpublished VALUES (1)', false],
    ['a message', "SELECT pg_logical_emit_message(true, 'millrace', '')", false],
    ['a change that was rolled back', 'BEGIN; INSERT INTO t VALUES (2); ROLLBACK', false],
    ['a change of the schema, which writes no row', 'ALTER TABLE t ADD COLUMN note text', false],
    ['what the server writes for itself', 'CHECKPOINT', false],
  ])('of %s behind the checkpoint, whether %j holds a change is %s', async (_, change, holds) => {
    const fromTs = await captured();
    await sql(change);
    expect(await ask(fromTs)).toBe(holds);
    expect(await sql(`SELECT slot_name FROM pg_replication_slots WHERE database = current_database()`)).toEqual([{ slot_name: name }]);
  });

  it('passes over what is captured and not confirmed, as a capture that was killed leaves it', async () => {
    const fromTs = await captured();
    await sql('INSERT INTO t VALUES (2)');
    const behind = await captured();
    await sql('INSERT INTO unpublished VALUES (1)');
    expect([await ask(behind), await ask(fromTs)]).toEqual([false, true]);
  });

  it('looks past somebody who reads the slot, and does not disturb him', async () => {
    const fromTs = await captured();
    const holder = await holdSlot(url, name);
    const quiet = await ask(fromTs);
    await sql('INSERT INTO t VALUES (2)');
    const changed = await ask(fromTs);
    const readers = await sql(`SELECT active_pid::text AS pid FROM pg_replication_slots WHERE slot_name = '${name}'`);
    await holder.release();
    expect({ quiet, changed, readers }).toEqual({ quiet: false, changed: true, readers: [{ pid: String(holder.pid) }] });
  });

  it.each<[string, () => Promise<boolean>]>([
    ['there is no such slot', async () => ask(await captured(), 'none')],
    [
      'there is no such publication for a change',
      async () => {
        const fromTs = await captured();
        await sql('INSERT INTO t VALUES (2)');
        return ask(fromTs, name, 'none');
      },
    ],
    [
      'the slot begins behind the checkpoint',
      async () => {
        const fromTs = (await captured()) - 10_000n;
        await sql('INSERT INTO t VALUES (2)');
        await sql(`SELECT pg_replication_slot_advance('${name}', pg_current_wal_insert_lsn())`);
        return ask(fromTs);
      },
    ],
    [
      'what is asked for is not on disk yet',
      async () => mayHoldChanges(control.query, { slot: name, publication: name }, await captured(), (await position()) + 1_000_000n),
    ],
    [
      'no slot is free for the copy',
      async () => {
        const fromTs = await captured();
        const taken = `SELECT pg_create_physical_replication_slot('taken_' || i) FROM generate_series(1, current_setting('max_replication_slots')::int
          - (SELECT count(*)::int FROM pg_replication_slots)) i`;
        await sql(taken);
        const isTrue = await ask(fromTs);
        await sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'taken_%'");
        return isTrue && !(await ask(fromTs));
      },
    ],
    [
      'the role may not replicate',
      async () => {
        await sql('CREATE ROLE plain');
        const fromTs = await captured();
        await control.query('SET ROLE plain');
        return ask(fromTs);
      },
    ],
    [
      'too much WAL lies between',
      async () => mayHoldChanges(control.query, { slot: name, publication: name }, await captured(), 2n ** 62n),
    ],
  ])('is true where it cannot be known: %s', async (_, asked) => {
    expect(await asked()).toBe(true);
    expect(await sql("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'millrace_peek%'")).toEqual([]);
  });
});
