import {
  ByteWriter,
  type Column,
  type ColumnValue,
  defineTable,
  dispatcherOfTable,
  IMAGE_KEY,
  IMAGE_NEW,
  IMAGE_OLD,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  type RowBlock,
  RowBlockBuilder,
  type Table,
  writeTuple,
} from '../../../lib/events/index.ts';

/** A table of text columns; those named in `keys` are the replica identity. */
export function textTable(names: readonly string[], keys: readonly string[] = names.slice(0, 1), changes: Partial<Table> = {}): Table {
  const columns = names.map((name, index): Column => {
    const isKey = keys.includes(name);
    return {
      name,
      wireIndex: index,
      columnId: index + 1,
      type: 'text',
      typeModifier: -1,
      nullable: !isKey,
      isPrimaryKey: isKey,
      isIdentity: isKey,
      defaultText: null,
    };
  });
  return defineTable({
    dispatcher: dispatcherOfTable('test', 1),
    sourceSchema: 'public',
    sourceName: 'users',
    schema: 'public',
    name: 'users',
    tableId: 1,
    version: 1n,
    columns,
    replicaIdentity: 'default',
    ...changes,
  });
}

/** One change: its images' values in wire order, undefined being an unchanged TOAST value. */
export interface Change {
  readonly key?: readonly ColumnValue[];
  readonly old?: readonly ColumnValue[];
  readonly row?: readonly ColumnValue[];
  /** Default: 1n. */
  readonly commitTs?: bigint;
  /** Default: how many rows stand before it. */
  readonly ordinal?: number;
}

/** Writes the images of a change and returns its operation and where it begins. */
export function writeChange(writer: ByteWriter, change: Change): { op: number; offset: number } {
  const offset = writer.length;
  const before = change.key ?? change.old;
  if (before !== undefined) {
    writer.writeByte(change.key === undefined ? IMAGE_OLD : IMAGE_KEY);
    writeTuple(writer, before);
  }
  if (change.row !== undefined) {
    writer.writeByte(IMAGE_NEW);
    writeTuple(writer, change.row);
  }
  return { op: change.row === undefined ? OP_DELETE : before === undefined ? OP_INSERT : OP_UPDATE, offset };
}

/** A block of the given changes, in the given transactions; commit time is commitTs × 10 µs. */
export function blockOf(table: Table, changes: readonly Change[]): RowBlock {
  const writer = new ByteWriter(16);
  const builder = new RowBlockBuilder(1);
  let commitTs: bigint | null = null;
  for (const change of changes) {
    const ts = change.commitTs ?? 1n;
    if (ts !== commitTs) builder.beginTransaction(ts, ts * 10n);
    commitTs = ts;
    const { op, offset } = writeChange(writer, change);
    builder.append(op, offset, change.ordinal ?? builder.rowCount);
  }
  return builder.build(table, writer.take());
}
