import { map } from 'rxjs';
import { type ChangeEvent, type Delivery, type DispatcherId, type DmlEvent, resolvedEvent, withRows } from '../../../lib/events/index.ts';
import { type Clock, operator, type Source, type Stage } from '../../../lib/index.ts';
import { needsSnapshot } from '../../../lib/sources/postgres/state.ts';
import { openStream } from '../../../lib/sources/postgres/stream.ts';
import { checkSequence } from '../../../operators/index.ts';
import type { Mutant } from '../mutants.ts';

/** A broken source, or stages that break the order of what it gives. */
export const SOURCE_MUTANTS: readonly Mutant[] = [
  {
    name: 'resolved at L instead of L − 1',
    hazard:
      'a keepalive at L is taken for everything up to L, and the next commit is at L (P1; replication clients that confirm the end of the WAL)',
    breaks: ['durable', 'boundary', 'keepalive'],
    seeds: 5,
    plan: { origin: 'postgres' },
    parts: () => ({
      source: (source) =>
        through(source, (delivery) =>
          delivery.with(delivery.events.map((event) => (event.type === 'resolved' ? { ...event, commitTs: event.commitTs + 1n } : event))),
        ),
    }),
  },
  {
    name: 'checkpoint inside a transaction',
    hazard:
      'each row resolves its own commitTs: a large transaction that is cut counts as durable at its first part (offsets stored per event)',
    breaks: ['boundary', 'durable'],
    seeds: 5,
    plan: { origin: 'postgres', snapshot: 'never', maxDeliveryBytes: 500 },
    parts: () => ({
      source: (source) =>
        through(source, (delivery) => {
          const last = delivery.events.findLast((event): event is DmlEvent => event.type === 'dml');
          return last === undefined ? delivery : delivery.with([...delivery.events, resolvedEvent(last.rows.last.commitTs)]);
        }),
    }),
  },
  {
    name: 'resolved overtakes rows',
    hazard: 'marks pass a stage at once while rows wait in it for their turn (asynchronous stages beside a watermark)',
    breaks: ['durable', 'boundary'],
    seeds: 15,
    parts: () => ({ stages: (stages) => [...stages, late()] }),
  },
  {
    name: 'reordered inside a transaction',
    hazard:
      'rows are shared out by their key and come together again in another order, deletes behind inserts (Kafka sinks that partition by row key)',
    breaks: ['order'],
    seeds: 3,
    parts: () => ({ stages: (stages) => [...stages, byParity()] }),
  },
  {
    name: 'dedupe without ordinals drops what shares a commit-ts',
    hazard: 'a change at the last commitTs is taken for a repetition, though several transactions may share it (spec event-collector §4.2)',
    breaks: ['order', 'durable', 'boundary'],
    seeds: 5,
    plan: { origin: 'session' },
    parts: ({ ordering }) => ({ ordering: { ...ordering, dedupeCommitTs: () => onlyAscending() } }),
  },
  {
    name: 'a commit-ts is taken for a number',
    hazard: 'beyond 2^53 a JSON number is rounded: marks stand beyond what was emitted (readers of TiDB positions in JavaScript)',
    breaks: ['durable', 'boundary', 'filtered'],
    seeds: 10,
    plan: { origin: 'session' },
    parts: () => ({ stages: (stages) => [...stages, rounded()] }),
  },
  {
    name: 'a stale epoch passes',
    hazard: 'events that were in flight when a table was reset go on beside those of its new epoch (spec event-collector §3.3)',
    breaks: ['epoch'],
    seeds: 5,
    plan: { origin: 'session', serverTroubleEveryMs: 100, sessionFaults: { delays: 0.1 } },
    parts: ({ ordering }) => ({
      ordering: { ...ordering, filterEpoch: () => operator<Delivery, Delivery>('filterEpoch', {}, () => (source) => source) },
    }),
  },
  {
    name: 'gaps go unnoticed',
    hazard: 'a message that the transport lost is never asked for again (spec event-collector §4.1)',
    breaks: ['order', 'durable', 'boundary'],
    seeds: 5,
    plan: { origin: 'session', sessionFaults: { loses: 0.03 } },
    parts: ({ ordering }) => ({
      ordering: {
        ...ordering,
        checkSequence: () => operator<Delivery, Delivery>(checkSequence().operatorName, {}, () => (source) => source),
      },
    }),
  },
  {
    name: 'snapshot completion is not checkpointed',
    hazard:
      'a snapshot counts as complete once it was begun: a crash in its middle loses the rest (connectors that store "snapshot done" apart from their offset)',
    breaks: ['snapshot', 'drain', 'order', 'errors'],
    seeds: 10,
    plan: { origin: 'postgres', snapshot: 'initial', changesBefore: 60, nodeFaults: { crashEveryMs: 300, downMs: [0, 100] } },
    parts: () => ({ postgres: { needsSnapshot: (table, checkpointTs) => table.wantsSnapshot && needsSnapshot(table, checkpointTs) } }),
  },
  {
    name: 'confirms what it has received',
    hazard:
      'the status report says what has arrived, not what is durable (pg-logical-replication acknowledges by itself unless told not to)',
    breaks: ['keepalive'],
    seeds: 3,
    plan: { origin: 'postgres' },
    parts: () => ({
      postgres: {
        openStream: (options) => {
          const stream = openStream(options);
          return { ...delegated(stream), deliveries: confirming(stream.deliveries, (ts) => stream.confirm(ts)) };
        },
      },
    }),
  },
  {
    name: 'no keepalive while nobody pulls',
    hazard: 'status reports are sent by whoever reads the stream: when the sink holds it back, the server gives the client up (I10)',
    breaks: ['keepalive'],
    seeds: 30,
    plan: { origin: 'postgres', storeStallMs: 40_000, stops: 0, nodeFaults: {}, storeFaults: {}, maxBytesInFlight: 2000 },
    parts: () => ({
      postgres: {
        openStream: (options) => {
          const pulls = { count: 0 };
          const stream = openStream({ ...options, clock: whilePulled(options.clock, pulls) });
          return { ...delegated(stream), deliveries: counted(stream.deliveries, pulls) };
        },
      },
    }),
  },
];

