import { describe, expect, it } from '@jest/globals';
import { of } from 'rxjs';
import { isMillraceError, type MillraceError } from '../../lib/errors.ts';
import type { DataEvent } from '../../lib/events/index.ts';
import { createContext } from '../../lib/flow/index.ts';
import { DROP, perEvent } from '../../operators/index.ts';
import { marbles } from '../support/marbles.ts';
import { deliveryOf, show, tableNamed } from '../support/notation.ts';
import { operatorLaws } from '../support/operator-laws.ts';

const same = (event: DataEvent) => event;
const isOfA = (event: DataEvent) => event.dispatcher === tableNamed('a').dispatcher;

/** architecture §2 */
describe('perEvent', () => {
  it('emits one delivery for each, also when everything in it was dropped, so that progress never waits for a dropped event', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x-y-z-|', { x: 'a@5 b@5', y: 'a@6', z: '' });
      const expected = '         x-z-z-|';
      expectDeliveries(source.pipe(perEvent('dropA', (event) => (isOfA(event) ? DROP : event)))).toBe(expected, { x: 'b@5', z: '' });
    });
  });

  it('shows the step rows, schema changes and TRUNCATEs, and nothing else', () => {
    marbles(({ deliveries, expectDeliveries }) => {
      const source = deliveries('x|', { x: 'hello:a a@5 ddl:a@5.1 truncate:a@5.1 res@5 sync@5 marker:a' });
      const expected = '         x|';
      expectDeliveries(source.pipe(perEvent('dropAll', () => DROP))).toBe(expected, { x: 'hello:a res@5 sync@5 marker:a' });
    });
  });

  it('passes the very delivery on when nothing changed, and its acks and bytes when something did', () => {
    const delivery = deliveryOf('a@5 b@5');
    of(delivery)
      .pipe(perEvent('same', same))
      .subscribe((out) => expect(out).toBe(delivery));
    of(delivery)
      .pipe(perEvent('dropA', (event) => (isOfA(event) ? DROP : event)))
      .subscribe((out) => expect([out.ack, out.bytes, out.events.length]).toEqual([delivery.ack, delivery.bytes, 1]));
  });

  it('gives the step the context of the run', () => {
    const context = createContext();
    of(deliveryOf('a@5'))
      .pipe(
        perEvent('count', (event, { metrics }) => {
          metrics.add('rows_in', 1, 'count');
          return event;
        }).bind(context),
      )
      .subscribe();
    expect(context.metrics.get('rows_in', 'count')).toBe(1);
  });

  it('names the stage, the position and the table when the step throws', () => {
    const reason = new RangeError('no such currency');
    const fail = perEvent('convert', () => {
      throw reason;
    });
    of(deliveryOf('shop.a@5.3')).subscribe();
    of(deliveryOf('shop.a@5.3'))
      .pipe(fail)
      .subscribe({
        error: (error: unknown) => {
          expect(isMillraceError(error, 'MR_STAGE_FAILED')).toBe(true);
          const { details, cause } = error as MillraceError;
          expect(details).toEqual({ stage: 'convert', position: '5/3', table: 'shop.a', reason: 'no such currency' });
          expect(cause).toBe(reason);
        },
        complete: () => expect('an end').toBe('an error'),
      });
  });

  it('carries its options for describe', () => {
    expect(perEvent('convert', same, { to: 'EUR' })).toMatchObject({ operatorName: 'convert', options: { to: 'EUR' } });
  });

  operatorLaws({ make: () => perEvent('same', same), items: () => [deliveryOf('a@5'), deliveryOf('')], show });
});
