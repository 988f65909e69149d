import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import {
  type AckedEvent,
  type ChangeEvent,
  Delivery,
  type DmlEvent,
  ddlEvent,
  dmlEvent,
  RowBlockWriter,
  resolvedEvent,
  syncpointEvent,
  type Table,
} from '../../../lib/events/index.ts';
import { createContext, Metrics } from '../../../lib/flow/index.ts';
import { definePipeline } from '../../../lib/index.ts';
import { PrometheusExporter } from '../../../lib/runtime/prometheus.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { type TestPipeline, type TestPipelineOptions, testPipeline, type VirtualTime, virtualTime } from '../../../lib/testing/index.ts';
import { type CloudStorageOptions, cloudStorage } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { parseScrape } from '../../support/scrape.ts';
import { type OpenWorld, openWorld, runSink, table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const orders = table('orders', 1n, ['id', 'name'], ['id']);
const NONE = { dateSeparator: 'none' } as const;

function row(commitTs: bigint | number, of: Table = users, name = 'x'): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(BigInt(commitTs));
  return dmlEvent(writer.insert({ id: String(commitTs), name }).build());
}

function deletes(commitTs: number, count: number): DmlEvent {
  const writer = new RowBlockWriter(users).beginTransaction(BigInt(commitTs));
  for (let id = 0; id < count; id++) writer.delete({ id: `${commitTs}-${id}` });
  return dmlEvent(writer.build());
}

function schemaChange(commitTs: bigint, of: Table): ChangeEvent {
  return ddlEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table: { ...of, version: commitTs }, query: 'ALTER' });
}

/** A pipeline that writes into `test.store`, rows one after another from commitTs 1 on. */
function lake(options: Partial<CloudStorageOptions>, testOptions: TestPipelineOptions): TestPipeline {
  return testPipeline(({ source, store, checkpoint }) => {
    const sink = cloudStorage({ store, protocol: 'canal-json', ...NONE, ...options });
    return definePipeline({ name: 'lake', source, sink, checkpoint });
  }, testOptions);
}

