import { describe, expect, it } from '@jest/globals';
import { eventRecorder } from '../../../pipelines/index.ts';
import { event, failing, never, numbers, record, takes, withRecorder } from './recorder-kit.ts';

describe('batches', () => {
  it('C5.1: delivers a single event when the linger is over', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      expect(recorder.record(event('a'))).toMatchObject({ accepted: true, seq: 1n });
      await clock.advance(4999);
      expect(handler.log).toEqual([]);
      await clock.advance(1);
      expect(handler.log).toEqual([[5000, 'a']]);
      expect(recorder.status()).toMatchObject({ accepted: 1, delivered: 1, pending: 0, health: 'ok' });
    }));

  it('C5.2, W7: flushes at exactly N events, and not at N−1 (upstream: at the one behind N)', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      record(recorder, 1, 99);
      await clock.advance(10);
      expect(handler.log).toEqual([]);
      record(recorder, 100, 100);
      await clock.settle();
      expect(handler.log).toEqual([[10, ...numbers(1, 100)]]);
    }));

  it('W7: flushes at B bytes', () =>
    withRecorder({ batchBytes: 10_000 }, takes, async ({ clock, handler, recorder }) => {
      recorder.record(event('x'.repeat(5000)));
      await clock.settle();
      expect(handler.calls).toEqual([]);
      recorder.record(event('y'.repeat(5000)));
      await clock.settle();
      expect(handler.calls).toHaveLength(1);
    }));

  it.each<[string, object, number]>([
    ['by count', { queueEvents: 20 }, 20],
    ['by bytes', { queueBytes: 20_000 }, 8],
  ])('W7: a queue that is full %s lingers for nothing, though the batch could be larger', (_, options, events) =>
    withRecorder(options, takes, async ({ clock, handler, recorder }) => {
      for (let i = 1; i <= events; i++) recorder.record(event('x'.repeat(1000)));
      await clock.settle();
      expect(handler.calls).toHaveLength(1);
      expect(recorder.status().pending).toBe(0);
    }),
  );

  it('C5.3: runs the linger from the first event, no clock of its own', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      await clock.advance(7000);
      record(recorder, 1, 1);
      await clock.advance(3000);
      record(recorder, 2, 2);
      await clock.advance(20_000);
      record(recorder, 3, 3);
      await clock.advance(5000);
      expect(handler.log).toEqual([
        [12_000, 1, 2],
        [35_000, 3],
      ]);
    }));

  it('C5.4: makes no empty call, however long nothing comes', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      await clock.advance(600_000);
      await recorder.close();
      expect(handler.calls).toEqual([]);
    }));

  it('C5.7, G2: keeps the order inside a type, batch after batch, and never makes two calls at once', () =>
    withRecorder({ batchEvents: 4 }, takes, async ({ clock, handler, recorder }) => {
      handler.does(() => clock.sleep(100));
      for (let i = 1; i <= 20; i++) recorder.record(event(i, i % 3 === 0 ? 'c' : 'a'));
      await clock.advance(20_000);
      const of = (type: string) => handler.calls.filter(({ group }) => group.type === type).flatMap(({ payloads }) => payloads);
      expect(of('c')).toEqual([3, 6, 9, 12, 15, 18]);
      expect(of('a')).toEqual(numbers(1, 20).filter((i) => i % 3 !== 0));
      expect(handler.mostRunning).toBe(1);
      const seqs = handler.calls.filter(({ group }) => group.type === 'a').flatMap(({ group }) => group.events.map(({ seq }) => seq));
      expect(seqs.every((seq, i) => i === 0 || seq > seqs[i - 1]!)).toBe(true);
    }));

  it('C5.21: one call for each table and type of a batch, with the hints of the type', () =>
    withRecorder({ batchEvents: 7, hints: { ttl: '30d', types: { B: { ttl: '7d' } } } }, takes, async ({ clock, handler, recorder }) => {
      for (const [n, name] of ['A', 'B', 'A', 'C', 'B', 'A', 'C'].entries()) {
        recorder.record(event(n, name === 'B' ? 'B' : 'A', name === 'A' ? {} : { table: `table_${name}` }));
      }
      await clock.settle();
      expect(handler.calls.map(({ group: { table, type, hints }, payloads }) => [table, type, hints.ttl, payloads])).toEqual([
        ['events', 'A', '30d', [0, 2, 5]],
        ['table_B', 'B', '7d', [1, 4]],
        ['table_C', 'A', '30d', [3, 6]],
      ]);
    }));

  it('C5.34, W8: after a call of 60 s makes full batches of what came meanwhile, no storm of tiny ones', () =>
    withRecorder({ handlerTimeout: '5m' }, takes, async ({ clock, handler, recorder }) => {
      handler.does(({ attempt, payloads }) => (payloads[0] === 0 && attempt === 1 ? clock.sleep(60_000) : undefined));
      recorder.record(event(0));
      for (let i = 1; i <= 250; i++) {
        await clock.advance(200);
        recorder.record(event(i));
      }
      await clock.advance(60_000);
      // The last ones have waited long enough already.
      expect(handler.calls.map(({ atMs, payloads }) => [atMs, payloads.length])).toEqual([
        [5000, 25],
        [65_000, 100],
        [65_000, 100],
        [65_000, 26],
      ]);
      expect(handler.taken).toEqual(numbers(0, 250));
    }));

  it('splits a type whose extra columns change, so that no call sees two schemas and the order holds', () =>
    withRecorder({ batchEvents: 3 }, takes, async ({ clock, handler, recorder }) => {
      const extraSchema = [{ name: 'cost', type: 'int64', semantic: 'field' }] as const;
      recorder.record(event(1));
      recorder.record(event(2, 'test', { extraSchema, extraRows: [[5]] }));
      recorder.record(event(3));
      await clock.settle();
      expect(handler.log).toEqual([
        [0, 1],
        [0, 2],
        [0, 3],
      ]);
    }));
});

