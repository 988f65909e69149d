/** A mark's text taken apart for drawing. What is no event is a value and stands as it is. */
export type Element =
  | { readonly kind: 'delivery'; readonly events: readonly Element[] }
  | EventElement
  | { readonly kind: 'value'; readonly text: string; readonly table: string | null };

export interface EventElement {
  readonly kind: 'event';
  /** `rows`, or the word before the colon: `ddl`, `res`, `flushed`, … */
  readonly type: string;
  /** Null where the event is of all tables. */
  readonly table: string | null;
  /** The name that it lands under, where that is another. */
  readonly target: string | null;
  /** `@5.2..4`, or empty. */
  readonly place: string;
  /** `#1.2`, or empty. */
  readonly session: string;
  /** What stands in the braces, a line for each image: `+ id:1` inserted, `− id:1` deleted, `~ id:1` and `→ id:2` updated. */
  readonly rows: readonly string[];
}

/** The elements of a notation text: one, as a rule; events with blanks between them are one delivery. */
export function elementOf(text: string): Element {
  const inner = /^\[(.*)\]$/s.exec(text.trim())?.[1];
  const parts = split(inner ?? text, /[\s,]/);
  const events = parts.map(eventOf);
  if (events.every((event) => event !== null)) {
    if (inner === undefined && events.length === 1) return events[0]!;
    return { kind: 'delivery', events };
  }
  return { kind: 'value', text: text.trim(), table: /^(?:[a-z]+|\d+(?=[a-z]))/i.exec(text.trim())?.[0] ?? null };
}

/** The table whose colour the element has; of a delivery there is none. */
export function tablesOf(element: Element): readonly string[] {
  if (element.kind === 'delivery') return element.events.flatMap(tablesOf);
  return element.table === null ? [] : [element.table];
}

const NAME = '(?:[\\w.]|"(?:[^"]|"")*")+';
const EVENT = new RegExp(`^(?:([a-z]+):)?(${NAME}|\\*)?(?:>(${NAME}))?(@[\\w.+]+)?(#\\d+\\.\\d+)?$`, 'i');
const ROW = /\{(?:"(?:\\.|[^"\\])*"|[^{}"])*\}/g;
const OF_ALL = new Set(['sync', 'res', 'marker']);

function eventOf(text: string): EventElement | null {
  const match = EVENT.exec(text.replace(ROW, ''));
  if (match === null) return null;
  const [, type = 'rows', name = '', target = '', place = '', session = ''] = match;
  const isOfAll = name === '*' || (type === 'rows' && OF_ALL.has(name));
  if (type === 'rows' && place === '') return null;
  return {
    kind: 'event',
    type: type === 'rows' && isOfAll ? name : type,
    table: isOfAll || name === '' ? null : name,
    target: target === '' ? null : target,
    place: place === '' ? '' : `@${[...new Set(place.slice(1).split('+'))].join('+')}`,
    session,
    rows: (text.match(ROW) ?? []).flatMap((row) => imagesOf(row.slice(1, -1))),
  };
}

/** `new` of an insert, `old>new` of an update, `old>` of a delete. */
function imagesOf(row: string): string[] {
  const [before = '', after] = split(row, />/, true).map((image) => split(image, /,/).join(', '));
  if (after === undefined) return before === '' ? [] : [`+ ${before}`];
  if (after === '') return [`− ${before}`];
  return [...(before === '' ? [] : [`~ ${before}`]), `→ ${after}`];
}

/** `text` cut where `separator` matches one character, outside of braces and double quotes. */
function split(text: string, separator: RegExp, keepsEmpty = false): string[] {
  const parts = [''];
  let depth = 0;
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (isQuoted && char === '\\') {
      parts[parts.length - 1] += char + (text[++i] ?? '');
      continue;
    }
    if (char === '"') isQuoted = !isQuoted;
    if (!isQuoted && char === '{') depth++;
    if (!isQuoted && char === '}') depth--;
    if (!isQuoted && depth === 0 && separator.test(char)) parts.push('');
    else parts[parts.length - 1] += char;
  }
  return parts.filter((part) => keepsEmpty || part !== '');
}
