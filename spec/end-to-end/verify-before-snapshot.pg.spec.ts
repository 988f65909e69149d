import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { watchSlot } from '../../bin/slot-watch.ts';
import { shareSlotSql } from '../../lib/sources/postgres/slot-lock.ts';
import { cli, startCli, verdictsOf } from '../support/cli.ts';
import { Pipeline } from '../support/pipeline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

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
    const holder = new pg.Client(pipeline.url);
    await holder.connect();
    await holder.query(shareSlotSql('millrace'));
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
    await holder.end();
    expect(verdictsOf(stdout)).toEqual({ 'public.users': 'identical', 'public.events': 'identical' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('taken later') });
  }, 60_000);

  it('takes a capture for one that runs from its start on, whoever reads the slot, and until its session ends', async () => {
    const url = await server.createDatabase('copying');
    const watches = ['orders', 'order'].map((slot) => watchSlot(url, { slot, publication: 'orders' }));
    const areActive = () => Promise.all(watches.map((watch) => watch.isActive()));
    expect(await areActive()).toEqual([false, false]);
    const client = new pg.Client(url);
    await client.connect();
    await client.query(shareSlotSql('orders'));
    expect(await areActive()).toEqual([true, false]);
    await client.end();
    while ((await areActive())[0]) await sleep(20);
    await Promise.all(watches.map((watch) => watch.close()));
  });
});
