import { describe, expect, it } from '@jest/globals';
import { map, Observable, tap } from 'rxjs';
import { Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import type { OpenSink, OpenSource, Sink, Source } from '../../../lib/index.ts';
import {
  describeSink,
  describeSource,
  type MemorySink,
  memorySink,
  memorySource,
  type SinkFixture,
  type SourceFixture,
} from '../../../lib/testing/index.ts';
import { failuresOf } from './failures-of.ts';
import { memorySourceFixture } from './memory-source-fixture.ts';

type Break = (open: OpenSink, memory: MemorySink) => Partial<OpenSink>;

function brokenSink(how: Break): () => Promise<SinkFixture> {
  return async () => {
    const memory = memorySink({ flushIntervalMs: 5000 });
    const open: Sink['open'] = async (context) => {
      const opened = await memory.open(context);
      return { ...opened, ...how(opened, memory) };
    };
    return {
      sink: { name: 'broken', options: {}, open },
      read: async () => memory.changes(),
      hold: () => memory.hold(),
      release: () => memory.release(),
      failNext: () => memory.failNext(),
      published: async () => memory.published.at(-1) ?? null,
      close: async () => {},
    };
  };
}

/** After the sink has registered the delivery. */
const arrived =
  (step: (delivery: Delivery) => void): Break =>
  (open) => ({
    write: (deliveries) =>
      new Observable((subscriber) => {
        const taken: Delivery[] = [];
        const writing = open.write(deliveries.pipe(tap((delivery) => taken.push(delivery)))).subscribe(subscriber);
        writing.add(deliveries.subscribe({ next: () => taken.splice(0).map(step), error: () => {} }));
        return writing;
      }),
  });

const ackedEarly = (type: 'dml' | 'ddl' | 'syncpoint') =>
  arrived(({ events }) => {
    for (const event of events) if (event.type === type && 'ack' in event) event.ack.postFlush();
  });

describe('describeSink notices', () => {
  it.each<[string, Break, RegExp]>([
    ['an ack before durable', ackedEarly('dml'), /^I1: acks nothing/],
    [
      'acks behind a failed write',
      (open) => ({
        write: (deliveries) =>
          new Observable((subscriber) => {
            const taken: Delivery[] = [];
            return open.write(deliveries.pipe(tap((delivery) => taken.push(delivery)))).subscribe({
              next: (report) => subscriber.next(report),
              error: (error: unknown) => {
                for (const { events } of taken) for (const event of events) if (event.type === 'dml') event.ack.postFlush();
                subscriber.error(error);
              },
              complete: () => subscriber.complete(),
            });
          }),
      }),
      /^I1: a write that failed/,
    ],
    [
      'one of two that share a position acked early',
      arrived(({ events }) => {
        const [first, second] = events;
        if (first?.type === 'dml' && second?.type === 'dml') first.ack.postFlush();
      }),
      /^I3/,
    ],
    [
      'a source that is not remembered',
      (open) => ({ identity: null, claim: async () => {}, write: open.write }),
      /^refuses another source/,
    ],
    [
      'rows that are forgotten at the end',
      (open) => ({
        write: (deliveries) =>
          new Observable((subscriber) => {
            const writing = open
              .write(
                new Observable((inner) =>
                  deliveries.subscribe({ next: (delivery) => inner.next(delivery), error: (error: unknown) => inner.error(error) }),
                ),
              )
              .subscribe(subscriber);
            writing.add(deliveries.subscribe({ complete: () => subscriber.complete(), error: () => {} }));
            return writing;
          }),
      }),
      /^flushes everything it has accepted/,
    ],
    [
      'an error that ends well',
      (open) => ({
        write: (deliveries) =>
          new Observable((subscriber) =>
            open.write(deliveries).subscribe({
              next: (report) => subscriber.next(report),
              error: () => subscriber.complete(),
              complete: () => subscriber.complete(),
            }),
          ),
      }),
      /^passes an error/,
    ],
    ['schema changes before their rows', ackedEarly('ddl'), /^a block event is durable behind/],
    [
      'reordering',
      (open) => ({ write: (deliveries) => open.write(deliveries.pipe(map((delivery) => delivery.with([...delivery.events].reverse())))) }),
      /position order/,
    ],
    [
      'a checkpoint that goes back',
      (open, memory) => ({
        ...open,
        publishCheckpoint: async (checkpointTs) => void (memory.published as bigint[]).push(checkpointTs),
      }),
      /never goes back/,
    ],
    [
      'empty deliveries that are not registered',
      (open) => ({
        write: (deliveries) =>
          open.write(
            new Observable((inner) =>
              deliveries.subscribe({
                next: (delivery) => delivery.events.some(({ type }) => type !== 'resolved') && inner.next(delivery),
                error: (error: unknown) => inner.error(error),
                complete: () => inner.complete(),
              }),
            ),
          ),
      }),
      /^I7/,
    ],
    ['syncpoints that pass by the rows', ackedEarly('syncpoint'), /^a syncpoint is acked/],
  ])(
    '%s',
    async (_, how, title) => {
      const failures = await failuresOf((runner) => describeSink('broken', brokenSink(how), runner));
      expect(failures).toContainEqual(expect.stringMatching(title));
    },
    60_000,
  );

  it('nothing in a sink that is whole', async () => {
    expect(
      await failuresOf((runner) =>
        describeSink(
          'whole',
          brokenSink(() => ({})),
          runner,
        ),
      ),
    ).toEqual([]);
  });
});

type Bend = (delivery: Delivery) => readonly Delivery[];

function brokenSource(how: Partial<{ deliveries: Bend; open: (source: OpenSource) => Partial<OpenSource> }>): () => Promise<SourceFixture> {
  return async () => {
    const fixture = memorySourceFixture(memorySource());
    const open: Source['open'] = async (context) => {
      const opened = await fixture.source.open(context);
      const { deliveries: bend = (delivery) => [delivery] } = how;
      async function* bent() {
        for await (const delivery of opened.deliveries) yield* bend(delivery);
      }
      return { ...opened, deliveries: bent(), ...how.open?.(opened) };
    };
    return { ...fixture, source: { name: 'broken', options: {}, open }, patienceMs: 300 };
  };
}

describe('describeSource notices', () => {
  it.each<[string, Parameters<typeof brokenSource>[0], RegExp]>([
    [
      'a resolved mark that is too far',
      {
        deliveries: (delivery) => [
          delivery.with(delivery.events.map((event) => (event.type === 'resolved' ? resolvedEvent(event.commitTs + 10n) : event))),
        ],
      },
      /^I2/,
    ],
    [
      'a resolved mark inside a transaction',
      {
        deliveries: (delivery) => {
          const [event] = delivery.events;
          return event?.type === 'dml' ? [delivery, new Delivery([resolvedEvent(event.rows.first.commitTs)])] : [delivery];
        },
      },
      /^I2/,
    ],
    [
      'a TRUNCATE among other events',
      {
        deliveries: (() => {
          let before: Delivery | null = null;
          return (delivery: Delivery) => {
            const held = before;
            if (held !== null) {
              before = null;
              return [new Delivery([...held.events, ...delivery.events])];
            }
            if (!delivery.events.some(({ type }) => type === 'truncate')) return [delivery];
            before = delivery;
            return [];
          };
        })(),
      },
      /^a TRUNCATE comes alone/,
    ],
    ['a change that is given twice', { deliveries: (delivery) => [delivery, delivery] }, /^gives each change/],
    ['an identity of its own each time', { open: () => ({ identity: { start: Math.random() } }) }, /^is the same source/],
  ])(
    '%s',
    async (_, how, title) => {
      const failures = await failuresOf((runner) => describeSource('broken', brokenSource(how), runner));
      expect(failures).toContainEqual(expect.stringMatching(title));
    },
    60_000,
  );

  it('a source that skips what it had confirmed, instead of refusing (I6)', async () => {
    const make = async () => {
      const fixture = memorySourceFixture(memorySource());
      let confirmed = -1n;
      const open: Source['open'] = async (context) => {
        const checkpointTs = context.checkpointTs !== null && context.checkpointTs < confirmed ? confirmed : context.checkpointTs;
        const opened = await fixture.source.open({ ...context, checkpointTs });
        return {
          ...opened,
          confirm: (ts) => {
            confirmed = ts;
          },
        };
      };
      return { ...fixture, source: { name: 'broken', options: {}, open }, patienceMs: 300 };
    };
    const failures = await failuresOf((runner) => describeSource('broken', make, runner));
    expect(failures).toContainEqual(expect.stringMatching(/^I6/));
  });

  it('nothing in a source that is whole', async () => {
    expect(await failuresOf((runner) => describeSource('whole', brokenSource({}), runner))).toEqual([]);
  });

  it('and leaves no timer behind that would keep a test run from its end, when the source fails while it is read', async () => {
    const make = async () => {
      const fixture = memorySourceFixture(memorySource());
      const open: Source['open'] = async (context) => {
        const opened = await fixture.source.open(context);
        const next = () => Promise.reject(new Error('refused'));
        const deliveries: AsyncIterable<Delivery> = { [Symbol.asyncIterator]: () => ({ next }) };
        return { ...opened, identity: opened.identity, headTs: opened.headTs, status: () => opened.status(), deliveries };
      };
      return { ...fixture, source: { name: 'refusing', options: {}, open } };
    };
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = timers();
    expect(await failuresOf((runner) => describeSource('refusing', make, runner))).toContainEqual(
      expect.stringMatching(/^gives each change/),
    );
    expect(timers()).toBe(before);
  });
});
