/** What one run of a variant measured. */
export interface Run {
  readonly rows: number;
  readonly seconds: number;
  /** CPU time of the measured process, user and system, in seconds; null where it is not a process of ours. */
  readonly cpuSeconds: number | null;
  readonly peakRssMiB: number | null;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Runs the variants one after another, `rounds` times over (A B C A B C …), so that a machine that slows down slows all of them. */
export async function alternate<Name extends string>(
  rounds: number,
  variants: Readonly<Record<Name, (round: number) => Promise<Run>>>,
): Promise<Record<Name, Run[]>> {
  const names = Object.keys(variants) as Name[];
  const runs = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, Run[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      runs[name].push(await variants[name](round));
      process.stderr.write('.');
    }
  }
  process.stderr.write('\n');
  return runs;
}

export interface Summary {
  readonly rowsPerSecond: number;
  readonly cpuUsPerRow: number | null;
  readonly peakRssMiB: number | null;
}

export function summarize(runs: readonly Run[]): Summary {
  const cpu = runs.map(({ cpuSeconds, rows }) => (cpuSeconds === null ? Number.NaN : (cpuSeconds * 1e6) / rows));
  const rss = runs.map(({ peakRssMiB }) => peakRssMiB ?? Number.NaN);
  return {
    rowsPerSecond: median(runs.map(({ rows, seconds }) => rows / seconds)),
    cpuUsPerRow: cpu.some(Number.isNaN) ? null : median(cpu),
    peakRssMiB: rss.some(Number.isNaN) ? null : Math.max(...rss),
  };
}

/** A Markdown table of variants, each with its ratio to the first. */
export function table(title: string, summaries: Readonly<Record<string, Summary>>): string {
  const first = Object.values(summaries)[0]!;
  const lines = Object.entries(summaries).map(([name, { rowsPerSecond, cpuUsPerRow, peakRssMiB }]) => {
    const rate = Math.round(rowsPerSecond).toLocaleString('en');
    const ratio = (first.rowsPerSecond / rowsPerSecond).toFixed(2);
    const cpuRatio = cpuUsPerRow === null || first.cpuUsPerRow === null ? '–' : (first.cpuUsPerRow / cpuUsPerRow).toFixed(2);
    return `| ${name} | ${rate} | ${ratio} | ${cpuUsPerRow?.toFixed(2) ?? '–'} | ${cpuRatio} | ${peakRssMiB?.toFixed(0) ?? '–'} |`;
  });
  const head = '| variant | rows/s | first row’s rows/s ÷ this | CPU µs/row | first row’s CPU ÷ this | peak RSS MiB |';
  return [`### ${title}`, '', head, '|---|--:|--:|--:|--:|--:|', ...lines, ''].join('\n');
}