/** The same source, each delivery changed. */
function through(source: Source, change: (delivery: Delivery) => Delivery): Source {
  return {
    ...source,
    open: async (context) => {
      const opened = await source.open(context);
      const deliveries = (async function* () {
        for await (const delivery of opened.deliveries) yield change(delivery);
      })();
      return {
        get identity() {
          return opened.identity;
        },
        get headTs() {
          return opened.headTs;
        },
        deliveries,
        confirm: (checkpointTs) => opened.confirm(checkpointTs),
        status: () => opened.status(),
        close: () => opened.close(),
      };
    },
  };
}

/** Rows go on with the next delivery; all else at once. */
function late(): Stage {
  return operator<Delivery, Delivery>('late', {}, () => (source) => {
    let kept: ChangeEvent[] = [];
    return source.pipe(
      map((delivery) => {
        const due = kept;
        const isRows = (event: ChangeEvent) => event.type === 'dml';
        kept = delivery.events.filter(isRows);
        return delivery.with([...due, ...delivery.events.filter((event) => !isRows(event))]);
      }),
    );
  });
}

/** Rows with even ordinals first, then those with odd ones. */
function byParity(): Stage {
  return operator<Delivery, Delivery>('byParity', {}, () =>
    map((delivery: Delivery) =>
      delivery.with(
        delivery.events.flatMap((event): ChangeEvent[] => {
          if (event.type !== 'dml') return [event];
          const { rows } = event;
          const all = Array.from({ length: rows.rowCount }, (_, row) => row);
          const shares = [0, 1].map((parity) => all.filter((row) => rows.ordinals[row]! % 2 === parity));
          return shares.filter((share) => share.length > 0).map((share) => withRows(event, rows.select(share)));
        }),
      ),
    ),
  );
}

/** Marks whose commitTs went through a number. */
function rounded(): Stage {
  return operator<Delivery, Delivery>('rounded', {}, () =>
    map((delivery: Delivery) =>
      delivery.with(
        delivery.events.map((event) => (event.type === 'resolved' ? { ...event, commitTs: BigInt(Number(event.commitTs)) } : event)),
      ),
    ),
  );
}

/** Drops every event whose commitTs is not beyond the last of its dispatcher. */
function onlyAscending(): Stage {
  return operator<Delivery, Delivery>('dedupeCommitTs', {}, () => {
    const last = new Map<DispatcherId, bigint>();
    return map((delivery: Delivery) =>
      delivery.with(
        delivery.events.filter((event) => {
          if (event.type !== 'dml') return true;
          const { commitTs } = event.rows.last;
          if (commitTs <= (last.get(event.dispatcher) ?? -1n)) return false;
          last.set(event.dispatcher, commitTs);
          return true;
        }),
      ),
    );
  });
}

function delegated(stream: ReturnType<typeof openStream>): Omit<typeof stream, 'deliveries'> {
  return { confirm: (ts) => stream.confirm(ts), status: () => stream.status(), close: () => stream.close() };
}

async function* confirming(deliveries: AsyncIterable<Delivery>, confirm: (commitTs: bigint) => void): AsyncGenerator<Delivery> {
  for await (const delivery of deliveries) {
    for (const event of delivery.events) if (event.type === 'resolved') confirm(event.commitTs);
    yield delivery;
  }
}

/** Counts who waits for a delivery. */
function counted(deliveries: AsyncIterable<Delivery>, pulls: { count: number }): AsyncIterable<Delivery> {
  const iterator = deliveries[Symbol.asyncIterator]();
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        pulls.count++;
        try {
          return await iterator.next();
        } finally {
          pulls.count--;
        }
      },
      return: async () => iterator.return?.() ?? { done: true, value: undefined },
    }),
  };
}

/** A clock whose timers wait until somebody pulls. */
function whilePulled(clock: Clock, pulls: { readonly count: number }): Clock {
  const after = (delayMs: number, fn: () => void): (() => void) => {
    let cancel = clock.after(delayMs, function run() {
      if (pulls.count > 0) fn();
      else cancel = clock.after(100, run);
    });
    return () => cancel();
  };
  return {
    scheduler: clock.scheduler,
    now: () => clock.now(),
    random: () => clock.random(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    after,
  };
}
