import { Observable } from 'rxjs';
import { type Delivery, isBlockEvent } from '../events/index.ts';

export interface PumpOptions {
  /** The next delivery is pulled only while fewer bytes than this are emitted and not yet woken. Default 8 MiB. */
  readonly maxBytesInFlight?: number;
}

/** As many deliveries may be emitted and not yet woken, whatever their bytes: resolved marks have none, and a slow stage gathers them. */
const DELIVERIES_IN_FLIGHT_MAX = 4096;
/** About a socket's read: a source that has everything in memory pauses no less often than one that has to ask for it. */
const BYTES_PER_TURN = 64 * 1024;
/** What a delivery counts as, however few bytes it has. */
const BYTES_MIN = 256;

/**
 * The one place where pull becomes push. Emits a delivery and pulls the next only while the bytes in flight allow, and at most 4096 deliveries ahead; after
 * a block event (DDL, TRUNCATE, syncpoint) only when that is flushed. Unsubscribing ends the iteration.
 *
 * A source that never has to wait is made to: every 64 KiB the event loop takes a turn, in which timers fire, signals are heard, and writes that have ended lead to the
 * next ones.
 *
 * The source ends the stream when it ends the iteration; an error of the source is the stream's.
 */
export function pump(deliveries: AsyncIterable<Delivery>, { maxBytesInFlight = 8 * 1024 * 1024 }: PumpOptions = {}): Observable<Delivery> {
  return new Observable((subscriber) => {
    const iterator = deliveries[Symbol.asyncIterator]();
    let bytesInFlight = 0;
    let inFlight = 0;
    let bytesThisTurn = 0;
    const isFull = () => bytesInFlight >= maxBytesInFlight || inFlight >= DELIVERIES_IN_FLIGHT_MAX;
    let resolveWaiting: (() => void) | null = null;
    // Once for each wait: Node is told of a promise that is resolved again, which costs more than all the rest of an ack.
    const wake = () => {
      const resolve = resolveWaiting;
      resolveWaiting = null;
      resolve?.();
    };
    const run = async () => {
      for (;;) {
        const { done, value: delivery } = await iterator.next();
        if (done || subscriber.closed) break;
        // The hooks hold the ack and a number, not the delivery: its rows are let go as soon as the sink has encoded them.
        const { bytes } = delivery;
        let held = delivery.events.some(isBlockEvent);
        bytesInFlight += bytes;
        inFlight++;
        if (held) {
          delivery.ack.addPostFlush(() => {
            held = false;
            wake();
          });
        }
        delivery.ack.addPostEnqueue(() => {
          bytesInFlight -= bytes;
          inFlight--;
          wake();
        });
        subscriber.next(delivery);
        bytesThisTurn += Math.max(bytes, BYTES_MIN);
        if (bytesThisTurn >= BYTES_PER_TURN) {
          bytesThisTurn = 0;
          await new Promise((resolve) => setImmediate(resolve));
        }
        while ((held || isFull()) && !subscriber.closed) {
          await new Promise<void>((resolve) => {
            resolveWaiting = resolve;
          });
        }
        if (subscriber.closed) break;
      }
      subscriber.complete();
    };
    run().catch((error: unknown) => subscriber.error(error));
    return () => {
      wake();
      iterator.return?.().catch(() => {
        // The iteration was abandoned; its own failure on the way out has nobody left to hear it.
      });
    };
  });
}
