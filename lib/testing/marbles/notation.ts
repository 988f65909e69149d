import {
  ALL_DISPATCHERS,
  type ChangeEvent,
  type ColumnValue,
  Delivery,
  type DispatcherId,
  type Row,
  type RowBlock,
  RowCursor,
  type Table,
} from '../../events/index.ts';
import { EventBuilder, plainValues } from './build-event.ts';
import { type Member, parseDelivery } from './diagram.ts';
import { printDelivery, printEvent } from './print.ts';
import { malformed } from './scanner.ts';
import type { ChangeSketch, EventSketch, RowSketch, TableName, ValueSketch } from './sketch.ts';
import { defaultTables, type MarbleTables, nameOfDispatcher } from './tables.ts';

/**
 * A delivery of the events that `text` gives, separated by blanks or commas: `a@5 b@5.2`, `[a@5,res@5]`, or none. It counts 100 bytes an event.
 *
 * @param tables what the names in it mean. Default: tables of two text columns, `id` (the key) and `note`.
 * @throws MR_MARBLES_MALFORMED
 */
export function deliveryOf(text: string, tables: MarbleTables = defaultTables): Delivery {
  const builder = new EventBuilder(tables);
  const events = parseDelivery(text).map((member) => builder.build(eventOfMember(member, text), { text, at: member.at }));
  return new Delivery(events, events.length * BYTES_PER_EVENT);
}

/** The one event that `text` gives. @throws MR_MARBLES_MALFORMED when it is none, or several. */
export function eventOf(text: string, tables: MarbleTables = defaultTables): ChangeEvent {
  const { events } = deliveryOf(text, tables);
  if (events.length !== 1) throw malformed(text, 0, `here stand ${events.length} events instead of one`, 'Write one, such as a@5');
  return events[0]!;
}

/** What a delivery of a diagram counts for each of its events. */
export const BYTES_PER_EVENT = 100;

function eventOfMember(member: Member, text: string): EventSketch {
  if (member.is === 'event') return member.event;
  throw malformed(text, member.at, `${member.letter} is no event`, 'Give each event its table and position: a@5');
}

/**
 * The notation of an event, or of a delivery: one event alone, several (or none) in brackets. Two that differ in what a diagram can say differ in it; it
 * says nothing of a table's version under rows, of columns, of commit times, nor of what a schema change says beside its version.
 */
export function notationOf(item: Delivery | ChangeEvent): string {
  return item instanceof Delivery ? printDelivery(item.events.map((event) => printEvent(sketchOf(event)))) : printEvent(sketchOf(item));
}

function sketchOf(event: ChangeEvent): EventSketch {
  const { epoch, seq } = event;
  switch (event.type) {
    case 'dml':
      return { kind: 'rows', ...namesOf(event.rows.table), rows: rowsOf(event.rows), epoch, seq };
    case 'ddl':
    case 'truncate': {
      const { commitTs, ordinal } = event.position;
      const version = event.table.version === commitTs ? null : event.table.version;
      return { kind: event.type, ...namesOf(event.table), commitTs, ordinal, version, epoch, seq };
    }
    case 'syncpoint':
    case 'resolved':
      return { kind: event.type === 'resolved' ? 'res' : 'sync', table: named(event.dispatcher), commitTs: event.commitTs, epoch, seq };
    case 'marker':
      return { kind: 'marker', table: named(event.dispatcher), commitTs: 0n, epoch, seq };
    case 'handshake':
      return { kind: 'hello', table: namesOf(event.table).table, commitTs: event.commitTs, epoch, seq };
    case 'ready':
      return { kind: 'ready', table: nameOf(event.dispatcher), commitTs: 0n, epoch, seq };
    case 'notReusable':
      return { kind: 'gone', table: nameOf(event.dispatcher), commitTs: 0n, epoch, seq };
    case 'drop':
      return { kind: 'lost', table: nameOf(event.dispatcher), commitTs: event.droppedCommitTs, epoch, seq };
  }
}

function namesOf({ sourceSchema, sourceName, schema, name }: Table): { table: TableName; target: TableName | null } {
  const isRouted = sourceSchema !== schema || sourceName !== name;
  return { table: { schema: sourceSchema, name: sourceName }, target: isRouted ? { schema, name } : null };
}

function named(dispatcher: DispatcherId): TableName | null {
  return dispatcher === ALL_DISPATCHERS ? null : nameOf(dispatcher);
}

function nameOf(dispatcher: DispatcherId): TableName {
  return nameOfDispatcher(dispatcher) ?? { schema: 'public', name: dispatcher };
}

function rowsOf(block: RowBlock): RowSketch[] {
  const cursor = new RowCursor();
  return Array.from({ length: block.rowCount }, (_, index) => {
    const row = cursor.moveTo(block, index);
    const { commitTs, ordinal } = block.positionOf(index);
    return { commitTs, ordinal, change: isPlain(row, ordinal) ? null : changeOf(row) };
  });
}

function isPlain(row: Row, ordinal: number): boolean {
  if (row.op !== 'insert') return false;
  const plain = plainValues(row.table, ordinal);
  return row.table.columns.every(({ name }, index) => row.get(name) === plain[index]);
}

function changeOf(row: Row): ChangeSketch {
  if (row.op === 'delete') return { before: oldImage(row), after: null };
  if (row.op === 'insert') return { before: null, after: newImage(row, () => null) };
  const before = row.old === null ? [] : oldImage(row.old);
  const after = newImage(row, (column) => before.find((value) => value.column === column)?.value ?? null);
  if (after.length > 0) return { before, after };
  const { name } = row.table.columns[0]!;
  return { before, after: [{ column: name, value: row.get(name) }] };
}

/** What was sent: a key-only image has its key alone. */
function oldImage(row: Row): ValueSketch[] {
  return row.table.columns.flatMap(({ name }) => {
    const value = row.get(name);
    return value === undefined && !row.isUnchanged(name) ? [] : [{ column: name, value }];
  });
}

/** What is not as it would be if it were left out. */
function newImage(row: Row, otherwise: (column: string) => ColumnValue): ValueSketch[] {
  return row.table.columns.flatMap(({ name }) => {
    const value = row.get(name);
    return value === otherwise(name) ? [] : [{ column: name, value }];
  });
}
