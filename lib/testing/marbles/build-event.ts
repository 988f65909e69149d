import {
  ByteWriter,
  type ChangeEvent,
  type ColumnValue,
  columnIndex,
  ddlEvent,
  dmlEvent,
  drainMarker,
  IMAGE_KEY,
  IMAGE_NEW,
  IMAGE_OLD,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  type RowBlock,
  RowBlockBuilder,
  resolvedEvent,
  syncpointEvent,
  type Table,
  tableName,
  truncateEvent,
  writeTuple,
} from '../../events/index.ts';
import { printTable } from './print.ts';
import { malformed } from './scanner.ts';
import type { ChangeSketch, EventSketch, RowSketch, RowsSketch, ValueSketch, VersionSketch } from './sketch.ts';
import { dispatcherNamed, type MarbleTables } from './tables.ts';

/** Where an event stands in what was written: errors show it. */
export interface Written {
  readonly text: string;
  readonly at: number;
}

/** Makes events of what a diagram says, in its order: rows are of the table version that the last `ddl:` or `truncate:` of their table began, first of 1. */
export class EventBuilder {
  readonly #tables: MarbleTables;
  readonly #versions = new Map<string, bigint>();

  constructor(tables: MarbleTables) {
    this.#tables = tables;
  }

  /** A new event. @throws MR_MARBLES_MALFORMED for a column that its table does not have. */
  build(sketch: EventSketch, written: Written): ChangeEvent {
    const session = { epoch: sketch.epoch, seq: sketch.seq };
    if (sketch.kind === 'rows') return dmlEvent(blockOf(sketch, this.#tableOf(sketch), written), session);
    if (sketch.kind === 'ddl' || sketch.kind === 'truncate') return this.#version(sketch);
    const { commitTs } = sketch;
    const dispatcher = dispatcherNamed(sketch.table === null ? '*' : printTable(sketch.table));
    switch (sketch.kind) {
      case 'sync':
        return syncpointEvent(commitTs, dispatcher, session);
      case 'res':
        return resolvedEvent(commitTs, 0n, dispatcher, session);
      case 'marker':
        return { ...drainMarker(dispatcher), ...session };
      case 'hello':
        return { type: 'handshake', dispatcher, ...session, commitTs, table: this.#tables.table(sketch.table) };
      case 'ready':
        return { type: 'ready', dispatcher, ...session };
      case 'gone':
        return { type: 'notReusable', dispatcher, ...session };
      case 'lost':
        return { type: 'drop', dispatcher, ...session, droppedSeq: sketch.seq, droppedCommitTs: commitTs };
    }
  }

  #tableOf({ table, target }: RowsSketch): Table {
    return this.#tables.table(table, this.#versions.get(printTable(table)), target);
  }

  #version({ kind, table, target, commitTs, ordinal, version, epoch, seq }: VersionSketch): ChangeEvent {
    const begun = version ?? commitTs;
    this.#versions.set(printTable(table), begun);
    const fields = { position: { commitTs, ordinal }, commitTimeUs: 0n, table: this.#tables.table(table, begun, target) };
    return kind === 'ddl' ? ddlEvent(fields, { epoch, seq }) : truncateEvent({ ...fields, query: '' }, { epoch, seq });
  }
}

function blockOf({ rows }: RowsSketch, table: Table, written: Written): RowBlock {
  const writer = new ByteWriter(64);
  const builder = new RowBlockBuilder(rows.length);
  let commitTs: bigint | null = null;
  for (const row of rows) {
    if (row.commitTs !== commitTs) builder.beginTransaction(row.commitTs, 0n);
    commitTs = row.commitTs;
    const offset = writer.length;
    builder.append(writeRow(writer, row, table, written), offset, row.ordinal);
  }
  return builder.build(table, writer.take());
}

/** Writes the images of a row and returns its operation. */
function writeRow(writer: ByteWriter, { change, ordinal }: RowSketch, table: Table, written: Written): number {
  if (change === null) {
    writeImage(writer, IMAGE_NEW, plainValues(table, ordinal));
    return OP_INSERT;
  }
  const { before, after } = change;
  for (const values of [before, after]) if (values !== null) requireColumns(values, table, written);
  if (before !== null && (before.length > 0 || after === null)) writeImage(writer, oldMarker(before, table), oldValues(before, table));
  if (after !== null) writeImage(writer, IMAGE_NEW, newValues(change, table));
  return after === null ? OP_DELETE : before === null ? OP_INSERT : OP_UPDATE;
}

/** A row of which nothing is said: its key is its ordinal (where there is no key, its first column), everything else null. */
export function plainValues(table: Table, ordinal: number): ColumnValue[] {
  const hasKey = table.columns.some(({ isPrimaryKey }) => isPrimaryKey);
  return table.columns.map(({ isPrimaryKey }, index) => (isPrimaryKey || (!hasKey && index === 0) ? String(ordinal) : null));
}

/** An old image is key-only until it names another column. */
function oldMarker(before: readonly ValueSketch[], table: Table): number {
  if (table.replicaIdentity === 'full') return IMAGE_OLD;
  return before.every(({ column }) => table.columns[columnIndex(table, column)]!.isIdentity) ? IMAGE_KEY : IMAGE_OLD;
}

function oldValues(before: readonly ValueSketch[], table: Table): ColumnValue[] {
  return table.columns.map(({ name }) => givenIn(before, name));
}

/** A column that is left out is as in the old image, or null where that does not have it. */
function newValues({ before, after }: ChangeSketch, table: Table): ColumnValue[] {
  // The first that is found decides.
  return table.columns.map(({ name }) => givenIn([...(after ?? []), ...(before ?? [])], name));
}

function givenIn(image: readonly ValueSketch[], column: string): ColumnValue {
  const found = image.find((value) => value.column === column);
  return found === undefined ? null : found.value;
}

function writeImage(writer: ByteWriter, marker: number, values: readonly ColumnValue[]): void {
  writer.writeByte(marker);
  writeTuple(writer, values);
}

function requireColumns(values: readonly ValueSketch[], table: Table, { text, at }: Written): void {
  for (const { column } of values) {
    if (columnIndex(table, column) >= 0) continue;
    const columns = table.columns.map(({ name }) => name).join(', ');
    throw malformed(
      text,
      columnAt(text, column, at),
      `table ${tableName(table)} has no column ${column}; it has ${columns}`,
      'Correct the name, or give the table its columns with the option tables',
    );
  }
}

/** Where `column:` stands behind `at`. */
function columnAt(text: string, column: string, at: number): number {
  for (let found = text.indexOf(column, at); found >= 0; found = text.indexOf(column, found + 1)) {
    if (/[{,>\s"]/.test(text[found - 1] ?? '') && /^"?\s*:/.test(text.slice(found + column.length))) return found;
  }
  return at;
}
