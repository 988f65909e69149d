import { filter, map, Observable, type OperatorFunction, tap } from 'rxjs';
import {
  type ChangeEvent,
  Delivery,
  type DmlEvent,
  type DrainMarker,
  isAckedEvent,
  TwoStageAck,
  withRows,
} from '../../../lib/events/index.ts';
import { type Context, link, type Operator, operator, type Stage } from '../../../lib/flow/index.ts';
import type { Entry } from '../../../lib/spool/entry.ts';
import type { Batchable, Flush } from '../../../operators/index.ts';
import { SINK_OPERATORS as HONEST } from '../../../pipelines/cloud-storage-sink/cloud-storage.ts';
import type { WriteItem } from '../../../pipelines/cloud-storage-sink/files/write-files.ts';
import type { EncodedRows } from '../../../pipelines/cloud-storage-sink/rows/encoded-rows.ts';
import type { SpooledRows } from '../../../pipelines/cloud-storage-sink/rows/spool-rows.ts';
import type { Mutant } from '../mutants.ts';

/** Broken operators of the sink. */
export const SINK_MUTANTS: readonly Mutant[] = [
  {
    name: 'a replay is written again',
    hazard: 'what a crash left between the files and the checkpoint is published a second time (spec storage-sink §9.2: at least once)',
    breaks: ['once'],
    seeds: 15,
    plan: { origin: 'postgres' },
    parts: sink({ dropPublished: () => stage('dropPublished', () => (source) => source) }),
  },
  {
    name: 'a replay is dropped by its transaction',
    hazard:
      'what is published is known by its commit-ts alone: the rest of a transaction whose first rows were published is dropped with them',
    breaks: ['durable', 'group', 'snapshot', 'boundary', 'liveness', 'drain', 'reader'],
    seeds: 40,
    plan: { origin: 'postgres' },
    parts: sink({ dropPublished: (target, track) => byTransaction(HONEST.dropPublished(target, track)) }),
  },
  {
    name: 'ack before durable',
    hazard: 'rows are flush-acked when they are handed to the writer: a crash then loses them (file sinks that ack what they have batched)',
    breaks: ['durable', 'group', 'snapshot'],
    seeds: 3,
    parts: sink({
      writeFiles: (target, track) =>
        before(HONEST.writeFiles(target, track), (item: WriteItem) => {
          if ('events' in item) for (const { entry } of item.events) (entry as Entry).ack.postFlush();
        }),
    }),
  },
  {
    name: 'resolved before its rows',
    hazard:
      'a delivery is registered mark first and its rows behind it: a checkpoint of the moment between is beyond them (ticdc #4263, #4269)',
    breaks: ['durable', 'group', 'boundary'],
    seeds: 20,
    parts: sink({
      trackProgress: () =>
        stage('trackProgress', ({ progress }) =>
          tap((delivery) => {
            progress.register(new Delivery(delivery.events.filter(({ type }) => type === 'resolved')));
            progress.register(delivery.with(delivery.events.filter(({ type }) => type !== 'resolved')));
          }),
        ),
    }),
  },
  {
    name: 'the last ack counts for all',
    hazard:
      'only the last event of a delivery is waited for, as if acks were cumulative while tables are written side by side (consumers that commit the newest offset)',
    breaks: ['durable', 'group', 'snapshot'],
    seeds: 15,
    parts: sink({
      trackProgress: () =>
        stage('trackProgress', ({ progress }) =>
          tap((delivery) => {
            const last = delivery.events.filter(isAckedEvent).at(-1);
            progress.register(delivery.with(delivery.events.filter((event) => event === last || !isAckedEvent(event))));
          }),
        ),
    }),
  },
  {
    name: 'filtered events never advance',
    hazard:
      'a delivery without changes for the target moves no checkpoint: the slot keeps the log of a busy database for ever (Debezium needs heartbeats for it)',
    breaks: ['filtered', 'liveness'],
    seeds: 5,
    parts: sink({
      trackProgress: () =>
        stage('trackProgress', ({ progress }) =>
          tap((delivery) => {
            if (delivery.events.some(isAckedEvent)) progress.register(delivery);
            else delivery.ack.postFlush();
          }),
        ),
    }),
  },
  {
    name: 'a group torn apart',
    hazard:
      'the insert of a split key update goes out one delivery behind its delete: the checkpoint falls between the two (tiflow #10167, #11211: split updates)',
    breaks: ['group', 'order', 'durable'],
    seeds: 30,
    plan: { origin: 'postgres' },
    parts: sink({ splitKeyUpdates: (options) => torn(HONEST.splitKeyUpdates(options)) }),
  },
  {
    name: 'schema change without a drain',
    hazard: 'the schema file is written while rows of the version before are still gathered (ticdc #4389: the flush came behind WAITING)',
    breaks: ['drain'],
    seeds: 15,
    parts: sink({ drainMarkers: () => stage('drainMarkers', () => (source) => source) }),
  },
  {
    name: 'a drain that skips what is gathered',
    hazard: 'the drain marker overtakes the rows that wait for their file, and the schema change follows it',
    breaks: ['drain'],
    seeds: 15,
    parts: sink({ flushBy: (options) => overtaking(HONEST.flushBy(options)) }),
  },
  {
    name: 'a drain that skips the encode queue',
    hazard:
      'the drain marker passes by the rows that still wait for an encoder (spec storage-sink §11, DDLPassBlockEventCoversEncodeQueue)',
    breaks: ['drain'],
    seeds: 15,
    parts: sink({ encodeOrdered: (options) => passing(options.encode) }),
  },
  {
    name: 'a held ack is overtaken',
    hazard:
      'above the high mark one ack is held, and the next passes as soon as there is room again, because holding is not sticky (spec storage-sink §2.5)',
    breaks: ['fifo'],
    seeds: 50,
    plan: { memory: { high: 2500, low: 100 }, maxBytesInFlight: 8 * 1024 * 1024 },
    parts: sink({ spoolRows: (spool) => forgetful(HONEST.spoolRows(spool), 2500, 100) }),
  },
  {
    name: 'an interval flush is lost',
    hazard:
      'what the timer flushes is dropped, as on an error that nobody sees (spec storage-sink §1: the tick was dropped when the queue was full)',
    breaks: ['liveness', 'drain'],
    seeds: 10,
    parts: sink({ flushBy: (options) => losing(HONEST.flushBy(options), (flush) => flush.reason === 'interval') }),
  },
  {
    name: 'the last batch is dropped at the end',
    hazard: 'at a drained stop what was gathered is acked and thrown away (sinks that lose their partial batch on shutdown)',
    breaks: ['durable', 'group', 'snapshot'],
    seeds: 40,
    plan: { stops: 1, sink: { protocol: 'canal-json', fileSize: 65_536, flushInterval: 5000 } },
    parts: sink({
      flushBy: (options) =>
        losing(HONEST.flushBy(options), (flush) => {
          if (flush.reason !== 'close') return false;
          for (const { entry } of flush.events as unknown as readonly SpooledRows[]) (entry as Entry).ack.postFlush();
          return true;
        }),
    }),
  },
  {
    name: 'encoded out of order',
    hazard: 'parallel encoders emit whichever is ready first: a large block is overtaken by a small one (spec storage-sink §1, Ordering)',
    breaks: ['order', 'fifo', 'drain'],
    seeds: 15,
    parts: sink({ encodeOrdered: (options) => unordered(options.encode) }),
  },
];

