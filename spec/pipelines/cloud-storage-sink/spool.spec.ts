import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { type DmlEvent, ddlEvent, dmlEvent, RowBlockWriter, type Table } from '../../../lib/events/index.ts';
import { createContext } from '../../../lib/flow/index.ts';
import { crc32Of } from '../../../lib/formats/checksum.ts';
import { parsePositions } from '../../../lib/formats/storage-layout/index.ts';
import { definePipeline, run } from '../../../lib/runtime/index.ts';
import type { SpoolLimits } from '../../../lib/spool/index.ts';
import { type Disk, MemoryStore, type ObjectBody } from '../../../lib/stores/index.ts';
import { SimDisk, type SimDiskOptions, Simulation, virtualTime } from '../../../lib/testing/index.ts';
import { composeSink, SINK_OPERATORS, type SinkMachine } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { type CloudStorageOptions, cloudStorage } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { World, worldSource, worldStore } from '../../support/run-world.ts';
import { type OpenWorld, openWorld, table } from '../../support/sink-world.ts';
import { turnStore } from '../../support/turn-store.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const orders = table('orders', 1n, ['id', 'name'], ['id']);
const KIB = 1024;
/** The folder of the spool of a pipeline `world` that writes to a memory store. */
const FOLDER = join(
  tmpdir(),
  `millrace-spool-${userInfo().uid}`,
  `world-${crc32Of(Buffer.from('memory://')).toString(16).padStart(8, '0')}`,
);

/** Hardly any memory, so that every row goes to disk. */
const ON_DISK = { memoryBytes: 1, segmentBytes: 16 * KIB };
/** Room for some of the rows only. */
const MIXED = { memoryBytes: 20 * KIB, segmentBytes: 16 * KIB };
const TIGHT = { memoryBytes: 1, diskQuotaBytes: 6 * KIB, segmentBytes: 2 * KIB, highBytes: 5 * KIB, lowBytes: 3 * KIB };

function row(commitTs: number, of: Table = users, bytes = 1000): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(BigInt(commitTs));
  return dmlEvent(writer.insert({ id: String(commitTs), name: 'y'.repeat(bytes) }).build());
}

interface Bench {
  readonly sim: Simulation;
  readonly disk: SimDisk;
  /** Bytes that were read from the disk. */
  loaded: number;
  open(
    store: MemoryStore,
    limits: Partial<SpoolLimits>,
    options?: Partial<CloudStorageOptions>,
    parts?: Pick<SinkMachine, 'draftBytesMin'>,
  ): Promise<OpenWorld>;
}

/** Runs a test in virtual time, on a machine with a simulated disk. */
function onDisk(body: (bench: Bench) => Promise<void>, options: SimDiskOptions = {}): () => Promise<void> {
  return () => {
    const sim = new Simulation(1);
    const disk = new SimDisk(sim, options);
    const bench: Bench = {
      sim,
      disk,
      loaded: 0,
      open: (store, limits, sinkOptions = {}, parts = {}) => {
        const machine: SinkMachine = { disk: countingReads(disk, (bytes) => (bench.loaded += bytes)), limits, ...parts };
        return openWorld(store, { flushInterval: '10m', ...sinkOptions }, sim.clock, machine);
      },
    };
    return sim.clock.until(body(bench));
  };
}

function countingReads(disk: SimDisk, count: (bytes: number) => void): Disk {
  const counting = Object.create(disk) as Disk;
  for (const name of ['readFile', 'stat', 'list', 'rename', 'remove', 'removeTree', 'makeFolder', 'syncFolder', 'lock'] as const) {
    Object.assign(counting, { [name]: (disk[name] as (...args: never[]) => unknown).bind(disk) });
  }
  counting.open = async (path, flags) => {
    const file = await disk.open(path, flags);
    return Object.assign(Object.create(file) as typeof file, {
      write: file.write.bind(file),
      sync: file.sync.bind(file),
      close: file.close.bind(file),
      read: (position: number, length: number) => {
        count(length);
        return file.read(position, length);
      },
    });
  };
  return counting;
}

