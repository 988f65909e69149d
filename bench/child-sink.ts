import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type ObjectBody, type ObjectStore, openStore } from '../lib/stores/index.ts';
import { BenchBlocks, benchTable } from './bench-table.ts';
import { measureSelf } from './measured-process.ts';
import { openBenchSink, type SinkPush } from './sink-run.ts';

// Pushes rows that are built already through the sink, or writes as many bytes plainly; prints what that took.
//   sink   FOLDER PROTOCOL ROWS null|fs memory|default|disk
//   plain  FOLDER FILES BYTES_PER_FILE FSYNCS
//   memory FOLDER BYTES BYTES_PER_SECOND
const [what, folder, ...rest] = process.argv.slice(2) as [string, string, ...string[]];

const ROWS_PER_BLOCK = 2000;
const WARM_UP_ROWS = 400_000;
const TABLES = 4;
const MIB = 1024 * 1024;
/** Of canal-json, about. */
const BYTES_PER_ROW = 583;

/** Nothing is spilled where the source is held before the memory is full; everything, where there is none. */
const TIERS = {
  memory: { options: { spoolMemory: '256MiB', spoolDiskQuota: '256MiB' }, limits: {} },
  default: { options: {}, limits: {} },
  disk: { options: {}, limits: { memoryBytes: 1 } },
} as const;

await { sink: pushed, plain: plainly, memory: slowly }[what]!();

async function pushed(): Promise<void> {
  const [protocol, rows, store, tier] = rest as [string, string, 'null' | 'fs', keyof typeof TIERS];
  const blocks = new BenchBlocks(benchTable(), ROWS_PER_BLOCK);
  const pushOf = (uri: string, count: number): SinkPush => ({
    options: { uri, protocol, spoolBaseDir: join(folder, 'spool'), ...TIERS[tier].options },
    limits: TIERS[tier].limits,
    blocks: some(blocks, count / ROWS_PER_BLOCK),
  });
  const warm = await openBenchSink('warm-up', pushOf('noop://', WARM_UP_ROWS));
  await warm.push();
  await warm.close();
  const target = join(folder, 'out');
  const sink = await openBenchSink('sink', pushOf(store === 'null' ? 'noop://' : pathToFileURL(target).href, Number(rows)));
  const fsyncs = await countFsyncs();
  await measureSelf(async () => {
    const totals = await sink.push();
    if (totals.rows !== Number(rows)) throw new Error(`${totals.rows} rows came out of ${rows}`);
    return { ...totals, fsyncs: fsyncs() };
  });
}

/** Files one after another, each synced, and the rest of the fsyncs on a byte that is appended to another one: the small files and folders of the sink. */
async function plainly(): Promise<void> {
  const [files, bytes, fsyncs] = rest.map(Number) as [number, number, number];
  // As large as a file: rows on their way to one are in no cache of the processor's either.
  const content = Buffer.alloc(bytes, 'row');
  const small = await open(join(folder, 'plain-small'), 'w');
  let left = fsyncs - files;
  await measureSelf(async () => {
    for (let number = 1; number <= files; number++) {
      const file = await open(join(folder, `plain-${number}`), 'wx');
      for (let at = 0; at < bytes; at += MIB) await file.write(content, at, Math.min(MIB, bytes - at));
      await file.sync();
      await file.close();
      for (const share = Math.floor((left * (files - number)) / (files - number + 1)); left > share; left--) {
        await small.write(content, 0, 1);
        await small.sync();
      }
    }
    return { rows: 0, bytes: files * bytes, files, fsyncs };
  });
}

/** Bytes of canal-json through a spool of 64 MiB in memory and 1 GiB on disk, to a store that takes so many of them in a second. */
async function slowly(): Promise<void> {
  const [bytes, bytesPerSecond] = rest.map(Number) as [number, number];
  const tables = Array.from({ length: TABLES }, (_, number) => new BenchBlocks(benchTable(number), ROWS_PER_BLOCK));
  const sink = await openBenchSink('memory', {
    options: {
      store: paced(await openStore('noop://'), bytesPerSecond),
      protocol: 'canal-json',
      spoolMemory: '64MiB',
      spoolDiskQuota: '1GiB',
      spoolBaseDir: join(folder, 'spool'),
    },
    blocks: some(tables, bytes / BYTES_PER_ROW / ROWS_PER_BLOCK),
  });
  const timer = setInterval(() => console.log(process.memoryUsage.rss() / MIB), 250);
  await measureSelf(async () => {
    const totals = await sink.push();
    await sink.close();
    return { ...totals };
  });
  clearInterval(timer);
}

/** Some blocks, each in a delivery, of the tables in turn. */
function* some(sources: BenchBlocks | readonly BenchBlocks[], count: number) {
  const all = Array.isArray(sources) ? (sources as readonly BenchBlocks[]) : [sources as BenchBlocks];
  for (let number = 0; number < count; number++) yield [all[number % all.length]!.next()];
}

/** A store that reads what it is given at this pace, all writers together, and drops it. */
function paced(store: ObjectStore, bytesPerSecond: number): ObjectStore {
  let freeAtMs = 0;
  const take = async (bytes: number) => {
    freeAtMs = Math.max(freeAtMs, performance.now()) + (bytes / bytesPerSecond) * 1000;
    await sleep(Math.max(0, freeAtMs - performance.now()));
  };
  return {
    ...store,
    putIfAbsent: async (key: string, body: ObjectBody) => {
      if (Array.isArray(body)) for (const piece of body as readonly Uint8Array[]) await take(piece.length);
      else for await (const piece of (body as Exclude<ObjectBody, readonly Uint8Array[]>).chunks()) await take(piece.length);
      return store.putIfAbsent(key, []);
    },
  };
}

/** Counts the fsyncs of this process from now on. */
async function countFsyncs(): Promise<() => number> {
  const path = join(folder, 'probe');
  const probe = await open(path, 'w');
  const prototype = Object.getPrototypeOf(probe) as FileHandle;
  const { sync } = prototype;
  let count = 0;
  prototype.sync = function (this: FileHandle) {
    count++;
    return sync.call(this);
  };
  await probe.close();
  await rm(path);
  return () => count;
}
