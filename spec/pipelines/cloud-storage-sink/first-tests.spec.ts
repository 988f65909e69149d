import { describe, expect, it } from '@jest/globals';
import {
  type ChangeEvent,
  type DmlEvent,
  ddlEvent,
  dispatcherOfTable,
  dmlEvent,
  RowBlockWriter,
  syncpointEvent,
  type Table,
} from '../../../lib/events/index.ts';
import { definePipeline } from '../../../lib/index.ts';
import { SimDisk, Simulation, type TestPipeline, testPipeline, type VirtualTime, virtualTime } from '../../../lib/testing/index.ts';
import { composeSink, SINK_OPERATORS, type SinkMachine } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import type { CloudStorageOptions } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const orders = table('orders', 1n, ['id', 'name'], ['id']);
const DATA = /CDC\d+\.json$/;

interface LakeOptions {
  readonly sink?: Partial<CloudStorageOptions>;
  readonly operators?: Partial<typeof SINK_OPERATORS>;
  readonly machine?: SinkMachine;
  /** Default: each delivery is pulled when the one before is woken. */
  readonly maxBytesInFlight?: number;
}

/** A pipeline over the real sink, which writes to `store`. */
function lake({ clock }: Pick<VirtualTime, 'clock'>, store: GateStore, options: LakeOptions = {}): TestPipeline {
  const { sink, operators, machine, maxBytesInFlight = 1 } = options;
  const all = { store, protocol: 'canal-json', dateSeparator: 'none', flushInterval: '5s', ...sink } as const;
  return testPipeline(
    ({ source, checkpoint }) =>
      definePipeline({ name: 'lake', source, sink: composeSink(all, { ...SINK_OPERATORS, ...operators }, machine), checkpoint }),
    { clock, maxBytesInFlight },
  );
}

function row(commitTs: number, of: Table = users, name = 'x'): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(BigInt(commitTs));
  return dmlEvent(writer.insert({ id: String(commitTs), name }).build());
}

function schemaChange(commitTs: bigint, of: Table): ChangeEvent {
  return ddlEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table: { ...of, version: commitTs }, query: 'ALTER TABLE' });
}

/** The commitTs of what was acked so, in order. */
function acked(test: TestPipeline, ack: 'enqueued' | 'flushed'): number[] {
  return test.acks
    .filter((one) => one.ack === ack)
    .flatMap(({ delivery }) => delivery.events.flatMap((event) => (event.type === 'dml' ? [Number(event.rows.first.commitTs)] : [])));
}

function arrived(test: TestPipeline): number[] {
  return test.arrivals.flatMap(({ delivery }) =>
    delivery.events.flatMap((event) => (event.type === 'dml' ? [Number(event.rows.first.commitTs)] : [])),
  );
}

/** Where the last of these keys stands in what was written; they are all there. */
function lastOf(store: GateStore, key: RegExp, count: number): number {
  expect(store.written.filter((one) => key.test(one))).toHaveLength(count);
  return store.written.findLastIndex((one) => key.test(one));
}

