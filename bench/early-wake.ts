import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { OperatorFunction } from 'rxjs';
import type { Delivery, RowBlock } from '../lib/events/index.ts';
import { BenchBlocks, benchTable } from './bench-table.ts';
import { openBenchSink, wakeAtFlush } from './sink-run.ts';

const FLUSH_INTERVAL = '5s';
/** Longer than three intervals: what was not begun before is not begun any more. */
const PUSH_MS = 12_000;

const SOURCES = [
  { source: 'one delivery, as in TiCDC', rows: 20, maxBytesInFlight: 1, asked: ' (asked: ≥ 20×)' },
  { source: '8 MiB and 4096 deliveries at most, as here', rows: 1, maxBytesInFlight: undefined, asked: '' },
  { source: '8 MiB and 4096 deliveries at most, as here', rows: 20, maxBytesInFlight: undefined, asked: '' },
];

/** (h): small deliveries into files, with the source woken at the enqueue ack as it is, and only at the flush ack. */
export async function earlyWake(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-wake-'));
  try {
    await pushed(folder, 'warm-up', { pushMs: 1000, rows: 20, maxBytesInFlight: 1 });
    const lines: string[] = [];
    for (const [number, { source, rows, maxBytesInFlight, asked }] of SOURCES.entries()) {
      const early = await pushed(folder, `early-${number}`, { pushMs: PUSH_MS, rows, maxBytesInFlight });
      const late = await pushed(folder, `late-${number}`, { pushMs: PUSH_MS, rows, maxBytesInFlight, between: wakeAtFlush });
      lines.push(`| ${source} | ${rows} | ${count(early)} | ${count(late)} | ${(early / late).toFixed(0)}×${asked} |`);
    }
    return [
      `### (h) Early wake, small deliveries, flush-interval ${FLUSH_INTERVAL}`,
      '',
      '| the source has in flight | rows a delivery | rows/s, woken at enqueue | rows/s, woken at flush | early ÷ late |',
      '|---|--:|--:|--:|--:|',
      ...lines,
      '',
    ].join('\n');
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Push {
  readonly pushMs: number;
  readonly rows: number;
  readonly maxBytesInFlight: number | undefined;
  readonly between?: OperatorFunction<Delivery, Delivery>;
}

/** Rows in a second, from the first until the last is durable. Without `between` the source is woken at the enqueue ack. */
async function pushed(folder: string, name: string, { pushMs, rows: rowsPerDelivery, maxBytesInFlight, between }: Push): Promise<number> {
  const uri = pathToFileURL(join(folder, name)).href;
  const startedMs = performance.now();
  const sink = await openBenchSink(name, {
    options: { uri, protocol: 'canal-json', flushInterval: FLUSH_INTERVAL, spoolBaseDir: join(folder, 'spool') },
    blocks: until(startedMs + pushMs, rowsPerDelivery),
    ...(between !== undefined && { between }),
    ...(maxBytesInFlight !== undefined && { maxBytesInFlight }),
  });
  const { rows } = await sink.push();
  const seconds = (performance.now() - startedMs) / 1000;
  await sink.close();
  return rows / seconds;
}

function* until(endMs: number, rows: number): Generator<readonly RowBlock[]> {
  const blocks = new BenchBlocks(benchTable(), rows);
  while (performance.now() < endMs) yield [blocks.next()];
}

function count(rowsPerSecond: number): string {
  return Math.round(rowsPerSecond).toLocaleString('en');
}
