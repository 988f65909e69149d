import type { ColumnValue } from '../../events/index.ts';
import type { Diagram, Item, PlacedMark, Subject } from './diagram.ts';

/**
 * The one spelling of a diagram: `print(parse(x))` is `x` for whatever is written so. Where the canonical text of an item is longer than its frames (rows
 * that could be one run were written as two), the item stays as it was written.
 */
export function printDiagram({ text, marks, frames }: Diagram): string {
  let printed = '';
  let at = 0;
  for (let first = 0; first < marks.length; ) {
    const { frame } = marks[first]!;
    let next = first + 1;
    while (next < marks.length && marks[next]!.frame === frame) next++;
    const endsAt = marks[next]?.frame ?? frames;
    const canonical = printGroup(marks.slice(first, next).map(printMark));
    const isTooLong = canonical.length > endsAt - frame;
    const piece = isTooLong ? asWritten(text, marks[first]!, marks[next]) : canonical;
    printed += gapBefore(piece, printed, frame - at) + piece;
    at = isTooLong ? endsAt : frame + canonical.length;
    first = next;
  }
  return (printed + printGap(frames - at)).trim();
}

function startOf({ at, groupAt }: PlacedMark): number {
  return groupAt ?? at;
}

/** A group as it was written, with what passes behind it. */
function asWritten(text: string, first: PlacedMark, next: PlacedMark | undefined): string {
  return text.slice(startOf(first), next === undefined ? text.length : startOf(next));
}

/** What would be read as one word is kept apart by a blank. */
function gapBefore(piece: string, printed: string, frames: number): string {
  if (frames > 0) return printGap(frames);
  const areApart =
    printed === '' ||
    !/[^-|#^!)\s]$/.test(printed) ||
    /^[-|#^!(]/.test(piece) ||
    (isLetter(piece) && /(?:^|[-|#^!()\s])\p{L}+$/u.test(printed));
  return areApart ? '' : ' ';
}

function isLetter(piece: string): boolean {
  return /^[\p{L}\p{N}]\p{M}*$/u.test(piece);
}

/** What happens in one frame: alone, or in parentheses; commas stand only where one would be read as a part of another. */
export function printGroup(texts: readonly string[]): string {
  if (texts.length === 1) return texts[0]!;
  return `(${texts.reduce((joined, text, index) => {
    const before = texts[index - 1]!;
    const touches = before.length > 1 || (text.length > 1 && !SIGN.test(before));
    return joined + (touches && !SIGN.test(text) ? ',' : '') + text;
  })})`;
}

const SIGN = /^[|#^!]$/;

function printMark({ kind, item }: PlacedMark): string {
  return item === null ? SIGN_OF[kind as keyof typeof SIGN_OF] : printItem(item);
}

export const SIGN_OF = { complete: '|', error: '#', subscribe: '^', unsubscribe: '!' } as const;

export function printItem(item: Item): string {
  switch (item.is) {
    case 'reset':
      return `reset:${printTable(item.table)}`;
    case 'enqueued':
    case 'flushed':
      return `${item.is}:${printSubject(item.of)}`;
    default:
      return printSubject(item);
  }
}

function printSubject(item: Subject): string {
  if (item.is === 'letter') return item.letter;
  if (item.is === 'event') return printEvent(item.event);
  // One in brackets stays so: where anything is emitted, an event is not a delivery of it.
  return `[${item.items.map(printSubject).join(',')}]`;
}

/** One event stands alone, several (or none) in brackets. */
export function printDelivery(texts: readonly string[]): string {
  return texts.length === 1 && texts[0]!.length > 1 ? texts[0]! : `[${texts.join(',')}]`;
}

/** Up to this many frames are dashes. */
const DASHES_MAX = 20;

function printGap(frames: number): string {
  return frames <= DASHES_MAX ? '-'.repeat(frames) : ` ${frames}ms `;
}

import { type ChangeSketch, type EventSketch, KINDS, type RowSketch, type TableName, type ValueSketch } from './sketch.ts';

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
  return Object.hasOwn(KINDS, name) ? `"${name}"` : printName(name);
}

function printName(name: string): string {
  return /^[\p{L}_][\p{L}\p{M}\p{N}_]*$/u.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
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
