import {
  type DdlEvent,
  type DmlEvent,
  ddlEvent,
  defineTable,
  dispatcherOfTable,
  dmlEvent,
  RowBlockWriter,
  type RowValues,
  type Table,
  type TruncateEvent,
  truncateEvent,
} from '../events/index.ts';

/** A table of the conformance suites: `public.NAME`, with `id` (the key) and `note`, both text. */
export function suiteTable(name: 'a' | 'b', version = 1n): Table {
  const tableId = name === 'a' ? 1 : 2;
  const names = { sourceSchema: 'public', sourceName: name, schema: 'public', name };
  const column = { type: 'text', typeModifier: -1, defaultText: null };
  return defineTable({
    dispatcher: dispatcherOfTable('suite', tableId),
    ...names,
    tableId,
    version,
    columns: [
      { ...column, name: 'id', wireIndex: 0, columnId: 1, nullable: false, isPrimaryKey: true, isIdentity: true },
      { ...column, name: 'note', wireIndex: 1, columnId: 2, nullable: true, isPrimaryKey: false, isIdentity: false },
    ],
    replicaIdentity: 'default',
  });
}

/** One inserted row, whose id is its place unless another is given. */
export function inserted(
  table: Table,
  commitTs: bigint,
  ordinal = 0,
  values: RowValues = { id: `${commitTs}-${ordinal}`, note: null },
): DmlEvent {
  return dmlEvent(new RowBlockWriter(table).beginTransaction(commitTs, 0n, ordinal).insert(values).build());
}

export function deleted(table: Table, commitTs: bigint, ordinal: number, id: string): DmlEvent {
  return dmlEvent(new RowBlockWriter(table).beginTransaction(commitTs, 0n, ordinal).delete({ id }).build());
}

/** The schema change or TRUNCATE at (commitTs, 0) with which `table` begins. */
export function altered(table: Table, commitTs: bigint): DdlEvent {
  return ddlEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table, query: 'ALTER TABLE', action: 5 });
}

export function truncated(table: Table, commitTs: bigint): TruncateEvent {
  return truncateEvent({ position: { commitTs, ordinal: 0 }, commitTimeUs: 0n, table, query: 'TRUNCATE TABLE' });
}