describe('overflow', () => {
  it('C5.5, W1: of 2048 + k at once refuses exactly k, tells it by outcome and counter, and keeps the order of the others', () =>
    withRecorder({ lossSummary: false }, never, async ({ clock, handler, recorder }) => {
      const outcomes = numbers(1, 2048 + 7).map((i) => recorder.record(event(i)));
      expect(outcomes.filter(({ accepted }) => !accepted)).toEqual(Array(7).fill({ accepted: false, reason: 'overflow' }));
      expect(outcomes.slice(0, 2048).every(({ accepted }) => accepted)).toBe(true);
      await clock.settle();
      expect(recorder.status()).toMatchObject({ accepted: 2048, pending: 2048, refused: { overflow: 7 }, queueEvents: 2048 });
      handler.does(takes);
      await clock.advance(60_000);
      expect(handler.taken).toEqual(numbers(1, 2048));
    }));

  it('C5.6: dropOldest gives up the oldest that is not on its way', () =>
    withRecorder(
      { overflow: 'dropOldest', queueEvents: 10, batchEvents: 4, lossSummary: false },
      never,
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 10);
        // Nothing more is on its way while a batch is.
        await clock.settle();
        record(recorder, 11, 13);
        expect(recorder.status()).toMatchObject({ accepted: 13, pending: 10, dropped: { overflow: 3 } });
        handler.does(takes);
        await clock.advance(60_000);
        expect(handler.taken).toEqual([1, 2, 3, 4, ...numbers(8, 13)]);
      },
    ));

  it('C5.6: dropOldest drops nothing in vain, where what is on its way alone leaves no room', () =>
    withRecorder({ overflow: 'dropOldest', queueBytes: 4000, batchEvents: 2, lossSummary: false }, never, async ({ clock, recorder }) => {
      for (let i = 0; i < 2; i++) recorder.record(event('x'.repeat(1000)));
      await clock.settle();
      recorder.record(event('old'));
      expect(recorder.record(event('x'.repeat(1200)))).toEqual({ accepted: false, reason: 'overflow' });
      expect(recorder.status()).toMatchObject({ pending: 3, dropped: { overflow: 0 }, refused: { overflow: 1 } });
      expect(recorder.record(event('x'.repeat(900)))).toMatchObject({ accepted: true });
      expect(recorder.status()).toMatchObject({ pending: 3, dropped: { overflow: 1 } });
    }));

  it('C5.6: block takes the event, and holds the producer until there is room', () =>
    withRecorder({ overflow: 'block', queueEvents: 4, batchEvents: 2 }, never, async ({ clock, handler, recorder }) => {
      const done: number[] = [];
      for (let i = 1; i <= 9; i++) {
        void recorder.record(event(i)).then(({ accepted }) => {
          if (accepted) done.push(i);
          else done.push(-i);
        });
      }
      await clock.advance(10);
      // Four have room, four are held, and the ninth of a producer that does not wait is refused.
      expect(done.sort((a, b) => a - b)).toEqual([-9, 1, 2, 3, 4]);
      expect(recorder.status()).toMatchObject({ accepted: 8, pending: 8, refused: { overflow: 1 } });
      handler.does(takes);
      await clock.advance(60_000);
      expect(done.sort((a, b) => a - b)).toEqual([-9, ...numbers(1, 8)]);
      expect(handler.taken).toEqual(numbers(1, 8));
    }));

  it('C5.6: block lets producers go on when the level is down, not only when nothing waits', () =>
    withRecorder({ overflow: 'block', queueEvents: 4, batchEvents: 2 }, takes, async ({ clock, handler, recorder }) => {
      handler.does(() => clock.sleep(1000));
      const done: [number, number][] = [];
      for (let i = 1; i <= 8; i++) void recorder.record(event(i)).then(() => done.push([i, clock.now()]));
      await clock.advance(60_000);
      // Two calls make room for what is over the mark, the third one goes below it.
      expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => [i, i <= 4 ? 0 : 3000]));
    }));

  it('C5.6: block never holds a producer for ever: closing resolves all promises', () =>
    withRecorder({ overflow: 'block', queueEvents: 2, batchEvents: 2 }, never, async ({ recorder }) => {
      const outcomes = Promise.all(numbers(1, 4).map((i) => recorder.record(event(i))));
      await recorder.close(100);
      expect((await outcomes).map(({ accepted }) => accepted)).toEqual([true, true, true, true]);
    }));

  it('C5.41: bounds the memory by bytes, whatever the number of events, those on their way included', () =>
    withRecorder({ queueBytes: '100kB', lossSummary: false }, never, async ({ recorder }) => {
      for (let i = 0; i < 2000; i++) recorder.record(event('x'.repeat(i % 1000)));
      expect(recorder.status().queueBytes).toBeLessThanOrEqual(100_000);
      expect(recorder.status().queueBytes).toBeGreaterThan(98_000);
      expect(recorder.record(event('x'.repeat(100_001)))).toEqual({ accepted: false, reason: 'tooLarge' });
    }));
});

