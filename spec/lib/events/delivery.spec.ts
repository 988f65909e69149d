import { describe, expect, it } from '@jest/globals';
import { Delivery, resolvedEvent, TwoStageAck } from '../../../lib/events/index.ts';

describe('Delivery', () => {
  it('stays the same delivery for its sender when a stage changes or drops its events', () => {
    const ack = new TwoStageAck();
    const delivery = new Delivery([resolvedEvent(1n)], 100, ack);
    const empty = delivery.with([]);
    expect([empty.events, empty.bytes, empty.ack]).toEqual([[], 100, ack]);
    expect(empty.ack).toBe(ack);
  });

  it('is not copied when nothing changed', () => {
    const delivery = new Delivery([resolvedEvent(1n)]);
    expect(delivery.with(delivery.events)).toBe(delivery);
  });
});
