import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cli, startCli } from './support/cli.ts';
import { Pipeline } from './support/pipeline.ts';
import { startPostgres } from './support/postgres.ts';

const server = await startPostgres();
const dir = await mkdtemp(join(tmpdir(), 'millrace-stall-'));
const p = await Pipeline.captured(server, 'stall', dir, (a) => cli(a));
await p.succeeds(p.catchUp());
for (let i = 0; i < 25; i++) {
  const { child, result } = startCli(p.capture());
  let err = '';
  child.stderr!.on('data', (c: Buffer) => (err += c.toString()));
  await p.isStreaming(result);
  await sleep((i % 5) * 10);
  const t = Date.now();
  await p.sql(`INSERT INTO users VALUES (${10000 + i}, 'x')`);
  const [row] = await p.sql<{ lsn: string }>(`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS lsn`);
  let late = false;
  for (;;) {
    const [s] = await p.sql<{ c: string }>(
      `SELECT confirmed_flush_lsn - '0/0'::pg_lsn AS c FROM pg_replication_slots WHERE slot_name = 'stall'`,
    );
    if (BigInt(s!.c) >= BigInt(row!.lsn)) break;
    if (Date.now() - t > 5000 && !late) {
      late = true;
      console.log(
        'LATE',
        i,
        s,
        row,
        JSON.stringify(await p.sql(`SELECT state, sent_lsn, write_lsn, flush_lsn, reply_time, now() FROM pg_stat_replication`)),
        JSON.stringify(await p.sql(`select pg_current_wal_insert_lsn(), pg_current_wal_lsn(), pg_current_wal_flush_lsn()`)),
      );
      console.log(err);
    }
    if (Date.now() - t > 40000) {
      console.log('HANG', i);
      break;
    }
    await sleep(50);
  }
  console.log(i, Date.now() - t, 'ms');
  child.kill('SIGTERM');
  const r = await result;
  if (r.code !== 0) console.log(r);
}
await server.stop();
process.exit(0);
