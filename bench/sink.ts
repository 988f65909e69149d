import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChild } from './measured-process.ts';
import { alternate, median, type Run } from './stats.ts';

const ROUNDS = 5;
/** About 1 GB of each. */
const ROWS = { 'canal-json': 2_000_000, csv: 6_000_000 };
/** What is asked of canal-json. */
const NULL_ROWS_PER_CORE_SECOND = 1e6;
const FILES_RATIO = 0.7;
const SPILLED_RATIO = 0.3;

interface SinkRun extends Run {
  readonly bytes: number;
  readonly files: number;
  readonly fsyncs: number;
  readonly loadedBytes?: number;
}

/** (f): row blocks through the whole sink, into nothing and into files, against the same bytes written plainly. */
export async function sink(rounds = ROUNDS): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'millrace-bench-sink-'));
  try {
    return `${await measured(base, 'canal-json', rounds)}\n${await measured(base, 'csv', rounds)}`;
  } finally {
    await rm(base, { recursive: true });
  }
}

const VARIANTS = {
  null: 'null store, nothing spilled',
  nullDisk: 'null store, every byte spilled',
  fs: 'files, nothing spilled',
  fsDisk: 'files, every byte spilled',
  fsDefault: 'files, spool as by default (64 MiB in memory)',
  plain: 'plain write, the same files and fsyncs',
} as const;

async function measured(base: string, protocol: keyof typeof ROWS, rounds: number): Promise<string> {
  const inFolder = async (work: (folder: string) => Promise<SinkRun>) => {
    const folder = join(base, 'run');
    await mkdir(folder);
    const run = await work(folder);
    await rm(folder, { recursive: true });
    return run;
  };
  const rows = String(ROWS[protocol]);
  const pushed = (store: 'null' | 'fs', tier: 'memory' | 'default' | 'disk') => () =>
    inFolder((folder) => runChild<SinkRun>('./child-sink.ts', ['sink', folder, protocol, rows, store, tier]));
  let files: SinkRun | null = null;
  const runs = (await alternate(rounds, {
    null: pushed('null', 'memory'),
    nullDisk: pushed('null', 'disk'),
    fs: async () => {
      files = await pushed('fs', 'memory')();
      return files;
    },
    fsDisk: pushed('fs', 'disk'),
    fsDefault: pushed('fs', 'default'),
    plain: () =>
      inFolder(async (folder) => {
        const like = files!;
        const shape = [like.files, Math.round(like.bytes / like.files), like.fsyncs].map(String);
        return { ...(await runChild<SinkRun>('./child-sink.ts', ['plain', folder, ...shape])), rows: like.rows };
      }),
  })) as Record<keyof typeof VARIANTS, SinkRun[]>;
  const rate = (name: keyof typeof VARIANTS) => median(runs[name].map(({ bytes, seconds }) => bytes / 1e6 / seconds));
  const lowest = Math.min(rate('plain'), rate('null'));
  const asked = protocol === 'csv' ? {} : ASKED;
  const lines = (Object.keys(VARIANTS) as (keyof typeof VARIANTS)[]).map((name) => {
    const all = runs[name];
    const [{ bytes, loadedBytes, fsyncs }] = all as [SinkRun];
    const cpu = median(all.map((run) => (run.cpuSeconds! * 1e6) / run.rows));
    const cells = [
      VARIANTS[name],
      Math.round(median(all.map((run) => run.rows / run.seconds))).toLocaleString('en'),
      rate(name).toFixed(0),
      cpu.toFixed(2),
      `${Math.round(1e6 / cpu).toLocaleString('en')}${asked[name]?.perCore ?? ''}`,
      (bytes / 1e6 / median(all.map((run) => run.cpuSeconds!))).toFixed(0),
      `${(rate(name) / lowest).toFixed(2)}${asked[name]?.ratio ?? ''}`,
      loadedBytes === undefined ? '–' : `${((100 * loadedBytes) / bytes).toFixed(0)} %`,
      fsyncs,
      Math.max(...all.map(({ peakRssMiB }) => peakRssMiB!)).toFixed(0),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const [{ bytes, rows: count }] = runs.null as [SinkRun];
  return [
    `### (f) The sink, ${protocol}: ${count.toLocaleString('en')} rows of ${Math.round(bytes / count)} bytes`,
    '',
    '| variant | rows/s | MB/s | CPU µs/row | rows/s of one core | MB/s of one core | MB/s ÷ min(plain write, null store) | spilled | fsyncs | peak RSS MiB |',
    '|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|',
    ...lines,
    '',
  ].join('\n');
}

const ASKED: Partial<Record<keyof typeof VARIANTS, { readonly perCore?: string; readonly ratio?: string }>> = {
  null: { perCore: ` (asked: ≥ ${NULL_ROWS_PER_CORE_SECOND.toLocaleString('en')})` },
  fs: { ratio: ` (asked: ≥ ${FILES_RATIO})` },
  fsDisk: { ratio: ` (asked: ≥ ${SPILLED_RATIO})` },
};