/** Keeps nothing alive itself. */
function sendAndForget(world: OpenWorld, commitTs: number): WeakRef<object>[] {
  const event = row(commitTs, users, 'y'.repeat(10_000));
  return [new WeakRef(world.send(event)), new WeakRef(event), new WeakRef(event.rows), new WeakRef(event.rows.bytes)];
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const inTime = (body: (time: VirtualTime) => Promise<void>) => () => virtualTime(body);

/** spec storage-sink §12; titles begin with the number of the defect. */
describe('known defects: acks and progress', () => {
  it(
    '#3745: a big delete in many small batches waits for no flush tick between them',
    inTime(async ({ clock }) => {
      const test = lake({ flushInterval: '5s' }, { clock, maxBytesInFlight: 4096 });
      test.feed(...range(100).map((commitTs) => deletes(commitTs, 50)));
      await test.advance(4900);
      expect(test.arrivals.filter(({ changes }) => changes.length > 0)).toHaveLength(100);
      expect(test.acks.filter(({ ack }) => ack === 'flushed')).toHaveLength(0);
      await test.advance(2500);
      expect(test.checkpointTs).toBe(100n);
    }),
  );

  it(
    '#4202: the checkpoint follows under massive inserts into a slow store, from flush to flush',
    inTime(async ({ clock }) => {
      const test = lake({ flushInterval: '1s', fileSize: '64KiB' }, { clock, storeLatencyMs: 400, maxBytesInFlight: 256 * 1024 });
      const everyMs = 100;
      let commitTs = 0;
      for (let ms = 0; ms < 40_000; ms += everyMs) {
        test.feed(row(++commitTs, users, 'y'.repeat(4000)));
        await test.advance(everyMs);
      }
      const atMs = [...test.checkpoints.map((checkpoint) => checkpoint.atMs), clock.now()];
      expect(atMs[0]).toBeLessThan(15_000);
      expect(Math.max(...atMs.slice(1).map((ms, index) => ms - atMs[index]!))).toBeLessThan(6000);
      await test.stop();
      expect(test.checkpointTs).toBe(BigInt(commitTs));
    }),
  );

  it(
    '#4263: a file that is full at once moves no checkpoint past rows of another table that are still gathered',
    inTime(async ({ clock }) => {
      const test = lake({ flushInterval: '5s', fileSize: 1024 }, { clock });
      test.feed([row(10, orders), row(10, users, 'y'.repeat(2000))], [row(11, users, 'y'.repeat(2000))]);
      await test.advance(2500);
      expect(await test.store.exists('public/users/1/CDC00000000000000000002.json')).toBe(true);
      expect(test.checkpointTs ?? 0n).toBeLessThan(10n);
      await test.advance(5000);
      expect(test.checkpointTs).toBe(11n);
    }),
  );

  it(
    '#4269: no enqueue ack for rows that were received and could not be encoded',
    inTime(async ({ clock }) => {
      const world = await openWorld(new MemoryStore(), { protocol: 'csv' }, clock);
      const acks: string[] = [];
      // A value that was not sent and that no old image has: csv cannot leave it out (P9).
      const event = dmlEvent(new RowBlockWriter(users).beginTransaction(10n).update(null, { id: '1', name: undefined }).build());
      event.ack.addPostEnqueue(() => acks.push('enqueued'));
      event.ack.addPostFlush(() => acks.push('flushed'));
      world.send(event, resolvedEvent(10n));
      await clock.sleep(10_000);
      expect(world.end).toMatchObject({ code: expect.stringMatching(/^MR_/) });
      expect(acks).toEqual([]);
      expect(world.context.progress.checkpointTs).toBeLessThan(10n);
      await world.close();
    }),
  );

  it(
    '#4000: nothing stays counted as pending: neither rows written, nor discarded, nor deliveries in which nothing arrived',
    inTime(async ({ clock }) => {
      const store = new MemoryStore();
      const later = ddlEvent({ position: { commitTs: 30n, ordinal: 0 }, commitTimeUs: 0n, table: { ...users, version: 30n }, query: 'A' });
      await runSink(store, [{ commitTs: 30n, events: () => [later] }], NONE, { clock });
      const world = await openWorld(store, { flushInterval: '100ms' }, clock);
      world.send(resolvedEvent(5n));
      world.send(row(20, { ...users, version: 9n }), row(20, orders), resolvedEvent(20n));
      world.send();
      await clock.sleep(5000);
      expect(world.reports.map(({ table: name }) => name)).toEqual(['public.orders']);
      expect(world.context.progress.pendingEvents).toBe(0);
      expect(world.context.gauge.level).toBe(0);
      expect(world.context.progress.checkpointTs).toBe(20n);
      await world.close();
    }),
  );

  it(
    '#5274, #5275: rows that wait for their file keep neither the events that they came in nor the bytes of these',
    inTime(async ({ clock }) => {
      const world = await openWorld(new MemoryStore(), { flushInterval: '10m' }, clock);
      const received = range(20).flatMap((commitTs) => sendAndForget(world, commitTs));
      await clock.sleep(1000);
      collectGarbage();
      expect(world.context.progress.pendingEvents).toBe(20);
      // The encoder has the last buffer in hand.
      const kept = received.slice(0, -1).filter((reference) => reference.deref() !== undefined);
      expect(kept).toEqual([]);
      await world.close();
    }),
  );

  it(
    '#5276: rows of one burst are one file, wherever the interval of another table falls',
    inTime(async ({ clock }) => {
      const test = lake({ flushInterval: '5s' }, { clock });
      let commitTs = 0;
      for (let burst = 0; burst < 6; burst++) {
        // The first table keeps a beat of five seconds; bursts of the second lie across it.
        test.feed(row(++commitTs, orders));
        await test.advance(4950);
        test.feed(row(++commitTs, users));
        await test.advance(100);
        test.feed(row(++commitTs, users));
        await test.advance(4950);
      }
      await test.stop();
      const files: string[] = [];
      for await (const { key } of test.store.list('public/users/1/CDC')) files.push(key);
      expect(files).toHaveLength(6);
    }),
  );

  it(
    '#5956: what is gathered for a file has a bound, however many rows come at once and however long the interval is',
    inTime(async ({ clock }) => {
      const world = await openWorld(new MemoryStore(), { flushInterval: '10m', fileSize: '16KiB' }, clock);
      for (const commitTs of range(200)) world.send(row(commitTs, users, 'y'.repeat(1000)));
      await clock.sleep(1000);
      expect(world.reports.length).toBeGreaterThan(10);
      expect(Math.max(...world.reports.map(({ bytes }) => bytes))).toBeLessThan(18 * 1024);
      await world.close();
    }),
  );

  it.each<[what: string, block: () => ChangeEvent]>([
    ['syncpoint', () => syncpointEvent(14n)],
    ['schema change', () => schemaChange(14n, orders)],
  ])('(!) §4.3: a %s that was held behind another block event is drained too, of the rows between them', (_, block) =>
    virtualTime(async ({ clock }) => {
      const store = new GateStore();
      const world = await openWorld(store, { flushInterval: '10m' }, clock);
      const told: string[] = [];
      const heard = <T extends AckedEvent>(name: string, event: T): T => {
        event.ack.addPostFlush(() => told.push(name));
        return event;
      };
      store.hold(/CDC\d+\.json$/);
      world.send(heard('first rows', row(10)));
      world.send(heard('first block', schemaChange(12n, users) as AckedEvent));
      world.send(heard('rows between', row(13, orders)));
      world.send(heard('held block', block() as AckedEvent));
      await clock.sleep(1000);
      expect(told).toEqual([]);
      store.release();
      await clock.sleep(1000);
      expect(told).toEqual(['first rows', 'first block', 'rows between', 'held block']);
      await world.close();
    }),
  );

  it(
    '(!) §4.1, (!) §8: what a schema change waits for its rows is measured from its beginning to its end',
    inTime(async ({ clock }) => {
      const exporter = new PrometheusExporter('p');
      const context = createContext({ clock, metrics: new Metrics(exporter) });
      const store = new GateStore();
      const sink = await cloudStorage({ store, protocol: 'canal-json', ...NONE }).open({ pipeline: 'p', context });
      await sink.claim({ source: 'world' });
      store.hold(/CDC\d+\.json$/);
      const ddl = new Delivery([
        ddlEvent({ position: { commitTs: 12n, ordinal: 0 }, commitTimeUs: 0n, table: { ...users, version: 12n } }),
      ]);
      const deliveries = new Subject<Delivery>();
      const writing = sink.write(deliveries).subscribe();
      deliveries.next(new Delivery([row(10)]));
      deliveries.next(ddl);
      await clock.sleep(700);
      store.release();
      await clock.sleep(100);
      const { series } = parseScrape(await exporter.text());
      expect(series.get('millrace_cloud_storage_ddl_flush_dml_duration_seconds_sum{pipeline="p"}')).toBeCloseTo(0.7, 6);
      writing.unsubscribe();
      await sink.close();
    }),
  );
});
