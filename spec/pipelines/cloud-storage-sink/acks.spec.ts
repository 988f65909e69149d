import { afterEach, describe, expect, it } from '@jest/globals';
import { Delivery, type DmlEvent, ddlEvent, dmlEvent, RowBlockWriter, resolvedEvent, syncpointEvent } from '../../../lib/events/index.ts';
import { pump } from '../../../lib/flow/index.ts';
import { GateStore } from '../../support/gate-store.ts';
import { type ManualClock, manualClock } from '../../support/manual-clock.ts';
import { deliveriesOf, type OpenWorld, openWorld, pulled, settle, table } from '../../support/sink-world.ts';

const users = table('users', 1n, ['id', 'name'], ['id']);
const orders = table('orders', 1n, ['id', 'name'], ['id']);
const DATA = /CDC\d+\.json$/;

function row(commitTs: bigint, of = users, name = 'x'): DmlEvent {
  return dmlEvent(
    new RowBlockWriter(of)
      .beginTransaction(commitTs)
      .insert({ id: String(commitTs), name })
      .build(),
  );
}

/** Sends one delivery; what becomes of it, in the order of its acks. */
function heard(world: OpenWorld, ...events: DmlEvent[]): string[] {
  const acks: string[] = [];
  const delivery = new Delivery(events);
  delivery.ack.addPostEnqueue(() => acks.push('enqueued'));
  delivery.ack.addPostFlush(() => acks.push('flushed'));
  world.deliver(delivery);
  return acks;
}

let world: OpenWorld;
afterEach(() => world.close());

