import {
  type Clock,
  type EventPort,
  type ProducedEvent,
  SYSTEM_EVENTS,
  SystemEvents,
  type SystemEventType,
  systemClock,
} from '../../lib/flow/index.ts';
import { accepted } from '../pipelines/event-recorder/events.ts';

/** A recorder that keeps what it is told. Each event is one that a recorder takes, and has exactly the fields that are documented. */
export class EventLog implements EventPort {
  readonly #events: ProducedEvent[] = [];

  record(event: ProducedEvent): void {
    this.#events.push(event);
  }

  /** What a pipeline tells into it. */
  of(pipeline: string, clock: Clock = systemClock): SystemEvents {
    return new SystemEvents({ pipeline, events: this, clock });
  }

  /** All of them, checked: what is thrown in `record` nobody hears. */
  get all(): readonly ProducedEvent[] {
    return this.#events.map((event) => {
      accepted(event);
      const definition = SYSTEM_EVENTS[event.type as SystemEventType] as { fields: object } | undefined;
      if (definition === undefined) {
        if (event.type !== 'slow_operation') throw new Error(`${event.type} is not documented`);
        return event;
      }
      const [told, documented] = [Object.keys(event.payload as object), ['pipeline', ...Object.keys(definition.fields)]];
      if (told.sort().join() !== documented.sort().join()) throw new Error(`${event.type} has ${told}, documented are ${documented}`);
      return event;
    });
  }

  get types(): string[] {
    return this.all.map(({ type }) => type);
  }

  /** The payloads of one type. */
  told(type: SystemEventType): Record<string, unknown>[] {
    return this.all.filter((event) => event.type === type).map(({ payload }) => payload as Record<string, unknown>);
  }

  has(type: SystemEventType): boolean {
    return this.#events.some((event) => event.type === type);
  }
}
