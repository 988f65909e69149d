import { concat, defer, from, map, Observable, type OperatorFunction, of, tap, toArray } from 'rxjs';
import { MillraceError } from '../lib/errors.ts';
import {
  type ChangeEvent,
  comparePositions,
  type DataEvent,
  type Delivery,
  type DispatcherId,
  firstPosition,
  formatPosition,
  isDataEvent,
  lastPosition,
  type Position,
} from '../lib/events/index.ts';
import { link, operator, Ring, type Stage } from '../lib/flow/index.ts';
import { requireDataEvent } from './per-event.ts';

/**
 * Makes a stage from any RxJS operator on data events, asynchronous ones too.
 *
 * In plain words: use the RxJS you know on the changes of one delivery; the delivery waits until it is done.
 *
 * ![lift](../docs/operators/lift.svg)
 *
 * `op` runs afresh over the data events of each delivery, and the delivery passes on with what it emitted when it completes; so nothing is carried from one
 * delivery to the next, and one delivery is worked on at a time. Resolved marks, syncpoints and signals keep their places: where one stands between data
 * events, `op` runs over those before it, then over those behind it. Deliveries that arrive meanwhile wait, bounded by the pump's bytes in flight. The
 * stage ends when the source has ended and the last delivery is out; an error of the source ends it at once. An `op` that never completes stops the run
 * where it stands, without an error: give what may hang a `timeout`.
 *
 * @example
 * ```ts
 * import { lift } from 'millrace/operators';
 * import { delay, timeout } from 'rxjs';
 *
 * const slow = lift('slow', delay(10));
 * const bounded = lift('bounded', timeout(5_000)); // what hangs ends the run with an error
 * ```
 *
 * @param name what `describe`, metrics and errors call the stage.
 * @param op must emit events of one dispatcher in position order.
 * @returns a stage. It fails with MR_OUT_OF_ORDER when `op` reorders, and with what `op` fails with.
 * @see perEvent, which is cheaper where a synchronous function will do.
 */
export function lift(name: string, op: OperatorFunction<DataEvent, DataEvent>): Stage {
  return operator(name, {}, () => (source) => oneAtATime(source, (delivery) => lifted(name, op, delivery)));
}

function lifted(name: string, op: OperatorFunction<DataEvent, DataEvent>, delivery: Delivery): Observable<Delivery> {
  if (!delivery.events.some(isDataEvent)) return of(delivery);
  const check = orderCheck(name);
  const runs = dataRuns(delivery.events).map((run) => (Array.isArray(run) ? defer(() => from(run).pipe(op, tap(check))) : of(run)));
  return concat<ChangeEvent[]>(...runs).pipe(
    toArray(),
    map((events) => delivery.with(events)),
  );
}

/** Data events with nothing between them as arrays, everything else as it is. */
function dataRuns(events: readonly ChangeEvent[]): (ChangeEvent | DataEvent[])[] {
  const runs: (ChangeEvent | DataEvent[])[] = [];
  let run: DataEvent[] | null = null;
  for (const event of events) {
    if (isDataEvent(event)) {
      if (run === null) runs.push((run = []));
      run.push(event);
    } else {
      run = null;
      runs.push(event);
    }
  }
  return runs;
}

/** Throws at what is no change, and at an event that stands before its dispatcher's previous one. */
function orderCheck(stage: string): (event: DataEvent) => void {
  const lastOf = new Map<DispatcherId, Position>();
  return (event) => {
    const { dispatcher } = requireDataEvent(event);
    const position = firstPosition(event);
    const previous = lastOf.get(dispatcher);
    if (previous !== undefined && comparePositions(position, previous) < 0) {
      throw new MillraceError('MR_OUT_OF_ORDER', {
        stage,
        position: formatPosition(position),
        previous: formatPosition(previous),
        dispatcher,
      });
    }
    lastOf.set(dispatcher, lastPosition(event));
  };
}

/** `concatMap` with a ring buffer for what waits, and a loop where results are synchronous. */
function oneAtATime<In, Out>(source: Observable<In>, project: (item: In) => Observable<Out>): Observable<Out> {
  return new Observable((subscriber) => {
    const waiting = new Ring<In>();
    let isActive = false;
    let isRunning = false;
    let isSourceDone = false;
    const run = () => {
      if (isRunning) return;
      isRunning = true;
      while (!isActive && waiting.length > 0 && !subscriber.closed) start(waiting.shift()!);
      isRunning = false;
      if (isSourceDone && !isActive && waiting.length === 0) subscriber.complete();
    };
    const start = (item: In) => {
      isActive = true;
      link(project(item), subscriber, {
        next: (value) => subscriber.next(value),
        complete: () => {
          isActive = false;
          run();
        },
      });
    };
    subscriber.add(() => waiting.clear());
    link(source, subscriber, {
      next: (item) => {
        waiting.push(item);
        run();
      },
      complete: () => {
        isSourceDone = true;
        run();
      },
    });
  });
}
