import { describe, expect, it } from '@jest/globals';
import { map, of } from 'rxjs';
import { type DataEvent, type Delivery, resolvedEvent } from '../../lib/events/index.ts';
import { deliveryOf } from '../../lib/testing/index.ts';
import { lift, perEvent } from '../../operators/index.ts';

/** What a careless function may return instead of an event; without a check progress would pass the lost rows. */
const NOT_EVENTS: [string, (event: DataEvent) => unknown][] = [
  ['nothing', () => undefined],
  ['a promise', (event) => Promise.resolve(event)],
  ['a resolved mark', () => resolvedEvent(1n)],
];

describe('a stage that returns no event', () => {
  it.each(NOT_EVENTS)('fails in perEvent: %s', (_, careless) => {
    expect(outcome(of(deliveryOf('a@5')).pipe(perEvent('mask', careless as (event: DataEvent) => DataEvent)))).toMatch(
      /^MR_STAGE_FAILED.*mask.*5\/0/,
    );
  });

  it.each(NOT_EVENTS)('fails in lift: %s', (_, careless) => {
    expect(outcome(of(deliveryOf('a@5')).pipe(lift('mask', map(careless as (event: DataEvent) => DataEvent))))).toMatch(
      /must give a change/,
    );
  });
});

it('lift checks the order over a whole delivery, also across a mark in it', () => {
  const swap = new Map([['5', '9']]);
  const later = map((event: DataEvent) => {
    const { commitTs } = event.type === 'dml' ? event.rows.first : event.position;
    const moved = swap.get(String(commitTs));
    return moved === undefined ? event : (deliveryOf(`a@${moved}`).events[0] as DataEvent);
  });
  expect(outcome(of(deliveryOf('a@5 res@5 a@6')).pipe(lift('later', later)))).toMatch(/MR_OUT_OF_ORDER/);
});

function outcome(stream: ReturnType<ReturnType<typeof lift>>): string {
  let result = 'nothing';
  stream.subscribe({
    next: (delivery: Delivery) => {
      result = `emitted ${delivery.events.length}`;
    },
    error: (error: Error) => {
      result = error.message;
    },
  });
  return result;
}
