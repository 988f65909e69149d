import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { Delivery, type DmlEvent, ddlEvent, dmlEvent, RowBlockWriter, truncateEvent } from '../../../lib/events/index.ts';
import { createContext, Metrics } from '../../../lib/flow/index.ts';
import { PrometheusExporter } from '../../../lib/runtime/prometheus.ts';
import type { ObjectBody, ObjectVersion } from '../../../lib/stores/index.ts';
import type { CloudStorageOptions } from '../../../pipelines/index.ts';
import { cloudStorage } from '../../../pipelines/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { parseScrape } from '../../support/scrape.ts';
import { settle, table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const wider = table('users', 20n, ['id', 'name', 'age'], ['id']);
const emptied = table('users', 30n, ['id', 'name', 'age'], ['id']);

function rows(commitTs: bigint, count: number, of = users): DmlEvent {
  const writer = new RowBlockWriter(of).beginTransaction(commitTs);
  for (let row = 0; row < count; row++) writer.insert({ id: String(row), name: 'x' });
  return dmlEvent(writer.build());
}

const change = (action: number, of = wider) =>
  ddlEvent({ position: { commitTs: of.version, ordinal: 0 }, commitTimeUs: 0n, table: of, query: 'ALTER TABLE', action });
const truncation = truncateEvent({ position: { commitTs: 30n, ordinal: 0 }, commitTimeUs: 0n, table: emptied, query: 'TRUNCATE' });

/** Refuses to write these keys. */
class RefusingStore extends GateStore {
  refuses: RegExp | null = null;

  override async put(key: string, body: ObjectBody): Promise<void> {
    this.#check(key);
    await super.put(key, body);
  }

  override async putIfAbsent(key: string, body: ObjectBody): Promise<boolean> {
    this.#check(key);
    return super.putIfAbsent(key, body);
  }

  override async putIf(key: string, body: ObjectBody, expected: ObjectVersion | null): Promise<ObjectVersion | null> {
    this.#check(key);
    return super.putIf(key, body, expected);
  }

  #check(key: string): void {
    if (this.refuses?.test(key) === true) throw new Error('refused');
  }
}

/** An open sink, written to by hand, in virtual time. */
async function open(options: Partial<CloudStorageOptions> = {}) {
  const clock = manualClock();
  const exporter = new PrometheusExporter('p');
  const context = createContext({ clock, metrics: new Metrics(exporter) });
  const store = new RefusingStore();
  const sink = await cloudStorage({ store, protocol: 'canal-json', ...options }).open({ pipeline: 'p', context });
  await sink.claim({ source: 'world' });
  const deliveries = new Subject<Delivery>();
  const errors: unknown[] = [];
  sink.write(deliveries).subscribe({ error: (error: unknown) => errors.push(error) });
  return {
    clock,
    store,
    sink,
    errors,
    send: async (...events: Delivery['events']) => {
      deliveries.next(new Delivery(events));
      await settle();
    },
    /** Lets go what the store holds, this long after it came. */
    releaseAfter: async (ms: number) => {
      expect(store.waiting).toBe(1);
      clock.advance(ms);
      store.release();
      await settle();
    },
    /** The series of a metric, without those of its buckets: what stands behind its name, and its value. */
    values: async (name: string) => {
      const { series } = parseScrape(await exporter.text());
      const found = [...series].filter(([key]) => key.startsWith(`millrace_${name}`) && !key.includes('_bucket{'));
      return Object.fromEntries(
        found.map(([key, value]) => [key.slice(`millrace_${name}`.length).replace(/pipeline="p",|,?pipeline="p"/, ''), value]),
      );
    },
    bucket: async (name: string, le: number) =>
      parseScrape(await exporter.text()).series.get(`millrace_${name}_bucket{le="${le}",pipeline="p"}`),
  };
}

