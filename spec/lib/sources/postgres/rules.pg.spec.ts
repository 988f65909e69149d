import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type DmlEvent, tableName } from '../../../../lib/events/index.ts';
import { systemClock } from '../../../../lib/flow/index.ts';
import { parseLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { startReplicationSql } from '../../../../lib/sources/postgres/stream-fate.ts';
import { connectWire } from '../../../../lib/sources/postgres/wire-connection.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { closeRuns, eventually, MemoryTarget, makeDatabase, pullRows, Run } from './source-kit.ts';

/** Rules of the architecture as a real server keeps them; those that take more than a few lines to provoke have specs of their own beside. */
let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '100', autovacuum: 'off' } });
});
afterEach(closeRuns);
afterAll(() => server.stop());

const TABLE = "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'one'), (2, 'two')";

async function capturing(name: string, schema = TABLE, more: { watchInterval?: string; tables?: string[] } = {}) {
  const made = await makeDatabase(server, name, schema);
  const options = { ...made.options, ...more };
  const run = await Run.open(options);
  expect(await run.differences(made.url, 'pub')).toEqual([]);
  const same = async (of = run) => expect(await of.differences(made.url, 'pub')).toEqual([]);
  return { ...made, options, run, same };
}

/** All rows of a table that a target was given, in the order of their versions. */
function storedRows(run: Run, table: string) {
  return [...run.target.versions.get(table)!.values()].flatMap(({ rows }) => rows);
}

describe('P1: positions', () => {
  it("P1: commitTs is the final_lsn of the transaction's Begin, and ordinals count its changes in the order of its statements", async () => {
    const { run, query, same } = await capturing('final_lsn', `${TABLE}; CREATE TABLE u (id int PRIMARY KEY)`);
    await query("SELECT pg_create_logical_replication_slot('final_lsn_peek', 'pgoutput')");
    await query(
      "BEGIN; INSERT INTO t VALUES (3, 'a'); INSERT INTO u VALUES (1); UPDATE t SET note = 'b' WHERE id = 3; DELETE FROM t WHERE id = 3; COMMIT",
    );
    await query("UPDATE t SET note = 'c'");
    await same();
    const begins = await query(
      `SELECT ('x' || encode(substr(data, 2, 8), 'hex'))::bit(64)::int8::text AS ts
       FROM pg_logical_slot_peek_binary_changes('final_lsn_peek', NULL, NULL, 'proto_version', '1', 'publication_names', 'pub') WHERE get_byte(data, 0) = 66`,
    );
    const [first, second] = begins.map(({ ts }) => BigInt(String(ts)));
    const streamed = storedRows(run, 'public.t').slice(2);
    expect(streamed.map(({ op, position }) => [op, position.commitTs, position.ordinal])).toEqual([
      ['insert', first, 0],
      ['update', first, 2],
      ['delete', first, 3],
      ['update', second, 0],
      ['update', second, 1],
    ]);
    expect(storedRows(run, 'public.u').map(({ position }) => position)).toEqual([{ commitTs: first, ordinal: 1 }]);
  });

  it('P1: a snapshot at S resolves S − 1, and a commit at S, which may be the very next, is streamed', async () => {
    const { options, query } = await makeDatabase(server, 'at_s', TABLE);
    const run = await Run.open(options);
    const [snapshot] = await pullRows(run, 2);
    expect(run.resolvedTs).toBe(-1n);
    await query("INSERT INTO t VALUES (3, 'next')");
    const [next] = await pullRows(run, 1);
    const atS = snapshot!.rows.first.commitTs;
    expect(run.target.checkpointTs!).toBeGreaterThanOrEqual(next!.rows.last.commitTs);
    expect(next!.rows.first.commitTs).toBeGreaterThan(atS);
    const [state] = (run.target.state as unknown as { tables: { dropBefore: bigint; snapshotVersion: bigint }[] }).tables;
    expect([BigInt(state!.snapshotVersion), BigInt(state!.dropBefore)]).toEqual([atS, atS + 1n]);
  });
});

