import { describe, expect, it } from '@jest/globals';
import { from, tap } from 'rxjs';
import { isAckedEvent } from '../../lib/events/index.ts';
import { createContext } from '../../lib/flow/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { perEvent, trackProgress } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** spec storage-sink §3 */
describe('trackProgress', () => {
  it('acks a delivery when everything in it is flushed, and moves the checkpoint', () => {
    eventMarbles(({ events, context, expectEvents, expectAcks, expectObservable }) => {
      const source = events('[a@5,b@6,res@6]-------------a@9-res@9-------------------------|');
      const expected = '     [a@5,b@6,res@6]-------------a@9-res@9-------------------------|';
      //                     rows are flushed after 20 ms; a mark has nothing to wait for
      const acks = '         --------------------(xX)--------(rR)------------(yY)';
      const checkpoints = '  (04)----------------(56)--------8---------------9';
      const sink = source.pipe(
        trackProgress().withContext(context),
        tap((delivery) => {
          for (const event of delivery.events.filter(isAckedEvent)) context.clock.after(20, () => event.ack.postFlush());
        }),
      );
      expectEvents(sink).toBe(expected);
      expectAcks(source).toBe(acks, {
        x: 'flushed:[a@5,b@6,res@6]',
        X: 'enqueued:[a@5,b@6,res@6]',
        r: 'flushed:res@9',
        R: 'enqueued:res@9',
        y: 'flushed:a@9',
        Y: 'enqueued:a@9',
      });
      expectObservable(context.progress.checkpoint$, { label: 'checkpoint', show: String }).toBe(checkpoints);
    });
  });

  it('I1: registers the whole delivery before any of it moves on, so that a flush of its first event exposes nothing behind its second', () => {
    const context = createContext();
    const checkpoints: bigint[] = [];
    from([deliveryOf('res@9'), deliveryOf('a@10 b@12 res@20')])
      .pipe(
        trackProgress().withContext(context),
        // A sink that is durable at once.
        tap((delivery) => {
          for (const event of delivery.events.filter(isAckedEvent)) {
            event.ack.postFlush();
            checkpoints.push(context.progress.checkpointTs);
          }
        }),
      )
      .subscribe();
    expect(checkpoints).toEqual([11n, 20n]);
  });

  it('I7: moves for what stages have dropped, because it never hears of it', () => {
    const context = createContext();
    from([deliveryOf('a@5 res@5')])
      .pipe(
        perEvent('dropAll', () => null),
        trackProgress().withContext(context),
      )
      .subscribe();
    expect(context.progress.checkpointTs).toBe(5n);
  });

  it('wakes and flushes a delivery in which nothing arrived, at once', () => {
    const empty = deliveryOf('');
    const acks: string[] = [];
    empty.ack.addPostEnqueue(() => acks.push('enqueued'));
    empty.ack.addPostFlush(() => acks.push('flushed'));
    from([empty]).pipe(trackProgress()).subscribe();
    expect(acks).toEqual(['flushed', 'enqueued']);
  });

  it('passes the very delivery on', () => {
    const delivery = deliveryOf('a@5 res@5');
    const out: unknown[] = [];
    from([delivery])
      .pipe(trackProgress())
      .subscribe((passed) => out.push(passed));
    expect(out).toEqual([delivery]);
    expect(out[0]).toBe(delivery);
  });

  operatorLaws({ make: trackProgress, items: () => [deliveryOf('a@5'), deliveryOf('res@5')], show: notationOf });
});
