import { join } from 'node:path';
import { type EventHandler, type EventInput, type EventRecorder, eventRecorder } from '../pipelines/index.ts';
import { measureSelf } from './measured-process.ts';
import { median } from './stats.ts';

// Records events, and prints what that took.
//   time   FOLDER
//   memory FOLDER COUNT none|dropNewest|dropOldest|spill
const [what, folder, ...rest] = process.argv.slice(2) as [string, string, ...string[]];

const ROUNDS = 9;
const BURSTS_PER_ROUND = 50;
/** Less than a queue holds: what is timed is accepting alone. */
const BURST = 2000;
/** What a producer that yields now and then does between two turns of the event loop. */
const CHUNK = 500;

const COLUMNS = Object.freeze(
  (
    [
      { name: 'operation', type: 'string', semantic: 'tag' },
      { name: 'cost_ms', type: 'int64', semantic: 'field' },
      { name: 'error', type: 'string', semantic: 'field' },
    ] as const
  ).map((column) => Object.freeze(column)),
);

/** An event of each kind, made afresh for each call as a producer does. */
const EVENTS: Readonly<Record<string, (n: number) => EventInput>> = {
  plain: () => ({ type: 'tick' }),
  'a payload of 8 values': (n) => ({ type: 'request', payload: payloadOf(n) }),
  'the payload and 3 columns': (n) => ({
    type: 'slow',
    payload: payloadOf(n),
    extraSchema: COLUMNS,
    extraRows: [['flush', n, null]],
  }),
};

function payloadOf(n: number) {
  return {
    id: n,
    tenant: 'a3f8c1',
    path: '/v1/orders/4711/items',
    method: 'POST',
    status: 201,
    took: 12.5,
    retried: false,
    tags: ['eu', 'gold'],
  };
}

const takes: EventHandler = { name: 'takes', deliver: async () => {} };
const dead: EventHandler = { name: 'dead', deliver: () => Promise.reject(new Error('target is down')) };

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function settled(recorder: EventRecorder): Promise<void> {
  while (recorder.status().pending > 0) await turn();
}

/** Nanoseconds of CPU, all threads of the process. */
function cpuNs(since?: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) * 1000;
}

/** Nanoseconds of a call: bursts into an empty queue, drained between two of them outside of what is timed. */
async function recordNs(recorder: EventRecorder, make: (n: number) => EventInput): Promise<number> {
  let ns = 0;
  for (let burst = 0; burst < BURSTS_PER_ROUND; burst++) {
    const start = process.cpuUsage();
    for (let n = 0; n < BURST; n++) recorder.record(make(n));
    ns += cpuNs(start);
    await settled(recorder);
  }
  return ns / BURSTS_PER_ROUND / BURST;
}

/** What everybody writes first: a list, a time, and JSON text against later changes. */
async function arrayNs(make: (n: number) => EventInput): Promise<number> {
  let ns = 0;
  for (let burst = 0; burst < BURSTS_PER_ROUND; burst++) {
    const list: unknown[] = [];
    const start = process.cpuUsage();
    for (let n = 0; n < BURST; n++) {
      const { type, payload = null, extraRows } = make(n);
      list.push({
        type,
        atMs: Date.now(),
        payload: JSON.stringify(payload),
        rows: extraRows === undefined ? null : JSON.stringify(extraRows),
      });
    }
    ns += cpuNs(start);
    if (list.length !== BURST) throw new Error('a list has lost something');
    await turn();
  }
  return ns / BURSTS_PER_ROUND / BURST;
}

/** CPU ns of an event from `record` to the end of its delivery to a handler that takes everything, the rest of the process included. */
async function deliveredNs(
  recorder: EventRecorder,
  make: (n: number) => EventInput,
  count: number,
): Promise<{ cpuNs: number; perSecond: number }> {
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  let left = count;
  while (left > 0) {
    for (let n = 0; n < BURST && left > 0; n++, left--)
      if (!(recorder.record(make(n)) as { accepted: boolean }).accepted) throw new Error('refused');
    await settled(recorder);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  return { cpuNs: cpuNs(cpu) / count, perSecond: count / seconds };
}

interface Sample {
  readonly ours: number;
  readonly array: number;
  readonly cpuNs: number;
  readonly perSecond: number;
  /** Delivered in a second through a spill. */
  readonly spilled: number;
}

async function time(): Promise<void> {
  const quiet = { lossSummary: false, linger: 1 } as const;
  const memory = await eventRecorder({ handler: takes, ...quiet }).open();
  const spill = await eventRecorder({ handler: takes, ...quiet, overflow: 'spill', spill: { folder: join(folder, 'spill') } }).open();
  const refusing = await eventRecorder({ handler: dead, ...quiet, queueEvents: 1, whenExhausted: 'keep' }).open();
  const filtering = await eventRecorder({ handler: takes, ...quiet, eventTypes: [] }).open();
  refusing.record({ type: 'first' });
  const accepted: Record<string, Sample> = {};
  for (const [name, make] of Object.entries(EVENTS)) {
    const samples: Sample[] = [];
    for (let round = -3; round < ROUNDS; round++) {
      const [ours, array] = [await recordNs(memory, make), await arrayNs(make)];
      const { cpuNs, perSecond } = await deliveredNs(memory, make, 25 * BURST);
      const spilled = await deliveredNs(spill, make, 10 * BURST);
      if (round >= 0) samples.push({ ours, array, cpuNs, perSecond, spilled: spilled.perSecond });
    }
    const of = (key: keyof Sample) => median(samples.map((sample) => sample[key]));
    accepted[name] = { ours: of('ours'), array: of('array'), cpuNs: of('cpuNs'), perSecond: of('perSecond'), spilled: of('spilled') };
  }
  const make = EVENTS['a payload of 8 values']!;
  const notTaken: Record<string, number> = {};
  for (const [name, recorder] of Object.entries({ 'no room': refusing, 'filtered type': filtering })) {
    const samples: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = process.cpuUsage();
      for (let n = 0; n < 100_000; n++) recorder.record(make(n));
      samples.push(cpuNs(start) / 100_000);
    }
    notTaken[name] = median(samples);
  }
  await Promise.all([memory, spill, refusing, filtering].map((recorder) => recorder.close(0)));
  console.log(JSON.stringify({ accepted, notTaken }));
}

/** So many events at a handler that always fails. */
async function memory(): Promise<void> {
  const [count, policy] = [Number(rest[0]), rest[1] as 'none' | 'dropNewest' | 'dropOldest' | 'spill'];
  const make = EVENTS['a payload of 8 values']!;
  const options = { handler: dead, lossLog: '1h', linger: 100 } as const;
  const recorder =
    policy === 'none'
      ? null
      : await (policy === 'spill'
          ? eventRecorder({ ...options, overflow: 'spill', spill: { folder: join(folder, 'dead'), quota: '256MiB' } })
          : eventRecorder({ ...options, overflow: policy })
        ).open();
  await measureSelf(async () => {
    let bytes = 0;
    for (let n = 0; n < count; n++) {
      const event = make(n);
      if (recorder === null) bytes += JSON.stringify(event.payload).length;
      else recorder.record(event);
      if (n % CHUNK === 0) await turn();
    }
    const status = recorder?.status();
    return {
      rows: count,
      bytes,
      accepted: status?.accepted ?? 0,
      refused: status?.refused.overflow ?? 0,
      dropped: status === undefined ? 0 : Object.values(status.dropped).reduce((sum, each) => sum + each, 0),
      pending: status?.pending ?? 0,
      spillBytes: status?.spillBytes ?? 0,
    };
  });
}

await { time, memory }[what]!();
