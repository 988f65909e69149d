import {
  type AckedEvent,
  type ChangeEvent,
  type DataEvent,
  firstPosition,
  isAckedEvent,
  type Position,
  rowsOf,
  type Table,
  tableOf,
} from '../events/index.ts';

/** A change as a test compares it: column values are text or null; one that was not sent is absent. */
export interface RecordedChange {
  /** `schema.table`, as the target names it; `*` for a syncpoint of all. */
  readonly table: string;
  readonly op: 'insert' | 'update' | 'delete' | 'ddl' | 'truncate' | 'syncpoint';
  readonly commitTs: bigint;
  readonly ordinal: number;
  readonly old: Readonly<Record<string, string | null>> | null;
  readonly data: Readonly<Record<string, string | null>> | null;
}

/** The changes that events hold, row by row; resolved marks and signals hold none. */
export function changesOf(events: readonly ChangeEvent[]): RecordedChange[] {
  return events.filter(isAckedEvent).flatMap(changesOfEvent);
}

/** `schema.name` at the target. */
export function targetName({ schema, name }: Pick<Table, 'schema' | 'name'>): string {
  return `${schema}.${name}`;
}

/** A table's name as a test writes it: `users` is `public.users`. */
export function fullName(table: string): string {
  return table.includes('.') ? table : `public.${table}`;
}

/** The rows of a table after changes in position order, by the key of `table`; without a key, by the whole row. */
export function rowsAfter(changes: readonly RecordedChange[], table: Table): Record<string, string | null>[] {
  const identity = table.columns.filter(({ isPrimaryKey }) => isPrimaryKey);
  const keyColumns = identity.length > 0 ? identity : table.columns.filter(({ isIdentity }) => isIdentity);
  const rows: Record<string, string | null>[] = [];
  const indexOf = (image: RecordedChange['data']) =>
    rows.findIndex((row) => keyColumns.every(({ name }) => (row[name] ?? null) === (image?.[name] ?? null)));
  for (const { op, old, data } of changes) {
    if (op === 'truncate') rows.length = 0;
    else if (op === 'insert') rows.push({ ...data });
    else if (op === 'update' || op === 'delete') {
      const index = indexOf(old ?? data);
      if (op === 'delete') rows.splice(index, index < 0 ? 0 : 1);
      else if (index < 0) rows.push({ ...data });
      else rows[index] = { ...rows[index], ...data };
    }
  }
  return rows;
}

function changesOfEvent(event: AckedEvent): RecordedChange[] {
  if (event.type === 'dml') return rowsOfEvent(event);
  const position = firstPosition(event);
  const table = event.type === 'syncpoint' ? '*' : targetName(event.table);
  return [{ table, op: event.type, ...plain(position), old: null, data: null }];
}

function rowsOfEvent(event: DataEvent & { readonly type: 'dml' }): RecordedChange[] {
  const table = targetName(tableOf(event));
  // A row is valid until the next, so each is read as it comes.
  return Array.from(rowsOf(event.rows), (row) => {
    const old = row.isOld ? row.toObject() : (row.old?.toObject() ?? null);
    return { table, op: row.op, ...plain(row.position), old, data: row.isOld ? null : row.toObject() } as RecordedChange;
  });
}

function plain({ commitTs, ordinal }: Position): Position {
  return { commitTs, ordinal };
}