/** spec storage-sink §3 */
describe('the two acks of the cloud storage sink', () => {
  it('EarlyWakeDoesNotAdvanceCheckpoint: the source is woken when the rows are accepted, progress waits for the files', async () => {
    const clock = manualClock();
    world = await openWorld(new GateStore(), {}, clock);
    const events: string[] = [];
    const event = row(10n);
    event.ack.addPostEnqueue(() => events.push('enqueued'));
    world.send(event, resolvedEvent(10n));
    await settle();
    expect(events).toEqual(['enqueued']);
    expect(world.context.progress.checkpointTs).toBe(9n);
    clock.advance(5000);
    await settle();
    expect(world.context.progress.checkpointTs).toBe(10n);
  });

  it('writes sidecar, data and index in this order, and acks behind all three', async () => {
    const store = new GateStore();
    const clock = manualClock();
    world = await openWorld(store, {}, clock);
    const event = row(10n);
    event.ack.addPostFlush(() => store.written.push('ack'));
    world.send(event);
    clock.advance(5000);
    await settle();
    expect(store.written.slice(-4)).toEqual([
      'public/users/1/meta/CDC00000000000000000001.positions',
      'public/users/1/CDC00000000000000000001.json',
      'public/users/1/meta/CDC.index',
      'ack',
    ]);
  });

  it('acks nothing when the index cannot be written, and ends with an error that names table, path and position', async () => {
    const store = new GateStore();
    const clock = manualClock();
    world = await openWorld(store, {}, clock);
    const putIf = store.putIf.bind(store);
    store.putIf = (key, ...rest) => (key.endsWith('.index') ? Promise.reject(new Error('disk full')) : putIf(key, ...rest));
    const event = row(10n);
    const acks: string[] = [];
    event.ack.addPostFlush(() => acks.push('flushed'));
    world.send(event, resolvedEvent(10n));
    clock.advance(5000);
    await settle();
    expect(acks).toEqual([]);
    expect(world.context.progress.checkpointTs).toBe(9n);
    expect(world.end).toMatchObject({
      code: 'MR_SINK_WRITE_FAILED',
      details: { table: 'public.users', path: 'public/users/1/CDC00000000000000000001.json', position: '10/0', reason: 'disk full' },
    });
  });

  it('acks nothing that was under way when another table failed', async () => {
    const store = new GateStore();
    const clock = manualClock();
    world = await openWorld(store, {}, clock);
    store.hold(/users.*json$/);
    const putIfAbsent = store.putIfAbsent.bind(store);
    store.putIfAbsent = (key, body) => (key.startsWith('public/orders') ? Promise.reject(new Error('lost')) : putIfAbsent(key, body));
    const event = row(10n);
    const acks: string[] = [];
    event.ack.addPostFlush(() => acks.push('flushed'));
    world.send(event, row(10n, orders));
    clock.advance(5000);
    await settle();
    expect(world.end).toMatchObject({ code: 'MR_SINK_WRITE_FAILED' });
    store.release();
    await settle();
    expect(acks).toEqual([]);
  });

  it('WatermarkSuppressesWake: above the high mark the source is not woken, and is when room was made', async () => {
    const store = new GateStore();
    world = await openWorld(store, { spoolDiskQuota: '1MiB' }, manualClock());
    store.hold(DATA);
    const first = heard(world, row(10n, users, 'x'.repeat(700_000)));
    const second = heard(world, row(11n, users, 'x'.repeat(300_000)));
    await settle();
    expect(first).toEqual(['enqueued']);
    expect(second).toEqual([]);
    store.release();
    await settle();
    expect(second).toEqual(['flushed', 'enqueued']);
  });

  it('a delivery of several events wakes once, and is flushed when all of its tables are', async () => {
    const store = new GateStore();
    const clock = manualClock();
    world = await openWorld(store, {}, clock);
    store.hold(/orders.*json$/);
    const acks = heard(world, row(10n), row(10n, orders), row(11n));
    expect(acks).toEqual(['enqueued']);
    clock.advance(5000);
    await settle();
    expect(acks).toEqual(['enqueued']);
    store.release();
    await settle();
    expect(acks).toEqual(['enqueued', 'flushed']);
  });

  it('a delivery without rows is woken and flushed at once, so that filtered transactions advance (I7)', async () => {
    world = await openWorld(new GateStore(), {}, manualClock());
    world.send(resolvedEvent(40n));
    expect(world.context.progress.checkpointTs).toBe(40n);
  });

  it('holds the source while the target is a thousand times slower, with bounded bytes, and writes everything in the end', async () => {
    const store = new GateStore();
    world = await openWorld(store, { spoolDiskQuota: '4MiB', fileSize: '256KiB' }, manualClock());
    store.hold(DATA);
    const history = Array.from({ length: 200 }, (_, i) => ({
      commitTs: BigInt(i + 1),
      events: () => [row(BigInt(i + 1), users, 'y'.repeat(100_000))],
    }));
    let pulls = 0;
    const source = async function* () {
      for await (const delivery of pulled(deliveriesOf(history, 0n))) {
        pulls++;
        yield delivery;
      }
    };
    const rows: number[] = [];
    const writing = world.sink.write(pump(source(), { maxBytesInFlight: 1024 * 1024 })).subscribe((report) => rows.push(report.rows));
    await settle();
    await settle();
    expect(pulls).toBeLessThan(150);
    expect(world.context.gauge.level).toBeLessThan(6 * 1024 * 1024);
    store.release();
    for (let turn = 0; turn < 200 && pulls < 400; turn++) await settle();
    for (let turn = 0; turn < 200 && !writing.closed; turn++) await settle();
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(200);
    expect(world.context.gauge.level).toBe(0);
    expect(world.context.progress.checkpointTs).toBe(200n);
  });
});

