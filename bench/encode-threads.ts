import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchProtocol } from './bench-encoder.ts';
import { runChild } from './measured-process.ts';
import { alternate, median, type Run } from './stats.ts';

const ROUNDS = 5;
const THREADS = [0, 1, 2] as const;
const PROTOCOLS: readonly BenchProtocol[] = ['canal-json', 'csv'];
/** Rows of a block, and how many rows go through in a run. */
const BLOCKS = { 2000: 600_000, 200: 600_000, 20: 300_000 } as const;
const WAYS = {
  encode: 'encode',
  parse: 'parse, encode',
  null: 'parse, encode, rest of the sink, null store',
  files: 'parse, encode, rest of the sink, files',
} as const;

/** What a thread has to bring, and may cost, to be worth its code: from bytes of pgoutput to files, with the blocks that a source under load makes. */
const DECISIVE = { way: 'files', rows: 2000 } as const;
const FASTER = 1.3;
const CPU = 1.1;

type Way = keyof typeof WAYS;
type Threads = (typeof THREADS)[number];

interface EncodeRun extends Run {
  /** CPU time of the main thread; null where the system does not tell. */
  readonly mainSeconds: number | null;
}

/** One way of one format, with blocks of one size: runs by number of threads, the same round in the same place. */
interface Case {
  readonly way: Way;
  readonly protocol: BenchProtocol;
  readonly rows: number;
  readonly runs: readonly EncodeRun[][];
}

/** (k): encoding in worker threads, behind `encodeOrdered`, against encoding in the main thread as the sink does it. */
export async function encodeThreads(rounds = ROUNDS): Promise<string> {
  const cases = await measure(rounds);
  return `${PROTOCOLS.map((protocol) => table(protocol, cases)).join('\n')}\n${verdict(cases)}\n`;
}

async function measure(rounds: number): Promise<Case[]> {
  const base = await mkdtemp(join(tmpdir(), 'millrace-bench-encode-'));
  const folder = join(base, 'run');
  try {
    const cases = PROTOCOLS.flatMap((protocol) =>
      (Object.keys(WAYS) as Way[]).flatMap((way) =>
        Object.entries(BLOCKS).map(([rows, count]) => ({ way, protocol, rows: Number(rows), count, key: `${protocol} ${way} ${rows}` })),
      ),
    );
    const variants = cases.flatMap(({ way, protocol, rows, count, key }) =>
      THREADS.map((threads) => {
        const args = [way, protocol, ...[threads, rows, count].map(String), folder];
        const run = async () => {
          await mkdir(folder);
          const measured = await runChild<EncodeRun>('./child-encode.ts', args);
          await rm(folder, { recursive: true });
          return measured;
        };
        return [`${key} ${threads}`, run] as const;
      }),
    );
    const runs = (await alternate(rounds, Object.fromEntries(variants))) as Record<string, EncodeRun[]>;
    return cases.map(({ way, protocol, rows, key }) => ({
      way,
      protocol,
      rows,
      runs: THREADS.map((threads) => runs[`${key} ${threads}`]!),
    }));
  } finally {
    await rm(base, { recursive: true });
  }
}

function table(protocol: BenchProtocol, cases: readonly Case[]): string {
  const lines = cases
    .filter((one) => one.protocol === protocol)
    .map((one) => {
      const [alone, ...others] = THREADS;
      const cells = [
        WAYS[one.way],
        one.rows,
        Math.round(median(one.runs[alone]!.map(({ rows, seconds }) => rows / seconds))).toLocaleString('en'),
        ...others.map((threads) => `${speed(one, threads).toFixed(2)}×`),
        median(one.runs[alone]!.map(cpuUs)).toFixed(2),
        ...others.map((threads) => `${cpu(one, threads).toFixed(2)}×`),
        ...THREADS.map((threads) => mainShare(one, threads)),
      ];
      return `| ${cells.join(' | ')} |`;
    });
  return [
    `### (k) Encoding in worker threads, ${protocol}`,
    '',
    '| way of the rows | rows a block | rows/s, no thread | 1 thread | 2 threads | CPU µs/row, no thread | 1 thread | 2 threads | main thread’s part of the CPU, no thread | 1 thread | 2 threads |',
    `|---|${'--:|'.repeat(10)}`,
    ...lines,
    '',
  ].join('\n');
}

/** The rule is the bench's, not whoever reads it: the same words for all numbers. */
function verdict(cases: readonly Case[]): string {
  const decisive = cases.filter(({ way, rows }) => way === DECISIVE.way && rows === DECISIVE.rows);
  const counts = THREADS.slice(1).filter((threads) => decisive.every((one) => pays(one, threads)));
  const told = decisive.map((one) => {
    const numbers = THREADS.slice(1).map((threads) => `${speed(one, threads).toFixed(2)}× at ${cpu(one, threads).toFixed(2)}× the CPU`);
    return `${one.protocol} ${numbers.join(' with one thread, ')} with two`;
  });
  const elsewhere = cases.filter((one) => !decisive.includes(one) && THREADS.slice(1).some((threads) => pays(one, threads)));
  return [
    counts.length > 0 ? `**Worker threads pay** (${counts.join(' or ')} of them).` : '**Worker threads do not pay.**',
    `The rule: they do when a number of them reaches ≥ ${FASTER}× the rows/s at ≤ ${CPU}× the CPU per row of no thread, in both formats, from bytes of pgoutput to files, with blocks of ${DECISIVE.rows} rows.`,
    `Measured there: ${told.join('; ')}.`,
    `Of the ${cases.length - decisive.length} other lines above ${elsewhere.length} would pass${elsewhere.length === 0 ? '' : `: ${elsewhere.map(nameOf).join('; ')}`}.`,
    '',
  ].join('\n');
}

function nameOf({ way, protocol, rows }: Case): string {
  return `${protocol}, ${WAYS[way]}, ${rows} rows`;
}

function pays(one: Case, threads: Threads): boolean {
  return speed(one, threads) >= FASTER && cpu(one, threads) <= CPU;
}

/** How many times as fast as no thread; the median of the rounds. */
function speed({ runs }: Case, threads: Threads): number {
  return median(runs[threads]!.map(({ seconds }, round) => runs[0]![round]!.seconds / seconds));
}

/** How many times the CPU per row of no thread; the median of the rounds. */
function cpu({ runs }: Case, threads: Threads): number {
  return median(runs[threads]!.map((run, round) => cpuUs(run) / cpuUs(runs[0]![round]!)));
}

function cpuUs({ cpuSeconds, rows }: Run): number {
  return (cpuSeconds! * 1e6) / rows;
}

function mainShare({ runs }: Case, threads: Threads): string {
  const shares = runs[threads]!.map(({ mainSeconds, cpuSeconds }) => (mainSeconds === null ? Number.NaN : mainSeconds / cpuSeconds!));
  return shares.some(Number.isNaN) ? '–' : `${(100 * median(shares)).toFixed(0)} %`;
}
