import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { Delivery, type DmlEvent, dispatcherOfTable, dmlEvent, RowBlockWriter, type Table } from '../../../lib/events/index.ts';
import { createContext } from '../../../lib/flow/index.ts';
import { MemoryStore, noopStore, type ObjectBody } from '../../../lib/stores/index.ts';
import { VirtualClock } from '../../../lib/testing/index.ts';
import { IdleSweep } from '../../../pipelines/cloud-storage-sink/files/idle-sweep.ts';
import { TableLanes } from '../../../pipelines/cloud-storage-sink/files/table-lanes.ts';
import { WriteMeter } from '../../../pipelines/cloud-storage-sink/metrics.ts';
import { writableEvents } from '../../../pipelines/cloud-storage-sink/rows/writable-events.ts';
import type { Target } from '../../../pipelines/cloud-storage-sink/target.ts';
import { openWorld, table } from '../../support/sink-world.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

function tableOf(id: number, name = `t${id}`, version = 1n): Table {
  return table(name, version, ['id', 'name'], ['id'], { tableId: id, dispatcher: dispatcherOfTable('active', id) });
}

function row(commitTs: number, of: Table): DmlEvent {
  return dmlEvent(
    new RowBlockWriter(of)
      .beginTransaction(BigInt(commitTs))
      .insert({ id: String(commitTs), name: 'x' })
      .build(),
  );
}

/** spec storage-sink §10 */
describe('the state that is kept by table', () => {
  it('is forgotten after 24 hours without use, and looked at every 10 minutes at most', () => {
    const evicted: string[] = [];
    const sweep = new IdleSweep((key) => evicted.push(key));
    sweep.touch('a', 0);
    sweep.touch('b', HOUR);
    sweep.touch('c', 24 * HOUR - 5 * MINUTE);
    // Due, and not looked at yet.
    sweep.touch('c', 24 * HOUR + 4 * MINUTE);
    expect(evicted).toEqual([]);
    sweep.touch('c', 24 * HOUR + 5 * MINUTE);
    expect(evicted).toEqual(['a']);
    sweep.touch('c', 26 * HOUR);
    expect(evicted).toEqual(['a', 'b']);
  });

  it('lanes that have nothing to do go, with what is known of their dispatchers; those that are busy or in use stay', () => {
    const clock = new VirtualClock();
    const context = createContext({ clock });
    const busy = new Set<string>();
    const lanes = new TableLanes({ context } as Target, new WriteMeter(context), (lane) => busy.has(lane));
    const [gone, used, slow] = [tableOf(1), tableOf(2), tableOf(3)];
    const first = [gone, used, slow].map((of) => lanes.of(of));
    busy.add(first[2]!.lane);
    let nowMs = 0;
    clock.now = () => nowMs;
    for (; nowMs <= 25 * HOUR; nowMs += HOUR) lanes.of(used);
    expect(lanes.size).toBe(2);
    expect(lanes.laneOf(gone.dispatcher)).toBe(gone.dispatcher);
    expect(lanes.laneOf(slow.dispatcher)).toBe(first[2]!.lane);
    expect(lanes.of(used).writer).toBe(first[1]!.writer);
    expect(lanes.of(gone)).toMatchObject({ lane: first[0]!.lane });
    expect(lanes.of(gone).writer).not.toBe(first[0]!.writer);
  });

  it('keeps no more lanes than tables of a day, however many come and go', () => {
    const clock = new VirtualClock();
    const context = createContext({ clock });
    const lanes = new TableLanes({ context } as Target, new WriteMeter(context), () => false);
    let nowMs = 0;
    clock.now = () => nowMs;
    let most = 0;
    for (let id = 1; id <= 5000; id++) {
      lanes.of(tableOf(id));
      nowMs += 6 * MINUTE;
      most = Math.max(most, lanes.size);
    }
    // 240 a day, and those that became idle since the last look.
    expect(most).toBeLessThanOrEqual(243);
  });

  it('a table that comes back after a day goes on where its files end', async () => {
    const clock = new VirtualClock();
    const store = new MemoryStore();
    const world = await openWorld(store, {}, clock);
    const [idle, active] = [tableOf(1), tableOf(2)];
    world.send(row(10, idle));
    await clock.advance(10_000);
    for (let hour = 0; hour < 26; hour++) {
      world.send(row(11 + hour, active));
      await clock.advance(HOUR);
    }
    const getVersioned = store.getVersioned.bind(store);
    let reads = 0;
    store.getVersioned = (key) => {
      if (key === 'public/t1/1/meta/CDC.index') reads++;
      return getVersioned(key);
    };
    world.send(row(50, idle));
    await clock.advance(10_000);
    expect(world.reports.at(-1)).toMatchObject({ path: 'public/t1/1/CDC00000000000000000002.json' });
    // It was read from the target again: nothing of the table was in memory.
    expect(reads).toBe(1);
    await world.close();
  });

  it('ActiveSetOnlyProcessesActiveDispatchers: tables without rows cost neither timers nor steps, however many there are', async () => {
    const costOf = async (tables: number) => {
      const clock = new VirtualClock();
      let puts = 0;
      const noop = noopStore();
      const put = (key: string, body: ObjectBody) => {
        puts++;
        return noop.put(key, body);
      };
      const world = await openWorld({ ...noop, put }, { flushInterval: '1s' }, clock);
      for (let id = 1; id <= tables; id++) world.send(row(id, tableOf(id)));
      await clock.advance(10_000);
      expect(clock.nextMs).toBeNull();
      let steps = 0;
      puts = 0;
      const after = clock.after.bind(clock);
      clock.after = (delayMs, fn) =>
        after(delayMs, () => {
          steps++;
          fn();
        });
      for (let second = 0; second < 60; second++) {
        for (let id = 1; id <= 10; id++) world.send(row(10_000 + second, tableOf(id)));
        await clock.advance(1000);
      }
      await clock.advance(1000);
      await world.close();
      return { steps, puts };
    };
    const few = await costOf(10);
    expect(await costOf(1000)).toEqual(few);
    // One timer for each interval, not one for each table.
    expect(few.steps).toBeLessThanOrEqual(61);
  });
});

