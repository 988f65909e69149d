import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runChild, runProgram } from './measured-process.ts';
import { alternate, type Run, summarize, table } from './stats.ts';
import { type Workload, withWorkload } from './workload.ts';

const ROUNDS = 5;

/** The library reads this many rows and stops: it is slow, and its rate does not change. */
const LIBRARY_ROWS = 200_000;

/** (b): draining a pre-filled slot into files. As many transactions that starting and ending decide nothing. */
export function drain(rowsPerTransaction: number, transactions: number, rounds = ROUNDS): Promise<string> {
  return withWorkload(async (workload) => {
    const { postgres, folder, millrace } = workload;
    const hasReference = isOnPath('pg_recvlogical');
    // Each run has a slot of its own, made before the rows are; Millrace's by a first start that finds nothing to do.
    for (let round = 0; round < rounds; round++) {
      await millrace(`m_${round}`, 'never');
      for (const variant of hasReference ? ['lib', 'recv'] : ['lib']) {
        await postgres.query(`SELECT pg_create_logical_replication_slot('${variant}_${round}', 'pgoutput')`);
      }
    }
    await workload.fill(rowsPerTransaction, transactions);
    const rows = rowsPerTransaction * transactions;
    const [{ lsn }] = (await postgres.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')) as [{ lsn: string }];
    const variants: Record<string, (round: number) => Promise<Run>> = {
      'Millrace → canal-json files': async (round) => {
        const run = await millrace(`m_${round}`, 'never');
        if (run.rows !== rows) throw new Error(`drained ${run.rows} rows instead of ${rows}`);
        await rm(join(folder, `m_${round}.out`), { recursive: true });
        return run;
      },
    };
    if (hasReference) {
      variants['`pg_recvlogical` to a file'] = (round) => receive(workload, `recv_${round}`, lsn, rows);
    }
    variants['`pg-logical-replication` + `JSON.stringify` + append'] = (round) => {
      return runChild('./child-library.ts', [postgres.url, `lib_${round}`, join(folder, 'lib'), lsn, String(Math.min(rows, LIBRARY_ROWS))]);
    };
    const runs = await alternate(rounds, variants);
    const summaries = Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, summarize(list)]));
    const plural = rowsPerTransaction === 1 ? 'row' : 'rows';
    return table(
      `(b) Draining a slot, ${rowsPerTransaction.toLocaleString('en')} ${plural} a transaction, ${rows.toLocaleString('en')} rows`,
      summaries,
    );
  });
}

function receive({ postgres, folder }: Workload, slot: string, endLsn: string, rows: number): Promise<Run> {
  const { hostname, username, password } = new URL(postgres.url);
  const server = ['-h', hostname, '-p', String(postgres.port), '-U', username, '-d', 'postgres', '-S', slot];
  const plugin = ['-o', 'proto_version=1', '-o', 'publication_names=bench'];
  const until = ['--start', '--no-loop', '--endpos', endLsn, '-f', join(folder, 'recv')];
  return runProgram('pg_recvlogical', [...server, ...plugin, ...until], { PGPASSWORD: password }, rows);
}

const SNAPSHOT_ROWS = 2_000_000;

/** (c): the snapshot against a bare COPY. */
export function snapshot(rounds = ROUNDS): Promise<string> {
  return withWorkload(async ({ postgres, folder, millrace, fill }) => {
    await fill(SNAPSHOT_ROWS, 1);
    await postgres.query('VACUUM ANALYZE bench');
    const taken = async (name: string, target?: string) => {
      const run = await millrace(name, 'initial', target);
      if (run.rows !== SNAPSHOT_ROWS) throw new Error(`copied ${run.rows} rows instead of ${SNAPSHOT_ROWS}`);
      // A slot that stays would keep every row version that the next run looks at.
      await postgres.query(`SELECT pg_drop_replication_slot('${name}')`);
      await rm(join(folder, `${name}.out`), { recursive: true, force: true });
      return run;
    };
    const runs = await alternate(rounds, {
      'Millrace → null store': (round) => taken(`null_${round}`, 'noop://'),
      'Millrace → files': (round) => taken(`files_${round}`),
      '`COPY … TO STDOUT`, read and dropped': () => runChild('./child-copy.ts', [postgres.url, 'bench', String(SNAPSHOT_ROWS)]),
    });
    const summaries = Object.fromEntries(Object.entries(runs).map(([name, list]) => [name, summarize(list)]));
    return table(`(c) Snapshot of ${SNAPSHOT_ROWS.toLocaleString('en')} rows`, summaries);
  });
}

function isOnPath(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
