import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { watchSlot } from '../../bin/slot-watch.ts';
import { cli, startCli, verdictsOf } from '../support/cli.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { holdSlot } from '../support/slot-holder.ts';

/** `verify` looks at the database before the capture has taken its own first snapshot. */
describe('verify during the first snapshot', () => {
  let server: TestPostgres;
  let dir: string;

  beforeAll(async () => {
    server = await startPostgres();
    dir = await mkdtemp(join(tmpdir(), 'millrace-verify-'));
  });

  afterAll(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('P5: waits for tables whose snapshot is taken later than its own, and does not call them different', async () => {
    const pipeline = await Pipeline.create(server, 'late', dir, cli);
    await mkdir(pipeline.out, { recursive: true });
    // What `verify` takes for the capture, as long as the target remembers none.
    await pipeline.sql(`CREATE PUBLICATION millrace FOR TABLE users, events`);
    await pipeline.sql(`SELECT pg_create_logical_replication_slot('millrace', 'pgoutput')`);
    const holder = await holdSlot(pipeline.url, 'millrace');
    const verifying = startCli(['verify', '--from', pipeline.url, '--to', pipeline.target]);
    await new Promise<void>((resolve) => {
      let said = '';
      verifying.child.stderr!.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('no checkpoint yet')) resolve();
      });
    });
    const capturing = startCli(pipeline.capture());
    const { code, stdout, stderr } = await verifying.result;
    capturing.child.kill('SIGTERM');
    await capturing.result;
    await holder.release();
    expect(verdictsOf(stdout)).toEqual({ 'public.users': 'identical', 'public.events': 'identical' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('taken later') });
  }, 60_000);

  it('takes a capture that still copies for one that runs', async () => {
    const url = await server.createDatabase('copying');
    const client = new pg.Client({ connectionString: url, replication: 'database' } as pg.ClientConfig);
    await client.connect();
    await client.query('CREATE_REPLICATION_SLOT orders_snapshot_7 TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT');
    const isActive = async (slot: string) => {
      const watch = watchSlot(url, slot);
      return watch.isActive().finally(watch.close);
    };
    expect({ orders: await isActive('orders'), order: await isActive('order') }).toEqual({ orders: true, order: false });
    await client.end();
  });
});