async function objectsOf(store: MemoryStore): Promise<Map<string, string>> {
  const objects = new Map<string, string>();
  for await (const { key } of store.list('')) objects.set(key, (await store.get(key))!.toString('latin1'));
  return objects;
}

/** spec storage-sink §2 */
describe('the spool of the cloud storage sink', () => {
  /** Each in a world of its own, which begins at 0. */
  const written = async (
    limits: Partial<SpoolLimits>,
    options: Partial<CloudStorageOptions>,
    parts: Pick<SinkMachine, 'draftBytesMin'> = {},
  ) => {
    const store = new MemoryStore();
    let loaded = 0;
    await onDisk(async (bench) => {
      const world = await bench.open(store, limits, { ...options, fileSize: 20 * KIB }, parts);
      for (let ts = 10; ts < 60; ts++) world.send(row(ts, ts % 3 === 0 ? orders : users, ts * 40));
      await bench.sim.clock.settle();
      world.complete();
      await bench.sim.clock.settle();
      expect(world.end).toBe('complete');
      await world.close();
      loaded = bench.loaded;
    })();
    return { objects: await objectsOf(store), loaded };
  };

  it.each([
    ['canal-json', {}],
    ['csv', { csv: { outputFieldHeader: true } }],
  ] as const)(
    '%s: writes the same bytes to the same files, whether they waited in memory, on disk, or in both, or were written while they were gathered',
    async (protocol, format) => {
      const inMemory = await written({}, { protocol, ...format });
      const onDiskAlone = await written(ON_DISK, { protocol, ...format });
      const mixed = await written(MIXED, { protocol, ...format });
      expect([inMemory.loaded, mixed.loaded > 0, onDiskAlone.loaded > mixed.loaded]).toEqual([0, true, true]);
      const differing = (other: typeof mixed) =>
        [...inMemory.objects].filter(([key, text]) => other.objects.get(key) !== text).map(([key]) => key);
      expect([differing(onDiskAlone), differing(mixed)]).toEqual([[], []]);
      for (const limits of [{}, ON_DISK, MIXED]) {
        const drafted = await written(limits, { protocol, ...format }, { draftBytesMin: 2 * KIB });
        expect([differing(drafted), drafted.objects.size]).toEqual([[], inMemory.objects.size]);
      }
      expect([onDiskAlone.objects.size, mixed.objects.size]).toEqual([inMemory.objects.size, inMemory.objects.size]);
      const { objects } = mixed;
      const sidecars = [...objects].filter(([key]) => key.endsWith('.positions'));
      expect(sidecars.length).toBeGreaterThan(3);
      for (const [key, text] of sidecars) {
        const path = key.replace('/meta/', '/').replace('.positions', protocol === 'csv' ? '.csv' : '.json');
        const data = Buffer.from(objects.get(path)!, 'latin1');
        expect(parsePositions(text, key)).toMatchObject({ bytes: data.length, crc32: crc32Of(data) });
      }
    },
  );

  it(
    'gives a file that is on disk once more from its beginning when the store asks again',
    onDisk(async (bench) => {
      const texts: string[] = [];
      const store = new (class extends MemoryStore {
        override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
          if ('chunks' in body) {
            // Broken off, and then read twice.
            for await (const _ of body.chunks()) break;
            for (let attempt = 0; attempt < 2; attempt++) {
              const chunks: Uint8Array[] = [];
              for await (const chunk of body.chunks()) chunks.push(Buffer.from(chunk));
              texts.push(Buffer.concat(chunks).toString());
            }
          }
          return super.putIfAbsent(key, body);
        }
      })();
      const world = await bench.open(store, ON_DISK);
      for (let ts = 10; ts < 15; ts++) world.send(row(ts));
      await bench.sim.clock.settle();
      world.complete();
      await bench.sim.clock.advance(1000);
      const stored = (await store.get('public/users/1/CDC00000000000000000001.json'))!.toString();
      expect(texts).toEqual([stored, stored]);
      await world.close();
    }),
  );

  it(
    'a byte that the disk gives back wrong ends the run as what it is, and nothing of the file is published',
    onDisk(async (bench) => {
      const store = new MemoryStore();
      const world = await bench.open(store, ON_DISK);
      const acks: string[] = [];
      for (let ts = 10; ts < 15; ts++) {
        const event = row(ts);
        event.ack.addPostFlush(() => acks.push(`${ts}`));
        world.send(event);
      }
      await bench.sim.clock.settle();
      const path = join(FOLDER, 'segment-000001.log');
      const content = await bench.disk.readFile(path);
      content[content.length - 100]! ^= 1;
      await (await bench.disk.open(path, 'w')).write([content]);
      await bench.sim.clock.advance(700_000);
      expect(world.end).toMatchObject({ code: 'MR_SPOOL_CORRUPT', details: { path } });
      expect([...(await objectsOf(store)).keys()].filter((key) => /\.json$|\.index$/.test(key) && key.includes('CDC'))).toEqual([]);
      expect(acks).toEqual([]);
      await world.close();
    }),
  );

  it(
    'stale rows are acked and let go without being loaded (spec storage-sink §2.8)',
    onDisk(async (bench) => {
      const store = new MemoryStore();
      const newer = await bench.open(store, ON_DISK);
      newer.send(
        ddlEvent({
          position: { commitTs: 9n, ordinal: 0 },
          commitTimeUs: 0n,
          table: { ...users, version: 9n },
          query: 'ALTER TABLE',
          action: 5,
        }),
      );
      await bench.sim.clock.advance(1000);
      await newer.close();
      bench.loaded = 0;
      const world = await bench.open(store, ON_DISK);
      const acks: string[] = [];
      const event = row(10);
      event.ack.addPostEnqueue(() => acks.push('enqueued'));
      event.ack.addPostFlush(() => acks.push('flushed'));
      world.send(event);
      await bench.sim.clock.advance(700_000);
      expect([acks, bench.loaded, world.context.gauge.level]).toEqual([['enqueued', 'flushed'], 0, 0]);
      await world.close();
      expect(bench.disk.usedBytes).toBe(0);
    }),
  );

  it(
    'no disk quota holds an entry: its table is written at once, and no other',
    onDisk(async (bench) => {
      const world = await bench.open(new MemoryStore(), { ...TIGHT, highBytes: 100 * KIB, lowBytes: 90 * KIB });
      world.send(row(10, orders), row(10, users), row(11, users, 20 * KIB));
      await bench.sim.clock.advance(1000);
      expect(world.reports.map(({ table: name, rows, reason }) => `${name} ${rows} ${reason}`)).toEqual(['public.users 2 oversized']);
      await world.close();
    }),
  );

  it(
    'a source that is held by rows that are only gathered waits for no interval and for no size',
    onDisk(async (bench) => {
      const world = await bench.open(new MemoryStore(), TIGHT, { fileSize: '64MiB' });
      const acks: string[] = [];
      for (let ts = 10; ts < 100; ts++) {
        const event = row(ts, ts % 2 === 0 ? users : orders);
        event.ack.addPostEnqueue(() => acks.push(`${ts}`));
        world.send(event);
      }
      await bench.sim.clock.advance(1000);
      // The last ones are below the low mark: nobody is held by them, and they wait for more.
      expect(acks).toHaveLength(90);
      expect(world.reports.every(({ reason }) => reason === 'quota')).toBe(true);
      await bench.sim.clock.advance(600_000);
      expect(world.reports.reduce((sum, { rows }) => sum + rows, 0)).toBe(90);
      await world.close();
    }),
  );

  it(
    'one slow table does not hold up another while there is room, and what it leaves waits on disk',
    onDisk(async (bench) => {
      const store = new GateStore();
      store.hold(/orders.*json$/);
      const world = await bench.open(store, ON_DISK, { workerCount: 2, fileSize: 4 * KIB });
      const acks: string[] = [];
      for (let ts = 10; ts < 60; ts++) {
        const event = row(ts, ts % 2 === 0 ? users : orders);
        event.ack.addPostEnqueue(() => acks.push(`${ts}`));
        world.send(event);
      }
      await bench.sim.clock.advance(1000);
      expect(acks).toHaveLength(50);
      expect(world.reports.map(({ table: name }) => name)).toEqual(Array(6).fill('public.users'));
      store.release();
      await bench.sim.clock.advance(600_000);
      expect(world.reports.reduce((sum, { rows }) => sum + rows, 0)).toBe(50);
      await world.close();
    }),
  );

  it(
    'a full disk holds the source, and what is written to the target makes room',
    onDisk(async (bench) => {
      bench.disk.resize(10 * KIB);
      const store = new GateStore();
      store.hold(/CDC.*json$/);
      const world = await bench.open(store, ON_DISK);
      const acks: string[] = [];
      for (let ts = 10; ts < 40; ts++) {
        const event = row(ts);
        event.ack.addPostEnqueue(() => acks.push(`${ts}`));
        world.send(event);
      }
      await bench.sim.clock.advance(60_000);
      // What the disk has taken, and not one more until the target takes some of it.
      expect(acks.length).toBeGreaterThan(0);
      expect(acks.length).toBeLessThan(10);
      store.release();
      await bench.sim.clock.advance(60_000);
      expect([acks.length, world.end]).toEqual([30, null]);
      world.complete();
      await bench.sim.clock.advance(1000);
      expect(world.reports.reduce((sum, { rows }) => sum + rows, 0)).toBe(30);
      await world.close();
    }),
  );
});

