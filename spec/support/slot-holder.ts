import { once } from 'node:events';
import type { Socket } from 'node:net';
import pg from 'pg';

/** Reads a replication slot as somebody else would, without confirming anything, until it is released. `pid`: the server's process. */
export async function holdSlot(url: string, slot: string): Promise<{ readonly pid: number; release(): Promise<void> }> {
  const config: pg.ClientConfig & { replication: string } = { connectionString: url, replication: 'database' };
  const client = new pg.Client(config);
  client.on('error', () => {});
  await client.connect();
  await client.query('SET wal_sender_timeout = 0');
  const inner = client as unknown as { processID: number; connection: NodeJS.EventEmitter & { stream: Socket } };
  const started = once(inner.connection, 'replicationStart');
  client.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (proto_version '1', publication_names '"${slot}"')`).catch(() => {});
  await started;
  return {
    pid: inner.processID,
    release: async () => {
      const closed = once(inner.connection.stream, 'close');
      inner.connection.stream.destroy();
      await closed;
      const other = new pg.Client(url);
      await other.connect();
      while ((await other.query(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active`, [slot])).rowCount)
        await other.query('SELECT pg_sleep(0.05)');
      await other.end();
    },
  };
}