describe('P2: the slot and the state', () => {
  it('P2: START_REPLICATION below confirmed_flush_lsn is silently fast-forwarded by the server, so it is refused here', async () => {
    const { run, query, url, options } = await capturing('forwarded');
    await run.close();
    const fromTs = run.target.checkpointTs!;
    await query("INSERT INTO t VALUES (3, 'passed over')");
    await query('SELECT pg_switch_wal()');
    await query("SELECT pg_replication_slot_advance('forwarded', pg_current_wal_flush_lsn())");
    await query("SET synchronous_commit = on; INSERT INTO t VALUES (4, 'sent')");
    const connection = await connectWire({ config: { connectionString: url }, replication: true, clock: systemClock });
    await connection.startCopyBoth(startReplicationSql({ slot: 'forwarded', publication: 'pub' }, fromTs));
    let sent = '';
    while (!sent.includes('sent')) {
      while (connection.nextFrame()) {
        sent += connection.arena.bytes.toString('latin1', connection.frameAt, connection.frameEnd);
        connection.skipFrame();
      }
      await connection.fill();
    }
    expect(sent).not.toContain('passed over');
    connection.destroy();
    await expect(Run.open(options, run.target)).rejects.toThrow(/^MR_SLOT_ADVANCED/);
  });

  it('P2: the state holds system identifier, timeline, database, slot, and the oids of the publication and of its entries', async () => {
    const { run, query } = await capturing('remembers');
    const [facts] = await query(
      `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, p.oid::int8 AS publication, r.oid::int8 AS entry, r.prrelid::int8 AS relation
       FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid`,
    );
    expect(run.target.state).toMatchObject({
      ...{ systemIdentifier: facts!['system'], timeline: 1, database: 'remembers', slot: 'remembers', publication: 'pub' },
      publicationOid: Number(facts!['publication']),
      tables: [{ oid: Number(facts!['relation']), entry: Number(facts!['entry']) }],
    });
    expect(run.target.identity).toMatchObject({
      systemIdentifier: facts!['system'],
      timeline: 1,
      database: 'remembers',
      slot: 'remembers',
    });
  });
});

it('P3: the slot is confirmed to the checkpoint, never to what was read', async () => {
  const { run, query, same } = await capturing('confirmed');
  const confirmed = async () => {
    const [slot] = await query("SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'confirmed'");
    return parseLsn(String(slot!['lsn']))!;
  };
  const checkpointTs = run.target.checkpointTs!;
  await eventually(async () => (await confirmed()) === checkpointTs + 1n);
  run.checkpoints = false;
  await query("INSERT INTO t SELECT i, 'x' FROM generate_series(10, 5000) AS i");
  await same();
  expect(run.resolvedTs).toBeGreaterThan(checkpointTs);
  await run.close();
  expect(await confirmed()).toBe(checkpointTs + 1n);
});

describe('P4, P5: the first start', () => {
  it('P4: makes the publication before the slot, P5: and the intent is stored before either', async () => {
    const { options, url, query } = await makeDatabase(server, 'order_of_start', TABLE);
    const there = async () => {
      const [row] = await query(
        "SELECT (SELECT count(*)::int FROM pg_publication) AS publications, (SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = 'order_of_start') AS slots",
      );
      return row!;
    };
    const seen: unknown[] = [];
    const onSave = async () => {
      seen.push(await there());
    };
    // A writer holds the slot up: its row is there, but not yet its beginning.
    const writer = await server.client('order_of_start');
    await writer.query("BEGIN; INSERT INTO t VALUES (900, 'open')");
    const opening = Run.open(options, new MemoryTarget(), { onSave });
    await eventually(async () => (await there())['slots'] === 1);
    expect(await there()).toEqual({ publications: 1, slots: 1 });
    expect(seen).toEqual([{ publications: 0, slots: 0 }]);
    await writer.query('COMMIT');
    await writer.end();
    expect(await (await opening).differences(url, 'pub')).toEqual([]);
  });

  it('P4: lists the tables one by one, published by their roots', async () => {
    const { query } = await capturing(
      'listed',
      `${TABLE}; CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)`,
    );
    expect(
      await query(`SELECT puballtables AS all, pubviaroot AS root, (SELECT count(*)::int FROM pg_publication_namespace) AS schemas,
        (SELECT string_agg(prrelid::regclass::text, ' ' ORDER BY prrelid) FROM pg_publication_rel) AS tables FROM pg_publication`),
    ).toEqual([{ all: false, root: true, schemas: 0, tables: 't p' }]);
  });
});