describe('the events that are written', () => {
  const run = () => {
    const clock = new VirtualClock();
    const deliveries = new Subject<Delivery>();
    const written: string[] = [];
    let nowMs = 0;
    clock.now = () => nowMs;
    deliveries.pipe(writableEvents(clock)).subscribe((event) => {
      const which = [1, 2, 3].find((id) => event.type !== 'syncpoint' && event.dispatcher === dispatcherOfTable('active', id));
      written.push(`${event.type} ${which}`);
    });
    return {
      written,
      send: (of: Table, atMs = 0) => {
        nowMs = atMs;
        deliveries.next(new Delivery([row(10, of)]));
      },
    };
  };

  it('a version that changes between rows drains the rows before it', () => {
    const { written, send } = run();
    send(tableOf(1));
    send(tableOf(1, 't1', 2n));
    expect(written).toEqual(['dml 1', 'marker 1', 'dml 1']);
  });

  it('a table that takes the name of another drains that, and one that takes a name that was given up does not', () => {
    const { written, send } = run();
    send(tableOf(1, 'a'));
    send(tableOf(2, 'a'));
    send(tableOf(2, 'b', 2n));
    send(tableOf(3, 'a', 3n));
    expect(written).toEqual(['dml 1', 'marker 1', 'dml 2', 'marker 2', 'dml 2', 'dml 3']);
  });

  it('a table that is idle for a day is forgotten: it is durable long since', () => {
    const { written, send } = run();
    send(tableOf(1, 'a'));
    for (let hour = 0; hour <= 25; hour++) send(tableOf(2, 'b'), hour * HOUR);
    written.length = 0;
    send(tableOf(1, 'a', 2n), 26 * HOUR);
    send(tableOf(3, 'a', 3n), 26 * HOUR);
    expect(written).toEqual(['dml 1', 'marker 1', 'dml 3']);
  });
});