describe('what is recorded', () => {
  it.each<[string, readonly string[] | undefined, string[]]>([
    ['all without a list', undefined, ['a', 'b', 'c']],
    ['none of an empty list', [], []],
    ['those of a list only', ['c', 'a'], ['a', 'c']],
  ])('C5.30: %s', (_, eventTypes, expected) =>
    withRecorder(eventTypes === undefined ? {} : { eventTypes }, takes, async ({ handler, recorder }) => {
      const outcomes = ['a', 'b', 'c'].map((type) => recorder.record(event(type, type)));
      expect(['a', 'b', 'c'].filter((type) => recorder.wants(type))).toEqual(expected);
      expect(outcomes.filter(({ accepted }) => !accepted)).toEqual(
        Array(3 - expected.length).fill({ accepted: false, reason: 'filtered' }),
      );
      await recorder.close();
      expect(handler.taken).toEqual(expected);
    }),
  );

  it('C5.30: a definition tells its types sorted, each once, and keeps the default ttl of a partial configuration', async () => {
    const handler = { name: 'none', deliver: async () => {} };
    const { options } = eventRecorder({ handler, eventTypes: ['b', 'a', 'b'], hints: { types: { slow_query: { ttl: '7d' } } } });
    expect(options).toMatchObject({ eventTypes: ['a', 'b'], hints: { ttl: '90d', appendMode: true, timeWindow: '1d' } });
    expect(structuredClone(options)).toEqual(options);
  });

  it('C5.29, W4: what happens to the event behind the call does not show', () =>
    withRecorder({}, takes, async ({ handler, recorder }) => {
      const payload = { list: [1], state: 'running' };
      recorder.record(event(payload));
      payload.state = 'failed';
      payload.list.push(2);
      await recorder.close();
      expect(handler.taken).toEqual([{ list: [1], state: 'running' }]);
    }));

  it('G2, G4: an event that is recorded while another is read has a number, an identity and a time of its own, and comes before it', () =>
    withRecorder({ batchEvents: 2 }, takes, async ({ clock, handler, recorder }) => {
      const outcomes: object[] = [];
      recorder.record(
        event({
          toJSON: () => {
            outcomes.push(recorder.record(event('inner')));
            return 'outer';
          },
        }),
      );
      await clock.settle();
      const [inner, outer] = handler.calls[0]!.group.events;
      expect(handler.log).toEqual([[0, 'inner', 'outer']]);
      expect([inner!.seq, inner!.timestampNs, outer!.seq, outer!.timestampNs]).toEqual([1n, 0n, 2n, 1n]);
      expect(outer!.id).not.toBe(inner!.id);
      expect(outcomes).toEqual([{ accepted: true, id: inner!.id, seq: 1n }]);
    }));

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'started'],
    ['without a type', {}],
    [
      'a getter that throws',
      {
        get type() {
          throw new Error('mine');
        },
      },
    ],
    ['a payload in a circle', { type: 'a', payload: Object.assign([], { 0: 1 }).concat([]) && circle() }],
  ])('G3, C5.27, W12: %s is an outcome, never an exception', (_, input) =>
    withRecorder({ eventTypes: ['a'] }, takes, async ({ recorder }) => {
      expect(recorder.record(input as never)).toMatchObject({ accepted: false, reason: 'invalid', error: { code: 'MR_EVENT_INVALID' } });
      expect(recorder.status().refused.invalid).toBe(1);
    }),
  );

  it('G3: the handler never runs within the call of record', () =>
    withRecorder({ batchEvents: 1 }, takes, async ({ clock, handler, recorder }) => {
      recorder.record(event('a'));
      expect(handler.calls).toEqual([]);
      await clock.settle();
      expect(handler.calls).toHaveLength(1);
    }));

  it('G3: a logger that throws reaches neither producer nor delivery', () => {
    const broken = () => {
      throw new Error('no log');
    };
    return withRecorder(
      { queueEvents: 2, batchEvents: 2 },
      failing(1),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 2);
        expect(recorder.record(event(3))).toEqual({ accepted: false, reason: 'overflow' });
        await clock.advance(2000);
        expect(handler.calls).toHaveLength(2);
        expect(recorder.status().delivered).toBe(2);
        await recorder.close();
      },
      { logger: { debug: broken, info: broken, warn: broken, error: broken } },
    );
  });

  it('tells an event without rows by its outcome', () =>
    withRecorder({}, takes, async ({ recorder }) => {
      expect(recorder.record(event('a', 'test', { extraRows: [] }))).toEqual({ accepted: false, reason: 'empty' });
    }));
});

