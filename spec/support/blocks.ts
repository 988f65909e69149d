import {
  ByteWriter,
  type Column,
  type ColumnValue,
  defineTable,
  dispatcherOfTable,
  OP_DELETE,
  OP_INSERT,
  OP_UPDATE,
  type RowBlock,
  RowBlockBuilder,
  type Table,
} from '../../lib/events/index.ts';
import { type Change, writeChange } from '../lib/events/rows.ts';

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
  for (const [ordinal, change] of changes.entries()) {
    // An update may come without an old image: the images alone do not tell it from an insert.
    const op = 'insert' in change ? OP_INSERT : 'delete' in change ? OP_DELETE : OP_UPDATE;
    builder.append(op, writeChange(writer, imagesOf(change)).offset, ordinal);
  }
  return builder.build(table, writer.take());
}

function imagesOf(change: ChangeSketch): Change {
  if ('insert' in change) return { row: change.insert };
  if ('delete' in change) return change.isKeyOnly === true ? { key: change.delete } : { old: change.delete };
  const { update: row, K: key, O: old } = change;
  return { row, ...(key && { key }), ...(old && { old }) };
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
