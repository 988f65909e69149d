import { type ChangeEvent, Delivery } from '../events/index.ts';
import { compare, type Happening } from './marbles/compare.ts';
import { failAt, type PlacedMark, parseDiagram } from './marbles/diagram.ts';
import { behindLetter } from './marbles/expect-acks.ts';
import { type DeliveryValues, ItemMaker } from './marbles/item-maker.ts';
import { notationOf } from './marbles/notation.ts';
import type { MarbleTables } from './marbles/tables.ts';
import type { MemorySource } from './memory-source.ts';

/** Puts what a diagram says into a source's log: its frame 0 is `fromMs`, `|` ends the log, and at `#` the connection breaks. */
export function feedDiagram(
  source: MemorySource,
  text: string,
  values: DeliveryValues | undefined,
  tables: MarbleTables,
  fromMs: number,
): void {
  const diagram = parseDiagram(text);
  const maker = new ItemMaker(diagram, values, tables);
  for (const { frame, at, kind, item } of diagram.marks) {
    const atMs = fromMs + frame;
    if (item !== null) source.append(maker.delivery(item, at).events, atMs);
    else if (kind === 'complete') source.end(atMs);
    else source.fail(new Error(`the connection broke, as "${text}" says`), atMs);
  }
}

/** Something that happened to a delivery, at a virtual time. */
export interface Moment {
  readonly atMs: number;
  readonly text: string;
}

/** The changes of a delivery in the notation of diagrams; null when it holds none. Resolved marks are left out: the source makes them. */
export function changesText({ events }: { readonly events: readonly ChangeEvent[] }): string | null {
  const changes = events.filter(({ type }) => type !== 'resolved');
  return changes.length === 0 ? null : notationOf(new Delivery(changes));
}

/** @throws MR_MARBLES_DIFFER when the moments are not those that the diagram shows; its frame 0 is virtual time 0. */
export function compareArrivals(actual: readonly Moment[], text: string, values: DeliveryValues | undefined, tables: MarbleTables): void {
  const diagram = parseDiagram(text);
  const maker = new ItemMaker(diagram, values, tables);
  const textOf = ({ item, at }: PlacedMark) => {
    const changes = item === null ? null : changesText(maker.delivery(item, at));
    return changes ?? failAt(diagram, at, 'this is nothing that changes the sink', 'Show only deliveries with changes');
  };
  compare('the sink', expectations(diagram.marks, textOf), happenings(actual));
}

/** The same for acks: `enqueued:a@5`, `flushed:[a@5,b@5]`, or letters that stand for them. */
export function compareAcks(actual: readonly Moment[], text: string, values: DeliveryValues | undefined, tables: MarbleTables): void {
  const diagram = parseDiagram(text);
  const maker = new ItemMaker(diagram, values, tables);
  const textOf = ({ item: written, at }: PlacedMark) => {
    const item = behindLetter(written, values);
    if (item?.is !== 'enqueued' && item?.is !== 'flushed')
      return failAt(diagram, at, 'this is no ack', 'Acks are enqueued:a@5, flushed:[a@5,b@5], flushed:x');
    const changes = changesText(maker.delivery(item.of, at));
    if (changes === null)
      return failAt(diagram, at, 'this is an ack of nothing that changes the sink', 'Show only acks of deliveries with changes');
    return `${item.is}:${changes}`;
  };
  compare('the acks', expectations(diagram.marks, textOf), happenings(actual));
}

function expectations(marks: readonly PlacedMark[], textOf: (mark: PlacedMark) => string) {
  return marks.map((placed) => {
    const text = textOf(placed);
    const mark = { frame: placed.frame, kind: 'next', text } as const;
    return { mark, matches: ({ value }: Happening) => value === text };
  });
}

function happenings(moments: readonly Moment[]): Happening[] {
  return moments.map(({ atMs, text }) => ({ mark: { frame: atMs, kind: 'next', text }, value: text }));
}
