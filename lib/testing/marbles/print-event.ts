import type { ColumnValue } from '../../events/index.ts';
import type { ChangeSketch, EventSketch, RowSketch, TableName, ValueSketch } from './sketch.ts';

/** The one spelling of an event. */
export function printEvent(event: EventSketch): string {
  const session = event.epoch === 0n && event.seq === 0n ? '' : `#${event.epoch}.${event.seq}`;
  switch (event.kind) {
    case 'rows':
      return `${printTable(event.table)}${printTarget(event.target)}@${printRows(event.rows)}${session}`;
    case 'ddl':
    case 'truncate': {
      const version = event.version === null ? '' : `v${event.version}`;
      return `${event.kind}:${printTable(event.table)}${printTarget(event.target)}@${printPlace(event.commitTs, event.ordinal)}${version}${session}`;
    }
    case 'sync':
    case 'res':
      return `${event.kind}${event.table === null ? '' : `:${printTable(event.table)}`}@${event.commitTs}${session}`;
    case 'marker':
      return `marker:${event.table === null ? '*' : printTable(event.table)}${session}`;
    default: {
      const place = event.commitTs === 0n ? '' : `@${event.commitTs}`;
      return `${event.kind}:${printTable(event.table)}${place}${session}`;
    }
  }
}

/** `orders`, `shop.orders`, `"two words"`; the schema `public` is left out. */
export function printTable({ schema, name }: TableName): string {
  if (schema !== 'public') return `${printName(schema)}.${printName(name)}`;
  // `res@5` is a mark.
  return name === 'res' || name === 'sync' ? `"${name}"` : printName(name);
}

function printName(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function printTarget(target: TableName | null): string {
  return target === null ? '' : `>${printTable(target)}`;
}

function printPlace(commitTs: bigint, ordinal: number): string {
  return ordinal === 0 ? `${commitTs}` : `${commitTs}.${ordinal}`;
}

/** Rows that follow each other without a gap are a run; those with content are listed one by one. */
function printRows(rows: readonly RowSketch[]): string {
  const runs: RowSketch[][] = [];
  for (const row of rows) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    if (run !== undefined && last !== undefined && follows(last, row)) run.push(row);
    else runs.push([row]);
  }
  return runs.map(printRun).join('+');
}

function follows(last: RowSketch, row: RowSketch): boolean {
  return last.commitTs === row.commitTs && last.ordinal + 1 === row.ordinal && (last.change === null) === (row.change === null);
}

function printRun(run: readonly RowSketch[]): string {
  const { commitTs, ordinal, change } = run[0]!;
  if (change !== null) return printPlace(commitTs, ordinal) + run.map((row) => printChange(row.change!)).join('');
  return run.length === 1 ? printPlace(commitTs, ordinal) : `${commitTs}.${ordinal}..${run.at(-1)!.ordinal}`;
}

function printChange({ before, after }: ChangeSketch): string {
  const old = before === null ? '' : `${printImage(before)}>`;
  return `{${old}${after === null ? '' : printImage(after)}}`;
}

function printImage(image: readonly ValueSketch[]): string {
  return image.map(({ column, value }) => `${printColumn(column)}:${printValue(value)}`).join(',');
}

function printColumn(column: string): string {
  return /^[A-Za-z_]\w*$/.test(column) ? column : JSON.stringify(column);
}

function printValue(value: ColumnValue): string {
  if (value === null) return 'null';
  if (value === undefined) return '?';
  return /^[^\s,{}>"\p{C}]+$/u.test(value) && value !== 'null' && value !== '?' ? value : JSON.stringify(value);
}
