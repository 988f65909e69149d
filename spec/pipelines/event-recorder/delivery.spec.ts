import { describe, expect, it } from '@jest/globals';
import { virtualTime } from '../../../lib/testing/index.ts';
import { acceptEvent } from '../../../pipelines/event-recorder/accept-event.ts';
import { EventDelivery } from '../../../pipelines/event-recorder/delivery.ts';
import { type Entry, entryOf } from '../../../pipelines/event-recorder/entry.ts';
import type { Settlement } from '../../../pipelines/event-recorder/handler-calls.ts';
import { recorderLimits } from '../../../pipelines/event-recorder/options.ts';
import { ScriptedHandler } from './recorder-kit.ts';

function entry(n: number): Entry {
  return entryOf(acceptEvent({ type: 'test', payload: n }, { id: `id-${n}`, seq: BigInt(n), timestampNs: 0n }), 0);
}

describe('EventDelivery', () => {
  it('W10: begins anew after a defect of its own: what was on its way is told as failed, the rest is delivered', () =>
    virtualTime(async ({ clock, context }) => {
      const handler = new ScriptedHandler(clock);
      const broken = { ...entry(2), event: null as never };
      const waiting = [entry(1), broken, entry(3), entry(4)];
      const settled: Settlement[] = [];
      const delivery = new EventDelivery({
        limits: recorderLimits({ handler, batchEvents: 2 }),
        context,
        intake: { shift: () => waiting.shift(), isDrained: (underway) => waiting.length + underway === 0 },
        onSettled: (settlement) => settled.push(settlement),
        onCalled: () => {},
      });
      delivery.wake();
      await clock.advance(10_000);
      expect(settled.map(({ fate, entries }) => [fate, entries.length])).toEqual([
        ['failed', 2],
        ['delivered', 2],
      ]);
      expect(handler.taken).toEqual([3, 4]);
      await delivery.finish();
      expect(clock.nextMs).toBe(null);
    }));
});
