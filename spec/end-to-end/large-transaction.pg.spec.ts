import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

const ROWS = 1_000_000;
const CHILD = fileURLToPath(new URL('../../bench/child-millrace.ts', import.meta.url));

describe('a transaction of a million rows', () => {
  let postgres: TestPostgres;
  let folder: string;

  beforeAll(async () => {
    postgres = await startPostgres();
    folder = await mkdtemp(join(tmpdir(), 'millrace-large-'));
  }, 60_000);

  afterAll(async () => {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  const capture = async () => {
    const args = ['--import', 'tsx', CHILD, postgres.url, 'large', join(folder, 'out'), join(folder, 'state'), 'never', 'canal-json'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return JSON.parse(stdout.trim()) as { rows: number; peakRssMiB: number };
  };

  it('passes in pieces, because a process that held it whole would need gigabytes', async () => {
    await postgres.query(`
      CREATE TABLE bench (id bigint PRIMARY KEY, customer text, amount numeric(12, 2), status varchar(16), created timestamptz, note text);
      CREATE PUBLICATION bench FOR TABLE bench WITH (publish_via_partition_root = true)`);
    await capture();
    await postgres.query(`
      INSERT INTO bench
      SELECT i, 'customer ' || i % 1000, i / 100.0, 'paid', now(), 'a note of ordinary length for row ' || i FROM generate_series(1, ${ROWS}) i`);
    const { rows, peakRssMiB } = await capture();
    expect(rows).toBe(ROWS);
    expect(peakRssMiB).toBeLessThanOrEqual(400);
  }, 120_000);
});
