import { Observable } from 'rxjs';
import { ALL_DISPATCHERS, type BlockEvent, Delivery, type DrainMarker, drainMarker, isBlockEvent } from '../lib/events/index.ts';
import { link, operator, Ring, type Stage } from '../lib/flow/index.ts';

/**
 * Sends a drain marker ahead of each schema change, TRUNCATE and syncpoint, and holds that back until the marker is flushed.
 *
 * In plain words: a table's files are complete before its columns change.
 *
 * ![drainMarkers](../docs/operators/drain-markers.svg)
 *
 * The marker is a delivery of its own. It travels the route of its dispatcher's rows, forces their pending batches out and is flush-acked behind them (spec
 * storage-sink §4.1); a syncpoint's marker is of all dispatchers. Deliveries that arrive meanwhile wait in order; the pump, which emits nothing between a
 * block event and its flush, bounds them. When the source ends, the rest goes out before the end; an error of the source goes out at once, and what is held
 * back is dropped un-acked.
 *
 * @example
 * ```ts
 * import type { Delivery } from 'millrace';
 * import { drainMarkers } from 'millrace/operators';
 * import { eventMarbles } from 'millrace/testing';
 * import { tap } from 'rxjs';
 *
 * eventMarbles(({ events, clock, expectEvents }) => {
 *   const source   = events('a@5-ddl:a@6-----------|');
 *   const expected =        'a@5-marker:a--ddl:a@6-|';
 *   // The part of a sink: it flushes a marker 10 ms later.
 *   const sink = tap<Delivery>(({ events: [event] }) => {
 *     if (event?.type === 'marker') clock.after(10, () => event.ack.postFlush());
 *   });
 *   expectEvents(source.pipe(drainMarkers(), sink)).toBe(expected);
 * });
 * ```
 *
 * @returns an operator for a sink. It stands behind `trackProgress`, because it emits more deliveries than it receives.
 * @see flushBy, which answers the marker.
 */
export function drainMarkers(): Stage {
  return operator('drainMarkers', {}, () => (source) => {
    return new Observable((subscriber) => {
      const waiting = new Ring<Delivery>();
      let drained: Delivery | null = null;
      let draining: DrainMarker | null = null;
      let isRunning = false;
      let isSourceDone = false;
      const run = () => {
        // An ack may come within the emission of its marker, and another delivery within that ack: the outermost call goes on with them.
        if (isRunning) return;
        isRunning = true;
        while (draining === null && (drained !== null || waiting.length > 0) && !subscriber.closed) step();
        isRunning = false;
        if (isSourceDone && draining === null && waiting.length === 0) subscriber.complete();
      };
      const step = () => {
        const delivery = drained ?? waiting.shift()!;
        const block = drained === null ? delivery.events.find(isBlockEvent) : undefined;
        drained = null;
        if (block === undefined) return subscriber.next(delivery);
        const marker = markerFor(block);
        draining = marker;
        marker.ack.addPostFlush(() => {
          if (draining !== marker) return;
          draining = null;
          drained = delivery;
          run();
        });
        subscriber.next(new Delivery([marker]));
      };
      link(source, subscriber, {
        next: (delivery) => {
          for (const piece of cutBeforeBlocks(delivery)) waiting.push(piece);
          run();
        },
        complete: () => {
          isSourceDone = true;
          run();
        },
      });
    });
  });
}

function markerFor(event: BlockEvent): DrainMarker {
  return drainMarker(event.type === 'syncpoint' ? ALL_DISPATCHERS : event.dispatcher);
}

/** The delivery cut so that a block event stands first where there is one; sources send block events in deliveries of their own, which stay whole. */
function cutBeforeBlocks(delivery: Delivery): readonly Delivery[] {
  const cuts = delivery.events.flatMap((event, index) => (index > 0 && isBlockEvent(event) ? [index] : []));
  if (cuts.length === 0) return [delivery];
  return [0, ...cuts].map((from, piece) => delivery.with(delivery.events.slice(from, cuts[piece])));
}
