import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { SingleBar } from 'cli-progress';
import { startPostgres, type TestPostgres } from '../../spec/support/postgres.ts';
import { CAPTURE_SCRIPT } from './pipeline.ts';
import { Workload } from './workload.ts';

const OUT_DIR = resolve('out');
const STATE_DIR = resolve('.millrace', 'first-light');
const WORKLOAD_MS = 15_000;
const TSX = ['--import', 'tsx'];

interface CaptureStatus {
  readonly phase: string;
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly lagMs: number | null;
  readonly checkpointTs: bigint | null;
}

const STARTING: CaptureStatus = { phase: 'starting', rows: 0, rowsPerSecond: 0, lagMs: null, checkpointTs: null };

/** The capturing process and what it last reported. */
class Capture {
  status: CaptureStatus = STARTING;
  readonly #postgres: TestPostgres;
  #child!: ChildProcess;

  constructor(postgres: TestPostgres) {
    this.#postgres = postgres;
  }

  start(): void {
    this.status = STARTING;
    this.#child = fork(CAPTURE_SCRIPT, [this.#postgres.url, OUT_DIR, STATE_DIR], { execArgv: TSX, serialization: 'advanced' });
    this.#child.on('message', (message) => {
      this.status = message as CaptureStatus;
    });
    this.#child.once('exit', (code) => {
      if (code !== null && code !== 0) fail(`the capturing process ended with exit code ${code}`);
    });
  }

  /** Kills it in the midst of its work: when the snapshot is over and a checkpoint is stored, however slow this machine is. */
  async kill(): Promise<void> {
    while (this.status.phase !== 'streaming' || this.status.checkpointTs === null) await sleep(50);
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  /** Waits until everything committed so far is durable in the files, then lets the process drain and end. */
  async finish(): Promise<void> {
    const rows = await this.#postgres.query<{ lsn: string }>(`SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS lsn`);
    const head = BigInt(rows[0]!.lsn);
    while ((this.status.checkpointTs ?? 0n) < head - 1n) await sleep(50);
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const [code] = await exited;
    if (code !== 0) fail('the capturing process did not drain');
  }
}

