import { describe, expect, it } from '@jest/globals';
import { concatMap, delay, filter, map, type OperatorFunction, of, pipe, Subject, take, throwError, toArray } from 'rxjs';
import { isMillraceError } from '../../lib/errors.ts';
import type { DataEvent, Delivery } from '../../lib/events/index.ts';
import { lift } from '../../operators/index.ts';
import { marbles } from '../support/marbles.ts';
import { deliveryOf, show, tableNamed } from '../support/notation.ts';
import { operatorLaws } from '../support/operator-laws.ts';

type EventOperator = OperatorFunction<DataEvent, DataEvent>;
const reverse: EventOperator = pipe(
  toArray(),
  concatMap((events) => events.reverse()),
);

/** architecture §2 */
describe('lift', () => {
  it('runs the operator afresh over each delivery, so that nothing is carried over', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x-y-|', { x: 'a@5 a@6 a@7', y: 'a@8 a@9' });
      const expected = '         x-y-|';
      expectDeliveries(source.pipe(lift('first', take(1)))).toBe(expected, { x: 'a@5', y: 'a@8' });
    });
  });

  it('holds a delivery until its operator completes, and those behind it in order', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const letters = { x: 'a@5', y: 'a@6', r: 'res@6' };
      const source = deliveries('xyr-------|', letters);
      //                         x 3ms, then y 3ms; r has no data and waits for nothing but its turn
      const expected = '         ---x--(yr)|';
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
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('xy|', { x: 'a@5', y: 'a@6' });
      const expected = '         ---x--(y|)';
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
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x|', { x: 'hello:a a@5 b@5 res@5 a@6 b@6 marker:a' });
      const expected = '         x|';
      const onlyB = lift(
        'onlyB',
        filter((event) => event.dispatcher === tableNamed('b').dispatcher),
      );
      expectDeliveries(source.pipe(onlyB)).toBe(expected, { x: 'hello:a b@5 res@5 b@6 marker:a' });
    });
  });

  it('passes a delivery whose events were all dropped', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x-y-|', { x: 'a@5', y: 'a@6' });
      const expected = '         z-z-|';
      expectDeliveries(
        source.pipe(
          lift(
            'none',
            filter(() => false),
          ),
        ),
      ).toBe(expected, { z: '' });
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
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x|', { x: 'a@5 b@6' });
      const expected = '         x|';
      expectDeliveries(source.pipe(lift('reverse', reverse))).toBe(expected, { x: 'b@6 a@5' });
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
        out.push(show(delivery));
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
    show,
  });
});
