import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { createContext, Metrics } from '../../../lib/flow/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { eventRecorder } from '../../../pipelines/index.ts';
import { addsUp } from './conservation.ts';
import { event, failing, never, numbers, record, rejection, ScriptedHandler, takes, withRecorder } from './recorder-kit.ts';

describe('close', () => {
  it('C5.15, W9, G6: delivers queue and buffer, waits for it, and reports what adds up', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      handler.does(() => clock.sleep(50));
      record(recorder, 1, 250);
      const report = await recorder.close();
      expect(handler.taken).toEqual(numbers(1, 250));
      expect(report).toMatchObject({ accepted: 250, delivered: 250, pending: 0, isComplete: true });
      expect(addsUp(report)).toBe(true);
      expect(clock.now()).toBe(150);
      expect([handler.running, handler.closed]).toEqual([0, 1]);
    }));

  it('C5.16, W11: obeys its deadline in the middle of a backoff', () =>
    withRecorder({}, failing(99), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 150);
      await clock.advance(1700);
      const report = await recorder.close(2000);
      expect(clock.now()).toBe(3700);
      expect(report).toMatchObject({ accepted: 150, delivered: 0, pending: 0, dropped: { closed: 150 }, isComplete: false });
      await clock.advance(60_000);
      expect(handler.calls).toHaveLength(2);
    }));

  it('C5.16: a call that runs at the deadline is aborted and waited for, and counts when it still succeeds', () =>
    withRecorder({}, takes, async ({ clock, handler, recorder }) => {
      handler.does(async (_, signal) => {
        await clock.sleep(60_000, signal);
        await clock.sleep(300);
      });
      record(recorder, 1, 150);
      const report = await recorder.close(1000);
      expect(clock.now()).toBe(1300);
      expect(report).toMatchObject({ delivered: 100, dropped: { closed: 50 }, isComplete: false });
    }));

  it('C5.17: a second close is the first, and a record behind it is told so', () =>
    withRecorder({}, takes, async ({ recorder }) => {
      recorder.record(event('a'));
      const [one, two] = await Promise.all([recorder.close(), recorder.close()]);
      expect(two).toBe(one);
      expect(recorder.record(event('b'))).toEqual({ accepted: false, reason: 'closed' });
      expect(recorder.status()).toMatchObject({ health: 'closed', refused: { closed: 1 } });
    }));

  it('C5.18: an abort counts what is lost, and no call comes afterwards', () => {
    const abort = new AbortController();
    return withRecorder(
      {},
      (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 150);
        await clock.settle();
        abort.abort();
        await clock.settle();
        expect(recorder.status()).toMatchObject({ health: 'closed', pending: 0, dropped: { aborted: 150 } });
        await clock.advance(60_000);
        expect([handler.calls.length, handler.running]).toEqual([1, 0]);
      },
      { signal: abort.signal },
    );
  });

  it('C5.18: leaves a signal that lives on as it was', () => {
    const { signal } = new AbortController();
    return withRecorder(
      {},
      takes,
      async ({ recorder }) => {
        expect(getEventListeners(signal, 'abort')).toHaveLength(1);
        await recorder.close();
        expect(getEventListeners(signal, 'abort')).toEqual([]);
      },
      { signal },
    );
  });

  it('C5.18, W9: disposing delivers what is pending', () =>
    virtualTime(async ({ clock }) => {
      const handler = new ScriptedHandler(clock);
      {
        await using recorder = await eventRecorder({ handler }).open({ clock });
        recorder.record(event('a'));
      }
      expect(handler.taken).toEqual(['a']);
    }));

  it('G6: waits for no handler and no dead letters that never close', () =>
    withRecorder({ deadLetters: { name: 'letters', write: async () => {}, close: never } }, takes, async ({ clock, handler, recorder }) => {
      handler.close = never;
      recorder.record(event('a'));
      expect(await recorder.close()).toMatchObject({ delivered: 1, isComplete: true });
      // Each had its time and its grace.
      expect(clock.now()).toBe(2 * 31_000);
    }));

  it('G6, C5.7: a handler that opens late gets no events of a call that was given up', () =>
    withRecorder({ handlerTimeout: '10s' }, takes, async ({ clock, handler, recorder }) => {
      let opens = 0;
      Object.assign(handler, { open: () => clock.sleep(++opens === 1 ? 13_000 : 60_000) });
      record(recorder, 1, 100);
      await clock.advance(20_000);
      // The second attempt waits: the first one has opened meanwhile, behind its time.
      expect([opens, handler.calls.length]).toEqual([2, 0]);
      expect(await recorder.close(100)).toMatchObject({ delivered: 0, dropped: { closed: 100 } });
      await clock.advance(100_000);
      expect(handler.calls).toEqual([]);
    }));

  it('G5, G6: dead letters that are written at the deadline are waited for and count as kept, and their store is closed behind them', () =>
    virtualTime(async ({ clock }) => {
      const told: string[] = [];
      const write = async () => {
        await clock.sleep(500);
        told.push('written');
      };
      const deadLetters = { name: 'letters', write, close: async () => void told.push('closed') };
      const handler = new ScriptedHandler(clock, (call) => Promise.reject(rejection(call)));
      const recorder = await eventRecorder({ handler, deadLetters }).open({ clock });
      recorder.record(event('bad'));
      const report = await recorder.close(100);
      expect([told, clock.now()]).toEqual([['written', 'closed'], 500]);
      expect(report).toMatchObject({ isComplete: false, dropped: { rejected: 1, closed: 0 }, deadLettered: 1 });
      expect(addsUp(report)).toBe(true);
    }));

  it('C5.42: leaves no timers when it stops, idle or not', () =>
    virtualTime(async ({ clock }) => {
      for (const count of [0, 3]) {
        const handler = new ScriptedHandler(clock);
        const recorder = await eventRecorder({ handler, queueEvents: 2 }).open({ clock });
        expect(clock.nextMs).toBe(null);
        record(recorder, 1, count);
        await recorder.close();
        expect(clock.nextMs).toBe(null);
      }
    }));
});

