import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, type TestPostgres } from '../spec/support/postgres.ts';
import { runChild, runNode } from './measured-process.ts';
import type { Run } from './stats.ts';

/** A database with the table that every bench writes, empty, and its publication. */
export interface Workload {
  readonly postgres: TestPostgres;
  /** A folder for what the variants write. */
  readonly folder: string;
  /** A run of Millrace under this name: its slot, its target below `folder` (or `target`), its state. */
  millrace(name: string, snapshot: 'initial' | 'never', target?: string): Promise<Run>;
  /** The same against a store that takes that long for each object, for a minute: resident MiB over time. */
  millraceSlowed(name: string, snapshot: 'initial' | 'never', delayMs: number): Promise<number[]>;
  /** Many transactions in one call. */
  fill(rowsPerTransaction: number, transactions: number): Promise<void>;
}

/** Makes a workload, runs `work` on it and removes all. */
export async function withWorkload<T>(work: (workload: Workload) => Promise<T>): Promise<T> {
  const postgres = await startPostgres();
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  const argumentsOf = (name: string, snapshot: string, target: string) => {
    return [postgres.url, name, target, join(folder, `${name}.state`), snapshot, 'canal-json'];
  };
  try {
    await postgres.query(CREATE);
    return await work({
      postgres,
      folder,
      millrace: (name, snapshot, target = join(folder, `${name}.out`)) =>
        runChild('./child-millrace.ts', argumentsOf(name, snapshot, target)),
      millraceSlowed: async (name, snapshot, delayMs) => {
        const lines = await runNode('./child-millrace.ts', [...argumentsOf(name, snapshot, join(folder, `${name}.out`)), String(delayMs)]);
        const { peakRssMiB } = JSON.parse(lines.pop()!) as Run;
        return [...lines.filter((line) => line !== '').map(Number), peakRssMiB!];
      },
      fill: (rowsPerTransaction, transactions) => fill(postgres, rowsPerTransaction, transactions),
    });
  } finally {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const CREATE = `
  CREATE TABLE bench (id bigint PRIMARY KEY, customer text, amount numeric(12, 2), status varchar(16), created timestamptz, note text);
  CREATE PUBLICATION bench FOR TABLE bench WITH (publish_via_partition_root = true)`;
const VALUES = `i, 'customer ' || i % 1000, (i % 100000) / 100.0, 'paid', now(), 'a note of ordinary length for row ' || i`;

/** A procedure commits inside its loop. */
async function fill(postgres: TestPostgres, rowsPerTransaction: number, transactions: number): Promise<void> {
  await postgres.query(`
    CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
    BEGIN
      FOR t IN 0 .. ${transactions - 1} LOOP
        INSERT INTO bench SELECT ${VALUES} FROM generate_series(t * ${rowsPerTransaction}::bigint + 1, (t + 1) * ${rowsPerTransaction}::bigint) i;
        COMMIT;
      END LOOP;
    END $$`);
  await postgres.query('CALL fill()');
}
