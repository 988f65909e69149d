import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { concatMap } from 'rxjs';
import { type DmlEvent, type DrainMarker, type RowBlock, RowBlockBuilder } from '../lib/events/index.ts';
import { createContext, pump } from '../lib/flow/index.ts';
import { crc32OfPieces } from '../lib/formats/checksum.ts';
import { MessageKind, PgoutputReader } from '../lib/formats/pgoutput/index.ts';
import { encodeOrdered, trackProgress } from '../operators/index.ts';
import { SINK_OPERATORS } from '../pipelines/cloud-storage-sink/cloud-storage.ts';
import { type EncodedRows, eventEncoder } from '../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import { SegmentPool } from '../pipelines/cloud-storage-sink/rows/segment-pool.ts';
import { type BenchProtocol, benchEncoder } from './bench-encoder.ts';
import { BenchBlocks, benchTable } from './bench-table.ts';
import { measureSelf } from './measured-process.ts';
import { makeMessages } from './pgoutput-messages.ts';
import { deliveriesOf, openBenchSink } from './sink-run.ts';
import { ThreadEncoder } from './thread-encoder.ts';

// Encodes rows, in the main thread (0 THREADS) or in others, and prints what that took.
//   encode|parse|null|files  PROTOCOL  THREADS  ROWS_PER_BLOCK  ROWS  FOLDER
const [way, protocol, ...rest] = process.argv.slice(2) as ['encode' | 'parse' | 'null' | 'files', BenchProtocol, ...string[]];
const [threads, rowsPerBlock, rows] = rest.slice(0, 3).map(Number) as [number, number, number];
const folder = rest[3]!;

const WARM_UP_ROWS = 200_000;
/** Before they are used again; a multiple of every size of block. */
const PARSED_ROWS = 20_000;
const SEGMENTS_BYTES = 4 * 1024 * 1024;
/** Rows that a thread has to do, so that it need not wait for the main one; two blocks at least, one in work and one in line. */
const ROWS_AHEAD = 4000;
const CONCURRENCY_MAX = 1024;

type Encode = (event: DmlEvent | DrainMarker) => EncodedRows | DrainMarker | Promise<EncodedRows>;

const segments = new SegmentPool(SEGMENTS_BYTES);
const ahead = Math.max(2, ROWS_AHEAD / rowsPerBlock);
const concurrency = Math.min(Math.max(1, threads * ahead), CONCURRENCY_MAX);
// What is parsed is in a buffer of its own, and so can go to a thread without a copy.
const pool = threads === 0 ? null : new ThreadEncoder(threads, protocol, way !== 'encode');

const open = way === 'null' || way === 'files' ? openSink : openEncoder;
const warm = await open('warm-up', WARM_UP_ROWS);
await warm.push();
await warm.close();
const measured = await open('measured', rows);
await measureSelf(async () => {
  const mainBefore = mainThreadSeconds();
  await measured.push();
  return { rows, mainSeconds: mainThreadSeconds() - mainBefore };
});

interface Push {
  push(): Promise<void>;
  close(): Promise<void>;
}

/** Encoded rows are counted, and let go. The warm-up checks that threads write what the main one does, in its order. */
async function openEncoder(name: string, count: number): Promise<Push> {
  const context = createContext();
  const push = async (encode: Encode, onBody: (body: readonly Buffer[]) => void) => {
    let left = count;
    await pump(deliveriesOf(blocksOf(count)))
      .pipe(
        trackProgress().withContext(context),
        concatMap(({ events }) => events.filter((event) => event.type === 'dml')),
        encodeOrdered({ concurrency, encode }).withContext(context),
      )
      .forEach((encoded) => {
        if (encoded.type === 'marker') return;
        left -= encoded.rows;
        onBody(encoded.body);
        segments.release(encoded.body);
        encoded.ack.postFlush();
      });
    if (left !== 0) throw new Error(`${left} of ${count} rows did not come out`);
  };
  const inMain = eventEncoder(benchEncoder(protocol), segments);
  const encode = pool?.encode ?? inMain;
  const checksumOf = async (encoder: Encode) => {
    let checksum = 0;
    await push(encoder, (body) => {
      checksum = crc32OfPieces(body, checksum);
    });
    return checksum;
  };
  return {
    push: async () => {
      if (name !== 'warm-up') return push(encode, () => {});
      const checksum = await checksumOf(encode);
      if (pool !== null && checksum !== (await checksumOf(inMain))) throw new Error('threads wrote something else');
    },
    close: async () => {},
  };
}

/** The sink with everything behind the encoder, into the null store or into files; nothing is spilled. */
async function openSink(name: string, count: number): Promise<Push> {
  const uri = way === 'null' ? 'noop://' : pathToFileURL(join(folder, name)).href;
  const sink = await openBenchSink(name, {
    options: { uri, protocol, spoolMemory: '256MiB', spoolDiskQuota: '256MiB', spoolBaseDir: join(folder, 'spool') },
    operators: pool === null ? SINK_OPERATORS : { ...SINK_OPERATORS, encodeOrdered: encodeIn(pool) },
    blocks: blocksOf(count),
  });
  return {
    push: async () => {
      const totals = await sink.push();
      if (totals.rows !== count) throw new Error(`${totals.rows} of ${count} rows came out`);
    },
    close: () => sink.close(),
  };
}

/** The sink's own operator, with what encodes exchanged. */
function encodeIn({ encode }: ThreadEncoder): typeof encodeOrdered {
  return (() =>
    encodeOrdered<DmlEvent | DrainMarker, EncodedRows | DrainMarker>({ concurrency, encode })) as unknown as typeof encodeOrdered;
}

function* blocksOf(count: number): Generator<readonly RowBlock[]> {
  const next = way === 'encode' ? builtBlocks() : parsedBlocks();
  for (let left = count; left > 0; left -= rowsPerBlock) yield [next()];
}

function builtBlocks(): () => RowBlock {
  const blocks = new BenchBlocks(benchTable(), rowsPerBlock);
  return () => blocks.next();
}

/** As the source does it: messages come into memory of their own, are checked there, and rows point at it. */
function parsedBlocks(): () => RowBlock {
  const { bytes: stream, starts } = makeMessages(PARSED_ROWS);
  const table = benchTable();
  const reader = new PgoutputReader();
  const builder = new RowBlockBuilder(rowsPerBlock);
  let message = 0;
  let ordinal = 0;
  let repeated = 0n;
  return () => {
    if (message + 1 === starts.length) {
      message = 0;
      repeated += BigInt(PARSED_ROWS);
    }
    const from = starts[message]!;
    const to = starts[endOfBlock(stream, starts, message)]!;
    const bytes = Buffer.allocUnsafeSlow(to - from);
    stream.copy(bytes, 0, from, to);
    for (; starts[message]! < to; message++) {
      if (reader.read(bytes, starts[message]! - from, starts[message + 1]! - from) === MessageKind.begin) {
        builder.beginTransaction(reader.finalLsn + repeated, reader.commitTimeUs);
        ordinal = 0;
      } else builder.append(reader.op, reader.rowAt, ordinal++);
    }
    return builder.build(table, bytes);
  };
}

/** The message behind the last row of the block that begins at this one. */
function endOfBlock(stream: Buffer, starts: Int32Array, first: number): number {
  let message = first;
  for (let left = rowsPerBlock; left > 0; message++) if (stream[starts[message]!] !== MessageKind.begin) left--;
  return message;
}

/** CPU time of the main thread alone, as Linux tells it; NaN elsewhere. */
function mainThreadSeconds(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
  } catch {
    return Number.NaN;
  }
}