/** Parts with these operators in the place of the sink's own. */
function sink(broken: Partial<typeof HONEST>): Mutant['parts'] {
  return ({ operators }) => ({ operators: { ...operators, ...broken } });
}

function stage(name: string, build: (context: Context) => OperatorFunction<Delivery, Delivery>): Stage {
  return operator<Delivery, Delivery>(name, {}, build);
}

/** Of a transaction whose first rows are dropped the rest is dropped too. */
function byTransaction(honest: Stage): Stage {
  return stage('dropPublished', (context) => (source) => {
    const dropped = new Map<string, bigint>();
    const arrived: Delivery[] = [];
    return source.pipe(
      tap((delivery) => arrived.push(delivery)),
      honest.withContext(context),
      map((delivery) => {
        const kept = new Set(delivery.events.flatMap((event) => (event.type === 'dml' ? [event.rows.bytes] : [])));
        for (const event of arrived.shift()!.events) {
          if (event.type === 'dml' && !kept.has(event.rows.bytes)) dropped.set(event.dispatcher, event.rows.last.commitTs);
        }
        return delivery.with(
          delivery.events.filter((event) => event.type !== 'dml' || event.rows.last.commitTs !== dropped.get(event.dispatcher)),
        );
      }),
    );
  });
}

/** The same operator; `look` sees what comes to it. */
function before<In, Out>(honest: Operator<In, Out>, look: (item: In) => void): Operator<In, Out> {
  return operator<In, Out>(honest.operatorName, {}, (context) => (source) => source.pipe(tap(look), honest.withContext(context)));
}

