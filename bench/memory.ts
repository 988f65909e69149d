import { median } from './stats.ts';
import { withWorkload } from './workload.ts';

const TRANSACTION_ROWS = 1_000_000;
/** Three objects to a file of 1 MiB, some 2000 rows: about 400 rows a second, where the source has 400,000. */
const SLOW_PUT_MS = 1600;

/** Peak resident memory: where the sink is a thousand times slower than the source, and where a transaction is large. */
export async function memory(): Promise<string> {
  const lines: string[] = [];
  for (const snapshot of ['never', 'initial'] as const) {
    const samples = await withWorkload(async ({ millraceSlowed, millrace, fill }) => {
      if (snapshot === 'never') await millrace('slow', 'never');
      await fill(1000, 1000);
      return millraceSlowed('slow', snapshot, SLOW_PUT_MS);
    });
    const peak = samples.pop()!;
    const third = Math.floor(samples.length / 3);
    const [middle, last] = [median(samples.slice(third, 2 * third)), median(samples.slice(2 * third))];
    const what = snapshot === 'never' ? 'streaming' : 'snapshot';
    lines.push(`| ${what}, a sink 1000 × slower than the source, one minute | ${mib(peak)} | ${mib(middle)} | ${mib(last)} |`);
  }
  const { peakRssMiB } = await withWorkload(async ({ millrace, fill }) => {
    await millrace('large', 'never');
    await fill(TRANSACTION_ROWS, 1);
    return millrace('large', 'never');
  });
  lines.push(`| one transaction of ${TRANSACTION_ROWS.toLocaleString('en')} rows to files | ${mib(peakRssMiB!)} | – | – |`);
  const head = '| case | peak RSS MiB | median in the second third | median in the last third |';
  return ['### Memory', '', head, '|---|--:|--:|--:|', ...lines, ''].join('\n');
}

function mib(value: number): string {
  return value.toFixed(0);
}
