import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createContext, type Logger } from '../../../lib/flow/index.ts';
import {
  type ColumnSpec,
  type EventGroup,
  type EventHandler,
  EventRejectedError,
  isRetryable,
} from '../../../pipelines/event-recorder/event.ts';
import { postgresEvents } from '../../../pipelines/event-recorder/handlers/postgres.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { FIRST_TRY, groupOf, HINTS, NOON_NS } from './events.ts';

const DAY_MS = 86_400_000;
const DAY_NS = BigInt(DAY_MS) * 1_000_000n;

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'it was delivered',
    (error: unknown) => error,
  );
}

describe('postgresEvents', () => {
  let server: TestPostgres;
  let url: string;
  let handler: EventHandler;
  let databases = 0;

  const query = (sql: string, values: unknown[] = []) => server.query(sql, values, new URL(url).pathname.slice(1));
  const deliver = (group: EventGroup) => handler.deliver(group, FIRST_TRY);
  const ids = async (table = 'events') =>
    (await query(`SELECT event_id FROM ${table} ORDER BY event_seq, event_row`)).map(({ event_id }) => event_id);

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server.stop();
  });
  beforeEach(async () => {
    url = await server.createDatabase(`events_${++databases}`);
    handler = postgresEvents({ url });
    await handler.open?.(createContext());
  });
  afterEach(async () => {
    await handler.close?.();
  });

  it('C5.20: makes the table of events with the base columns first, and keeps the time to the nanosecond', async () => {
    await deliver(groupOf([{ type: 'a', payload: { n: [1] } }, { type: 'a' }]));
    const columns = await query(
      `SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'events' ORDER BY ordinal_position`,
    );
    expect(columns.map(({ column_name, data_type }) => `${column_name} ${data_type}`)).toEqual([
      'type text',
      'payload jsonb',
      'timestamp timestamp with time zone',
      'event_id text',
      'event_row integer',
      'event_seq bigint',
      'event_time_ns bigint',
    ]);
    const rows = await query(
      `SELECT type, payload, "timestamp"::text AS at, event_id, event_row, event_seq, event_time_ns FROM events ORDER BY event_seq`,
    );
    expect(rows).toEqual([
      {
        type: 'a',
        payload: { n: [1] },
        at: expect.stringContaining('.123456'),
        event_id: 'e0001',
        event_row: 0,
        event_seq: '1',
        event_time_ns: String(NOON_NS + 1n),
      },
      expect.objectContaining({ payload: null, event_id: 'e0002', event_time_ns: String(NOON_NS + 2n) }),
    ]);
  });

  it('G1: what is delivered survives a crash of the server, also where the server commits asynchronously by default', async () => {
    await deliver(groupOf([{ type: 'a' }]));
    await query(`ALTER TABLE events ADD COLUMN how text DEFAULT current_setting('synchronous_commit')`);
    await deliver(groupOf([{ type: 'a' }], { from: 2n }));
    expect(await query('SHOW synchronous_commit')).toEqual([{ synchronous_commit: 'off' }]);
    expect(await query(`SELECT how FROM events WHERE event_id = 'e0002'`)).toEqual([{ how: 'on' }]);
  });

  it('G7: a group that is delivered again, whole or in part, adds nothing', async () => {
    const group = groupOf([{ type: 'a', extraRows: [[], []] }, { type: 'a' }]);
    await deliver(group);
    await deliver(group);
    await deliver({ ...group, events: group.events.slice(1) });
    expect(await ids()).toEqual(['e0001', 'e0001', 'e0002']);
  });

  it('extends the table as events bring columns, keeps every value exactly, and leaves other types alone', async () => {
    const extraSchema: ColumnSpec[] = [
      { name: 's', type: 'string', semantic: 'tag' },
      { name: 'j', type: 'json', semantic: 'field' },
      { name: 'i', type: 'int64', semantic: 'field' },
      { name: 'u', type: 'uint64', semantic: 'field' },
      { name: 'f', type: 'float64', semantic: 'field' },
      { name: 'b', type: 'boolean', semantic: 'field' },
      { name: 'ms', type: 'timestampMs', semantic: 'field' },
      { name: 'ns', type: 'timestampNs', semantic: 'field' },
      { name: 'Raw "bytes"', type: 'binary', semantic: 'field' },
    ];
    await deliver(groupOf([{ type: 'plain' }]));
    const odd = `a,"b"\\{c}' NULL \\u0000 \n é😀`;
    const values = [odd, { odd }, -(2n ** 63n), 2n ** 64n - 1n, Number.NaN, false, -1, NOON_NS, Buffer.from([0, 255, 92])];
    await deliver(
      groupOf([{ type: 'rich', payload: odd, extraSchema, extraRows: [values, ['NULL', ...Array(8).fill(null)]] }], { from: 2n }),
    );
    const rows = await query(
      `SELECT s, j, i::text, u::text, f::text, b, ms::timestamptz AS ms, ns::text, encode("Raw ""bytes""", 'hex') AS raw FROM events ORDER BY event_seq, event_row`,
    );
    const empty = { j: null, i: null, u: null, f: null, b: null, ms: null, ns: null, raw: null };
    expect(rows).toEqual([
      { s: null, ...empty },
      {
        s: odd,
        j: { odd },
        i: String(-(2n ** 63n)),
        u: String(2n ** 64n - 1n),
        f: 'NaN',
        b: false,
        ms: new Date(-1),
        ns: String(NOON_NS),
        raw: '00ff5c',
      },
      { s: 'NULL', ...empty },
    ]);
    expect((await query(`SELECT payload FROM events WHERE event_seq = 2`))[0]).toEqual({ payload: odd });
  });

  it('C5.32: a column or a table that somebody dropped is made again, once, and the events arrive', async () => {
    const extraSchema: ColumnSpec[] = [{ name: 'n', type: 'int64', semantic: 'field' }];
    const one = { type: 'a', extraSchema, extraRows: [[1]] };
    await deliver(groupOf([one]));
    await query('ALTER TABLE events DROP COLUMN n');
    await deliver(groupOf([one], { from: 2n }));
    expect(await query('SELECT n FROM events ORDER BY event_seq')).toEqual([{ n: null }, { n: '1' }]);
    await query('DROP TABLE events');
    await deliver(groupOf([one], { from: 3n }));
    expect(await ids()).toEqual(['e0003']);
  });

  it('C5.32: a column of another type is left as it is, and the events become dead letters', async () => {
    const bring = (type: 'int64' | 'string', value: unknown, from: bigint) =>
      groupOf([{ type: 'a', extraSchema: [{ name: 'n', type, semantic: 'field' }], extraRows: [[value]] }], { from });
    await deliver(bring('int64', 1, 1n));
    const error = await failureOf(deliver(bring('string', 'x', 2n)));
    expect(error).toBeInstanceOf(EventRejectedError);
    expect(error).toMatchObject({
      eventIds: ['e0002'],
      message: expect.stringContaining('column n of public.events is bigint, and events bring text'),
    });
    expect(isRetryable(error)).toBe(false);
    await deliver(bring('int64', 3, 3n));
    // Also where the type changes behind the handler's back.
    await query(`ALTER TABLE events ALTER COLUMN n TYPE boolean USING n > 0`);
    expect(await failureOf(deliver(bring('int64', 4, 4n)))).toMatchObject({ eventIds: ['e0004'] });
    expect(await ids()).toEqual(['e0001', 'e0003']);
  });

  it('a table that is none of events is not touched, and its events become dead letters', async () => {
    await query('CREATE TABLE users (id int PRIMARY KEY, type text)');
    const error = await failureOf(deliver(groupOf([{ type: 'a', table: 'users' }])));
    expect(error).toMatchObject({
      eventIds: ['e0001'],
      message: expect.stringContaining('public.users is no table of events: it has no column payload'),
    });
    const columns = await query(`SELECT attname::text FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0`);
    expect(columns).toEqual([{ attname: 'id' }, { attname: 'type' }]);
  });

  it('C5.32: without the right to extend the table its events become dead letters, and others go on', async () => {
    await deliver(groupOf([{ type: 'a' }]));
    await query(`CREATE ROLE writer_${databases} LOGIN PASSWORD 'w'; GRANT SELECT, INSERT ON events TO writer_${databases}`);
    const own = Object.assign(new URL(url), { username: `writer_${databases}`, password: 'w' });
    const other = postgresEvents({ url: String(own) });
    await other.deliver(groupOf([{ type: 'a' }], { from: 2n }), FIRST_TRY);
    const extraSchema: ColumnSpec[] = [{ name: 'n', type: 'int64', semantic: 'field' }];
    const error = await failureOf(other.deliver(groupOf([{ type: 'a', extraSchema, extraRows: [[1]] }], { from: 3n }), FIRST_TRY));
    expect(error).toMatchObject({ code: 'MR_EVENT_REJECTED', message: expect.stringContaining('42501') });
    await other.deliver(groupOf([{ type: 'a' }], { from: 4n }), FIRST_TRY);
    expect(await ids()).toEqual(['e0001', 'e0002', 'e0004']);
    await other.close?.();
  });

  it('W5, C5.13: a NUL, which PostgreSQL cannot store, rejects its events alone, by name', async () => {
    const extraSchema: ColumnSpec[] = [{ name: 's', type: 'string', semantic: 'field' }];
    const inputs = [
      { payload: 'good', s: 'good' },
      { payload: { deep: ['\0'] }, s: '' },
      { payload: '\\u0000', s: '\\u0000' },
      { payload: null, s: 'a\0b' },
    ].map(({ payload, s }) => ({ type: 'a', payload, extraSchema, extraRows: [[s]] }));
    const group = groupOf(inputs);
    const error = await failureOf(deliver(group));
    expect(error).toMatchObject({ code: 'MR_EVENT_REJECTED', eventIds: ['e0002', 'e0004'] });
    await deliver({ ...group, events: group.events.filter(({ id }) => !['e0002', 'e0004'].includes(id)) });
    expect(await query('SELECT payload, s FROM events ORDER BY event_seq')).toEqual([
      { payload: 'good', s: 'good' },
      { payload: '\\u0000', s: '\\u0000' },
    ]);
  });

  it('C5.11: what a constraint of the table refuses is refused for good, without saying which; nothing of that call stays', async () => {
    await deliver(groupOf([{ type: 'a', payload: 1 }]));
    await query(`ALTER TABLE events ADD CHECK (payload <> '2')`);
    const group = groupOf(
      [1, 2, 3].map((payload) => ({ type: 'a', payload })),
      { from: 2n },
    );
    const error = await failureOf(deliver(group));
    expect(error).toMatchObject({ code: 'MR_EVENT_REJECTED', eventIds: null, message: expect.stringContaining('23514') });
    expect(await ids()).toEqual(['e0001']);
    await deliver({ ...group, events: group.events.slice(0, 1) });
    expect(await ids()).toEqual(['e0001', 'e0002']);
  });

  it('a server that goes away fails calls in a way that may pass, and when it comes back the same handler delivers again, nothing twice', async () => {
    const first = groupOf([{ type: 'a' }]);
    await deliver(first);
    const holder = await server.client(new URL(url).pathname.slice(1));
    holder.on('error', () => {});
    await holder.query('BEGIN; LOCK TABLE events');
    const second = groupOf([{ type: 'a' }, { type: 'a' }], { from: 2n });
    const cut = failureOf(deliver(second));
    // The call waits for the lock when the server goes: nobody knows what became of it.
    await waitFor(async () => (await server.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0);
    const restarted = server.restart('immediate');
    const lost = await cut;
    expect(lost).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
    expect(isRetryable(lost)).toBe(true);
    const whileDown = await failureOf(deliver(second));
    if (whileDown !== 'it was delivered') expect(isRetryable(whileDown)).toBe(true);
    await restarted;
    await deliver(second);
    await deliver(first);
    expect(await ids()).toEqual(['e0001', 'e0002', 'e0003']);
    expect(String(lost) + String(whileDown)).not.toContain('first-light');
  });

  it('a session that the server ends is made again at the next call', async () => {
    await deliver(groupOf([{ type: 'a' }]));
    await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace events'`);
    await waitFor(async () => (await failureOf(deliver(groupOf([{ type: 'a' }], { from: 2n })))) === 'it was delivered');
    expect(await ids()).toEqual(['e0001', 'e0002']);
  });

  it('G7: a call that is given up returns at once, though the server goes on with it; made again, its events are there once', async () => {
    await deliver(groupOf([{ type: 'a' }]));
    const holder = await server.client(new URL(url).pathname.slice(1));
    await holder.query('BEGIN; LOCK TABLE events IN SHARE MODE');
    const group = groupOf([{ type: 'a' }], { from: 2n });
    const giveUp = new AbortController();
    const given = failureOf(handler.deliver(group, { signal: giveUp.signal, attempt: 1 }));
    await waitFor(async () => (await server.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0);
    giveUp.abort();
    expect(await given).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
    await holder.query('COMMIT');
    await holder.end();
    await deliver(group);
    expect(await ids()).toEqual(['e0001', 'e0002']);
  });

  it('a server that accepts the connection and says nothing holds a call no longer than its signal', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    const sockets: Socket[] = [];
    const accepted = new Promise<void>((resolve) => {
      mute.on('connection', (socket) => {
        sockets.push(socket);
        resolve();
      });
    });
    await once(mute, 'listening');
    const address = mute.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const hanging = postgresEvents({ url: `postgres://app:hunter2@127.0.0.1:${address.port}/none` });
    const giveUp = new AbortController();
    const given = failureOf(hanging.deliver(groupOf([{ type: 'a' }]), { signal: giveUp.signal, attempt: 1 }));
    await accepted;
    giveUp.abort();
    const error = await given;
    expect(error).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
    expect(String(error)).not.toContain('hunter2');
    await hanging.close?.();
    for (const socket of sockets) socket.destroy();
    mute.close();
  });

  it('a signal that is aborted already keeps the call from beginning', async () => {
    const error = await failureOf(handler.deliver(groupOf([{ type: 'a' }]), { signal: AbortSignal.abort(), attempt: 1 }));
    expect(error).toMatchObject({ code: 'MR_EVENT_TARGET_FAILED' });
    expect(await query(`SELECT to_regclass('events') AS found`)).toEqual([{ found: null }]);
  });

  it('C5.31: rows beyond the ttl of their type are removed by whole windows, at most once a window', async () => {
    const clock = manualClock();
    const nowMs = Number(NOON_NS / 1_000_000n);
    clock.advance(nowMs);
    await handler.open?.(createContext({ clock }));
    const old = (type: string, days: bigint, from: bigint) =>
      groupOf([{ type, timestampNs: NOON_NS - days * DAY_NS }], { from, hints: { ...HINTS, ttl: type === 'short' ? '7d' : '90d' } });
    await deliver(old('short', 7n, 1n));
    await deliver(old('short', 9n, 2n));
    await deliver(old('long', 9n, 3n));
    // 7 days ago is in the window that is kept; what is 9 days old came after the clean-up of this window.
    expect(await ids()).toEqual(['e0001', 'e0002', 'e0003']);
    clock.advance(DAY_MS);
    await deliver(old('short', 0n, 4n));
    expect(await ids()).toEqual(['e0003', 'e0004']);
  });

  it('C5.31: removes 10,000 rows with one delivery at most, and goes on with the next', async () => {
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    await handler.open?.(createContext({ clock }));
    await deliver(groupOf([{ type: 'a' }]));
    await query(`INSERT INTO events SELECT 'a', 'null', '2020-01-01', 'old' || i, 0, 0, 0 FROM generate_series(1, 10001) AS i`);
    const rowsLeft = async (from: bigint) => {
      await deliver(groupOf([{ type: 'a' }], { from, hints: { ...HINTS, ttl: '1d' } }));
      return (await query(`SELECT 1 FROM events WHERE event_seq = 0`)).length;
    };
    expect([await rowsLeft(2n), await rowsLeft(3n)]).toEqual([1, 0]);
  });

  it('C5.31: that old rows cannot be removed is a warning, and tried again a minute later: the events were delivered', async () => {
    const warned: object[] = [];
    const logger: Logger = { debug() {}, info() {}, error() {}, warn: (details) => void warned.push(details) };
    const clock = manualClock();
    clock.advance(Number(NOON_NS / 1_000_000n));
    await handler.open?.(createContext({ logger, clock }));
    await deliver(groupOf([{ type: 'a' }]));
    await query(`CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
      CREATE TRIGGER keep BEFORE DELETE ON events FOR EACH STATEMENT EXECUTE FUNCTION no()`);
    await deliver(groupOf([{ type: 'a' }], { from: 2n, hints: { ...HINTS, ttl: '1d' } }));
    clock.advance(59_999);
    await deliver(groupOf([{ type: 'a' }], { from: 3n, hints: { ...HINTS, ttl: '1d' } }));
    expect(warned).toMatchObject([{ table: 'public.events', type: 'a', reason: 'never' }]);
    clock.advance(1);
    await deliver(groupOf([{ type: 'a' }], { from: 4n, hints: { ...HINTS, ttl: '1d' } }));
    expect(warned).toHaveLength(2);
    expect(await ids()).toEqual(['e0001', 'e0002', 'e0003', 'e0004']);
  });

  it('C5.31: without append mode the last row of equal tags and time is kept, within a group and over several', async () => {
    const extraSchema: ColumnSpec[] = [
      { name: 'host', type: 'string', semantic: 'tag' },
      { name: 'n', type: 'int64', semantic: 'field' },
    ];
    const at = (host: string, n: number, timestampNs = NOON_NS) => ({ type: 'a', timestampNs, extraSchema, extraRows: [[host, n]] });
    const hints = { ...HINTS, appendMode: false };
    await deliver(groupOf([at('x', 1), at('y', 2), at('x', 3)], { hints }));
    await deliver(groupOf([at('y', 4), at('x', 5, NOON_NS + 1n)], { hints, from: 4n }));
    await deliver(groupOf([at('y', 4), at('x', 5, NOON_NS + 1n)], { hints, from: 4n }));
    expect(await query('SELECT host, n FROM events ORDER BY event_seq')).toEqual([
      { host: 'x', n: '3' },
      { host: 'y', n: '4' },
      { host: 'x', n: '5' },
    ]);
  });

  it('two processes that make the same table at once both deliver', async () => {
    const others = [1n, 2n, 3n, 4n].map((from) => ({ other: postgresEvents({ url }), group: groupOf([{ type: 'a' }], { from }) }));
    await Promise.all(others.map(({ other, group }) => other.deliver(group, FIRST_TRY)));
    expect(await ids()).toEqual(['e0001', 'e0002', 'e0003', 'e0004']);
    await Promise.all(others.map(({ other }) => other.close?.()));
  });

  it('an empty group, and one whose events have no rows, need no server at all', async () => {
    const nowhere = postgresEvents({ url: 'postgres://app@127.0.0.1:1/none', schema: 'audit' });
    await nowhere.deliver({ table: 'events', type: 'a', events: [], hints: HINTS }, FIRST_TRY);
    await nowhere.deliver(groupOf([{ type: 'a', extraRows: [] }]), FIRST_TRY);
    await nowhere.close?.();
  });

  it.each<[object, RegExp]>([
    [{ url: 'mysql://x' }, /MR_INVALID_OPTION: option url/],
    [{ url: 'postgres://app@db/shop', schema: '' }, /MR_INVALID_OPTION: option schema/],
  ])('refuses %j at once', (options, message) => {
    expect(() => postgresEvents(options as { url: string })).toThrow(message);
  });
});

async function waitFor(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve));
}