/** spec storage-sink §1, "Flush triggers" */
describe('when the cloud storage sink writes a file', () => {
  const start = async (options = {}): Promise<{ clock: ManualClock; store: GateStore }> => {
    const clock = manualClock();
    const store = new GateStore();
    world = await openWorld(store, options, clock);
    return { clock, store };
  };
  const reports = () => world.reports.map(({ table: name, rows, reason }) => `${name} ${rows} ${reason}`);

  it('size: a table that has enough rows, and no other', async () => {
    await start({ fileSize: 1024 });
    world.send(row(10n, orders), row(10n), row(11n), row(12n), row(13n), row(14n));
    await settle();
    expect(reports()).toEqual(['public.users 4 size']);
  });

  it('interval, #4591: from the first row of a file, whatever came later', async () => {
    const { clock } = await start();
    world.send(row(10n));
    clock.advance(3000);
    world.send(row(11n), row(11n, orders));
    clock.advance(2000);
    await settle();
    expect(reports()).toEqual(['public.users 2 interval']);
    clock.advance(3000);
    await settle();
    expect(reports()).toEqual(['public.users 2 interval', 'public.orders 1 interval']);
  });

  it('quota: everything, when the source is held above the high mark', async () => {
    await start({ spoolDiskQuota: '1MiB' });
    world.send(row(10n, orders, 'x'.repeat(500_000)), row(10n, users, 'x'.repeat(500_000)));
    await settle();
    expect(reports().sort()).toEqual(['public.orders 1 quota', 'public.users 1 quota']);
  });

  it('close: everything accepted, before the stream completes', async () => {
    await start();
    world.send(row(10n), row(10n, orders));
    await world.complete();
    expect(reports().sort()).toEqual(['public.orders 1 close', 'public.users 1 close']);
    expect(world.end).toBe('complete');
  });

  it('writes nothing further when it is unsubscribed', async () => {
    const { clock } = await start();
    world.send(row(10n));
    await world.close();
    clock.advance(60_000);
    await settle();
    expect(reports()).toEqual([]);
  });

  it('DDLPassBlockEventCoversEncodeQueue, #4389, #4398: a schema file comes behind all rows before it, and its ack behind the schema file', async () => {
    const { store } = await start();
    const ddl = ddlEvent({
      position: { commitTs: 12n, ordinal: 0 },
      commitTimeUs: 0n,
      table: table('users', 12n, ['id'], ['id']),
      query: 'ALTER',
    });
    const written = store.written;
    ddl.ack.addPostFlush(() => written.push('ack'));
    world.send(row(10n), row(10n, orders), row(11n));
    world.send(ddl);
    await settle();
    const data = written.indexOf('public/users/1/meta/CDC.index');
    const schema = written.findIndex((key) => /users\/meta\/schema_12_\d{10}\.json$/.test(key));
    expect(data).toBeGreaterThan(-1);
    expect(schema).toBeGreaterThan(data);
    expect(written.indexOf('ack')).toBeGreaterThan(schema);
    expect(reports()).toEqual(['public.users 2 barrier', 'public.users 0 barrier']);
  });

  it('a schema change does not wait for a slow table that it does not concern', async () => {
    const { store, clock } = await start();
    store.hold(/orders.*json$/);
    world.send(row(10n, orders), row(10n));
    clock.advance(5000);
    await settle();
    const ddl = ddlEvent({
      position: { commitTs: 12n, ordinal: 0 },
      commitTimeUs: 0n,
      table: table('users', 12n, ['id'], ['id']),
      query: 'ALTER',
    });
    let isFlushed = false;
    ddl.ack.addPostFlush(() => {
      isFlushed = true;
    });
    world.send(ddl);
    await settle();
    expect(store.waiting).toBeGreaterThan(0);
    expect(isFlushed).toBe(true);
    store.release();
    await settle();
  });

  it('a syncpoint is acked when the rows of all tables before it are durable', async () => {
    const { store } = await start();
    store.hold(DATA);
    world.send(row(10n), row(10n, orders));
    const syncpoint = syncpointEvent(11n);
    let isFlushed = false;
    syncpoint.ack.addPostFlush(() => {
      isFlushed = true;
    });
    world.send(syncpoint);
    await settle();
    expect(isFlushed).toBe(false);
    store.release();
    await settle();
    expect(isFlushed).toBe(true);
  });
});
