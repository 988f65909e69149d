import { describe, expect, it } from '@jest/globals';
import { of } from 'rxjs';
import type { DataEvent, Delivery } from '../../lib/events/index.ts';
import { createContext } from '../../lib/flow/index.ts';
import { deliveryOf, dispatcherNamed, notationOf } from '../../lib/testing/index.ts';
import { DROP, perEvent } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

const same = (event: DataEvent) => event;
const isOfA = (event: DataEvent) => event.dispatcher === dispatcherNamed('a');

/** architecture §2 */
describe('perEvent', () => {
  it('emits one delivery for each, also when everything in it was dropped, so that progress never waits for a dropped event', () => {
    eventMarbles(({ events, expectDeliveries }) => {
      const source = events('[a@5,b@5]-a@6-[]-|');
      const expected = '     b@5-------[]--[]-|';
      expectDeliveries(source.pipe(perEvent('dropA', (event) => (isOfA(event) ? DROP : event)))).toBe(expected);
    });
  });

  it('shows the step rows, schema changes and TRUNCATEs, and nothing else', () => {
    eventMarbles(({ events, expectEvents }) => {
      const source = events('[hello:a,a@5,ddl:a@5.1,truncate:a@5.1,res@5,sync@5,marker:a]-|');
      const expected = '     [hello:a,res@5,sync@5,marker:a]------------------------------|';
      expectEvents(source.pipe(perEvent('dropAll', () => DROP))).toBe(expected);
    });
  });

  it('passes the very delivery on when nothing changed, and its acks and bytes when something did', () => {
    const delivery = deliveryOf('a@5 b@5');
    const out: Delivery[] = [];
    const dropA = perEvent('dropA', (event) => (isOfA(event) ? DROP : event));
    of(delivery)
      .pipe(perEvent('same', same))
      .subscribe((passed) => out.push(passed));
    of(delivery)
      .pipe(dropA)
      .subscribe((passed) => out.push(passed));
    expect(out[0]).toBe(delivery);
    expect([out[1]!.ack, out[1]!.bytes, notationOf(out[1]!)]).toEqual([delivery.ack, delivery.bytes, 'b@5']);
  });

  it('gives the step the context of the run', () => {
    const context = createContext();
    of(deliveryOf('a@5'))
      .pipe(
        perEvent('count', (event, { metrics }) => {
          metrics.add('rows_in', 1, 'count');
          return event;
        }).withContext(context),
      )
      .subscribe();
    expect(context.metrics.get('rows_in', 'count')).toBe(1);
  });

  it('names the stage, the position and the table when the step throws', () => {
    const reason = new RangeError('no such currency');
    const fail = perEvent('convert', () => {
      throw reason;
    });
    const errors: unknown[] = [];
    of(deliveryOf('shop.a@5.3'))
      .pipe(fail)
      .subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toMatchObject([
      {
        code: 'MR_STAGE_FAILED',
        details: { stage: 'convert', position: '5/3', table: 'shop.a', reason: 'no such currency' },
        cause: reason,
      },
    ]);
  });

  it('carries its options for describe', () => {
    const { operatorName, options } = perEvent('convert', same, { to: 'EUR' });
    expect({ operatorName, options }).toEqual({ operatorName: 'convert', options: { to: 'EUR' } });
  });

  operatorLaws({ make: () => perEvent('same', same), items: () => [deliveryOf('a@5'), deliveryOf('')], show: notationOf });
});
