import type { Delivery } from '../events/index.ts';
import type { Counter, MetricDefinition, Metrics } from './metrics.ts';

/** What a pipeline is made of; two stages of one name are `name` and `name#2`. */
export type ComponentKind = 'source' | 'stage' | 'sink';

function perComponent<Name extends string>(name: Name, help: string): MetricDefinition<'kind' | 'stage'> {
  return { name, kind: 'counter', labels: ['kind', 'stage'], help };
}

/** The same on every part of a pipeline. */
export const COMPONENT_METRICS = {
  eventsIn: perComponent('component_events_in_total', 'Events received: row blocks, schema changes, TRUNCATEs and syncpoints.'),
  rowsIn: perComponent('component_rows_in_total', 'Rows received.'),
  bytesIn: perComponent('component_bytes_in_total', 'Bytes of the buffers that received changes stand in.'),
  eventsOut: perComponent('component_events_out_total', 'Events passed on; of a sink: events durable at the target.'),
  rowsOut: perComponent('component_rows_out_total', 'Rows passed on; of a sink: rows durable at the target.'),
  bytesOut: perComponent(
    'component_bytes_out_total',
    'Bytes of the buffers that changes passed on stand in; of a sink: bytes durable at the target, as they were encoded.',
  ),
  eventsDiscarded: perComponent('component_events_discarded_total', 'Events received and not passed on.'),
  rowsDiscarded: perComponent('component_rows_discarded_total', 'Rows received and not passed on.'),
  bytesDiscarded: perComponent(
    'component_bytes_discarded_total',
    'Bytes of deliveries of which no event was passed on. Where some were, their rows still stand in the same buffers.',
  ),
  errors: perComponent('component_errors_total', 'Errors; all but those of a connection that is made again end the run.'),
} as const;

/** What one part of a pipeline takes in, gives out and leaves: a few additions a delivery. */
export class ComponentMetrics {
  readonly #eventsIn: Counter;
  readonly #rowsIn: Counter;
  readonly #bytesIn: Counter;
  readonly #eventsOut: Counter;
  readonly #rowsOut: Counter;
  readonly #bytesOut: Counter;
  readonly #eventsDiscarded: Counter;
  readonly #rowsDiscarded: Counter;
  readonly #bytesDiscarded: Counter;
  readonly #errors: Counter;

  constructor(metrics: Metrics, kind: ComponentKind, stage: string) {
    const labels = { kind, stage };
    this.#eventsIn = metrics.counter(COMPONENT_METRICS.eventsIn, labels);
    this.#rowsIn = metrics.counter(COMPONENT_METRICS.rowsIn, labels);
    this.#bytesIn = metrics.counter(COMPONENT_METRICS.bytesIn, labels);
    this.#eventsOut = metrics.counter(COMPONENT_METRICS.eventsOut, labels);
    this.#rowsOut = metrics.counter(COMPONENT_METRICS.rowsOut, labels);
    this.#bytesOut = metrics.counter(COMPONENT_METRICS.bytesOut, labels);
    this.#eventsDiscarded = metrics.counter(COMPONENT_METRICS.eventsDiscarded, labels);
    this.#rowsDiscarded = metrics.counter(COMPONENT_METRICS.rowsDiscarded, labels);
    this.#bytesDiscarded = metrics.counter(COMPONENT_METRICS.bytesDiscarded, labels);
    this.#errors = metrics.counter(COMPONENT_METRICS.errors, labels);
  }

  received({ changes, rows, bytes }: Delivery): void {
    if (changes === 0) return;
    this.#eventsIn.add(changes);
    this.#rowsIn.add(rows);
    this.#bytesIn.add(bytes);
  }

  sent({ changes, rows, bytes }: Delivery): void {
    if (changes === 0) return;
    this.#eventsOut.add(changes);
    this.#rowsOut.add(rows);
    this.#bytesOut.add(bytes);
  }

  /** What became of a delivery received. */
  passed(received: Delivery, sent: Delivery): void {
    this.sent(sent);
    if (sent === received) return;
    const { changes, rows } = received;
    if (sent.changes < changes) this.#eventsDiscarded.add(changes - sent.changes);
    if (sent.rows < rows) this.#rowsDiscarded.add(rows - sent.rows);
    if (sent.changes === 0 && changes > 0) this.#bytesDiscarded.add(received.bytes);
  }

  /** A sink took a delivery in: its events are out when all of them are durable. */
  accepted(delivery: Delivery): void {
    this.received(delivery);
    const { changes, ack } = delivery;
    if (changes > 0) ack.addPostFlush(() => this.#eventsOut.add(changes));
  }

  /** A sink made this much durable. */
  flushed({ rows, bytes }: { readonly rows: number; readonly bytes: number }): void {
    this.#rowsOut.add(rows);
    this.#bytesOut.add(bytes);
  }

  failed(): void {
    this.#errors.add(1);
  }
}

/** The name of each stage; one that occurs again has its number behind. */
export function distinctNames(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name}#${count}`;
  });
}
