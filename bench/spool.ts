import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { TwoStageAck } from '../lib/events/index.ts';
import { Gauge, silentLogger, systemClock } from '../lib/flow/index.ts';
import { Spool, type SpoolEntry, spoolLimits } from '../lib/spool/index.ts';
import { nodeDisk } from '../lib/stores/index.ts';
import { median } from './stats.ts';

const ROUNDS = 5;
const TOTAL_BYTES = 256 * 1024 * 1024;
const FILE_BYTES = 32 * 1024 * 1024;
/** What a source has in flight un-acked. */
const IN_FLIGHT_BYTES = 8 * 1024 * 1024;

interface Sample {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

async function measured(run: () => Promise<void>): Promise<Sample> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await run();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6 };
}

/** All entries through a spool: enqueued while few are un-acked, gathered into files to be, read and flushed. */
async function through(folder: string, memoryBytes: number, bytes: number): Promise<void> {
  const context = { clock: systemClock, gauge: new Gauge(), logger: silentLogger };
  let failure: unknown = null;
  const onFailure = (error: unknown) => {
    failure = error;
  };
  const limits = { ...spoolLimits({ diskQuotaBytes: 1024 ** 3 }), memoryBytes };
  const spool = await Spool.open({ folder, limits, context, onFailure });
  const value = [Buffer.alloc(bytes, 'row')];
  let unacked = 0;
  let wake = () => {};
  let entries: SpoolEntry[] = [];
  let gathered = 0;
  const flush = async () => {
    let read = 0;
    for await (const { values } of spool.read(entries)) for (const piece of values) read += piece.length;
    if (read !== entries.length * bytes) throw new Error('the spool lost something');
    for (const entry of entries) entry.flushed();
    entries = [];
    gathered = 0;
  };
  for (let left = Math.floor(TOTAL_BYTES / bytes); left > 0; left--) {
    const ack = new TwoStageAck();
    unacked += bytes;
    ack.addPostEnqueue(() => {
      unacked -= bytes;
      if (unacked <= IN_FLIGHT_BYTES / 2) wake();
    });
    entries.push(spool.enqueue({ key: null, value, valueBytes: bytes, rows: 1, ack }));
    gathered += bytes;
    if (unacked > IN_FLIGHT_BYTES) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (gathered >= FILE_BYTES) await flush();
    if (failure !== null) throw failure;
  }
  await flush();
  await spool.close();
}

/** The same bytes to one file and back, in large pieces: what the disk and the file system take. */
async function plain(folder: string): Promise<void> {
  await nodeDisk.makeFolder(folder);
  const piece = Buffer.alloc(1024 * 1024, 'row');
  for (let done = 0; done < TOTAL_BYTES; done += FILE_BYTES) {
    const file = await nodeDisk.open(join(folder, 'plain'), 'w');
    for (let at = 0; at < FILE_BYTES; at += piece.length) await file.write([piece]);
    for (let at = 0; at < FILE_BYTES; at += piece.length) await file.read(at, piece.length);
    await file.close();
  }
  await nodeDisk.removeTree(folder);
}

const SIZES = [256, 4096, 65_536, 1024 * 1024];

/** (e): entries through the memory tier, and through files, against the same bytes written and read plainly. */
export async function spool(): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'millrace-bench-spool-'));
  try {
    const lines: string[] = [];
    for (const bytes of SIZES) {
      const samples: Record<'memory' | 'disk' | 'plain', Sample[]> = { memory: [], disk: [], plain: [] };
      for (let round = 0; round < ROUNDS; round++) {
        samples.memory.push(await measured(() => through(join(base, 'memory'), 64 * 1024 * 1024, bytes)));
        samples.disk.push(await measured(() => through(join(base, 'disk'), 1, bytes)));
        samples.plain.push(await measured(() => plain(join(base, 'plain'))));
      }
      const rate = (name: keyof typeof samples) => median(samples[name].map(({ seconds }) => TOTAL_BYTES / 1e6 / seconds));
      const cpu = (name: keyof typeof samples) => median(samples[name].map(({ cpuSeconds }) => (cpuSeconds * 1e6) / (TOTAL_BYTES / bytes)));
      for (const name of ['memory', 'disk', 'plain'] as const) {
        const label = { memory: 'memory tier', disk: 'every byte spilled and read back', plain: 'plain write and read' }[name];
        lines.push(
          `| ${bytes} B | ${label} | ${rate(name).toFixed(0)} | ${(rate(name) / rate('plain')).toFixed(2)} | ${cpu(name).toFixed(2)} |`,
        );
      }
    }
    return [
      '### (e) Spool, entries by size, without a target',
      '',
      '| entry | variant | MB/s | of plain write and read | CPU µs/entry |',
      '|--:|---|--:|--:|--:|',
      ...lines,
      '',
    ].join('\n');
  } finally {
    await rm(base, { recursive: true });
  }
}
