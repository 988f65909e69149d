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
} from '../../lib/events/index.ts';

type ColumnSketch = string | (Partial<Column> & { readonly name: string });

/** A table of the given columns: `name type`, `!name type` for one of the primary key (which is the replica identity), or parts of a column. */
export function tableOf(columns: readonly ColumnSketch[], parts: Partial<Table> = {}): Table {
  return defineTable({
    dispatcher: dispatcherOfTable('test', parts.tableId ?? 16384),
    sourceSchema: parts.schema ?? 'public',
    sourceName: parts.name ?? 't',
    schema: 'public',
    name: 't',
    tableId: 16384,
    version: 100n,
    replicaIdentity: 'default',
    ...parts,
    columns: columns.map((sketch, index) => {
      const [, key, name, type] = typeof sketch === 'string' ? (/^(!?)(\S+) (\S+)$/.exec(sketch) ?? []) : [];
      const isKey = key === '!';
      return {
        name: name ?? '',
        wireIndex: index,
        columnId: index + 1,
        type: type ?? 'text',
        typeModifier: -1,
        nullable: !isKey,
        isPrimaryKey: isKey,
        isIdentity: isKey,
        defaultText: null,
        ...(typeof sketch === 'string' ? {} : sketch),
      };
    }),
  });
}

type Values = readonly ColumnValue[];

/** A change in the order of the table's columns: `undefined` is an unchanged TOAST value. `K` and `O` are the old images of the wire. */
export type ChangeSketch =
  | { readonly insert: Values }
  | { readonly update: Values; readonly K?: Values; readonly O?: Values }
  | { readonly delete: Values; readonly isKeyOnly?: boolean };

/** A block of changes of one transaction, ordinals from 0. */
export function blockOf(table: Table, changes: readonly ChangeSketch[], commitTs = 7n, commitTimeUs = 1_668_668_168_117_000n): RowBlock {
  const writer = new ByteWriter();
  const builder = new RowBlockBuilder(changes.length);
  builder.beginTransaction(commitTs, commitTimeUs);
  changes.forEach((change, ordinal) => {
    const offset = writer.length;
    const image = (marker: number, values: Values) => {
      writer.writeByte(marker);
      writeTuple(writer, values);
    };
    if ('insert' in change) {
      image(IMAGE_NEW, change.insert);
      builder.append(OP_INSERT, offset, ordinal);
    } else if ('delete' in change) {
      image(change.isKeyOnly === true ? IMAGE_KEY : IMAGE_OLD, change.delete);
      builder.append(OP_DELETE, offset, ordinal);
    } else {
      if (change.K !== undefined) image(IMAGE_KEY, change.K);
      if (change.O !== undefined) image(IMAGE_OLD, change.O);
      image(IMAGE_NEW, change.update);
      builder.append(OP_UPDATE, offset, ordinal);
    }
  });
  return builder.build(table, writer.take());
}

/** `bytes` in chunks of `size`. */
export async function* chunksOf(bytes: Uint8Array, size = bytes.length || 1): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** All that an async sequence of arrays holds. */
export async function gather<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}
