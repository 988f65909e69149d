import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Workload } from '../../examples/first-light/workload.ts';
import { seededRandom } from '../../lib/testing/random.ts';
import { cli, startCli, verdictsOf } from '../support/cli.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

const KILLS_IN_SNAPSHOT = 5;
const KILLS_UNDER_LOAD = 8;
const SEED = Number(process.env['MILLRACE_CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

describe.each(['canal-json', 'csv'])('capture into %s files, killed with SIGKILL again and again', (protocol) => {
  let postgres: TestPostgres;
  let dir: string;

  beforeAll(async () => {
    postgres = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-crash-'));
    await postgres.query(await readFile(new URL('../../examples/first-light/schema.sql', import.meta.url), 'utf8'));
    // csv cannot leave an unchanged TOAST value out (P9).
    await postgres.query(`ALTER TABLE documents REPLICA IDENTITY ${protocol === 'csv' ? 'FULL' : 'DEFAULT'}`);
    await postgres.query(`INSERT INTO customers (name, email) SELECT 'More ' || i, NULL FROM generate_series(1, 150000) i`);
  });

  afterAll(async () => {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it(`loses nothing and shows nothing twice (seed ${SEED})`, async () => {
    const random = seededRandom(SEED);
    const target = pathToFileURL(join(dir, 'out')).href;
    const capture = ['capture', '--from', postgres.url, '--to', target, '--state', join(dir, 'state'), '--tables', 'public.*'];
    const tuning = ['--protocol', protocol, '--flush-interval', '200ms', '--file-size', '256KiB'];
    const killAfter = async (ms: number) => {
      const { child, result } = startCli([...capture, ...tuning]);
      await Promise.race([sleep(ms), result]);
      child.kill('SIGKILL');
      const { code, stderr } = await result;
      // Killed, not ended: whatever it met at this start, it must have been able to go on.
      expect({ code, stderr: code === null ? '' : stderr }).toEqual({ code: null, stderr: '' });
    };

    for (let kill = 0; kill < KILLS_IN_SNAPSHOT; kill++) await killAfter(400 + random() * 1600);

    const client = await postgres.client();
    const workload = new Workload(client);
    let isWorking = true;
    const work = (async () => {
      for (let step = 1; isWorking; step++) {
        await workload.step();
        if (step % 60 === 20) await workload.largeTransaction();
        if (step % 60 === 40) await workload.truncate();
        if (step === 100) await workload.addColumn();
        await sleep(15);
      }
    })();
    for (let kill = 0; kill < KILLS_UNDER_LOAD; kill++) await killAfter(600 + random() * 1800);
    isWorking = false;
    await work;
    await client.end();

    const last = await cli([...capture, ...tuning, '--until-caught-up']);
    expect({ code: last.code, stderr: last.code === 0 ? '' : last.stderr }).toEqual({ code: 0, stderr: '' });
    const verified = await cli(['verify', '--from', postgres.url, '--to', target, '--tables', 'public.*']);
    const tables = ['audit_log', 'customers', 'documents', 'order_items', 'orders'];
    expect(verdictsOf(verified.stdout)).toEqual(Object.fromEntries(tables.map((table) => [`public.${table}`, 'identical'])));
    expect(verified.code).toBe(0);
  }, 240_000);
});
