import { describe, expect, it } from '@jest/globals';
import { Subject } from 'rxjs';
import { Delivery, dmlEvent, RowBlockWriter, resolvedEvent, type Table } from '../../../../lib/events/index.ts';
import { createContext } from '../../../../lib/flow/index.ts';
import { VirtualClock } from '../../../../lib/testing/index.ts';
import { composeSink, SINK_OPERATORS } from '../../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import { GateStore } from '../../../support/gate-store.ts';
import { publishedRows } from '../../../support/published.ts';
import { table } from '../../../support/sink-world.ts';
import { turnStore } from '../../../support/turn-store.ts';

const [users, notes, logs] = ['users', 'notes', 'logs'].map((name) => table(name, 7n, ['id', 'name'], ['id'])) as [Table, Table, Table];
const HOUR = 3_600_000;

/** A run of the sink that is written to by hand, and what it keeps of what it asked the target. */
async function restarted(store: GateStore, clock: VirtualClock, nextTs = 10n) {
  const questions: string[] = [];
  const counted = turnStore(store, (_, stage, call) => {
    if (stage === 'before' && call.startsWith('folders ')) questions.push(call.split('/')[1]!);
  });
  let seen: ReadonlyMap<string, number> = new Map();
  const operators: typeof SINK_OPERATORS = {
    ...SINK_OPERATORS,
    dropPublished: (target, track) => {
      seen = target.seen;
      return SINK_OPERATORS.dropPublished(target, track);
    },
  };
  const options = { store: counted, protocol: 'canal-json', dateSeparator: 'day', flushInterval: '1s' } as const;
  const sink = await composeSink(options, operators).open({ pipeline: 'world', context: createContext({ clock }) });
  await sink.claim({ source: 'world' }, { hasOrdinals: true });
  const deliveries = new Subject<Delivery>();
  const failures: unknown[] = [];
  const writing = sink.write(deliveries).subscribe({ error: (error) => failures.push(error) });
  let commitTs = nextTs;
  const send = async (of: Table, at = commitTs++) => {
    const row = new RowBlockWriter(of)
      .beginTransaction(at)
      .insert({ id: `${at}`, name: 'x' })
      .build();
    deliveries.next(new Delivery([dmlEvent(row), resolvedEvent(at)]));
    await clock.advance(2000);
  };
  return {
    send,
    questions,
    /** Tables of which something is kept in `target.seen`. */
    kept: () => [...new Set([...seen.keys()].map((path) => path.split('/')[1]))].sort(),
    /** A row of another table each hour. */
    pass: async (hours: number) => {
      for (let hour = 0; hour < hours; hour++) {
        await clock.advance(HOUR);
        await send(logs);
      }
    },
    close: async () => {
      expect(failures).toEqual([]);
      writing.unsubscribe();
      await sink.close();
    },
  };
}

describe('what a run has asked of its target', () => {
  it('is forgotten of a table without rows in a day, whether the run has written there or not; asked again, it drops nothing that is new', async () => {
    const [store, clock] = [new GateStore(), new VirtualClock()];
    const first = await restarted(store, clock);
    for (const written of [users, notes]) await first.send(written);
    await first.close();
    const second = await restarted(store, clock, 20n);
    // What the first has published: the second writes nothing of it.
    await second.send(notes, 11n);
    await second.send(users, 10n);
    await second.send(users, 12n);
    await second.pass(20);
    expect(second.kept()).toEqual(['logs', 'notes', 'users']);
    await second.pass(6);
    expect(second.kept()).toEqual(['logs']);
    expect(second.questions).toEqual(['notes', 'users', 'logs']);
    await second.send(users);
    await second.send(notes);
    await second.send(notes);
    expect(second.questions).toEqual(['notes', 'users', 'logs', 'users', 'notes']);
    await second.close();
    const rows = await publishedRows(store);
    expect(new Set(rows).size).toBe(rows.length);
    expect(rows.filter((row) => row.startsWith('1')).slice(0, 3)).toEqual(['10/0 10', '11/0 11', '12/0 12']);
    expect(rows.slice(-3).map((row) => Number(row.split('/')[0]))).toEqual([46, 47, 48]);
  });

  it('is kept as long as rows of the table are not durable: what came in between is to be noticed when they are written', async () => {
    const [store, clock] = [new GateStore(), new VirtualClock()];
    const first = await restarted(store, clock);
    await first.send(notes);
    await first.close();
    const second = await restarted(store, clock, 20n);
    store.hold(/notes.*open\.folder$/);
    await second.send(notes, 11n);
    await second.pass(50);
    expect(second.kept()).toEqual(['logs', 'notes']);
    store.release();
    await second.pass(50);
    expect(second.kept()).toEqual(['logs']);
    expect(second.questions).toEqual(['notes', 'logs']);
    await second.close();
  });
});
