import { Worker } from 'node:worker_threads';
import type { DmlEvent, DrainMarker, RowBlock, Table } from '../lib/events/index.ts';
import { crc32Of } from '../lib/formats/checksum.ts';
import type { EncodedRows } from '../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import { PackedRuns } from '../pipelines/cloud-storage-sink/rows/packed-runs.ts';
import type { BenchProtocol } from './bench-encoder.ts';

/** What a thread gets of a block. */
export interface EncodeTask {
  /** Tables are numbered by each thread's first use of them, and described once. */
  readonly table: number;
  readonly description: Table | null;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly ops: Uint8Array;
  readonly offsets: Int32Array;
  /** Of each transaction commitTs, commit time and first row. */
  readonly transactions: BigInt64Array;
  /** Buffers of this thread's that are free again. */
  readonly spare: readonly ArrayBuffer[];
}

/** The rows, in front of a buffer that the thread gives away. */
export interface EncodeAnswer {
  readonly buffer: ArrayBuffer;
  readonly length: number;
}

/**
 * Encodes DML events in worker threads, in the place of `eventEncoder`. A block's wire bytes are transferred where nobody else has them (`isOwned`), else copied;
 * its index, 5 bytes a row, is copied; encoded bytes come back by transfer, and go out again by transfer when their rows are durable. Positions and acks stay
 * here.
 */
export class ThreadEncoder {
  readonly #threads: readonly Thread[];

  constructor(threads: number, protocol: BenchProtocol, isOwned: boolean) {
    this.#threads = Array.from({ length: threads }, () => new Thread(protocol, isOwned));
  }

  /** Goes to the thread that has least to do; markers pass. */
  readonly encode = (event: DmlEvent | DrainMarker): Promise<EncodedRows> | DrainMarker => {
    if (event.type === 'marker') return event;
    return this.#threads.reduce((least, thread) => (thread.pending < least.pending ? thread : least)).encode(event);
  };
}

class Thread {
  // Children of the bench run compiled, and so does this: no loader is measured.
  readonly #worker: Worker;
  readonly #isOwned: boolean;
  readonly #tables = new Map<Table, number>();
  /** In the order of the tasks, which the thread keeps. */
  readonly #answered: ((answer: EncodeAnswer) => void)[] = [];
  #spare: ArrayBuffer[] = [];

  constructor(protocol: BenchProtocol, isOwned: boolean) {
    this.#isOwned = isOwned;
    this.#worker = new Worker(new URL('./encode-worker.js', import.meta.url), { workerData: protocol });
    this.#worker.on('message', (answer: EncodeAnswer) => this.#answered.shift()!(answer));
    this.#worker.on('error', (error) => {
      throw error;
    });
  }

  get pending(): number {
    return this.#answered.length;
  }

  async encode({ dispatcher, rows: block, ack: eventAck }: DmlEvent): Promise<EncodedRows> {
    const { table, rowCount: rows } = block;
    const runs = new PackedRuns(block);
    const ack = eventAck.detach();
    const { buffer, length } = await this.#ask(block);
    ack.addPostFlush(() => this.#spare.push(buffer));
    const body = Buffer.from(buffer, 0, length);
    return { type: 'rows', dispatcher, table, rows, bytes: length, body: [body], checksum: crc32Of(body), runs, ack };
  }

  #ask(block: RowBlock): Promise<EncodeAnswer> {
    const known = this.#tables.get(block.table);
    const number = known ?? this.#tables.size;
    if (known === undefined) this.#tables.set(block.table, number);
    const bytes = block.bytes as Uint8Array<ArrayBuffer>;
    const spare = this.#spare;
    const task: EncodeTask = {
      table: number,
      description: known === undefined ? block.table : null,
      bytes,
      ops: block.ops,
      offsets: block.offsets,
      transactions: packTransactions(block),
      spare,
    };
    this.#spare = [];
    this.#worker.postMessage(task, this.#isOwned ? [...spare, bytes.buffer] : spare);
    return new Promise((resolve) => {
      this.#answered.push(resolve);
    });
  }
}

function packTransactions({ transactions }: RowBlock): BigInt64Array {
  const packed = new BigInt64Array(transactions.length * 3);
  transactions.forEach(({ commitTs, commitTimeUs, firstRow }, index) => {
    packed[3 * index] = commitTs;
    packed[3 * index + 1] = commitTimeUs;
    packed[3 * index + 2] = BigInt(firstRow);
  });
  return packed;
}
