import { describe, it } from '@jest/globals';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { filterEpoch } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** spec event-collector §4.1 */
describe('filterEpoch', () => {
  it('drops an older and a newer epoch, because equality alone says that an event is of the current session', () => {
    eventMarbles(
      ({ events, context, expectEvents }) => {
        const source = events('a@5#1.2-a@5#2.2-a@5#3.2-|');
        const expected = '     --------a@5#2.2---------|';
        expectEvents(source.pipe(filterEpoch().withContext(context))).toBe(expected);
      },
      { sessions: { a: 2 } },
    );
  });

  it('asks for each dispatcher by itself', () => {
    eventMarbles(
      ({ events, context, expectEvents }) => {
        const source = events('[a@5#2.2,b@5#2.2,res:b@5#1.2]-|');
        const expected = '     [a@5#2.2,res:b@5#1.2]---------|';
        expectEvents(source.pipe(filterEpoch().withContext(context))).toBe(expected);
      },
      { sessions: { a: 2, b: 1 } },
    );
  });

  it.each(['ddl:a@5.0#1.2', 'truncate:a@5.0#1.2', 'sync:a@5#1.2', 'res:a@5#1.2', 'hello:a#1.1', 'lost:a#1.2'])(
    'drops a stale %s',
    (event) => {
      eventMarbles(
        ({ events, context, expectDeliveries }) => {
          const source = events('x|', { x: event });
          const expected = '     x|';
          expectDeliveries(source.pipe(filterEpoch().withContext(context))).toBe(expected, { x: '' });
        },
        { sessions: { a: 2 } },
      );
    },
  );

  it('passes what belongs to no epoch, because those signals are how a session begins', () => {
    eventMarbles(
      ({ events, context, expectEvents }) => {
        const source = events('[ready:a,gone:a,marker:a,res@9]-|');
        const expected = '     [ready:a,gone:a,marker:a,res@9]-|';
        expectEvents(source.pipe(filterEpoch().withContext(context))).toBe(expected);
      },
      { sessions: { a: 2 } },
    );
  });

  operatorLaws({ make: filterEpoch, items: () => [deliveryOf('a@5'), deliveryOf('res@5')], show: notationOf });
});