function circle(): unknown[] {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

describe('safe', () => {
  it('resolves without a spill when all that was accepted is settled, and says so when it was given up', () =>
    withRecorder({ batchEvents: 2 }, takes, async ({ clock, handler, recorder }) => {
      expect(await recorder.safe()).toBe(true);
      record(recorder, 1, 3);
      const told: boolean[] = [];
      void recorder.safe().then((isSafe) => told.push(isSafe));
      record(recorder, 4, 4);
      handler.does(({ payloads }) => (payloads.includes(4) ? never() : undefined));
      await clock.settle();
      expect(told).toEqual([]);
      await recorder.close(100);
      expect(told).toEqual([false]);
    }));

  it('says in the end what close has given up', () =>
    withRecorder({}, never, async ({ recorder }) => {
      record(recorder, 1, 3);
      void recorder.close(0);
      expect(await recorder.safe()).toBe(false);
      await recorder.close();
      expect(await recorder.safe()).toBe(false);
    }));

  it('does not wait for what comes later', () =>
    withRecorder({ batchEvents: 2 }, takes, async ({ clock, handler, recorder }) => {
      handler.does(({ payloads }) => (payloads.includes(4) ? never() : undefined));
      record(recorder, 1, 2);
      const safe = recorder.safe();
      record(recorder, 3, 4);
      expect(await safe).toBe(true);
      expect(clock.now()).toBe(0);
      await recorder.close(0);
    }));
});
