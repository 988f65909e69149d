import { describe, expect, it } from '@jest/globals';
import { Delivery } from '../../../lib/events/index.ts';
import { pump } from '../../../lib/flow/index.ts';

describe('pump', () => {
  it('bounds deliveries without bytes too: a stage that is slow would gather resolved marks without end', async () => {
    let pulled = 0;
    let hasEnded = () => {};
    const ended = new Promise<void>((resolve) => {
      hasEnded = resolve;
    });
    async function* marks() {
      while (pulled < 10_000) {
        pulled++;
        yield new Delivery([]);
      }
      hasEnded();
    }
    const held: Delivery[] = [];
    let isSlow = true;
    const subscription = pump(marks()).subscribe((delivery) => {
      held.push(delivery);
      if (!isSlow) delivery.ack.postEnqueue();
    });
    // In each turn of the event loop it pulls some, until it waits or has pulled everything.
    for (let before = -1; before < pulled; ) {
      before = pulled;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(pulled).toBe(4096);
    isSlow = false;
    for (const { ack } of [...held]) ack.postEnqueue();
    await ended;
    subscription.unsubscribe();
    expect(held.length).toBe(10_000);
  });
});
