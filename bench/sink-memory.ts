import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runNode } from './measured-process.ts';
import { median, type Run } from './stats.ts';

const BYTES = 10 * 1024 ** 3;
/** A third of what the encoder brings, or less: the disk quota is used up soon, and stays so. */
const STORE_BYTES_PER_SECOND = 150e6;
/** 400 MB. */
const ASKED_MIB = 381;

/** (i): 10 GiB through a spool of 64 MiB in memory and 1 GiB on disk, to a store that is slower than the source. */
export async function sinkMemory(bytes = BYTES): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-memory-'));
  try {
    const lines = await runNode('./child-sink.ts', ['memory', folder, String(bytes), String(STORE_BYTES_PER_SECOND)]);
    const run = JSON.parse(lines.pop()!) as Run & { readonly bytes: number; readonly files: number; readonly loadedBytes: number };
    const samples = lines.filter((line) => line !== '').map(Number);
    const third = Math.floor(samples.length / 3);
    const cells = [
      gib(run.bytes),
      gib(run.loadedBytes),
      Math.round(run.bytes / 1e6 / run.seconds),
      `${run.peakRssMiB!.toFixed(0)} (asked: ≤ ${ASKED_MIB})`,
      median(samples.slice(third, 2 * third)).toFixed(0),
      median(samples.slice(2 * third)).toFixed(0),
      run.files,
      ((run.cpuSeconds! * 1e6) / run.rows).toFixed(2),
    ];
    return [
      '### (i) Memory of the sink: spool-memory 64 MiB, disk quota 1 GiB, a slow store',
      '',
      '| GiB pushed | GiB spilled | MB/s of the store | peak RSS MiB | median in the second third | median in the last third | files | CPU µs/row |',
      '|--:|--:|--:|--:|--:|--:|--:|--:|',
      `| ${cells.join(' | ')} |`,
      '',
    ].join('\n');
  } finally {
    await rm(folder, { recursive: true });
  }
}

function gib(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(2);
}
