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
    const subscription = pump(marks()).subscribe((delivery) => held.push(delivery));
    // Nothing is left to run once a timer's turn has come: the pump waits, or it has pulled everything.
    await new Promise((resolve) => setImmediate(resolve));
    expect(pulled).toBe(4096);
    for (const delivery of held) {
      delivery.ack.postEnqueue();
      if (held.length < 10_000) await Promise.resolve();
    }
    await ended;
    subscription.unsubscribe();
    expect(held.length).toBe(10_000);
  });
});
