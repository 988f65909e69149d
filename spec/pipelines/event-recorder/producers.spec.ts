import { describe, expect, it } from '@jest/globals';
import { virtualTime } from '../../../lib/testing/index.ts';
import type { EventInput, EventTarget } from '../../../pipelines/event-recorder/event.ts';
import {
  LIFECYCLE_TRIGGERS,
  type LifecycleTrigger,
  lifecycle,
  type SlowOperationOptions,
  slowOperations,
} from '../../../pipelines/event-recorder/producers.ts';
import { accepted } from './events.ts';

function recording(): { readonly events: EventTarget; readonly recorded: EventInput[] } {
  const recorded: EventInput[] = [];
  // What is recorded must be acceptable.
  const record = (event: EventInput) => {
    accepted(event);
    recorded.push(event);
  };
  return { events: { record }, recorded };
}

describe('slowOperations', () => {
  async function run(options: Omit<SlowOperationOptions, 'events' | 'clock'>, tookMs: number, force = false): Promise<EventInput[]> {
    const { events, recorded } = recording();
    await virtualTime(async ({ clock }) => {
      const running = slowOperations({ events, clock, ...options }).start('flush', { table: 't' });
      await clock.sleep(tookMs);
      running.end({ force });
      running.end({ force: true });
    });
    return recorded;
  }

  it('C5.38: only an operation that took longer than the threshold is recorded, once', async () => {
    expect(await run({ threshold: '1s' }, 1000)).toEqual([]);
    const recorded = await run({ threshold: '1s' }, 1001);
    expect(recorded).toMatchObject([
      { type: 'slow_operation', table: 'slow_operations', payload: { table: 't' }, extraRows: [[1001n, 1000, 'flush', null]] },
    ]);
    expect(recorded[0]!.extraSchema!.map(({ name }) => name)).toEqual(['cost_ms', 'threshold_ms', 'operation', 'error']);
  });

  it('C5.38: the default threshold is 30 s', async () => {
    expect(await run({}, 30_000)).toEqual([]);
    expect(await run({}, 30_001)).toHaveLength(1);
  });

  it('C5.38: a ratio of 0 records no slow operation, one of 1 all of them, one between a part', async () => {
    expect(await run({ threshold: '1s', sampleRatio: 0 }, 5000)).toEqual([]);
    expect(await run({ threshold: '1s', sampleRatio: 1 }, 5000)).toHaveLength(1);
    const { events, recorded } = recording();
    await virtualTime(async ({ clock }) => {
      const slow = slowOperations({ events, clock, threshold: 0, sampleRatio: 0.25 });
      const running = Array.from({ length: 1000 }, () => slow.start('x'));
      await clock.sleep(1);
      for (const operation of running) operation.end();
    });
    expect(recorded.length).toBeGreaterThan(150);
    expect(recorded.length).toBeLessThan(350);
  });

  it('C5.38: force records whatever it took and whatever the lot says', async () => {
    expect(await run({ threshold: '1s', sampleRatio: 0 }, 1, true)).toHaveLength(1);
  });

  it('records with `using`, the error of a failed one without its secrets, and details that are made only then', async () => {
    const { events, recorded } = recording();
    let made = 0;
    await virtualTime(async ({ clock }) => {
      const slow = slowOperations({ events, clock, threshold: '1s', type: 'slow_query', table: 'slow_queries' });
      const details = () => ({ made: ++made });
      {
        using _ = slow.start('quick', details);
      }
      const failing = slow.start('failing', details);
      await clock.sleep(2000);
      failing.end({ error: new Error('postgres://app:hunter2@db/shop refused') });
    });
    expect(recorded).toMatchObject([{ type: 'slow_query', table: 'slow_queries', payload: { made: 1 } }]);
    expect(recorded[0]!.extraRows![0]![3]).toBe('postgres://app:***@db/shop refused');
  });

  it.each([{ sampleRatio: 1.5 }, { sampleRatio: Number.NaN }, { threshold: 'soon' }])('refuses %j at once', (options) => {
    expect(() => slowOperations({ events: recording().events, ...options })).toThrow(/MR_INVALID_OPTION/);
  });
});

describe('lifecycle', () => {
  it('C5.39: every trigger is an event; the error stands with failures only, the context with Submitted only', () => {
    const { events, recorded } = recording();
    const changed = lifecycle({ events, type: 'pipeline' });
    for (const trigger of LIFECYCLE_TRIGGERS)
      changed({ id: 'p1', trigger, error: new Error('full'), context: { to: 's3' }, details: { n: 1 } });
    expect(recorded.map(({ type, payload, extraRows }) => [type, payload, ...extraRows![0]!])).toEqual(
      LIFECYCLE_TRIGGERS.map((trigger: LifecycleTrigger) => [
        'pipeline',
        { n: 1 },
        'p1',
        trigger,
        ['Retrying', 'RollingBack', 'Failed', 'Poisoned'].includes(trigger) ? 'full' : null,
        trigger === 'Submitted' ? { to: 's3' } : null,
      ]),
    );
  });

  it('a failure without an error, and nothing of the rest, is an event too', () => {
    const { events, recorded } = recording();
    lifecycle({ events, type: 'pipeline', table: 'lives' })({ id: 'p1', trigger: 'Failed' });
    expect(recorded).toMatchObject([{ table: 'lives', payload: null, extraRows: [['p1', 'Failed', null, null]] }]);
  });
});

describe('C5.40: a recorder that fails never shows in what its producer does', () => {
  const failing: [string, EventTarget][] = [
    ['throws', { record: () => { throw new Error('broken'); } }], // biome-ignore format: one line each
    ['rejects', { record: () => Promise.reject(new Error('broken')) }],
    ['throws when it is asked what it wants', { record: () => {}, wants: () => { throw new Error('broken'); } }], // biome-ignore format: one line each
  ];

  it.each(failing)('W14: where record %s', async (_, events) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    slowOperations({ events }).start('x').end({ force: true });
    lifecycle({ events, type: 'pipeline' })({ id: 'p', trigger: 'Submitted' });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('where the event itself cannot be built: its details throw', () => {
    const { events, recorded } = recording();
    const details = () => {
      throw new Error('no details');
    };
    slowOperations({ events }).start('x', details).end({ force: true });
    expect(recorded).toEqual([]);
  });

  it('an event that nobody wants is not even built', () => {
    const { events, recorded } = recording();
    let made = 0;
    slowOperations({ events: { ...events, wants: (type) => type !== 'slow_operation' } })
      .start('x', () => ++made)
      .end({ force: true });
    expect([made, recorded]).toEqual([0, []]);
  });
});
