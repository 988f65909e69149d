import { once } from 'node:events';
import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { isMillraceError, MillraceError } from '../../../../lib/errors.ts';
import { systemClock } from '../../../../lib/flow/index.ts';
import { connectWire } from '../../../../lib/sources/postgres/wire-connection.ts';
import { startPostgres, type TestPostgres } from '../../../support/postgres.ts';
import { eventually, makeSlot, Reader, slotFacts, slotStart } from './stream-kit.ts';

describe('openStream, when things break', () => {
  let server: TestPostgres;
  let reader: Reader;

  beforeAll(async () => {
    server = await startPostgres({ settings: { wal_sender_timeout: '1500ms', max_slot_wal_keep_size: '64MB' } });
  });
  afterEach(async () => {
    await reader.close();
  });
  afterAll(async () => {
    await server.stop();
  });

  async function open(slot: string, options: ConstructorParameters<typeof Reader>[3] = {}): Promise<void> {
    const url = await makeSlot(server, slot);
    reader = new Reader(url, slot, await slotStart(server, slot), options);
  }

  /** The rows 1 … n, each once and in order. */
  function inserts(n: number): string[] {
    return Array.from({ length: n }, (_, index) => `I ${index + 1}`);
  }

  async function insert(slot: string, from: number, to: number): Promise<void> {
    await server.query(`INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(${from}, ${to}) g`, [], slot);
  }

  async function failure(): Promise<unknown> {
    for (;;) {
      try {
        if ((await reader.pull()) === null) return null;
      } catch (error) {
        return error;
      }
    }
  }

  it.each(['fast', 'immediate'] as const)('a server that restarts (%s) loses and repeats nothing', async (mode) => {
    const slot = `restart_${mode}`;
    await open(slot);
    await insert(slot, 1, 3000);
    await reader.pullUntil(() => reader.rows.length > 0);
    const end = 6000;
    const pulling = reader.pullUntil(() => reader.rows.length === end);
    await server.restart(mode);
    await insert(slot, 3001, end);
    await pulling;
    expect(reader.rows).toEqual(inserts(end));
    expect(reader.stream.status()).toMatchObject({ phase: 'streaming', attempts: 0 });
  });

  it('a walsender that is killed, again and again, in the middle of transactions loses and repeats nothing', async () => {
    await open('killed', { maxDeliveryBytes: 64 * 1024 });
    const per = 20_000;
    for (let transaction = 0; transaction < 4; transaction++) await insert('killed', transaction * per + 1, (transaction + 1) * per);
    for (const quarter of [1, 3, 5, 7, 9]) {
      await reader.pullUntil(() => reader.rows.length > (quarter * per) / 2.5);
      const { activePid } = await slotFacts(server, 'killed');
      await server.query(`SELECT pg_terminate_backend(${activePid})`);
      await eventually(async () => (await slotFacts(server, 'killed')).activePid === null);
    }
    await reader.pullUntil(() => reader.rows.length >= 4 * per);
    expect(reader.rows).toEqual(inserts(4 * per));
  });

  it('a transaction that was cut by a kill and holds TRUNCATE and a schema change goes on exactly', async () => {
    await open('killed_blocks');
    await server.query(
      `BEGIN; INSERT INTO t SELECT g FROM generate_series(1, 5000) g; TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 5000) g;
       ALTER TABLE t ADD COLUMN more text; INSERT INTO t SELECT g FROM generate_series(5001, 10000) g; COMMIT`,
      [],
      'killed_blocks',
    );
    const expected = [...inserts(5000), 'truncate', ...inserts(5000), 'ddl', ...inserts(10_000).slice(5000)];
    while (reader.rows.length < expected.length) {
      await reader.pull();
      const { activePid } = await slotFacts(server, 'killed_blocks');
      if (activePid !== null && reader.deliveries.length % 2 === 0) {
        await server.query(`SELECT pg_terminate_backend(${activePid})`);
        await eventually(async () => (await slotFacts(server, 'killed_blocks')).activePid !== activePid);
      }
    }
    expect(reader.rows).toEqual(expected);
  });

  it('I6: a slot that was dropped meanwhile ends the stream', async () => {
    await open('gone');
    await insert('gone', 1, 1);
    await reader.pullUntil(() => reader.rows.length === 1);
    const { activePid } = await slotFacts(server, 'gone');
    await server.query(`SELECT pg_terminate_backend(${activePid}, 5000); SELECT pg_drop_replication_slot('gone')`, [], 'gone');
    expect(isMillraceError(await failure(), 'MR_SLOT_GONE')).toBe(true);
  });

  it('I6, P2: a slot that somebody else advanced ends the stream, since the server would skip silently', async () => {
    const url = await makeSlot(server, 'advanced');
    const from = await slotStart(server, 'advanced');
    await insert('advanced', 1, 1);
    await eventually(async () => {
      await server.query(`SELECT pg_replication_slot_advance('advanced', pg_current_wal_flush_lsn())`, [], 'advanced');
      return (await slotFacts(server, 'advanced')).confirmed > from + 1n;
    });
    reader = new Reader(url, 'advanced', from);
    expect(isMillraceError(await failure(), 'MR_SLOT_ADVANCED')).toBe(true);
  });

  it('I6: a slot that the server invalidated ends the stream', async () => {
    const url = await makeSlot(server, 'invalidated');
    const from = await slotStart(server, 'invalidated');
    await server.query(`CREATE TABLE filler (v text)`, [], 'invalidated');
    await eventually(async () => {
      await server.query(`INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 40000); CHECKPOINT`, [], 'invalidated');
      const [row] = await server.query<{ lost: boolean }>(
        `SELECT wal_status = 'lost' AS lost FROM pg_replication_slots WHERE slot_name = 'invalidated'`,
      );
      return row!.lost;
    });
    reader = new Reader(url, 'invalidated', from);
    expect(isMillraceError(await failure(), 'MR_SLOT_INVALIDATED')).toBe(true);
  });

  it('P4: a slot in use is tried for as long as the server may believe in a dead reader, then named with its holder', async () => {
    await open('active');
    reader.confirms = false;
    await insert('active', 1, 1);
    await reader.pullUntil(() => reader.rows.length === 1);
    const first = reader;
    const { activePid } = await slotFacts(server, 'active');
    const url = new URL(server.url);
    url.pathname = '/active';
    reader = new Reader(url.toString(), 'active', await slotStart(server, 'active'));
    const error = await failure();
    await first.close();
    expect(isMillraceError(error, 'MR_SLOT_ACTIVE') && error.details.pid).toBe(String(activePid));
  });

  it('a server that goes silent is noticed, and another connection goes on', async () => {
    const proxy = await startProxy(server.port);
    try {
      await makeSlot(server, 'silent');
      const url = `${server.url.replace(`:${server.port}/`, `:${proxy.port}/`).replace(/\/[^/]*$/, '')}/silent`;
      reader = new Reader(url, 'silent', await slotStart(server, 'silent'));
      await insert('silent', 1, 1);
      await reader.pullUntil(() => reader.rows.length === 1);
      proxy.freeze();
      await insert('silent', 2, 2);
      await reader.pullUntil(() => reader.rows.length === 2);
      expect(reader.rows).toEqual(['I 1', 'I 2']);
      expect(proxy.connections()).toBeGreaterThan(1);
    } finally {
      await reader.close();
      proxy.close();
    }
  });

  it('a lost connection to an absent server is tried again, a bounded number of times if so asked', async () => {
    let attempts = 0;
    const url = new URL(server.url);
    url.port = '1';
    reader = new Reader(url.toString(), 'absent', 0n, {
      retries: 2,
      connect: () => {
        attempts++;
        return connectWire({ config: { connectionString: url.toString() }, replication: true, clock: systemClock });
      },
    });
    const error = await failure();
    expect(isMillraceError(error, 'MR_SOURCE_UNREACHABLE')).toBe(true);
    expect(String(error)).not.toContain(new URL(server.url).password);
    expect(attempts).toBe(3);
  });

  it('P4: the warning that the publication is gone reaches the caller, whose error ends the stream behind what came before', async () => {
    const url = await makeSlot(server, 'unpublished');
    const gap = new MillraceError('MR_PUBLICATION_GAP', { publication: 'pub', reason: 'a test' });
    const onNotice = ({ message }: { message: string }) => {
      if (/skipped loading publication/.test(message)) throw gap;
    };
    reader = new Reader(url, 'unpublished', await slotStart(server, 'unpublished'), {
      connect: () => connectWire({ config: { connectionString: url }, replication: true, clock: systemClock, onNotice }),
    });
    await insert('unpublished', 1, 1);
    await server.query('DROP PUBLICATION pub', [], 'unpublished');
    await insert('unpublished', 2, 2);
    expect(await failure()).toBe(gap);
    expect(reader.rows).toEqual(['I 1']);
  });
});

/** A TCP proxy that can stop forwarding the connections it has, without closing them. */
async function startProxy(target: number) {
  const pairs: { inner: Socket; outer: Socket; frozen: boolean }[] = [];
  const listener: Server = createServer((outer) => {
    const inner = tcpConnect(target, '127.0.0.1');
    const pair = { inner, outer, frozen: false };
    pairs.push(pair);
    inner.on('data', (chunk) => pair.frozen || outer.write(chunk));
    outer.on('data', (chunk) => pair.frozen || inner.write(chunk));
    for (const socket of [inner, outer]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        inner.destroy();
        outer.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    connections: () => pairs.length,
    freeze: () => {
      for (const pair of pairs) pair.frozen = true;
    },
    close: () => {
      listener.close();
      for (const { inner, outer } of pairs) {
        inner.destroy();
        outer.destroy();
      }
    },
  };
}
