import { TwoStageAck } from './ack.ts';
import { type ChangeEvent, isAckedEvent } from './event.ts';

/**
 * The element of every stream: events in position order per dispatcher.
 *
 * A stage emits exactly one delivery, perhaps empty, for each that it receives (`with`), so that whoever sent it learns what became of it: its `ack` is
 * enqueue-acked when everything that arrived at the sink is accepted (the delivery is *woken*), and flush-acked when all of it is durable.
 */
export class Delivery {
  readonly events: readonly ChangeEvent[];
  /** Bytes of the buffers that these events retain: what the pump counts as in flight until the delivery is woken. */
  readonly bytes: number;
  readonly ack: TwoStageAck;
  #changes = -1;
  #rows = 0;

  constructor(events: readonly ChangeEvent[], bytes = 0, ack = new TwoStageAck()) {
    this.events = events;
    this.bytes = bytes;
    this.ack = ack;
  }

  /** Events that are no marks and no signals. */
  get changes(): number {
    if (this.#changes < 0) this.#count();
    return this.#changes;
  }

  /** Changed rows. */
  get rows(): number {
    if (this.#changes < 0) this.#count();
    return this.#rows;
  }

  /** The same delivery with other events. */
  with(events: readonly ChangeEvent[]): Delivery {
    return events === this.events ? this : new Delivery(events, this.bytes, this.ack);
  }

  /** Once, for all stages that it passes unchanged. */
  #count(): void {
    const { events } = this;
    let changes = 0;
    let rows = 0;
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!;
      if (event.type === 'dml') {
        changes++;
        rows += event.rows.rowCount;
      } else if (isAckedEvent(event)) changes++;
    }
    this.#changes = changes;
    this.#rows = rows;
  }
}
