import type { Clock, Logger } from '../../../flow/index.ts';
import { type DatabaseSnapshot, SnapshotReader } from '../../../sources/postgres/snapshot-reader.ts';
import type { WireConnection } from '../../../sources/postgres/wire-connection.ts';
import type { SimServer } from './server.ts';

export interface SimSnapshotOptions {
  readonly server: SimServer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly slot: string;
  readonly signal: AbortSignal;
}

/** A snapshot of the simulated database now, read by real snapshot readers over sessions of their own. */
export async function openSimSnapshot(options: SimSnapshotOptions, readerCount: number): Promise<DatabaseSnapshot> {
  const { server, clock, signal } = options;
  const sessions: WireConnection[] = [];
  const destroy = () => {
    signal.removeEventListener('abort', destroy);
    for (const session of sessions) session.destroy();
  };
  signal.addEventListener('abort', destroy, { once: true });
  try {
    for (let i = 0; i < readerCount; i++) sessions.push(await server.connect(clock));
    const { consistentPoint, timeUs } = server.database.snapshot();
    for (const session of sessions)
      await session.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '${consistentPoint}'`);
    const connect = { config: {}, address: 'sim', database: server.database.name, user: 'sim', applicationName: 'sim', clock };
    const query = (sql: string) => server.query(clock, sql);
    const readers = sessions.map((session) => new SnapshotReader(session, { ...options, connect, query, versionNumber: 180_000 }));
    const close = async () => {
      signal.removeEventListener('abort', destroy);
      await Promise.all(sessions.map((session) => session.close()));
    };
    return { consistentPoint, timeUs, readers, close, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}
