import { describe, expect, it } from '@jest/globals';
import { concatMap, delay, filter, map, type OperatorFunction, of, pipe, Subject, take, throwError, toArray } from 'rxjs';
import { isMillraceError } from '../../lib/errors.ts';
import type { DataEvent, Delivery } from '../../lib/events/index.ts';
import { deliveryOf, dispatcherNamed, notationOf } from '../../lib/testing/index.ts';
import { lift } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

type EventOperator = OperatorFunction<DataEvent, DataEvent>;
const reverse: EventOperator = pipe(
  toArray(),
  concatMap((events) => events.reverse()),
);

/** architecture §2 */
describe('lift', () => {
  it('runs the operator afresh over each delivery, so that nothing is carried over', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[a@5,a@6,a@7]-[a@8,a@9]-|');
      const expected = '     a@5-----------a@8-------|';
      expectEvents(source.pipe(lift('first', take(1)))).toBe(expected);
    });
  });

  it('holds a delivery until its operator completes, and those behind it in order', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const letters = { x: 'a@5', y: 'a@6', r: 'res@6' };
      const source = events('xyr-------|', letters);
      //                     x 3ms, then y 3ms; r has no data and waits for nothing but its turn
      const expected = '     ---x--(yr)|';
      expectDeliveries(
        source.pipe(
          lift(
            'slow',
            concatMap((event) => of(event).pipe(delay(3))),
          ),
        ),
      ).toBe(expected, letters);
    });
  });

  it('ends behind the last delivery that it holds', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const source = events('xy|', { x: 'a@5', y: 'a@6' });
      const expected = '     ---x--(y|)';
      expectDeliveries(
        source.pipe(
          lift(
            'slow',
            concatMap((event) => of(event).pipe(delay(3))),
          ),
        ),
      ).toBe(expected, { x: 'a@5', y: 'a@6' });
    });
  });

  it('keeps marks and signals in their places', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[hello:a,a@5,b@5,res@5,a@6,b@6,marker:a]-|');
      const expected = '     [hello:a,b@5,res@5,b@6,marker:a]---------|';
      const onlyB = lift(
        'onlyB',
        filter((event) => event.dispatcher === dispatcherNamed('b')),
      );
      expectEvents(source.pipe(onlyB)).toBe(expected);
    });
  });

  it('passes a delivery whose events were all dropped', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const source = events('a@5-a@6-|');
      const expected = '     []--[]--|';
      const none = lift(
        'none',
        filter(() => false),
      );
      expectDeliveries(source.pipe(none)).toBe(expected);
    });
  });

  it('fails when the operator reorders a dispatcher, because nothing inside a transaction may be reordered', () => {
    const errors: unknown[] = [];
    of(deliveryOf('a@5.1 a@5.2'))
      .pipe(lift('reverse', reverse))
      .subscribe({ error: (error) => errors.push(error) });
    expect(errors).toMatchObject([{ code: 'MR_OUT_OF_ORDER', details: { stage: 'reverse', position: '5/1', previous: '5/2' } }]);
    expect(isMillraceError(errors[0])).toBe(true);
  });

  it('lets different dispatchers pass each other', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[a@5,b@6]-|');
      const expected = '     [b@6,a@5]-|';
      expectEvents(source.pipe(lift('reverse', reverse))).toBe(expected);
    });
  });

  it.each<[string, EventOperator]>([
    ['that emits one', () => throwError(() => new Error('broken'))],
    [
      'that is thrown when it is built',
      () => {
        throw new Error('broken');
      },
    ],
    [
      'that is thrown in it',
      map(() => {
        throw new Error('broken');
      }),
    ],
  ])('fails with an error of the operator: one %s', (_, op) => {
    const errors: unknown[] = [];
    of(deliveryOf('a@5'))
      .pipe(lift('broken', op))
      .subscribe({ error: (error) => errors.push(error) });
    expect(errors).toEqual([new Error('broken')]);
  });

  it('lets go of the operator when it is unsubscribed', () => {
    const inner = new Subject<DataEvent>();
    const subscription = of(deliveryOf('a@5'))
      .pipe(lift('wait', () => inner))
      .subscribe();
    expect(inner.observed).toBe(true);
    subscription.unsubscribe();
    expect(inner.observed).toBe(false);
  });

  it('keeps the order when what it emits makes another delivery arrive at once', () => {
    const source = new Subject<Delivery>();
    const out: string[] = [];
    source
      .pipe(
        lift(
          'same',
          map((event) => event),
        ),
      )
      .subscribe((delivery) => {
        if (out.length === 0) source.next(deliveryOf('a@6'));
        out.push(notationOf(delivery));
      });
    source.next(deliveryOf('a@5'));
    expect(out).toEqual(['a@5', 'a@6']);
  });

  operatorLaws({
    make: () =>
      lift(
        'same',
        map((event) => event),
      ),
    items: () => [deliveryOf('a@5 res@5'), deliveryOf('')],
    show: notationOf,
  });
});
