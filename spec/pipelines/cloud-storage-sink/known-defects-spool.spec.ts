import { describe, expect, it } from '@jest/globals';
import { type Observable, Subject } from 'rxjs';
import {
  type ChangeEvent,
  Delivery,
  type DmlEvent,
  ddlEvent,
  dispatcherId,
  dmlEvent,
  RowBlockWriter,
  type Table,
} from '../../../lib/events/index.ts';
import { type Context, createContext, Metrics } from '../../../lib/flow/index.ts';
import { PrometheusExporter } from '../../../lib/runtime/prometheus.ts';
import type { OpenSink } from '../../../lib/runtime/sink.ts';
import { SimDisk, type SimDiskOptions, Simulation } from '../../../lib/testing/index.ts';
import { composeSink, SINK_OPERATORS } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { type CloudStorageOptions, readTable } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { parseScrape } from '../../support/scrape.ts';
import { table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const orders = table('orders', 1n, ['id', 'name'], ['id']);
const DATA = /CDC\d+\.json$/;
const KIB = 1024;

/** About a kibibyte and a quarter when it is encoded. */
function row(commitTs: number, of: Table = users): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(BigInt(commitTs));
  return dmlEvent(writer.insert({ id: String(commitTs), name: 'y'.repeat(KIB) }).build());
}

function ddl(of: Table): ChangeEvent {
  const position = { commitTs: of.version, ordinal: 0 };
  return ddlEvent({ position, commitTimeUs: 0n, table: of, query: 'ALTER TABLE', action: 5 });
}

/** Hardly any memory, so that every row goes to disk, where there is room for four. */
const TIGHT = { memoryBytes: 1, diskQuotaBytes: 6 * KIB, segmentBytes: 2 * KIB, highBytes: 6 * KIB, lowBytes: 3 * KIB };
const ROOMY = { ...TIGHT, diskQuotaBytes: 1024 * KIB, highBytes: 1000 * KIB, lowBytes: 900 * KIB };

/** The sink with a spool on a simulated disk, in virtual time, written to by hand. */
class SpooledSink {
  readonly store = new GateStore();
  readonly disk: SimDisk;
  readonly clock;
  readonly exporter = new PrometheusExporter('p');
  readonly reports: string[] = [];
  readonly acks: string[] = [];
  end: unknown = null;
  context!: Context;
  sink!: OpenSink;
  #deliveries = new Subject<Delivery>();
  #stop = () => {};

  constructor(
    readonly sim: Simulation,
    disk: SimDisk,
  ) {
    this.disk = disk;
    this.clock = sim.clock;
  }

  async open(limits: object, options: Partial<CloudStorageOptions> = {}): Promise<this> {
    this.context = createContext({ clock: this.clock, metrics: new Metrics(this.exporter) });
    const all = { store: this.store, protocol: 'canal-json', dateSeparator: 'none', flushInterval: '10m', ...options };
    this.sink = await composeSink(all, SINK_OPERATORS, { disk: this.disk, limits }).open({ pipeline: 'p', context: this.context });
    await this.sink.claim({ source: 'world' });
    const writing = this.sink.write(this.#deliveries as Observable<Delivery>).subscribe({
      next: ({ table: name, rows, reason }) => this.reports.push(`${name} ${rows} ${reason}`),
      error: (error: unknown) => {
        this.end = error;
      },
    });
    this.#stop = () => writing.unsubscribe();
    return this;
  }

  /** Sends a delivery; its acks are told in `acks`, as `name` and `name!`. */
  send(name: string, ...events: ChangeEvent[]): void {
    const delivery = new Delivery(events);
    delivery.ack.addPostEnqueue(() => this.acks.push(name));
    delivery.ack.addPostFlush(() => this.acks.push(`${name}!`));
    this.#deliveries.next(delivery);
  }

  async metric(name: string): Promise<number | undefined> {
    return parseScrape(await this.exporter.text()).series.get(`millrace_cloud_storage_${name}{pipeline="p"}`);
  }

  close(): Promise<void> {
    this.#stop();
    return this.sink.close();
  }
}

/** Runs a test in the virtual time of a machine with this disk. */
function onDisk(body: (world: SpooledSink) => Promise<void>, options: SimDiskOptions = {}): () => Promise<void> {
  return () => {
    const sim = new Simulation(1);
    return sim.clock.until(body(new SpooledSink(sim, new SimDisk(sim, options))));
  };
}

