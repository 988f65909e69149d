import { describe, it } from '@jest/globals';
import type { Sessions } from '../../lib/flow/index.ts';
import { filterEpoch } from '../../operators/index.ts';
import { marbles } from '../support/marbles.ts';
import { deliveryOf, dispatcherNamed, show } from '../support/notation.ts';
import { operatorLaws } from '../support/operator-laws.ts';

const sessions = (epochs: Record<string, bigint>): Sessions => ({
  epochOf: (dispatcher) => Object.entries(epochs).find(([name]) => dispatcherNamed(name) === dispatcher)?.[1] ?? 0n,
  requestReset: () => {},
});

/** spec event-collector §4.1 */
describe('filterEpoch', () => {
  it('drops an older and a newer epoch, because equality alone says that an event is of the current session', () => {
    marbles(
      ({ deliveries, context, expectDeliveries }) => {
        const letters = { a: 'a@5#1.2', b: 'a@5#2.2', c: 'a@5#3.2' };
        const source = deliveries('a-b-c-|', letters);
        const expected = '         a-b-c-|';
        expectDeliveries(source.pipe(filterEpoch().withContext(context))).toBe(expected, { b: letters.b });
      },
      { sessions: sessions({ a: 2n }) },
    );
  });

  it('asks for each dispatcher by itself', () => {
    marbles(
      ({ deliveries, context, expectDeliveries }) => {
        const source = deliveries('x|', { x: 'a@5#2.2 b@5#2.2 res:b@5#1.2' });
        const expected = '         x|';
        expectDeliveries(source.pipe(filterEpoch().withContext(context))).toBe(expected, { x: 'a@5#2.2 res:b@5#1.2' });
      },
      { sessions: sessions({ a: 2n, b: 1n }) },
    );
  });

  it.each(['ddl:a@5.0#1.2', 'truncate:a@5.0#1.2', 'sync:a@5#1.2', 'res:a@5#1.2', 'hello:a#1.1', 'lost:a#1.2'])(
    'drops a stale %s',
    (event) => {
      marbles(
        ({ deliveries, context, expectDeliveries }) => {
          const source = deliveries('x|', { x: event });
          const expected = '         x|';
          expectDeliveries(source.pipe(filterEpoch().withContext(context))).toBe(expected, {});
        },
        { sessions: sessions({ a: 2n }) },
      );
    },
  );

  it('passes what belongs to no epoch, because those signals are how a session begins', () => {
    marbles(
      ({ deliveries, context, expectDeliveries }) => {
        const letters = { x: 'ready:a gone:a marker:a res@9' };
        const source = deliveries('x|', letters);
        const expected = '         x|';
        expectDeliveries(source.pipe(filterEpoch().withContext(context))).toBe(expected, letters);
      },
      { sessions: sessions({ a: 2n }) },
    );
  });

  operatorLaws({ make: filterEpoch, items: () => [deliveryOf('a@5'), deliveryOf('res@5')], show });
});
