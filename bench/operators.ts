import { performance } from 'node:perf_hooks';
import { map, type OperatorFunction, Subject } from 'rxjs';
import {
  type ChangeEvent,
  Delivery,
  defineTable,
  dispatcherOfTable,
  dmlEvent,
  RowBlockWriter,
  resolvedEvent,
} from '../lib/events/index.ts';
import { dedupeCommitTs, filterEpoch, filterTables, perEvent, type Stage, trackProgress } from '../operators/index.ts';
import { median } from './stats.ts';

const ROUNDS = 5;
const DELIVERIES = 200_000;

const table = defineTable({
  dispatcher: dispatcherOfTable('bench', 1),
  sourceSchema: 'public',
  sourceName: 'bench',
  schema: 'public',
  name: 'bench',
  tableId: 1,
  version: 1n,
  replicaIdentity: 'default',
  columns: [
    {
      name: 'id',
      wireIndex: 0,
      columnId: 1,
      type: 'int8',
      typeModifier: -1,
      nullable: false,
      isPrimaryKey: true,
      isIdentity: true,
      defaultText: null,
    },
  ],
});

/** Deliveries of `events` blocks each; positions ascend over all of them. Made afresh for each run, outside of what is timed. */
function makeDeliveries(count: number, events: number): Delivery[] {
  const writer = new RowBlockWriter(table);
  let commitTs = 1n;
  return Array.from({ length: count }, () => {
    const list: ChangeEvent[] = Array.from({ length: events }, () =>
      dmlEvent(writer.beginTransaction(commitTs++).insert({ id: '1' }).build()),
    );
    list.push(resolvedEvent(commitTs - 1n));
    return new Delivery(list, 64);
  });
}

/** Nanoseconds per delivery through `operator`, in a subject that emits synchronously. */
function time(operator: OperatorFunction<Delivery, Delivery>, deliveries: readonly Delivery[]): number {
  const source = new Subject<Delivery>();
  let seen = 0;
  source.pipe(operator).subscribe((delivery) => {
    seen += delivery.events.length;
  });
  const start = performance.now();
  for (const delivery of deliveries) source.next(delivery);
  const elapsed = performance.now() - start;
  if (seen === 0) throw new Error('nothing came through');
  return (elapsed * 1e6) / deliveries.length;
}

const STAGES: Readonly<Record<string, () => Stage>> = {
  'perEvent (identity)': () => perEvent('identity', (event) => event),
  filterEpoch: () => filterEpoch(),
  filterTables: () => filterTables(['public.*']),
  dedupeCommitTs: () => dedupeCommitTs({}),
  trackProgress: () => trackProgress(),
};

/** (d): what an operator costs above a bare RxJS `map`, per delivery and per event. */
export function operators(): string {
  const lines: string[] = [];
  const bare: OperatorFunction<Delivery, Delivery> = map((delivery) => delivery);
  for (const [name, stage] of Object.entries(STAGES)) {
    const cells = [1, 64].map((events) => {
      const count = Math.round(DELIVERIES / events);
      const samples = Array.from({ length: ROUNDS }, () => {
        const own = makeDeliveries(count, events);
        const control = makeDeliveries(count, events);
        return { own: time(stage(), own), bare: time(bare, control) };
      });
      const own = median(samples.map((sample) => sample.own));
      const plain = median(samples.map((sample) => sample.bare));
      return `${own.toFixed(0)} | ${plain.toFixed(0)} | ${((own - plain) / events).toFixed(0)}`;
    });
    lines.push(`| ${name} | ${cells.join(' | ')} |`);
  }
  return [
    '### (d) Operator overhead against a bare `map`, nanoseconds',
    '',
    '| operator | 1 event: per delivery | bare map | above it, per event | 64 events: per delivery | bare map | above it, per event |',
    '|---|--:|--:|--:|--:|--:|--:|',
    ...lines,
    '',
  ].join('\n');
}