/** The second row of a position, and what follows it in its block, comes with the next delivery. */
function torn(honest: Stage): Stage {
  return stage('splitKeyUpdates', (context) => (source) => {
    let kept: DmlEvent[] = [];
    return source.pipe(
      honest.withContext(context),
      map((delivery) => {
        const events: ChangeEvent[] = kept;
        kept = [];
        for (const event of delivery.events) {
          const at = event.type === 'dml' ? event.rows.ordinals.findIndex((ordinal, row, all) => row > 0 && ordinal === all[row - 1]) : -1;
          if (event.type !== 'dml' || at < 0 || event !== delivery.events.findLast(({ type }) => type === 'dml')) {
            events.push(event);
            continue;
          }
          events.push(withRows(event, event.rows.slice(0, at)));
          kept.push(withRows(event, event.rows.slice(at, event.rows.rowCount)));
        }
        return delivery.with(events);
      }),
    );
  });
}

/** Markers pass what is gathered. */
function overtaking<T extends Batchable>(honest: Operator<T | DrainMarker, Flush<T> | DrainMarker>): typeof honest {
  return operator<T | DrainMarker, Flush<T> | DrainMarker>('flushBy', {}, (context) => (source) => {
    return new Observable((subscriber) => {
      const items = source.pipe(
        filter((item) => {
          const isMarker = item.type === 'marker';
          if (isMarker) subscriber.next(item as DrainMarker);
          return !isMarker;
        }),
      );
      link(honest.withContext(context)(items), subscriber, { next: (item) => subscriber.next(item) });
    });
  });
}

/** Flushes that `isLost` are not emitted. */
function losing<T extends Batchable>(
  honest: Operator<T | DrainMarker, Flush<T> | DrainMarker>,
  isLost: (flush: Flush<T>) => boolean,
): typeof honest {
  return operator<T | DrainMarker, Flush<T> | DrainMarker>('flushBy', {}, (context) => (source) => {
    return new Observable((subscriber) => {
      link(honest.withContext(context)(source), subscriber, {
        next: (item) => {
          if (!('events' in item) || !isLost(item)) subscriber.next(item);
        },
      });
    });
  });
}

/** Holds an ack above the high mark, and no later one once there is room. */
function forgetful(
  honest: Operator<EncodedRows | DrainMarker, SpooledRows | DrainMarker>,
  high: number,
  low: number,
): Operator<EncodedRows | DrainMarker, SpooledRows | DrainMarker> {
  return operator('spoolRows', {}, (context) => (source) => {
    const { gauge } = context;
    return new Observable((subscriber) => {
      let held: TwoStageAck[] = [];
      let last = new TwoStageAck();
      subscriber.add(
        gauge.onRelease(() => {
          if (gauge.level > low) return;
          const due = held;
          held = [];
          for (const ack of due) ack.postEnqueue();
        }),
      );
      const items = source.pipe(
        map((item) => {
          if (item.type === 'marker') return item;
          const { ack } = item;
          last = ack;
          const spooled = new TwoStageAck();
          spooled.addPostFlush(() => ack.postFlush());
          return { ...item, ack: spooled };
        }),
      );
      link(honest.withContext(context)(items), subscriber, {
        next: (item) => {
          const ack = last;
          subscriber.next(item);
          if (item.type === 'marker') return;
          if (gauge.level > high) held.push(ack);
          else ack.postEnqueue();
        },
      });
    });
  });
}

/** A large block takes a while; what is encoded meanwhile goes out before it. */
function unordered<T, R>(encode: (item: T) => R | Promise<R>): Operator<T, R> {
  return operator<T, R>('encodeOrdered', {}, ({ clock }) => (source) => {
    return new Observable((subscriber) => {
      let isDone = false;
      let under = 0;
      const end = () => {
        if (isDone && under === 0) subscriber.complete();
      };
      link(source, subscriber, {
        next: (item) => {
          const result = encode(item) as R;
          const { bytes } = result as { bytes?: number };
          if (bytes === undefined || bytes < 300) return subscriber.next(result);
          under++;
          subscriber.add(
            clock.after(5, () => {
              under--;
              subscriber.next(result);
              end();
            }),
          );
        },
        complete: () => {
          isDone = true;
          end();
        },
      });
    });
  });
}

/** Rows wait a while for their encoder, in order; markers do not wait for them. */
function passing<T, R>(encode: (item: T) => R | Promise<R>): Operator<T, R> {
  return operator<T, R>('encodeOrdered', {}, ({ clock }) => (source) => {
    return new Observable((subscriber) => {
      let isDone = false;
      const waiting: R[] = [];
      const end = () => {
        if (isDone && waiting.length === 0) subscriber.complete();
      };
      link(source, subscriber, {
        next: (item) => {
          const result = encode(item) as R;
          if ((result as { type?: string }).type === 'marker') return subscriber.next(result);
          waiting.push(result);
          subscriber.add(
            clock.after(5, () => {
              subscriber.next(waiting.shift()!);
              end();
            }),
          );
        },
        complete: () => {
          isDone = true;
          end();
        },
      });
    });
  });
}