async function idsOf(store: GateStore, name = 'users'): Promise<string[]> {
  await store.put('metadata', [Buffer.from('{"checkpoint-ts":1000}')]);
  const ids: string[] = [];
  for await (const changes of readTable(store, { schema: 'public', table: name }))
    ids.push(...changes.map(({ data }) => `${data?.['id']}`));
  return ids;
}

/** spec storage-sink §2, §4, §12: the defects of the spool, as the sink would show them. */
describe('known defects: the spool in the sink', () => {
  it(
    '(!) §2.6: rows that find no room on disk wait for no interval, whoever has filled it',
    onDisk(async (world) => {
      await world.open(TIGHT);
      for (let ts = 10; ts < 14; ts++) world.send(`o${ts}`, row(ts, orders));
      for (let ts = 20; ts < 24; ts++) world.send(`u${ts}`, row(ts, users));
      await world.clock.advance(1000);
      expect(world.acks.filter((ack) => !ack.endsWith('!')).sort()).toEqual(['o10', 'o11', 'o12', 'o13', 'u20', 'u21', 'u22', 'u23']);
      expect(new Set(world.reports.map((report) => report.split(' ')[2]))).toEqual(new Set(['quota']));
      expect(await idsOf(world.store, 'orders')).toEqual(['10', '11', '12', '13']);
      await world.close();
    }),
  );

  it(
    '(!) §2.1, hyp 7: a close while rows wait for room ends with the file that is under way, and acks nothing',
    onDisk(async (world) => {
      await world.open(TIGHT);
      world.store.hold(DATA);
      for (let ts = 10; ts < 20; ts++) world.send(`u${ts}`, row(ts));
      await world.clock.advance(1000);
      expect(await world.metric('spool_disk_quota_waiters')).toBeGreaterThan(0);
      const before = [...world.acks];
      let isClosed = false;
      const closing = world.close().then(() => {
        isClosed = true;
      });
      await world.clock.advance(1000);
      world.store.release();
      await world.clock.advance(100);
      expect(isClosed).toBe(true);
      await closing;
      expect(world.acks).toEqual(before);
    }),
  );

  it(
    '(!) §2.1, hyp 8: a sink that starts while an old one closes does not share its folder, and keeps its own',
    onDisk(async (old) => {
      await old.open(ROOMY);
      old.store.hold(DATA);
      old.send('a', row(10), ddl({ ...users, version: 11n }));
      await old.clock.advance(1000);
      const next = new SpooledSink(old.sim, old.disk);
      await expect(next.open(ROOMY)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
      const closing = old.close();
      await old.clock.advance(1000);
      await expect(next.open(ROOMY)).rejects.toMatchObject({ code: 'MR_STATE_LOCKED' });
      old.store.release();
      await old.clock.until(closing);
      await next.open(ROOMY, { flushInterval: '1s' });
      for (let ts = 20; ts < 25; ts++) next.send(`${ts}`, row(ts));
      await old.sink.close();
      await old.clock.advance(5000);
      expect(await idsOf(next.store)).toEqual(['20', '21', '22', '23', '24']);
      await next.close();
      expect(next.disk.usedBytes).toBe(0);
    }),
  );

  const faults = { fails: 0 };
  it(
    '(!) §4.1: a drain fails with the spool, and its schema change is never acked',
    onDisk(
      async (world) => {
        await world.open(ROOMY);
        world.store.hold(DATA);
        // On its way to the disk, and to the target too, because the schema change asks for it.
        world.send('a', row(10));
        world.send('ddl', ddl({ ...users, version: 11n }));
        faults.fails = 1;
        await world.clock.advance(1000);
        expect(world.end).toMatchObject({ code: 'MR_SPOOL_FAILED' });
        faults.fails = 0;
        world.store.release();
        await world.clock.advance(60_000);
        expect(world.acks).toEqual([]);
        await world.close();
      },
      { faults, latencyMs: [50, 50] },
    ),
  );

  it(
    '#4269: rows are acked when they are written to disk, not when they are on the way there or wait for room',
    onDisk(
      async (world) => {
        await world.open(TIGHT);
        world.store.hold(DATA);
        for (let ts = 10; ts < 20; ts++) world.send(`${ts}`, row(ts));
        expect(world.acks).toEqual([]);
        await world.clock.advance(5000);
        expect(world.acks.length).toBeGreaterThan(0);
        expect(world.acks.length).toBeLessThanOrEqual(4);
        world.store.release();
        await world.clock.advance(60_000);
        expect(world.acks.filter((ack) => !ack.endsWith('!'))).toHaveLength(10);
        await world.close();
      },
      { latencyMs: [200, 200] },
    ),
  );

  it(
    '(!) §3: a delivery wakes its source when all of its events are accepted, not at the first',
    onDisk(async (world) => {
      await world.open({ ...TIGHT, memoryBytes: 2 * KIB });
      world.store.hold(DATA);
      // The first is in memory at once; for the last there is no room anywhere.
      world.send('a', ...[10, 11, 12, 13, 14, 15, 16, 17].map((ts) => row(ts)));
      await world.clock.advance(1000);
      expect(await world.metric('spool_memory_bytes')).toBeGreaterThan(0);
      expect(world.acks).toEqual([]);
      world.store.release();
      await world.clock.advance(1000);
      expect(world.acks[0]).toBe('a');
      await world.close();
    }),
  );

  it.each([
    ['on disk', ROOMY],
    ['waiting for room', TIGHT],
  ])('#4389, #4398: a schema change waits for rows before it that are %s, and only for those of its own table', (_, limits) =>
    onDisk(async (world) => {
      await world.open(limits);
      world.store.hold(DATA);
      const own = limits === TIGHT ? 8 : 3;
      for (let ts = 10; ts < 10 + own; ts++) world.send(`${ts}`, row(ts));
      if (limits === ROOMY) world.send('other', row(30, orders));
      await world.clock.advance(1000);
      world.send('ddl', ddl({ ...users, version: 40n }));
      await world.clock.advance(1000);
      const isThere = () => world.store.written.some((key) => key.includes('schema_40_') && key.endsWith('.json'));
      expect(isThere()).toBe(false);
      world.store.release();
      await world.clock.advance(10_000);
      expect(isThere()).toBe(true);
      expect(world.acks).toContain('ddl!');
      const rows = world.reports.filter((report) => report.startsWith('public.users')).map((report) => Number(report.split(' ')[1]));
      expect(rows.reduce((sum, count) => sum + count)).toBe(own);
      expect(world.reports.filter((report) => report.startsWith('public.orders'))).toEqual([]);
      await world.close();
    })(),
  );

  it(
    '#1943, #1948: rows on disk are not stale because another table has taken their name meanwhile',
    onDisk(async (world) => {
      const y = (source: string, id: number, version: bigint) =>
        table(source, version, ['id', 'name'], ['id'], {
          ...{ tableId: id, dispatcher: dispatcherId(BigInt(id), 7n) },
          sourceName: 'y',
          name: 'y',
        });
      await world.open(ROOMY);
      world.send('a', row(10, y('a', 1, 5n)), row(11, y('a', 1, 5n)));
      await world.clock.advance(100);
      world.send('ddl', ddl(y('b', 2, 20n)));
      world.send('b', row(21, y('b', 2, 20n)));
      await world.clock.advance(700_000);
      expect(await idsOf(world.store, 'y')).toEqual(['10', '11', '21']);
      await world.close();
    }),
  );

  it(
    '#4000: nothing stays counted in the spool when everything is durable',
    onDisk(async (world) => {
      await world.open(TIGHT, { flushInterval: '1s' });
      for (let ts = 10; ts < 40; ts++) world.send(`${ts}`, row(ts, ts % 2 === 0 ? users : orders));
      await world.clock.advance(60_000);
      expect(world.end).toBeNull();
      const names = ['spool_memory_bytes', 'spool_disk_bytes', 'pending_post_enqueue', 'spool_disk_quota_waiters'];
      expect(await Promise.all(names.map((name) => world.metric(name)))).toEqual([0, 0, 0, 0]);
      expect(world.context.gauge.level).toBe(0);
      expect(world.context.progress.pendingEvents).toBe(0);
      expect(world.acks).toHaveLength(60);
      await world.close();
      expect(world.disk.usedBytes).toBe(0);
    }),
  );
});