/** The tests that the origin's design names (spec storage-sink §11), on a whole pipeline. */
describe('the first tests of the cloud storage sink', () => {
  it('EarlyWakeDoesNotAdvanceCheckpoint: the source goes on when its rows are accepted, and only their files move the checkpoint', () =>
    virtualTime(async ({ clock }) => {
      const store = new GateStore();
      const test = lake({ clock }, store);
      test.feed(row(1), row(2, orders), row(3));
      await test.advance(4900);
      // Woken at once: each came when the one before was accepted.
      expect(test.arrivals.filter(({ changes }) => changes.length > 0).map(({ atMs }) => atMs < 100)).toEqual([true, true, true]);
      expect(acked(test, 'enqueued')).toEqual([1, 2, 3]);
      expect([acked(test, 'flushed'), test.checkpointTs ?? 0n, test.confirmed]).toEqual([[], 0n, []]);
      // Of what is due now, the one file is there and the other is not.
      store.hold(/users.*json$/);
      await test.advance(2000);
      expect(acked(test, 'flushed')).toEqual([2]);
      expect(test.checkpointTs ?? 0n).toBe(0n);
      store.release();
      await test.advance(1000);
      expect([test.checkpointTs, test.confirmed.at(-1)]).toEqual([3n, 3n]);
      await test.stop();
    }));

  it.each<[where: string, machine: () => SinkMachine]>([
    ['in memory', () => ({})],
    ['on disk', () => ({ disk: new SimDisk(new Simulation(1)), limits: { memoryBytes: 1 } })],
  ])('WatermarkSuppressesWake: above the high mark the source stands still, with its rows %s, until the low one', (_, machine) =>
    virtualTime(async ({ clock }) => {
      const store = new GateStore();
      // High mark 800 KB, low mark 600 KB.
      const limits = { ...machine().limits, highBytes: 800_000, lowBytes: 600_000 };
      const test = lake({ clock }, store, { machine: { ...machine(), limits } });
      await test.advance(10);
      store.hold(DATA);
      test.feed(
        row(1, users, 'x'.repeat(500_000)),
        row(2, orders, 'x'.repeat(250_000)),
        row(3, users, 'x'.repeat(100_000)),
        row(4),
        row(5),
      );
      await test.advance(60_000);
      // The third brought it above.
      expect(arrived(test)).toEqual([1, 2, 3]);
      expect(acked(test, 'enqueued')).toEqual([1, 2]);
      // That it is suppressed delays neither file nor checkpoint.
      expect(acked(test, 'flushed')).toEqual([]);
      expect(store.waiting).toBe(2);
      store.release();
      await test.advance(10_000);
      expect(arrived(test)).toEqual([1, 2, 3, 4, 5]);
      expect(test.checkpointTs).toBe(5n);
      await test.stop();
    }),
  );

  it('DDLPassBlockEventCoversEncodeQueue: a schema file comes behind rows that are being encoded, spooled, gathered and written', () =>
    virtualTime(async ({ clock }) => {
      const store = new GateStore();
      const encodeOrdered: typeof SINK_OPERATORS.encodeOrdered = ({ concurrency, encode }) =>
        SINK_OPERATORS.encodeOrdered({
          concurrency,
          encode: async (item) => {
            await clock.sleep(100);
            return encode(item);
          },
        });
      const machine = { disk: new SimDisk(new Simulation(1)), limits: { memoryBytes: 1 } };
      const sink = { fileSize: 1024, flushInterval: '10m' };
      const test = lake({ clock }, store, { sink, machine, operators: { encodeOrdered }, maxBytesInFlight: 1_000_000 });
      await test.advance(10);
      store.hold(DATA);
      // A file that is full, one that is gathered, and what the encoder has not come to.
      test.feed(row(1, users, 'x'.repeat(2000)), row(2), row(3), row(4), schemaChange(5n, users), row(6, { ...users, version: 5n }));
      await test.advance(250);
      expect([acked(test, 'enqueued'), store.waiting]).toEqual([[1, 2], 1]);
      await test.advance(10_000);
      expect(acked(test, 'enqueued')).toEqual([1, 2, 3, 4]);
      expect(store.written.filter((key) => /schema_5_/.test(key))).toEqual([]);
      store.release();
      await test.advance(2000);
      const indexed = lastOf(store, /users\/1\/meta\/CDC\.index$/, 2);
      expect(lastOf(store, /users\/meta\/schema_5_\d+\.json$/, 1)).toBeGreaterThan(indexed);
      expect(acked(test, 'flushed')).toEqual([1, 2, 3, 4]);
      await test.stop();
      expect(test.checkpointTs).toBe(6n);
      expect(lastOf(store, /users\/5\/meta\/CDC\.index$/, 1)).toBeGreaterThan(indexed);
    }));

  it.each<[what: string, block: () => ChangeEvent, held: string, waits: boolean]>([
    ['a table that takes the name of another waits for the rows of that', () => schemaChange(10n, heirOf(users)), 'users', true],
    ['a table that takes the name of another waits for no third one', () => schemaChange(10n, heirOf(users)), 'orders', false],
    ['a syncpoint waits for each table', () => syncpointEvent(10n), 'users', true],
    ['a syncpoint waits for every table', () => syncpointEvent(10n), 'orders', true],
  ])('DDLDrainAcrossDispatchersBeforeWrite: %s', (_, block, held, waits) =>
    virtualTime(async ({ clock }) => {
      const store = new GateStore();
      const test = lake({ clock }, store, { sink: { flushInterval: '10m', workerCount: 4 }, maxBytesInFlight: 1_000_000 });
      await test.advance(10);
      const flushed = () =>
        test.acks.filter(({ ack }) => ack === 'flushed').flatMap(({ delivery }) => delivery.events.map(({ type }) => type));
      store.hold(new RegExp(`${held}.*json$`));
      const event = block();
      test.feed(row(1), row(2, orders), event);
      await test.advance(60_000);
      const index = store.written.indexOf('public/users/1/meta/CDC.index');
      const schema = () => store.written.findIndex((key) => /users\/meta\/schema_10_\d+\.json$/.test(key));
      expect(flushed().includes(event.type)).toBe(!waits);
      if (event.type === 'ddl') expect([schema() >= 0, schema() > index]).toEqual([!waits, !waits]);
      store.release();
      await test.advance(1000);
      expect(flushed()).toContain(event.type);
      if (event.type === 'ddl') expect(schema()).toBeGreaterThan(store.written.indexOf('public/users/1/meta/CDC.index'));
      await test.stop();
      expect(acked(test, 'flushed').sort()).toEqual([1, 2]);
    }),
  );

  it('ActiveSetOnlyProcessesActiveDispatchers: of a thousand tables nothing looks at those that have no rows', () =>
    virtualTime(async ({ clock }) => {
      const touched = new Set<number>();
      const store = new GateStore();
      const test = lake({ clock }, store, { sink: { flushInterval: '1s' }, maxBytesInFlight: 1_000_000 });
      const tables = Array.from({ length: 1000 }, (_, id) => watchedTable(id, (seen) => touched.add(seen)));
      tables.forEach((of, id) => {
        test.feed(row(id + 1, of));
      });
      await test.advance(10_000);
      expect(test.checkpointTs).toBe(1000n);
      touched.clear();
      store.written.length = 0;
      for (let second = 0; second < 60; second++) {
        for (let id = 0; id < 10; id++) test.feed(row(2000 + second * 10 + id, tables[id]!));
        await test.advance(1000);
      }
      await test.advance(5000);
      expect(test.checkpointTs).toBe(2599n);
      expect([...touched].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(store.written.filter((key) => DATA.test(key))).toHaveLength(600);
      await test.stop();
    }));
});

/** Another table of this name. */
function heirOf(of: Table): Table {
  const tableId = of.tableId + 1;
  return { ...of, tableId, dispatcher: dispatcherOfTable('lake', tableId) };
}

/** A table that tells when anything of it is read. */
function watchedTable(id: number, onRead: (id: number) => void): Table {
  const dispatcher = dispatcherOfTable('lake', id);
  const plain = table(`t${id}`, 1n, ['id', 'name'], ['id'], { tableId: id, dispatcher });
  return new Proxy(plain, {
    get: (target, name) => {
      onRead(id);
      return Reflect.get(target, name);
    },
  });
}
