import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, type TestPostgres } from '../spec/support/postgres.ts';
import { runChild, runProgram } from './measured-process.ts';
import { alternate, type Run, summarize, table } from './stats.ts';

const ROUNDS = 5;
const CREATE =
  'CREATE TABLE bench (id bigint PRIMARY KEY, customer text, amount numeric(12, 2), status varchar(16), created timestamptz, note text)';
const VALUES = `i, 'customer ' || i % 1000, (i % 100000) / 100.0, 'paid', now(), 'a note of ordinary length for row ' || i`;

/** (b): draining a pre-filled slot into files. */
export async function endToEnd(): Promise<string> {
  const reports: string[] = [];
  for (const [rowsPerTransaction, transactions] of [
    [1, 60_000],
    [10, 20_000],
    [1000, 400],
  ] as const) {
    reports.push(await drain(rowsPerTransaction, transactions));
  }
  return reports.join('\n');
}

async function drain(rowsPerTransaction: number, transactions: number): Promise<string> {
  const postgres = await startPostgres();
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  try {
    await postgres.query(`${CREATE}; CREATE PUBLICATION bench FOR TABLE bench WITH (publish_via_partition_root = true)`);
    const recvlogical = isOnPath('pg_recvlogical');
    const millrace = (round: number, protocol: string) => {
      const name = `m_${round}_${protocol === 'csv' ? 'csv' : 'json'}`;
      return runChild('./child-millrace.ts', [postgres.url, name, join(dir, `${name}.out`), join(dir, `${name}.state`), 'never', protocol]);
    };
    // Each run has a slot of its own, made before the rows are; Millrace's by a first start that finds nothing to do.
    for (let round = 0; round < ROUNDS; round++) {
      await millrace(round, 'canal-json');
      for (const variant of recvlogical ? ['lib', 'recv'] : ['lib']) {
        await postgres.query(`SELECT pg_create_logical_replication_slot('${variant}_${round}', 'pgoutput')`);
      }
    }
    await fill(postgres, rowsPerTransaction, transactions);
    const expected = rowsPerTransaction * transactions;
    const [{ lsn }] = (await postgres.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')) as [{ lsn: string }];
    const checked = async (run: Promise<Run>) => {
      const result = await run;
      if (result.rows !== expected) throw new Error(`drained ${result.rows} rows instead of ${expected}`);
      return result;
    };
    const variants: Record<string, (round: number) => Promise<Run>> = {
      'Millrace → canal-json files': (round) => checked(millrace(round, 'canal-json')),
      'pg-logical-replication + JSON.stringify + append': (round) =>
        checked(runChild('./child-library.ts', [postgres.url, `lib_${round}`, join(dir, `lib_${round}.json`), lsn, String(expected)])),
    };
    if (recvlogical) {
      variants['pg_recvlogical to a file'] = (round) => {
        const options = [
          '-h',
          '127.0.0.1',
          '-p',
          String(postgres.port),
          '-U',
          'postgres',
          '-d',
          'postgres',
          '-S',
          `recv_${round}`,
          '--start',
          '--no-loop',
        ];
        const plugin = ['-o', 'proto_version=1', '-o', 'publication_names=bench', '--endpos', lsn, '-f', join(dir, `recv_${round}`)];
        return runProgram('pg_recvlogical', [...options, ...plugin], { PGPASSWORD: new URL(postgres.url).password }, expected);
      };
    }
    const runs = await alternate(ROUNDS, variants);
    const summaries = Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, summarize(list)]));
    const title = `(b) Draining a slot, ${rowsPerTransaction.toLocaleString('en')} row${rowsPerTransaction === 1 ? '' : 's'} a transaction, ${expected.toLocaleString('en')} rows`;
    return table(title, summaries);
  } finally {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Many transactions in one call: a procedure commits inside its loop. */
async function fill(postgres: TestPostgres, rowsPerTransaction: number, transactions: number): Promise<void> {
  await postgres.query(`
    CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
    BEGIN
      FOR t IN 0 .. ${transactions - 1} LOOP
        INSERT INTO bench SELECT ${VALUES} FROM generate_series(t * ${rowsPerTransaction} + 1, (t + 1) * ${rowsPerTransaction}) i;
        COMMIT;
      END LOOP;
    END $$`);
  await postgres.query('CALL fill()');
}

/** (c): the snapshot against a bare COPY. */
export async function snapshot(): Promise<string> {
  const postgres = await startPostgres();
  const dir = await mkdtemp(join(tmpdir(), 'millrace-bench-'));
  try {
    const rows = 500_000;
    await postgres.query(`${CREATE}; INSERT INTO bench SELECT ${VALUES} FROM generate_series(1, ${rows}) i`);
    await postgres.query('VACUUM ANALYZE bench');
    await postgres.query('CREATE PUBLICATION bench FOR TABLE bench WITH (publish_via_partition_root = true)');
    const millrace = (round: number, kind: 'null' | 'files') => {
      const name = `s_${round}_${kind}`;
      const target = kind === 'null' ? 'noop://' : join(dir, `${name}.out`);
      return runChild('./child-millrace.ts', [postgres.url, name, target, join(dir, `${name}.state`), 'initial', 'canal-json']);
    };
    const runs = await alternate(ROUNDS, {
      'Millrace → null store': (round) => millrace(round, 'null'),
      'Millrace → files': (round) => millrace(round, 'files'),
      'COPY … TO STDOUT, read and dropped': () => runChild('./child-copy.ts', [postgres.url, 'bench']),
    });
    return table('(c) Snapshot of 500,000 rows', Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, summarize(list)])));
  } finally {
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function isOnPath(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
