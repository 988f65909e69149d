import { describe, expect, it } from '@jest/globals';
import { type AckedEvent, type Delivery, isAckedEvent, resolvedEvent } from '../../../lib/events/index.ts';
import { Progress } from '../../../lib/flow/index.ts';
import { deliveryOf } from '../../../lib/testing/index.ts';

/** Registers deliveries in notation; events are then acked by their number, in order of registration. */
function run(startTs = 0n) {
  const progress = new Progress(startTs);
  const events: AckedEvent[] = [];
  const register = (...texts: string[]): Delivery[] =>
    texts.map((text) => {
      const delivery = deliveryOf(text);
      events.push(...delivery.events.filter(isAckedEvent));
      progress.register(delivery);
      return delivery;
    });
  const flush = (...numbers: number[]) => {
    for (const number of numbers) events[number]!.ack.postFlush();
  };
  return { progress, register, flush, events };
}

/** What became of a delivery. */
function watch(delivery: Delivery): string[] {
  const log: string[] = [];
  delivery.ack.addPostEnqueue(() => log.push('woken'));
  delivery.ack.addPostFlush(() => log.push('flushed'));
  return log;
}

describe('Progress', () => {
  describe('the checkpoint', () => {
    it.each<[string, string[], number[], bigint]>([
      //                                                    deliveries                             flushed   checkpoint
      ['I1: stays before an event that is not flushed', ['a@5 a@7', 'res@9'], [], 4n],
      ['I1: is the earliest unflushed − 1', ['a@5 a@7', 'res@9'], [0], 6n],
      ['I1: does not pass the earliest when later ones are flushed first', ['a@5 a@7 b@8', 'res@9'], [1, 2], 4n],
      ['is the resolved-ts when nothing is pending', ['a@5 a@7', 'res@9'], [1, 0], 9n],
      ['I2: waits for the mark, because rows may be followed by more of their transaction', ['a@5', 'a@5.1'], [0, 1], 0n],
      ['I2: does not rest inside a transaction that spans deliveries', ['res@4', 'a@5', 'a@5.1', 'res@5'], [0], 4n],
      ['I2: moves when all deliveries of a transaction are flushed', ['res@4', 'a@5', 'a@5.1', 'res@5'], [0, 1], 5n],
      ['I3: asks for all events of a commit-ts, of several tables too', ['a@5 b@5 a@6', 'res@6'], [0, 2], 4n],
      ['I3: a block waits with its first transaction', ['res@2', 'a@3+5', 'res@9'], [], 2n],
      ['I7: moves for a delivery whose events were all filtered', ['res@4', 'res@9'], [], 9n],
      ['I7: moves past transactions that were empty here', ['a@5', 'res@9'], [0], 9n],
      ['is capped by the resolved-ts when a table joins late with rows far ahead', ['res@4', 'b@100', 'res@7'], [], 7n],
      ['is capped by it also when those rows are flushed', ['res@4', 'b@100', 'res@7'], [0], 7n],
      ['never goes back for rows behind it', ['res@9', 'a@5'], [], 9n],
      ['never goes back with a mark', ['res@9', 'res@7'], [], 9n],
      ['takes schema changes, TRUNCATEs and syncpoints like rows', ['ddl:a@5', 'truncate:a@6', 'sync@7', 'res@9'], [0, 1], 6n],
      ['waits for no signal and no marker', ['hello:a marker:a', 'res@9'], [], 9n],
    ])('%s', (_, texts, flushed, checkpoint) => {
      const { progress, register, flush } = run();
      register(...texts);
      flush(...flushed);
      expect(progress.checkpointTs).toBe(checkpoint);
    });

    it('I1: EarlyWakeDoesNotAdvanceCheckpoint: the enqueue ack moves nothing', () => {
      const { progress, register, events } = run();
      register('a@5 res@5');
      events[0]!.ack.postEnqueue();
      expect(progress.checkpointTs).toBe(4n);
      expect(progress.pendingEvents).toBe(1);
    });

    it('I1: an event that is never acked, because its write failed, holds the checkpoint for ever', () => {
      const { progress, register, flush } = run();
      register('a@5 a@6', 'res@6', 'a@7', 'res@7');
      flush(1, 2);
      expect(progress.checkpointTs).toBe(4n);
      expect(progress.pendingEvents).toBe(1);
    });

    it('I4: one unflushed event holds back all later positions; its flush lets them go at once', () => {
      const { progress, register, flush } = run();
      register('a@1 b@2 a@3 b@4', 'res@4');
      flush(3, 2, 1);
      expect(progress.checkpointTs).toBe(0n);
      flush(0);
      expect(progress.checkpointTs).toBe(4n);
    });

    it('registers a whole delivery before its mark counts, whatever their order in it', () => {
      const { progress, register } = run();
      register('res@9 a@5');
      expect(progress.checkpointTs).toBe(4n);
    });

    it('counts an event once, however often it is flushed', () => {
      const { progress, register, flush } = run();
      register('a@5 b@6', 'res@9');
      flush(0, 0, 0);
      expect([progress.checkpointTs, progress.pendingEvents]).toEqual([5n, 1]);
    });

    it('starts where everything is durable already', () => {
      const { progress, register } = run(100n);
      expect([progress.checkpointTs, progress.resolvedTs]).toEqual([100n, 100n]);
      register('a@101', 'res@101');
      expect(progress.checkpointTs).toBe(100n);
    });

    it('is told to whoever subscribes, now and when it moves', () => {
      const { progress, register, flush } = run(3n);
      const seen: bigint[] = [];
      progress.checkpoint$.subscribe((checkpointTs) => seen.push(checkpointTs));
      register('a@5', 'res@9', 'res@9');
      flush(0);
      expect(seen).toEqual([3n, 4n, 9n]);
    });

    it('has moved when the other functions of a flush ack run, because they look at it', () => {
      const { progress, register, events } = run();
      register('a@5 res@5');
      const seen: bigint[] = [];
      events[0]!.ack.addPostFlush(() => seen.push(progress.checkpointTs));
      events[0]!.ack.postFlush();
      expect(seen).toEqual([5n]);
    });

    it('is exact for any order of flushes', () => {
      const order = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5];
      const { progress, register, flush } = run();
      register(...order.map((_, index) => `a@${(index + 1) * 10}`), 'res@100');
      const pending = new Set(order);
      for (const number of order) {
        flush(number);
        pending.delete(number);
        const earliest = Math.min(...pending);
        expect(progress.checkpointTs).toBe(pending.size === 0 ? 100n : BigInt((earliest + 1) * 10 - 1));
      }
    });
  });

  describe('the ack of a delivery', () => {
    it('(!) §3: is enqueued when all of its events are, once (upstream woke on the first)', () => {
      const { register, events } = run();
      const log = watch(register('a@5 b@5 ddl:a@6')[0]!);
      for (const number of [2, 0]) events[number]!.ack.postEnqueue();
      expect(log).toEqual([]);
      events[1]!.ack.postEnqueue();
      expect(log).toEqual(['woken']);
    });

    it('is flushed when all of its events are, and woken by that where it was not', () => {
      const { register, flush } = run();
      const log = watch(register('a@5 b@5')[0]!);
      flush(1);
      expect(log).toEqual([]);
      flush(0);
      expect(log).toEqual(['flushed', 'woken']);
    });

    it('is given at once when nothing arrived', () => {
      const { progress } = run();
      const delivery = deliveryOf('res@5');
      const log = watch(delivery);
      progress.register(delivery);
      expect(log).toEqual(['flushed', 'woken']);
    });

    it('is of the events that arrived, not of those that were sent', () => {
      const { progress } = run();
      const sent = deliveryOf('a@5 b@5');
      const log = watch(sent);
      const arrived = sent.with(sent.events.slice(1));
      progress.register(arrived);
      for (const event of arrived.events.filter(isAckedEvent)) event.ack.postFlush();
      expect(log).toEqual(['flushed', 'woken']);
    });
  });

  it('knows the commit time of the newest transaction at or before the checkpoint', () => {
    const progress = new Progress();
    const rows = deliveryOf('a@15');
    const marks = [
      [10n, 1000n],
      [20n, 2000n],
    ] as const;
    progress.register(rows);
    for (const [commitTs, timeUs] of marks) progress.register(deliveryOf('').with([resolvedEvent(commitTs, timeUs)]));
    expect([progress.checkpointTs, progress.checkpointTimeUs]).toEqual([14n, 1000n]);
    for (const event of rows.events.filter(isAckedEvent)) event.ack.postFlush();
    expect([progress.checkpointTs, progress.checkpointTimeUs]).toEqual([20n, 2000n]);
  });
});