/** spec storage-sink §8, "Generic" */
describe('the general metrics of a sink', () => {
  it('sink_batch_row_count has the rows of each data file, once it is durable', async () => {
    const world = await open();
    await world.send(rows(10n, 2), rows(11n, 3));
    world.store.hold(/\.json$/);
    world.clock.advance(5000);
    await settle();
    expect(await world.values('sink_batch_row_count')).toEqual({ '_sum{}': 0, '_count{}': 0 });
    await world.releaseAfter(100);
    expect(await world.values('sink_batch_row_count')).toEqual({ '_sum{}': 5, '_count{}': 1 });
    await world.send(rows(12n, 1));
    world.clock.advance(5000);
    await settle();
    expect(await world.values('sink_batch_row_count')).toEqual({ '_sum{}': 6, '_count{}': 2 });
    expect([await world.bucket('sink_batch_row_count', 1), await world.bucket('sink_batch_row_count', 4)]).toEqual([1, 1]);
    await world.sink.close();
  });

  it('sink_ddl_exec_duration_seconds has the writing of each schema file of a change by its type, not those that rows need', async () => {
    const world = await open();
    await world.send(rows(10n, 1));
    world.store.hold(/schema_20_/);
    await world.send(change(5));
    expect(await world.values('sink_ddl_exec_duration_seconds')).toEqual({});
    await world.releaseAfter(250);
    expect(await world.values('sink_ddl_exec_duration_seconds')).toEqual({
      '_sum{type="add column"}': 0.25,
      '_count{type="add column"}': 1,
    });
    world.store.hold(/schema_30_/);
    await world.send(truncation);
    await world.releaseAfter(1000);
    await world.send(change(99, table('users', 40n, ['id'], ['id'])));
    expect(await world.values('sink_ddl_exec_duration_seconds')).toMatchObject({
      '_count{type="add column"}': 1,
      '_sum{type="truncate table"}': 1,
      '_count{type="truncate table"}': 1,
      '_count{type="other"}': 1,
    });
    await world.sink.close();
  });

  it('sink_checkpoint_ts_message_duration_seconds has each write of `metadata`, not what was left out', async () => {
    const world = await open();
    const written = () => world.values('sink_checkpoint_ts_message_duration_seconds');
    world.store.hold(/^metadata$/);
    const first = world.sink.publishCheckpoint(10n, false);
    await settle();
    expect(await written()).toEqual({ '_sum{}': 0, '_count{}': 0 });
    await world.releaseAfter(500);
    await first;
    expect(await written()).toEqual({ '_sum{}': 0.5, '_count{}': 1 });
    await world.sink.publishCheckpoint(11n, false);
    await world.sink.publishCheckpoint(12n, false);
    expect(await written()).toEqual({ '_sum{}': 0.5, '_count{}': 1 });
    world.clock.advance(1500);
    await settle();
    expect((await world.store.get('metadata'))?.toString()).toBe('{"checkpoint-ts":12}');
    expect(await written()).toEqual({ '_sum{}': 0.5, '_count{}': 2 });
    await world.sink.publishCheckpoint(12n, true);
    expect(await written()).toEqual({ '_sum{}': 0.5, '_count{}': 2 });
    await world.sink.close();
  });

  type World = Awaited<ReturnType<typeof open>>;
  it.each<[kind: string, keys: RegExp, write: (world: World) => Promise<unknown>]>([
    ['dml', /\.json$/, (world) => world.send(rows(10n, 1)).then(() => world.send(change(5)))],
    ['ddl', /schema_20_/, (world) => world.send(change(5))],
    ['checkpoint', /^metadata$/, (world) => world.sink.publishCheckpoint(10n, false).catch((error: unknown) => world.errors.push(error))],
  ])('sink_execution_error_total{event_type="%s"} counts what failed, once', async (kind, keys, write) => {
    const world = await open();
    const none = { '{event_type="dml"}': 0, '{event_type="ddl"}': 0, '{event_type="checkpoint"}': 0 };
    expect(await world.values('sink_execution_error_total')).toEqual(none);
    world.store.refuses = keys;
    await write(world);
    expect(world.errors).toHaveLength(1);
    expect(await world.values('sink_execution_error_total')).toEqual({ ...none, [`{event_type="${kind}"}`]: 1 });
    expect(await world.values('sink_batch_row_count')).toEqual({ '_sum{}': 0, '_count{}': 0 });
    expect(await world.values('sink_ddl_exec_duration_seconds')).toEqual({});
    expect(await world.values('sink_checkpoint_ts_message_duration_seconds')).toEqual({ '_sum{}': 0, '_count{}': 0 });
    await world.sink.close();
  });

  it('do not count as an error that the store is shut when the run has ended', async () => {
    const world = await open();
    await world.send(rows(10n, 1));
    world.store.hold(/schema_1_/);
    const drained = world.send(change(5));
    await drained;
    const closing = world.sink.close();
    world.clock.advance(4000);
    world.store.release();
    await closing;
    await settle();
    expect(await world.values('sink_execution_error_total')).toMatchObject({ '{event_type="dml"}': 0, '{event_type="ddl"}': 0 });
  });
});
