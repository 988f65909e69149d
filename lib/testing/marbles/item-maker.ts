import { type ChangeEvent, Delivery } from '../../events/index.ts';
import { EventBuilder } from './build-event.ts';
import { type Diagram, failAt, type Item, type Member, parseDelivery, type Subject } from './diagram.ts';
import { BYTES_PER_EVENT, notationOf } from './notation.ts';
import { KINDS, type Kind } from './sketch.ts';
import type { MarbleTables } from './tables.ts';

/** What letters stand for in a stream of deliveries: the notation of one (`'a@5 b@5'`), a delivery, an event, or several. */
export type DeliveryValues = Readonly<Record<string, string | Delivery | ChangeEvent | readonly ChangeEvent[]>>;

/** Makes what the items of one diagram stand for, in its order; afresh for each subscription. */
export class ItemMaker {
  readonly #diagram: Pick<Diagram, 'text'>;
  readonly #values: Readonly<Record<string, unknown>> | undefined;
  readonly #builder: EventBuilder;

  constructor(diagram: Pick<Diagram, 'text'>, values: Readonly<Record<string, unknown>> | undefined, tables: MarbleTables) {
    this.#diagram = diagram;
    this.#values = values !== undefined && Object.keys(values).length > 0 ? values : undefined;
    this.#builder = new EventBuilder(tables);
  }

  /** A delivery, in a stream of deliveries. */
  delivery(item: Item, at: number): Delivery {
    const subject = this.#subjectOf(item, at);
    if (subject.is === 'event') return this.#deliveryOf([this.#event(subject)]);
    if (subject.is === 'delivery') return this.#deliveryOf(subject.items.map((member) => this.#event(member)));
    const value = this.#listed(subject.letter, at, true);
    if (value instanceof Delivery) return value;
    if (typeof value === 'string') return this.#deliveryOf(this.#eventsOf(value));
    if (Array.isArray(value)) return this.#deliveryOf(value as ChangeEvent[]);
    if (isChangeEvent(value)) return this.#deliveryOf([value]);
    return this.#fail(
      at,
      `${subject.letter} stands for no delivery`,
      'Let it stand for the notation of one ("a@5 b@5"), a delivery, or events',
    );
  }

  /** A value, in a stream of anything: an event is itself, a letter that no `values` explain is the letter. */
  value(item: Item, at: number): unknown {
    const subject = this.#subjectOf(item, at);
    if (subject.is === 'event') return this.#event(subject);
    if (subject.is === 'delivery') return this.delivery(subject, at);
    return this.#listed(subject.letter, at, false);
  }

  #deliveryOf(events: readonly ChangeEvent[]): Delivery {
    return new Delivery(events, events.length * BYTES_PER_EVENT);
  }

  #eventsOf(text: string): ChangeEvent[] {
    return parseDelivery(text).map((member) => {
      if (member.is === 'event') return this.#builder.build(member.event, { text, at: member.at });
      return failAt({ text }, member.at, `${member.letter} is no event`, 'Give each event its table and position: a@5');
    });
  }

  #event(member: Member): ChangeEvent {
    const { at } = member;
    if (member.is === 'event') return this.#builder.build(member.event, { text: this.#diagram.text, at });
    const value = this.#listed(member.letter, at, true);
    const events = typeof value === 'string' ? this.#eventsOf(value) : [value];
    const [event] = events;
    if (events.length === 1 && isChangeEvent(event)) return event;
    return this.#fail(at, `${member.letter} stands for no single event`, 'Inside a delivery a letter stands for one event');
  }

  #listed(letter: string, at: number, isDelivery: boolean): unknown {
    if (this.#values !== undefined && Object.hasOwn(this.#values, letter)) return this.#values[letter];
    if (this.#values === undefined && !isDelivery) return letter;
    const word = /^[\p{L}_][\p{L}\p{M}\p{N}_]+/u.exec(this.#diagram.text.slice(at))?.[0];
    if (word !== undefined && isDelivery && Object.hasOwn(KINDS, word)) {
      const { needsPosition, meaning } = KINDS[word as Kind];
      return this.#fail(at, `${word} is a kind of event, ${meaning}`, `Name its table: ${word}:users${needsPosition ? '@5' : ''}`);
    }
    if (word !== undefined && isDelivery)
      return this.#fail(
        at,
        `${word} has no position`,
        `Say where it stands: ${word}@5; letters that stand for something are listed in the values`,
      );
    if (/\d/.test(letter))
      return this.#fail(
        at,
        `${letter} stands for nothing here`,
        'A range of ordinals is a@5.2..4; a time is 10ms, 2s or 1m, between blanks; a letter is listed in the values',
      );
    const instead = isDelivery ? ` is listed in the values, or has a position (${letter}@5)` : ' is listed in the values';
    return this.#fail(at, `the letter ${letter} stands for nothing`, `See that it${instead}`);
  }

  #subjectOf(item: Item, at: number): Subject {
    if ('of' in item) return this.#fail(at, 'an ack is not emitted', 'Acks are expected with expectAcks');
    if (item.is === 'reset') return this.#fail(at, 'a reset is not emitted', 'Resets are expected with expectResets');
    return item;
  }

  #fail(at: number, reason: string, advice: string): never {
    return failAt(this.#diagram, at, reason, advice);
  }
}

/** Whether a value is an event, or a delivery: what has a notation. */
export function hasNotation(value: unknown): value is Delivery | ChangeEvent {
  return value instanceof Delivery || isChangeEvent(value);
}

/** The notation of what has one, else null. */
export function notationIfAny(value: unknown): string | null {
  return hasNotation(value) ? notationOf(value) : null;
}

const TYPES = new Set(['dml', 'ddl', 'truncate', 'syncpoint', 'resolved', 'marker', 'handshake', 'ready', 'notReusable', 'drop']);

function isChangeEvent(value: unknown): value is ChangeEvent {
  if (typeof value !== 'object' || value === null || !('type' in value) || !('epoch' in value)) return false;
  return typeof value.epoch === 'bigint' && TYPES.has(value.type as string);
}
