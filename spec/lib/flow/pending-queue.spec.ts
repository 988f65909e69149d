import { describe, expect, it } from '@jest/globals';
import { type PendingEntry, PendingQueue } from '../../../lib/flow/pending-queue.ts';
import { seededRandom } from '../../../lib/testing/random.ts';

describe('PendingQueue', () => {
  it('knows the earliest unflushed commitTs, whatever order entries come and go in', () => {
    const random = seededRandom(11);
    const queue = new PendingQueue();
    const pending: PendingEntry[] = [];
    for (let i = 0; i < 5000; i++) {
      pending.push(queue.push(BigInt(Math.floor(random() * 500))));
      while (pending.length > 100 * random() + 1) queue.flush(pending.splice(Math.floor(random() * pending.length), 1)[0]!);
      const earliest = pending.reduce<bigint | null>(
        (least, { commitTs }) => (least === null || commitTs < least ? commitTs : least),
        null,
      );
      expect([queue.earliest(), queue.pending]).toEqual([earliest, pending.length]);
    }
  });

  it('keeps no more than twice what is pending, and a few, when one entry hangs and all behind it are flushed', () => {
    const queue = new PendingQueue();
    queue.push(1n);
    for (let ts = 2n; ts < 10_000n; ts++) {
      queue.flush(queue.push(ts));
      expect(queue.size).toBeLessThan(100);
    }
    expect([queue.earliest(), queue.pending]).toEqual([1n, 1]);
  });

  it('counts an entry that is flushed twice once', () => {
    const queue = new PendingQueue();
    const entry = queue.push(1n);
    expect([queue.flush(entry), queue.flush(entry), queue.pending, queue.earliest()]).toEqual([true, false, 0, null]);
  });
});