function say(text: string): void {
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${text}\n`);
}

function fail(reason: string): never {
  say(`✗ ${reason}`);
  process.exit(1);
}

/** The live line: on a terminal a bar, elsewhere a line every two seconds. */
function showProgress(capture: Capture): { progress(done: number): void; stop(): void } {
  const format = '  {bar} {percentage}% | {phase} | {rate} rows/s | lag {lag} | checkpoint {checkpoint}';
  const bar = process.stderr.isTTY ? new SingleBar({ format, hideCursor: true, barsize: 24, stream: process.stderr }) : null;
  let done = 0;
  bar?.start(100, 0, tokens());
  function tokens() {
    const { phase, rowsPerSecond, lagMs, checkpointTs } = capture.status;
    const lag = lagMs === null ? '–' : `${(lagMs / 1000).toFixed(1)} s`;
    return {
      phase,
      rate: Math.round(rowsPerSecond).toLocaleString('en'),
      lag,
      checkpoint: checkpointTs === null || checkpointTs === 0n ? '–' : checkpointTs,
    };
  }
  const timer = setInterval(
    () => {
      const { phase, rate, lag, checkpoint } = tokens();
      if (bar !== null) bar.update(Math.round(done), tokens());
      else say(`  ${Math.round(done)}% | ${phase} | ${rate} rows/s | lag ${lag} | checkpoint ${checkpoint}`);
    },
    bar === null ? 2000 : 200,
  );
  return {
    progress: (percent) => {
      done = percent;
    },
    stop: () => {
      clearInterval(timer);
      bar?.update(100, tokens());
      if (bar === null) return;
      // The bar goes back to where the cursor was saved, and lines were written above it since.
      process.stderr.write('\x1b7');
      bar.stop();
    },
  };
}

/** Runs the shop for `WORKLOAD_MS`, with each special event once at its share of the time. */
async function runWorkload(
  postgres: TestPostgres,
  events: readonly [share: number, run: (workload: Workload) => Promise<void>][],
  onShare: (share: number) => void,
) {
  const client = await postgres.client();
  const workload = new Workload(client);
  const start = performance.now();
  let next = 0;
  for (let share = 0; share < 1; share = (performance.now() - start) / WORKLOAD_MS) {
    while (next < events.length && events[next]![0] <= share) await events[next++]![1](workload);
    await workload.step();
    onShare(share);
    await sleep(10);
  }
  for (const [, run] of events.slice(next)) await run(workload);
  await client.end();
  return workload.transactions;
}

interface Verdict {
  readonly table: string;
  readonly rows: string;
  readonly files: number;
  readonly identical: boolean;
  readonly difference: string;
}

/** `millrace verify` rebuilds every table from the files and compares it with the database. */
async function verify(postgres: TestPostgres): Promise<Verdict[]> {
  const cli = fileURLToPath(new URL('../../bin/millrace.ts', import.meta.url));
  const args = [...TSX, cli, 'verify', '--from', postgres.url, '--to', pathToFileURL(OUT_DIR).href, '--tables', 'public.*'];
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((done) =>
    execFile(process.execPath, args, { maxBuffer: 1 << 26 }, (_error, out, err) => done({ stdout: out, stderr: err })),
  );
  const lines = stdout.split('\n').filter((line) => line.includes('\t'));
  if (lines.length === 0) fail(`verify printed nothing: ${stderr}`);
  return Promise.all(
    lines.map(async (line) => {
      const [table = '', verdict, rows = '', , difference = ''] = line.split('\t');
      const paths = await readdir(resolve(OUT_DIR, ...table.split('.')), { recursive: true });
      const files = paths.filter((path) => /CDC\d+\.json$/.test(path)).length;
      return { table, rows, files, identical: verdict === 'identical', difference };
    }),
  );
}

function formatTable(verdicts: readonly Verdict[]): string {
  const lines = [
    ['table', 'rows', 'files', 'identical'],
    ...verdicts.map(({ table, rows, files, identical }) => [
      table,
      Number(rows).toLocaleString('en'),
      String(files),
      identical ? 'yes' : 'NO',
    ]),
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map(([table, ...cells]) => `  ${[table!.padEnd(widths[0]!), ...cells.map((cell, i) => cell.padStart(widths[i + 1]!))].join('  ')}`)
    .join('\n');
}

async function main(): Promise<void> {
  const start = performance.now();
  await Promise.all([OUT_DIR, STATE_DIR].map((dir) => rm(dir, { recursive: true, force: true })));
  const postgres = await startPostgres();
  process.once('SIGINT', () => void postgres.stop().then(() => process.exit(130)));
  try {
    const [server] = await postgres.query<{ server_version: string }>('SHOW server_version');
    say(`▸ PostgreSQL ${server!.server_version} runs on port ${postgres.port}`);
    await postgres.query(await readFile(new URL('./schema.sql', import.meta.url), 'utf8'));
    const capture = new Capture(postgres);
    say(`▸ a shop with 5 tables and 130,600 rows; Millrace captures it into ${OUT_DIR}`);
    capture.start();
    const bar = showProgress(capture);
    const transactions = await runWorkload(
      postgres,
      [
        [0.25, (shop) => shop.largeTransaction()],
        [0.45, (shop) => shop.addColumn()],
        [
          0.5,
          async () => {
            await capture.kill();
            say('▸ the capturing process was killed with SIGKILL; it starts again, while the shop goes on');
            capture.start();
          },
        ],
        [0.65, (shop) => shop.truncate()],
        [0.8, (shop) => shop.largeTransaction()],
      ],
      (share) => bar.progress(share * 90),
    );
    await capture.finish();
    bar.stop();
    say(`▸ ${transactions.toLocaleString('en')} transactions later: every table is rebuilt from the files and compared with PostgreSQL`);
    const verdicts = await verify(postgres);
    console.log(formatTable(verdicts));
    for (const { table, identical, difference } of verdicts) if (!identical) say(`✗ ${table}: ${difference}`);
    say(`▸ the files are in ${OUT_DIR} (${((performance.now() - start) / 1000).toFixed(0)} s in all)`);
    process.exitCode = verdicts.length === 5 && verdicts.every(({ identical }) => identical) ? 0 : 1;
  } finally {
    await postgres.stop();
  }
}

await main();
