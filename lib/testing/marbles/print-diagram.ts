import type { Diagram, Item, PlacedMark, Subject } from './diagram.ts';
import { printEvent, printTable } from './print-event.ts';

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
  return printDelivery(item.items.map(printSubject));
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
