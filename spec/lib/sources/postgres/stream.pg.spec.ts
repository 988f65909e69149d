import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { rowsOf } from '../../../../lib/events/index.ts';
import { formatLsn } from '../../../../lib/formats/pgoutput/index.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { eventually, makeSlot, Reader, slotFacts, slotStart, walEnd } from './stream-kit.ts';

describe('openStream', () => {
  let server: TestPostgres;
  let reader: Reader | null = null;

  beforeAll(async () => {
    server = await startPostgres({ settings: { wal_sender_timeout: '1500ms' } });
  });
  afterEach(async () => {
    await reader?.close();
    reader = null;
  });
  afterAll(async () => {
    await server.stop();
  });

  async function open(slot: string, options: ConstructorParameters<typeof Reader>[3] = {}): Promise<Reader> {
    const url = await makeSlot(server, slot);
    reader = new Reader(url, slot, await slotStart(server, slot), options);
    return reader;
  }

  it('gives rows of every kind with their tables, resolved behind them', async () => {
    await open('rows');
    await server.query(
      `INSERT INTO t VALUES (1, 'a'), (2, 'b'); UPDATE t SET note = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2`,
      [],
      'rows',
    );
    await reader!.pullUntil(() => reader!.rows.length === 4);
    expect(reader!.rows).toEqual(['I 1', 'I 2', 'U 1', 'D 2']);
    const end = await walEnd(server);
    await reader!.pullUntil(() => reader!.resolvedTs >= end - 1n);
  });

  it('P8: values do not depend on the settings of the role', async () => {
    await open('settings');
    await server.query(
      `ALTER ROLE postgres IN DATABASE settings SET datestyle = 'SQL, DMY';
       ALTER ROLE postgres IN DATABASE settings SET timezone = 'Asia/Kolkata';
       ALTER ROLE postgres IN DATABASE settings SET intervalstyle = 'iso_8601';
       ALTER ROLE postgres IN DATABASE settings SET bytea_output = 'escape';
       ALTER ROLE postgres IN DATABASE settings SET extra_float_digits = -5;
       ALTER ROLE postgres IN DATABASE settings SET client_min_messages = 'error';
       CREATE TABLE v (id int PRIMARY KEY, tz timestamptz, d date, i interval, b bytea, f float8, r regclass);
       ALTER PUBLICATION pub ADD TABLE v;
       INSERT INTO v VALUES (1, '2024-02-03 04:05:06.789+00', '2024-02-03', '1 day 02:03:04', '\\x00ff', 0.1::float8 + 0.2, 't')`,
      [],
      'settings',
    );
    await reader!.pullUntil(() => reader!.rows.length === 1);
    const [event] = reader!.deliveries.flatMap(({ events }) => events).filter(({ type }) => type === 'dml');
    const values = event?.type === 'dml' ? [...rowsOf(event.rows)].map((row) => row.toObject()) : [];
    expect(values).toEqual([
      {
        id: '1',
        tz: '2024-02-03 04:05:06.789+00',
        d: '2024-02-03',
        i: '1 day 02:03:04',
        b: '\\x00ff',
        f: '0.30000000000000004',
        r: 'public.t',
      },
    ]);
  });

  it('P10: TRUNCATE and schema changes are deliveries of their own, in order inside one transaction', async () => {
    await open('blocks');
    await server.query(
      `INSERT INTO t VALUES (1, 'a');
       BEGIN; INSERT INTO t VALUES (2, 'b'); TRUNCATE t; INSERT INTO t VALUES (3, 'c');
       ALTER TABLE t ADD COLUMN more text DEFAULT 'x'; INSERT INTO t VALUES (4, 'd'); TRUNCATE t; COMMIT`,
      [],
      'blocks',
    );
    await reader!.pullUntil(() => reader!.rows.length === 7);
    expect(reader!.rows).toEqual(['I 1', 'I 2', 'truncate', 'I 3', 'ddl', 'I 4', 'truncate']);
    for (const { events } of reader!.deliveries) {
      if (events.some(({ type }) => type === 'ddl' || type === 'truncate')) expect(events).toHaveLength(1);
    }
  });

  it('cuts a large transaction into bounded deliveries, resolves nothing before its commit (I2), and reads a row larger than a chunk', async () => {
    await open('large');
    await server.query(
      `BEGIN; INSERT INTO t SELECT g, repeat('x', 20) FROM generate_series(1, 200000) g; INSERT INTO t VALUES (0, repeat('y', 3000000)); COMMIT`,
      [],
      'large',
    );
    const before = reader!.resolvedTs;
    await reader!.pullUntil(() => reader!.rows.length > 0);
    const resolvedBefore = reader!.resolvedTs;
    await reader!.pullUntil(() => reader!.rows.length === 200_001);
    expect(before).toBe(0n);
    const ofRows = reader!.deliveries.filter(({ events }) => events.some(({ type }) => type === 'dml'));
    const marks = ofRows.slice(0, -1).flatMap(({ events }) => events.filter(({ type }) => type === 'resolved'));
    expect(marks.every((mark) => mark.type === 'resolved' && mark.commitTs <= resolvedBefore)).toBe(true);
    expect(ofRows.length).toBeGreaterThan(15);
    const sizes = ofRows.map(({ bytes }) => bytes);
    expect(sizes.filter((bytes) => bytes > 1024 * 1024).length).toBeLessThanOrEqual(1);
    expect(Math.max(...sizes)).toBeLessThan(3_000_000 + 256 * 1024);
  });

  it('I10, P10: a reader that does not pull goes on to report, and no more than was confirmed (I1)', async () => {
    await open('paused');
    reader!.confirms = false;
    await server.query(`INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 50000) g`, [], 'paused');
    await reader!.pullUntil(() => reader!.rows.length > 0);
    const { activePid, confirmed } = await slotFacts(server, 'paused');
    const replies = async () => {
      const [row] = await server.query<{ pid: number; late: boolean }>(
        `SELECT pid, reply_time > backend_start + interval '5 seconds' AS late FROM pg_stat_replication WHERE pid = ${activePid}`,
      );
      if (row === undefined) throw new Error('the server gave the reader up');
      return row.late;
    };
    await eventually(replies);
    expect(await slotFacts(server, 'paused')).toEqual({ activePid, confirmed });
    await reader!.pullUntil(() => reader!.rows.length === 50_000);
  });

  it('P1: confirm(C) sends C + 1, also while nobody pulls', async () => {
    await open('confirm');
    reader!.confirms = false;
    await server.query(`INSERT INTO t VALUES (1, 'a')`, [], 'confirm');
    await reader!.pullUntil(() => reader!.rows.length === 1 && reader!.resolvedTs > 0n);
    const checkpointTs = reader!.resolvedTs;
    reader!.stream.confirm(checkpointTs);
    await eventually(async () => (await slotFacts(server, 'confirm')).confirmed === checkpointTs + 1n);
    expect(reader!.stream.status()).toMatchObject({ phase: 'streaming', confirmedTs: checkpointTs });
  });

  it('I7: a database whose changes are all filtered lets its WAL go', async () => {
    await open('quiet');
    const end = await walEnd(server);
    const pulling = reader!.pullUntil(() => reader!.resolvedTs >= end + 100_000n);
    await server.query(`CREATE TABLE other (v text); INSERT INTO other SELECT repeat('x', 100) FROM generate_series(1, 5000)`, [], 'quiet');
    await pulling;
    expect(reader!.rows).toEqual([]);
    await eventually(async () => (await slotFacts(server, 'quiet')).confirmed > end + 100_000n);
  });

  it('ends at once when it is aborted, still reports what is confirmed later, and lets the slot go', async () => {
    await open('abort');
    reader!.confirms = false;
    await server.query(`INSERT INTO t VALUES (1, 'a')`, [], 'abort');
    await reader!.pullUntil(() => reader!.rows.length === 1 && reader!.resolvedTs > 0n);
    const ended = (async () => {
      while ((await reader!.pull()) !== null);
    })();
    reader!.abort.abort();
    await ended;
    const checkpointTs = reader!.resolvedTs;
    reader!.stream.confirm(checkpointTs);
    await reader!.close();
    await reader!.close();
    expect(await slotFacts(server, 'abort')).toEqual({ confirmed: checkpointTs + 1n, activePid: null });
    expect(reader!.stream.status().phase).toBe('closed');
  });

  it('is closed in the middle of a large transaction', async () => {
    await open('middle');
    await server.query(`INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 60000) g`, [], 'middle');
    await reader!.pullUntil(() => reader!.rows.length > 0);
    await reader!.close();
    await eventually(async () => (await slotFacts(server, 'middle')).activePid === null);
    expect(await reader!.pull().catch(() => null)).toBeNull();
  });

  it('starts where it is told to, so that a restart repeats from the checkpoint on and nothing before', async () => {
    await open('resume');
    await server.query(`INSERT INTO t VALUES (1, 'a')`, [], 'resume');
    reader!.confirms = false;
    await reader!.pullUntil(() => reader!.rows.length === 1 && reader!.resolvedTs > 0n);
    const checkpointTs = reader!.resolvedTs;
    await server.query(`INSERT INTO t VALUES (2, 'b')`, [], 'resume');
    await reader!.pullUntil(() => reader!.rows.length === 2);
    await reader!.close();
    const url = new URL(server.url);
    url.pathname = '/resume';
    reader = new Reader(url.toString(), 'resume', checkpointTs);
    await reader.pullUntil(() => reader!.rows.length === 1);
    expect(reader.rows).toEqual(['I 2']);
    expect(formatLsn(checkpointTs)).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
  });
});
