import { describe, expect, it } from '@jest/globals';
import { map, Subject, tap } from 'rxjs';
import type { Delivery, DrainMarker } from '../../lib/events/index.ts';
import { deliveryOf, notationOf } from '../../lib/testing/index.ts';
import { drainMarkers } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

/** Runs drainMarkers over what is sent, with the markers in hand. */
function run(answer?: (marker: DrainMarker) => void) {
  const source = new Subject<Delivery>();
  const out: string[] = [];
  const markers: DrainMarker[] = [];
  const subscription = source
    .pipe(
      drainMarkers(),
      tap(({ events }) => {
        for (const event of events) {
          if (event.type !== 'marker') continue;
          markers.push(event);
          answer?.(event);
        }
      }),
      map(notationOf),
    )
    .subscribe({ next: (text) => out.push(text), error: (error) => out.push(`error ${error}`), complete: () => out.push('end') });
  const send = (...texts: string[]) => {
    for (const text of texts) source.next(deliveryOf(text));
  };
  return { source, send, out, markers, subscription };
}

/** spec storage-sink §4.1 */
describe('drainMarkers', () => {
  it('sends a marker ahead of a schema change, and the change itself at the moment of the marker’s ack', () => {
    eventMarbles(({ events, context, expectEvents }) => {
      const source = events('a@5-ddl:a@6-a@7-----------|');
      //                         the marker takes 9 ms
      const expected = '     a@5-marker:a-(ddl:a@6,a@7)|';
      const answered = source.pipe(
        drainMarkers().withContext(context),
        tap(({ events: [event] }) => {
          if (event?.type === 'marker') context.clock.after(9, () => event.ack.postFlush());
        }),
      );
      expectEvents(answered).toBe(expected);
    });
  });

  it.each([
    ['a schema change', 'ddl:a@6', 'marker:a'],
    ['a TRUNCATE', 'truncate:a@6', 'marker:a'],
    ['a syncpoint, which is of all dispatchers', 'sync@6', 'marker:*'],
  ])('DDLPassBlockEventCoversEncodeQueue: holds %s back until its marker is flushed', (_, block, marker) => {
    const { send, out, markers } = run();
    send('a@5', block, 'a@7');
    expect(out).toEqual(['a@5', marker]);
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['a@5', marker, block, 'a@7']);
  });

  it('goes on by itself when the marker is flushed while it is emitted', () => {
    const { send, out } = run((marker) => marker.ack.postFlush());
    send('ddl:a@6', 'a@7');
    expect(out).toEqual(['marker:a', 'ddl:a@6', 'a@7']);
  });

  it('keeps the order when a flush makes the next delivery arrive at once', () => {
    const { source, out } = run((marker) => {
      marker.ack.addPostFlush(() => source.next(deliveryOf('a@7')));
      marker.ack.postFlush();
    });
    source.next(deliveryOf('ddl:a@6'));
    expect(out).toEqual(['marker:a', 'ddl:a@6', 'a@7']);
  });

  it('is not enqueued like rows: only the flush of the marker lets the block event go', () => {
    const { send, out, markers } = run();
    send('ddl:a@6');
    markers[0]!.ack.postEnqueue();
    expect(out).toEqual(['marker:a']);
  });

  it('sends the block event once, however often the marker is flushed', () => {
    const { send, out, markers } = run();
    send('ddl:a@6', 'ddl:a@7');
    markers[0]!.ack.postFlush();
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['marker:a', 'ddl:a@6', 'marker:a']);
  });

  it('gives each block event a marker of its own, one at a time', () => {
    const { send, out, markers } = run();
    send('ddl:a@6', 'truncate:b@6.1', 'b@7');
    markers[0]!.ack.postFlush();
    markers[1]!.ack.postFlush();
    expect(out).toEqual(['marker:a', 'ddl:a@6', 'marker:b', 'truncate:b@6.1', 'b@7']);
  });

  it('sends rows before the marker where a delivery holds both', () => {
    const { send, out, markers } = run();
    send('a@5 ddl:a@6 res@6');
    expect(out).toEqual(['a@5', 'marker:a']);
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['a@5', 'marker:a', '[ddl:a@6,res@6]']);
  });

  it('ends behind what it holds', () => {
    const { source, send, out, markers } = run();
    send('ddl:a@6', 'a@7');
    source.complete();
    expect(out).toEqual(['marker:a']);
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['marker:a', 'ddl:a@6', 'a@7', 'end']);
  });

  it('passes an error on at once, and nothing after it', () => {
    const { source, send, out, markers } = run();
    send('ddl:a@6');
    source.error('broken');
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['marker:a', 'error broken']);
  });

  it('emits nothing after it was unsubscribed, when the flush comes late', () => {
    const { send, out, markers, subscription } = run();
    send('ddl:a@6');
    subscription.unsubscribe();
    markers[0]!.ack.postFlush();
    expect(out).toEqual(['marker:a']);
  });

  operatorLaws({ make: drainMarkers, items: () => [deliveryOf('a@5'), deliveryOf('res@5')], show: notationOf });
});
