import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { ByteWriter, RowBlockWriter } from '../../../lib/events/index.ts';
import { canalJson } from '../../../lib/formats/canal-json.ts';
import {
  dataDirectory,
  dataFilePath,
  describeFile,
  fileStem,
  indexFilePath,
  schemaFileOf,
  schemaFilePath,
  stringifyIndexFile,
  stringifyPositions,
  stringifySchemaFile,
} from '../../../lib/formats/storage-layout/index.ts';
import { MemoryStore, type ObjectInfo } from '../../../lib/stores/index.ts';
import { TargetReader } from '../../../pipelines/index.ts';
import { table } from '../../support/sink-world.ts';

const MIB = 1024 * 1024;
const users = table('users', 1n, ['id', 'name'], ['id']);
const PORTION_ROWS = 100;
const DIRECTORY = dataDirectory(users, 1n, '2026-11-01');

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** A target whose files are made when they are asked for, of one portion of rows: as large as one likes, without being anywhere. */
class LargeTarget extends MemoryStore {
  readonly #files: number;
  readonly #portions: number;
  readonly #portion: Uint8Array;
  #given: WeakRef<ArrayBufferLike>[] = [];

  constructor(files: number, portions: number) {
    super();
    this.#files = files;
    this.#portions = portions;
    const writer = new RowBlockWriter(users).beginTransaction(2n);
    for (let row = 0; row < PORTION_ROWS; row++) writer.insert({ id: String(row), name: 'x'.repeat(1000) });
    const out = new ByteWriter(0);
    canalJson({ now: () => 0, enableTidbExtension: false }).encode(writer.build(), out);
    this.#portion = out.take();
  }

  async prepare(): Promise<this> {
    const file = schemaFileOf(users);
    await this.put(schemaFilePath(file, users.tableId), [Buffer.from(stringifySchemaFile(file))]);
    await this.put('metadata', [Buffer.from('{"checkpoint-ts":1000000000}')]);
    const newest = `${fileStem(this.#files, users.dispatcher)}.json`;
    await this.put(indexFilePath(DIRECTORY, users.dispatcher), [Buffer.from(stringifyIndexFile(newest))]);
    return this;
  }

  override async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    yield* super.list(prefix);
    for (let file = 1; file <= this.#files; file++)
      yield { key: dataFilePath(DIRECTORY, fileStem(file, users.dispatcher), '.json'), size: 1 };
  }

  override async get(key: string): Promise<Buffer | null> {
    const number = /CDC(\d+)\.positions$/.exec(key)?.[1];
    if (number === undefined) return super.get(key);
    const runs = Array.from({ length: this.#portions }, (_, portion) => {
      return { commitTs: BigInt(Number(number) * 1000 + portion), first: 0, last: PORTION_ROWS - 1 };
    });
    return Buffer.from(stringifyPositions(describeFile(Array(this.#portions).fill(this.#portion), runs)));
  }

  override async read(): Promise<AsyncIterable<Uint8Array> | null> {
    return this.#chunks();
  }

  /**
   * What is alive: the heap, and what was read here and is held. The buffers are counted one by one, because `memoryUsage` tells of those that are gone when a
   * thread of its own has come to sweep them.
   */
  async liveBytes(): Promise<number> {
    // What was made or looked at in a job stays alive until its end.
    await new Promise(setImmediate);
    collect();
    this.#given = this.#given.filter((buffer) => buffer.deref() !== undefined);
    return process.memoryUsage().heapUsed + this.#given.length * this.#portion.length;
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    for (let number = 0; number < this.#portions; number++) {
      const chunk = new Uint8Array(this.#portion);
      this.#given.push(new WeakRef(chunk.buffer));
      yield chunk;
    }
  }

  override async exists(key: string): Promise<boolean> {
    return key.endsWith('.json') || super.exists(key);
  }
}

/** Takes a round, and returns its rows and the most that was alive beyond what was before. */
async function peakOf(target: LargeTarget): Promise<{ rows: number; peakBytes: number }> {
  const before = await target.liveBytes();
  let [rows, peakBytes, looked] = [0, 0, 0];
  for await (const { changes } of new TargetReader(target).poll()) {
    rows += changes.length;
    if (rows - looked < 10_000) continue;
    looked = rows;
    peakBytes = Math.max(peakBytes, (await target.liveBytes()) - before);
  }
  return { rows, peakBytes };
}

describe('what a reader holds', () => {
  it.each<[what: string, files: number, portions: number]>([
    ['of 64 files of a MiB', 64, 10],
    ['of 600 small files', 600, 1],
    ['of one file of 64 MiB, which is read twice and not kept', 1, 600],
  ])(
    '%s does not grow with the target',
    async (_, files, portions) => {
      const { rows, peakBytes } = await peakOf(await new LargeTarget(files, portions).prepare());
      expect(rows).toBe(files * portions * PORTION_ROWS);
      expect(peakBytes).toBeLessThan(32 * MIB);
    },
    60_000,
  );
});
