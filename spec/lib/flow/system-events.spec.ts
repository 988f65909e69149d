import { describe, expect, it } from '@jest/globals';
import { type EventPort, noSystemEvents, type ProducedEvent, SystemEvents } from '../../../lib/flow/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { errorOf } from '../../support/run-world.ts';

const slot = { slot: 's', code: 'MR_SLOT_GONE', error: 'gone' };

function told(events: Partial<EventPort> = {}): { readonly system: SystemEvents; readonly recorded: ProducedEvent[] } {
  const recorded: ProducedEvent[] = [];
  const port: EventPort = { record: (event) => recorded.push(event), ...events };
  return { system: new SystemEvents({ pipeline: 'p', events: port, clock: manualClock() }), recorded };
}

describe('SystemEvents', () => {
  it('names the pipeline in each payload, and tells in a table of its own', () => {
    const { system, recorded } = told();
    system.record('slot_lost', () => slot);
    expect(recorded).toEqual([{ type: 'slot_lost', table: 'millrace_events', payload: { pipeline: 'p', ...slot } }]);
  });

  it('gives bigints as texts, for JSON has none, and texts without secrets, in lists too', () => {
    const { system, recorded } = told();
    const columns = ['a', 'postgres://app:hunter2@db/x'];
    system.record('schema_changed', () => ({ table: 'password=hunter2', version: 2n ** 60n, columns }));
    expect(recorded[0]!.payload).toEqual({
      pipeline: 'p',
      table: 'password=***',
      version: '1152921504606846976',
      columns: ['a', 'postgres://app:***@db/x'],
    });
  });

  it.each<[string, SystemEvents]>([
    ['nobody listens', noSystemEvents],
    ['the type is not wanted', told({ wants: () => false }).system],
  ])('builds no payload when %s', (_, system) => {
    system.record('slot_lost', () => {
      throw new Error('it was built');
    });
    system.slow('drain', () => {
      throw new Error('it was built');
    });
  });

  it.each<[string, EventPort['record']]>([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
    ['never settles', () => new Promise(() => {})],
  ])('C5.40: a recorder that %s is not heard by whoever tells', async (_, record) => {
    await virtualTime(async ({ clock }) => {
      const system = new SystemEvents({ pipeline: 'p', events: { record }, clock, slowThreshold: 0 });
      system.record('slot_lost', () => slot);
      const result = await system.timed(
        'open_sink',
        () => ({ sink: 'x' }),
        async () => {
          await clock.sleep(5);
          return 7;
        },
      );
      expect(result).toBe(7);
    });
  });

  it('C5.40: a payload that cannot be built costs its event alone', () => {
    const { system, recorded } = told();
    system.record('slot_lost', () => {
      throw new Error('broken');
    });
    system.record('slot_lost', () => slot);
    expect(recorded).toHaveLength(1);
  });

  it('records an operation that took longer than the threshold, with what it was, and one that failed with its error', async () => {
    const { recorded } = told();
    await virtualTime(async ({ clock }) => {
      const port = { record: (event: ProducedEvent) => recorded.push(event) };
      const system = new SystemEvents({ pipeline: 'p', events: port, clock, slowThreshold: '1s' });
      const details = () => ({ store: 'file' });
      await system.timed('save_checkpoint', details, () => clock.sleep(1000));
      expect(recorded).toEqual([]);
      await system.timed('save_checkpoint', details, () => clock.sleep(1001));
      const fails = async () => {
        await clock.sleep(2000);
        throw new Error('refused: password=hunter2');
      };
      expect((await errorOf(system.timed('save_checkpoint', details, fails))).message).toContain('hunter2');
    });
    expect(recorded).toMatchObject([
      { type: 'slow_operation', table: 'millrace_slow_operations', payload: { pipeline: 'p', store: 'file' } },
      { extraRows: [[2000n, 1000, 'save_checkpoint', 'refused: password=***']] },
    ]);
    expect(recorded[0]!.extraRows).toEqual([[1001n, 1000, 'save_checkpoint', null]]);
  });

  it('records a part of the slow operations alone, if so asked', async () => {
    const { recorded } = told();
    await virtualTime(async ({ clock }) => {
      const port = { record: (event: ProducedEvent) => recorded.push(event) };
      const system = new SystemEvents({ pipeline: 'p', events: port, clock, slowThreshold: 0, slowSampleRatio: 0.25 });
      const running = Array.from({ length: 1000 }, () => system.slow('drain', () => ({ dispatcher: 'd' })));
      await clock.sleep(1);
      for (const operation of running) operation.end();
    });
    expect(recorded.length).toBeGreaterThan(150);
    expect(recorded.length).toBeLessThan(350);
  });
});