/** spec storage-sink §2.1 */
describe('the folder of the spool', () => {
  const withFolder = async (body: (base: string) => Promise<void>) => {
    const base = await mkdtemp(join(tmpdir(), 'millrace-sink-spool-'));
    try {
      await body(base);
    } finally {
      await rm(base, { recursive: true, force: true });
    }
  };

  it('is taken as the run starts, below spool-base-dir under the name of the pipeline, and gone when it ends', () =>
    withFolder(async (base) => {
      const sink = cloudStorage({ uri: pathToFileURL(join(base, 'target')).href, protocol: 'csv', spoolBaseDir: join(base, 'spool') });
      const open = await sink.open({ pipeline: 'p 1', context: createContext() });
      expect(await readdir(join(base, 'spool'))).toContain('p%201');
      const second = sink.open({ pipeline: 'p 1', context: createContext() });
      await expect(second).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
      await open.close();
      expect((await readdir(join(base, 'spool'))).filter((name) => !name.includes('.lock'))).toEqual([]);
    }));

  it(
    'is given back by a run that is stopped while its sink opens: the next one begins at once',
    onDisk(async ({ sim: { clock }, disk }) => {
      const store = new MemoryStore();
      const slow = turnStore(store, (number) => (number === 1 ? clock.sleep(1000) : undefined));
      const runWith = (given: MemoryStore) => {
        const sink = composeSink({ store: given, protocol: 'csv' }, SINK_OPERATORS, { disk });
        const definition = definePipeline({ name: 'world', source: worldSource(new World()), sink, checkpoint: worldStore(new World()) });
        return run(definition, { clock });
      };
      const first = runWith(slow);
      await clock.sleep(500);
      await expect(runWith(store).done).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
      await first.stop();
      await expect(runWith(store).done).resolves.toMatchObject({ drained: true });
    }),
  );

  it('is not touched in virtual time before something goes to disk, so that a test needs none', () =>
    withFolder(async (base) => {
      const spool = join(base, 'spool');
      await virtualTime(async ({ clock }) => {
        const world = await openWorld(new MemoryStore(), { spoolBaseDir: spool, flushInterval: '1s' }, clock);
        world.send(row(10));
        await clock.sleep(2000);
        expect(world.reports).toHaveLength(1);
        await world.close();
      });
      expect(existsSync(spool)).toBe(false);
    }));

  it('is taken and emptied when something goes to disk at last; that it cannot be had ends the run then', () =>
    withFolder(async (base) => {
      const store = new MemoryStore();
      const options = { spoolBaseDir: join(base, 'spool'), spoolMemory: 1, flushInterval: '100ms' } as const;
      const holder = await openWorld(store, options);
      holder.send(row(10));
      while (holder.reports.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const other = await openWorld(store, options);
      other.send(row(11));
      while (other.end === null) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(other.end).toMatchObject({ code: 'MR_STATE_LOCKED' });
      await other.close();
      await holder.close();
    }));
});