describe('losses', () => {
  it('C5.35, W14: a flood of drops is a few lines of the log, with the number of all', () => {
    const lines: object[] = [];
    const logger = { ...createContext().logger, warn: (details: object) => lines.push(details) };
    return withRecorder(
      { queueEvents: 10, lossSummary: false },
      never,
      async ({ clock, recorder }) => {
        for (let i = 0; i < 10_000; i++) {
          recorder.record(event(i));
          if (i % 10 === 0) await clock.advance(10);
        }
        const drops = lines.filter((line) => 'events' in line && 'reason' in line && line.reason !== 'target is down');
        // 10 s in all: one at the beginning.
        expect(drops).toHaveLength(1);
        await recorder.close(0);
        const told = lines.reduce((all, line) => all + ('events' in line ? (line.events as number) : 0), 0);
        expect(told).toBe(10_000);
      },
      { logger: logger as never },
    );
  });

  it('C5.36, W1: tells what was lost in one event a period, while something is lost', () =>
    withRecorder({ queueEvents: 100 }, takes, async ({ clock, handler, recorder }) => {
      recorder.record({ type: 'bad', payload: 1n as never });
      record(recorder, 1, 130);
      await clock.advance(1000);
      record(recorder, 1, 105);
      await clock.advance(200_000);
      const summaries = handler.calls.filter(({ group }) => group.type === 'events_lost');
      expect(summaries.map(({ atMs, payloads }) => [atMs, payloads])).toEqual([
        [
          65_000,
          [
            {
              n: 36,
              from: '1970-01-01T00:00:00.000Z',
              to: '1970-01-01T00:00:01.000Z',
              reasons: [
                { reason: 'invalid', n: 1, from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T00:00:00.000Z' },
                { reason: 'overflow', n: 35, from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T00:00:01.000Z' },
              ],
            },
          ],
        ],
      ]);
    }));

  it('C5.36: a summary that is lost itself is told by the next, and is no loss of its own', () =>
    withRecorder({ retry: { retries: 0 }, linger: '1s' }, failing(2), async ({ clock, handler, recorder }) => {
      record(recorder, 1, 3);
      await clock.advance(130_000);
      expect(handler.calls.map(({ group }) => group.type)).toEqual(['test', 'events_lost', 'events_lost']);
      expect(handler.taken).toEqual([expect.objectContaining({ n: 3 })]);
    }));

  it('C5.36: tells it in the table that it is given', () =>
    withRecorder({ queueEvents: 1, lossTable: 'audit' }, takes, async ({ handler, recorder }) => {
      record(recorder, 1, 2);
      await recorder.close();
      expect(handler.calls.map(({ group }) => [group.table, group.type])).toEqual([
        ['events', 'test'],
        ['audit', 'events_lost'],
      ]);
    }));

  it('C5.36: tells at close what was not told yet', () =>
    withRecorder({ queueEvents: 2 }, takes, async ({ handler, recorder }) => {
      record(recorder, 1, 3);
      await recorder.close();
      expect(handler.taken).toEqual([1, 2, expect.objectContaining({ n: 1 })]);
    }));
});

describe('status', () => {
  it('W13: tells the backlog, its age, what is on its way, and the calls that failed', () =>
    withRecorder({ queueEvents: 500 }, failing(2), async ({ clock, recorder }) => {
      const seen: string[] = [];
      recorder.status$.subscribe({
        next: ({ health, delivered }) => seen.push(`${health} ${delivered}`),
        complete: () => seen.push('end'),
      });
      record(recorder, 1, 100);
      await clock.advance(1000);
      record(recorder, 101, 150);
      await clock.advance(1000);
      expect(recorder.status()).toMatchObject({
        health: 'failing',
        queueEvents: 150,
        inFlight: 100,
        oldestAgeMs: 2000,
        failures: 2,
        failuresInARow: 2,
        retries: 1,
        lastError: 'target is down',
      });
      await recorder.close();
      expect(seen).toContain('failing 0');
      expect(seen.slice(-2)).toEqual(['closed 150', 'end']);
    }));

  it('W13: tells the same as metrics, for whoever looks', () => {
    const series = new Map<string, () => number | null>();
    const calls: number[] = [];
    const metrics = new Metrics({
      number: ({ name }, { reason }, read) => void series.set(reason === undefined ? name : `${name} ${reason}`, read),
      histogram: () => ({ observe: (seconds) => calls.push(seconds) }),
    });
    const read = (name: string) => series.get(`event_recorder_${name}`)?.();
    const behaviour = failing(2);
    return withRecorder(
      { queueEvents: 150, lossSummary: false },
      behaviour,
      async ({ clock, handler, recorder }) => {
        record(recorder, 1, 160);
        await clock.advance(2000);
        const { queueBytes } = recorder.status();
        const gauges = ['pending_events', 'queue_events', 'queue_bytes', 'in_flight_events', 'oldest_age_seconds', 'spill_bytes'];
        expect(gauges.map(read)).toEqual([150, 150, queueBytes, 100, 2, 0]);
        expect(queueBytes).toBeGreaterThan(150 * 100);
        expect(['accepted_total', 'refused_total overflow', 'delivered_total', 'handler_failures_total'].map(read)).toEqual([
          150, 10, 0, 2,
        ]);
        handler.does(() => clock.sleep(500));
        await recorder.close();
        const counters = ['delivered_total', 'handler_retries_total', 'refused_total closed', 'dropped_total exhausted'];
        expect(counters.map(read)).toEqual([150, 2, 0, 0]);
        expect(gauges.map(read)).toEqual([0, 0, 0, 0, 0, 0]);
        expect(calls).toEqual([0, 0, 0.5, 0.5]);
      },
      { metrics },
    );
  });

  it('tells no secret of an error', () =>
    withRecorder(
      {},
      failing(1, () => new Error('cannot reach postgres://app:hunter2@db/ops')),
      async ({ clock, recorder }) => {
        record(recorder, 1, 100);
        await clock.settle();
        expect(recorder.status().lastError).toContain('cannot reach postgres://app:');
        expect(recorder.status().lastError).not.toContain('hunter2');
      },
    ));

  it.each<[string, object]>([
    ['handler', { handler: {} }],
    ['name', { name: '' }],
    ['overflow', { overflow: 'panic' }],
    ['queueEvents', { queueEvents: 0 }],
    ['queueBytes', { queueBytes: '64 parsecs' }],
    ['batchEvents', { batchEvents: 1.5 }],
    ['linger', { linger: '0s' }],
    ['retry.factor', { retry: { factor: 0.5 } }],
    ['retry.deadline', { retry: { deadline: 'soon' } }],
    ['retry.jitter', { retry: { jitter: 'some' } }],
    ['retry.retryable', { retry: { retryable: true } }],
    ['spill', { overflow: 'spill' }],
    ['spill', { spill: { folder: '/x' } }],
    ['spill.folder', { overflow: 'spill', spill: { folder: 'relative' } }],
    ['whenExhausted', { whenExhausted: 'forget' }],
    ['deadLetters', { whenExhausted: 'deadLetter' }],
    ['eventTypes', { eventTypes: 'a' }],
    ['lossTable', { lossTable: 'x'.repeat(64) }],
  ])('refuses a bad option at once: %s', (option, options) => {
    const handler = { name: 'none', deliver: async () => {} };
    expect(() => eventRecorder({ handler, ...options } as never)).toThrow(
      expect.objectContaining({ code: 'MR_INVALID_OPTION', details: expect.objectContaining({ option }) }),
    );
  });
});
