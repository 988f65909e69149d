import { describe, expect, it } from '@jest/globals';
import { ALL_DISPATCHERS, Delivery, type DispatcherId, isAckedEvent, resolvedEvent } from '../../../lib/events/index.ts';
import { Progress } from '../../../lib/flow/index.ts';
import { deliveryOf } from '../../../lib/testing/index.ts';
import { seededRandom } from '../../../lib/testing/random.ts';

describe('Progress', () => {
  it('I1: a resolved mark of one dispatcher moves nothing, because the others may still have rows before it', () => {
    const progress = new Progress();
    progress.register(deliveryOf('res:a@100'));
    expect([progress.resolvedTs, progress.checkpointTs]).toEqual([0n, 0n]);
    progress.register(deliveryOf('b@50'));
    progress.register(deliveryOf('res@60'));
    expect([progress.resolvedTs, progress.checkpointTs]).toEqual([60n, 49n]);
  });

  it('takes the furthest of several marks in one delivery', () => {
    const progress = new Progress();
    progress.register(new Delivery([resolvedEvent(9n), resolvedEvent(10n), resolvedEvent(11n, 0n, 'f'.repeat(32) as DispatcherId)]));
    expect([progress.resolvedTs, ALL_DISPATCHERS]).toEqual([10n, '0'.repeat(32)]);
  });

  it('never goes back for anyone who listens, also when one listener makes the next step happen', () => {
    const progress = new Progress();
    const seen: string[] = [];
    progress.checkpoint$.subscribe((ts) => {
      seen.push(`first ${ts}`);
      if (ts === 5n) {
        progress.register(deliveryOf('res@6'));
        seen.push(`now ${progress.checkpointTs}`);
      }
    });
    progress.checkpoint$.subscribe((ts) => seen.push(`second ${ts}`));
    progress.register(deliveryOf('res@5'));
    expect(seen).toEqual(['first 0', 'second 0', 'first 5', 'now 6', 'second 5', 'first 6', 'second 6']);
  });

  it('I1: stays before one that hangs, however many are flushed behind it', () => {
    const progress = new Progress();
    progress.register(deliveryOf('a@5'));
    for (let ts = 6; ts < 5000; ts++) {
      const delivery = deliveryOf(`b@${ts} res@${ts}`);
      progress.register(delivery);
      for (const event of delivery.events.filter(isAckedEvent)) event.ack.postFlush();
    }
    expect([progress.pendingEvents, progress.checkpointTs, progress.resolvedTs]).toEqual([1, 4n, 4999n]);
  });

  it('I1, I2: rests before the earliest unflushed event in any order of flushes, also while it forgets flushed ones', () => {
    const random = seededRandom(7);
    const progress = new Progress();
    const unflushed: { ts: number; flush: () => void }[] = [];
    for (let ts = 1; ts <= 3000; ts++) {
      const delivery = deliveryOf(`a@${ts} res@${ts}`);
      progress.register(delivery);
      for (const event of delivery.events.filter(isAckedEvent)) unflushed.push({ ts, flush: () => event.ack.postFlush() });
      while (unflushed.length > 40 + 60 * random()) {
        const [flushed] = unflushed.splice(random() < 0.01 ? 0 : Math.floor(random() * unflushed.length), 1);
        flushed!.flush();
        const earliest = Math.min(ts + 1, ...unflushed.map((event) => event.ts));
        expect(progress.checkpointTs).toBe(BigInt(earliest - 1));
      }
    }
    for (const { flush } of unflushed) flush();
    expect([progress.checkpointTs, progress.pendingEvents]).toEqual([3000n, 0]);
  });
});
