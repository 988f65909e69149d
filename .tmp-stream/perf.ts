import { startPostgres } from '../spec/support/postgres.ts';
import { connectWire } from '../lib/sources/postgres/wire-connection.ts';
import { openStream } from '../lib/sources/postgres/stream.ts';
import { systemClock, Metrics } from '../lib/flow/index.ts';
import { defineTable, dispatcherOfTable } from '../lib/events/index.ts';
import { spawnSync } from 'node:child_process';
const ROWS = Number(process.argv[2] ?? 1_000_000), PER = Number(process.argv[3] ?? 1000);
const pg = await startPostgres({settings:{synchronous_commit:'off'}});
try {
  await pg.query(`CREATE TABLE t(id int primary key, a text, b int8, c timestamptz, d numeric, e bool); CREATE PUBLICATION p FOR TABLE t`);
  for (const s of ['s1','s2','s3','s4','s5','s6']) await pg.query(`SELECT pg_create_logical_replication_slot('${s}','pgoutput')`);
  const c = await pg.client(); c.on('error', () => {});
  if (PER < 100) await c.query(`DO $$ BEGIN FOR i IN 0..${ROWS/PER-1} LOOP INSERT INTO t SELECT g, 'some text '||g, g::int8*100000, now(), g*1.5, g%2=0 FROM generate_series(i*${PER}, i*${PER}+${PER-1}) g; COMMIT; END LOOP; END $$`);
  else for (let i = 0; i < ROWS/PER; i++) await c.query(`INSERT INTO t SELECT g, 'some text '||g, g::int8*100000, now(), g*1.5, g%2=0 FROM generate_series(${i*PER}, ${i*PER+PER-1}) g`);
  const [{lsn, n}] = (await c.query('SELECT pg_current_wal_insert_lsn()::text AS lsn, (pg_current_wal_insert_lsn()-\'0/0\')::text AS n')).rows;
  await c.end();
  const resolver = () => { const tables = new Map(); return {
    async resolve(r: any) { tables.set(r.relationId, defineTable({ dispatcher: dispatcherOfTable('p', r.relationId), sourceSchema: r.namespace, sourceName: r.name, schema: r.namespace, name: r.name, tableId: r.relationId, version: 1n, columns: r.columns.map((c: any, i: number) => ({ name: c.name, wireIndex: i, columnId: i+1, type: 'text', typeModifier: -1, nullable: true, isPrimaryKey: c.isKey, isIdentity: c.isKey, defaultText: null })), replicaIdentity: 'default' })); return { table: tables.get(r.relationId), dropBefore: 0n, event: null }; },
    async truncate() { return null; }, lookup(id: number) { return { table: tables.get(id) ?? null, dropBefore: 0n }; } }; };
  const run = async (slot: string) => {
    const u = new URL(pg.url);
    const ac = new AbortController();
    const stream = openStream({ slot, publication: 'p', connect: () => connectWire({ config: { connectionString: pg.url }, replication: true, clock: systemClock }), resolver: resolver() as any, fromTs: await pg.query(`SELECT (confirmed_flush_lsn-'0/0')::text AS x FROM pg_replication_slots WHERE slot_name='${slot}'`).then((r: any) => BigInt(r[0].x) - 1n), clock: systemClock, logger: { debug(){}, info(){}, warn: console.error, error: console.error }, metrics: new Metrics(), signal: ac.signal });
    const target = BigInt(n) - 1n;
    const t0 = process.hrtime.bigint(); const cpu0 = process.cpuUsage(); let rows = 0, deliveries = 0;
    outer: for await (const d of stream.deliveries) { deliveries++;
      for (const e of d.events) { if (e.type === 'dml') rows += e.rows.rowCount; else if (e.type === 'resolved' && e.commitTs >= target) break outer; } }
    const secs = Number(process.hrtime.bigint() - t0) / 1e9; const cpu = process.cpuUsage(cpu0);
    console.log(slot, { rows, deliveries, secs: secs.toFixed(2), rps: Math.round(rows / secs), usPerRow: ((cpu.user + cpu.system) / rows).toFixed(3), user: (cpu.user/rows).toFixed(3), rssMB: Math.round(process.memoryUsage().rss / 1e6) });
    await stream.close();
  };
  const rec = (slot: string) => { const t0 = Date.now(); const u = new URL(pg.url);
    const r = spawnSync('pg_recvlogical', ['-d', pg.url, '-S', slot, '--start', '-o', 'proto_version=1', '-o', 'publication_names=p', '-f', '/dev/null', `--endpos=${lsn}`, '--no-loop']);
    const s = (Date.now() - t0) / 1000; console.log('recvlogical', s, Math.round(ROWS / s), r.stderr.toString()); };
  rec('s1'); await run('s2'); rec('s3'); await run('s4'); rec('s5'); await run('s6');
} catch (e) { console.error(e); process.exitCode = 1; } finally { await pg.stop(); }