describe('P5: a snapshot of any kind is at the S of a temporary slot', () => {
  it.each([
    ['the first', 't', {}, ''],
    ['one that was asked for again', 't', { resnapshot: ['public.t'] }, ''],
    [
      'that of a table that joins',
      'late',
      {},
      "CREATE TABLE late (id int PRIMARY KEY, note text); INSERT INTO late VALUES (1, 'one'), (2, 'two')",
    ],
  ])('%s carries S − 1, and what was streamed before S is dropped', async (title, table, more, before) => {
    const name = `at_s_${title.replaceAll(/\W/g, '_')}`;
    const made = await makeDatabase(server, name, TABLE);
    const target = new MemoryTarget();
    if (title !== 'the first') {
      const earlier = await Run.open(made.options, target);
      expect(await earlier.differences(made.url, 'pub')).toEqual([]);
      await earlier.close();
    }
    if (before !== '') await made.query(before);
    const run = await Run.open({ ...made.options, ...more }, target);
    // Committed before the snapshot: the slot streams it, the snapshot holds it.
    await made.query(`UPDATE ${table} SET note = 'before S' WHERE id = 1`);
    const old = new Set(target.versions.get(`public.${table}`)?.keys());
    const fresh = () =>
      [...(target.versions.get(`public.${table}`) ?? [])].filter(([version]) => !old.has(version)).map(([, stored]) => stored);
    await run.pullUntil(() => fresh().length > 0);
    expect(await made.query(`SELECT plugin FROM pg_replication_slots WHERE database = '${name}' AND temporary`)).toEqual([
      { plugin: 'pgoutput' },
    ]);
    await made.query(`UPDATE ${table} SET note = 'behind S' WHERE id = 2`);
    expect(await run.differences(made.url, 'pub')).toEqual([]);
    const [stored] = fresh();
    const version = stored!.table.version;
    expect(stored!.rows.map(({ op, position, data }) => [op, position.commitTs === version, data!['note']])).toEqual([
      ['insert', true, 'two'],
      ['insert', true, 'before S'],
      ['update', false, 'behind S'],
    ]);
    expect(await made.query(`SELECT slot_name FROM pg_replication_slots WHERE database = '${name}'`)).toEqual([{ slot_name: name }]);
  });
});

it('P6: the catalog is compared when a relation message comes, before any timer', async () => {
  const { run, query } = await capturing('by_message', TABLE, { watchInterval: '1h' });
  await query("UPDATE t SET note = 'described' WHERE id = 1");
  await pullRows(run, 1);
  await query("ALTER TABLE t ALTER note TYPE text USING upper(note); INSERT INTO t VALUES (3, 'x')");
  await run.pullUntil(() => run.log.has('error', /MR_TABLE_REWRITTEN: .*column note was rewritten/));
  await run.pullUntil(() => run.resolvedTs >= run.source.headTs);
  expect(storedRows(run, 'public.t').map(({ data }) => data!['id'])).not.toContain('3');
});

describe('P7: what relation messages lack', () => {
  it.each([
    ['default', '', ['id'], ['id']],
    ['full', 'ALTER TABLE t REPLICA IDENTITY FULL', ['id'], ['id', 'code', 'note']],
    ['index', 'ALTER TABLE t REPLICA IDENTITY USING INDEX t_code', ['id'], ['code']],
  ])(
    'P7: with replica identity %s the true primary key, nullability and defaults are known, also of a table that was not copied',
    async (identity, statement, primaryKey, key) => {
      const { options, query } = await makeDatabase(
        server,
        `described_${identity}`,
        `CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, note text); CREATE UNIQUE INDEX t_code ON t (code); ${statement}`,
      );
      const run = await Run.open({ ...options, snapshot: 'never' });
      await query("INSERT INTO t VALUES (1, 'c'); ALTER TABLE t ADD COLUMN extra int NOT NULL DEFAULT 7; INSERT INTO t VALUES (2, 'd')");
      const [, event] = await pullRows(run, 2);
      const { columns, replicaIdentity } = event!.rows.table;
      const names = (which: (column: (typeof columns)[number]) => boolean) => columns.filter(which).map(({ name }) => name);
      expect(replicaIdentity).toBe(identity);
      expect(names(({ isPrimaryKey }) => isPrimaryKey)).toEqual(primaryKey);
      expect(names(({ isIdentity }) => isIdentity)).toEqual(identity === 'full' ? [...key, 'extra'] : key);
      expect(names(({ nullable }) => nullable)).toEqual(['note']);
      expect(columns.map(({ columnId, defaultText }) => [columnId, defaultText])).toEqual([
        [1, null],
        [2, null],
        [3, null],
        [4, '7'],
      ]);
    },
  );

  it('P7: a version is stored before a row of it is emitted, and again in the next session it is the same', async () => {
    const { run, query, options } = await capturing('stored_before');
    const isStored = (target: MemoryTarget, { rows: { table } }: DmlEvent) => {
      const { tables } = target.state as unknown as { tables: { oid: number; history: { version: bigint }[] }[] };
      const { history } = tables.find(({ oid }) => oid === table.tableId)!;
      return history.some(({ version }) => BigInt(version) === table.version);
    };
    run.checkpoints = false;
    await query(
      "BEGIN; INSERT INTO t VALUES (3, 'a'); ALTER TABLE t ADD COLUMN x int; INSERT INTO t VALUES (4, 'b', 1); TRUNCATE t; INSERT INTO t VALUES (5, 'c', 2); COMMIT",
    );
    const events: DmlEvent[] = [];
    while (events.length < 3) {
      const [event] = await pullRows(run, 1);
      expect(isStored(run.target, event!)).toBe(true);
      events.push(event!);
    }
    await run.close();
    await query('ALTER TABLE t DROP COLUMN note');
    const again = await Run.open(options, run.target);
    const repeated = await pullRows(again, 3);
    const shown = (list: DmlEvent[]) =>
      list.map(({ rows: { table } }) => [tableName(table), table.version, table.columns.map(({ name }) => name)]);
    expect(shown(repeated)).toEqual(shown(events));
  });
});

