import { Observable, type OperatorFunction } from 'rxjs';
import { MillraceError, reasonOf } from '../errors.ts';
import { type AckedEvent, type Delivery, firstPosition, formatPosition, isAckedEvent, tableName } from '../events/index.ts';
import { type ComponentMetrics, type Context, Ring, type Stage } from '../flow/index.ts';

/**
 * A stage bound to a run: its errors name it, the position and the table, and it is held to the rule of one delivery out for each one in, in
 * order (without which progress would stall). What it receives, passes on and discards is counted.
 *
 * @throws MR_STAGE_FAILED through the stream when the stage fails, MR_STAGE_CONTRACT when it loses, invents or swaps deliveries. Errors from before the
 * stage, and errors that name their stage already, pass as they are.
 */
export function guardStage(stage: Stage, context: Context, metrics: ComponentMetrics): OperatorFunction<Delivery, Delivery> {
  const name = stage.operatorName;
  return (source) =>
    new Observable((subscriber) => {
      // Received and not emitted; the pump's credit bounds it.
      const inHand = new Ring<Delivery>();
      let passing: { readonly error: unknown } | null = null;
      const received = new Observable<Delivery>((inner) =>
        source.subscribe({
          next: (delivery) => {
            metrics.received(delivery);
            inHand.push(delivery);
            inner.next(delivery);
          },
          error: (error: unknown) => {
            passing = { error };
            inner.error(error);
          },
          complete: () => inner.complete(),
        }),
      );
      const fail = (error: unknown) => {
        metrics.failed();
        subscriber.error(error);
      };
      const breach = (what: string) => fail(new MillraceError('MR_STAGE_CONTRACT', { stage: name, what, ...placeOf(inHand.peek()) }));
      return stage
        .withContext(context)(received)
        .subscribe({
          next: (delivery) => {
            const head = inHand.peek();
            if (head === undefined) return breach('emitted a delivery that it had not received');
            if (delivery.ack !== head.ack)
              return breach('emitted another delivery than the next it had received; use delivery.with(events)');
            inHand.shift();
            metrics.passed(head, delivery);
            subscriber.next(delivery);
          },
          error: (error: unknown) => (passing?.error === error ? subscriber.error(error) : fail(named(error, name, inHand.peek()))),
          complete: () =>
            inHand.peek() === undefined ? subscriber.complete() : breach('ended without emitting every delivery it had received'),
        });
    });
}

function named(error: unknown, stage: string, delivery: Delivery | undefined): unknown {
  if (error instanceof MillraceError && error.details['stage'] !== undefined && error.details['position'] !== undefined) return error;
  return new MillraceError('MR_STAGE_FAILED', { stage, ...placeOf(delivery), reason: reasonOf(error) }, error);
}

/** Where a delivery stands: its first position and the tables it holds. */
export function placeOf(delivery: Delivery | undefined): { position: string; table: string } {
  const events = delivery?.events.filter(isAckedEvent) ?? [];
  const tables = [...new Set(events.map(tableOf))].filter((table) => table !== null);
  return {
    position: events.length === 0 ? 'none' : formatPosition(firstPosition(events[0]!)),
    table: tables.length === 0 ? 'none' : tables.slice(0, TABLES_NAMED_MAX).join(', '),
  };
}

const TABLES_NAMED_MAX = 5;

function tableOf(event: AckedEvent): string | null {
  if (event.type === 'syncpoint') return null;
  return tableName(event.type === 'dml' ? event.rows.table : event.table);
}