describe('P10: TRUNCATE, sequences, tables that come later', () => {
  it('P10: TRUNCATE is a block event with its query and a version of its own, and the table is empty for readers', async () => {
    const { run, query, same } = await capturing('truncated');
    await query("BEGIN; INSERT INTO t VALUES (3, 'a'); TRUNCATE t RESTART IDENTITY CASCADE; TRUNCATE t; COMMIT");
    await same();
    expect(run.target.rebuild('public.t', ['id'], run.resolvedTs)).toEqual([]);
    expect(run.target.statements.filter((text) => text.startsWith('truncate'))).toEqual([
      'truncate public.t TRUNCATE TABLE "public"."t"',
      'truncate public.t TRUNCATE TABLE "public"."t"',
    ]);
    const [, first, second] = [...run.target.versions.get('public.t')!.keys()];
    expect(second! - first!).toBe(1n);
  });

  it.each([
    ['a sequence of its own', "CREATE SEQUENCE s; SELECT nextval('s'), nextval('s'), setval('s', 1000)"],
    ['of a serial column', "SELECT nextval('numbered_n_seq'), setval('numbered_n_seq', 77)"],
    ['of an identity column', "SELECT setval(pg_get_serial_sequence('numbered', 'i'), 88)"],
    ['that is restarted, altered and dropped', 'CREATE SEQUENCE s; ALTER SEQUENCE s RESTART WITH 5 INCREMENT 2; DROP SEQUENCE s'],
  ])('P10: sequences are not captured: %s', async (title, statement) => {
    const { run, query, same } = await capturing(
      `sequence_${title.replaceAll(/\W/g, '_')}`,
      'CREATE TABLE numbered (n serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY); INSERT INTO numbered DEFAULT VALUES',
    );
    const before = run.resolvedTs;
    const statements = [...run.target.statements];
    await query(statement);
    await query("SELECT pg_logical_emit_message(true, 'x', '')");
    await run.pullUntil(() => run.resolvedTs > before);
    await same();
    expect([...run.target.versions.keys()]).toEqual(['public.numbered']);
    expect(run.target.statements).toEqual(statements);
    expect(storedRows(run, 'public.numbered')).toHaveLength(1);
    expect(run.log.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });

  it('P10: a table that is created later and matches is warned about once where the publication is not ours', async () => {
    const { run, query, same } = await capturing('not_ours', `${TABLE}; CREATE PUBLICATION pub FOR TABLE t`, {
      tables: ['public.t', 'public.late*'],
    });
    const warned = () => run.log.lines.filter(({ message }) => /a table that is to join is not in the publication/.test(message));
    await query('CREATE TABLE late (id int PRIMARY KEY); CREATE TABLE unasked (id int PRIMARY KEY)');
    await run.pullAlong(() => warned().length > 0);
    await query('CREATE TABLE late_2 (id int PRIMARY KEY)');
    await run.pullAlong(() => warned().length > 1);
    expect(warned().map(({ details }) => details['table'])).toEqual(['public.late', 'public.late_2']);
    expect(await query('SELECT tablename FROM pg_publication_tables')).toEqual([{ tablename: 't' }]);
    await same();
  });
});
