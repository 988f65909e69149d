import { type Element, type EventElement, elementOf, tablesOf } from './notation.ts';

/** Something that is drawn around a point of a line: how far it reaches from there, and its markup. */
export interface Drawable {
  readonly left: number;
  readonly right: number;
  readonly above: number;
  readonly below: number;
  draw(x: number, y: number): string;
}

/** The class that a table's shapes have: `c0` … */
export type ColourOf = (table: string | null) => string;

/** Widest usual monospace glyph, in parts of the font size; so an estimate is never too small. */
const GLYPH_WIDTH = 0.61;
const FONT = 12;
const SMALL_FONT = 10.5;
const LINE = 14;
const HEIGHT = 24;
const STACK_GAP = 4;

export function textWidth(text: string, fontSize = FONT): number {
  let glyphs = 0;
  // Characters of East Asian scripts and emoji are two columns wide.
  for (const char of text)
    glyphs += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]|\p{Extended_Pictographic}/u.test(char)
      ? 2
      : 1;
  return glyphs * fontSize * GLYPH_WIDTH;
}

export function escapeXml(text: string): string {
  const printable = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '\ufffd');
  return printable.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);
}

/** A number in markup: at most one decimal, so that every machine writes the same. */
export function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A mark's text as shapes on a full line. */
export function markShape(text: string, colourOf: ColourOf): Drawable {
  return elementShape(elementOf(text), colourOf);
}

/** What was acked in one frame, as small symbols on a thin line with the names below: acks of one kind stand together. */
export function ackShape(texts: readonly string[], colourOf: ColourOf): Drawable {
  const kinds = new Map<string, Ack[]>();
  for (const ack of texts.flatMap((text) => acksOf(text, colourOf))) kinds.set(ack.kind, [...(kinds.get(ack.kind) ?? []), ack]);
  return beside([...kinds].map(([kind, acks]) => ackCluster(kind, acks)));
}

export const COMPLETE: Drawable = {
  left: 2,
  right: 2,
  above: 13,
  below: 13,
  draw: (x, y) => `<path class="bar" d="M${n(x)} ${n(y - 12)}V${n(y + 12)}"/>`,
};

export const FAILED: Drawable = {
  left: 8,
  right: 8,
  above: 9,
  below: 9,
  draw: (x, y) => `<path class="cross" d="M${n(x - 7)} ${n(y - 7)}l14 14m0 -14l-14 14"/>`,
};

export const SUBSCRIBED: Drawable = {
  left: 5,
  right: 5,
  above: 8,
  below: 8,
  draw: (x, y) => `<circle class="shape plain open" cx="${n(x)}" cy="${n(y)}" r="4"/>`,
};

export const UNSUBSCRIBED: Drawable = {
  left: 3,
  right: 3,
  above: 8,
  below: 8,
  draw: (x, y) => `<path class="bar" d="M${n(x)} ${n(y - 6)}v12"/>`,
};

/** What happens in one frame, from top to bottom, its middle on the line. */
export function stack(items: readonly Drawable[], gap = STACK_GAP): Drawable {
  if (items.length === 1) return items[0]!;
  const height = items.reduce((sum, { above, below }) => sum + above + below, 0) + gap * (items.length - 1);
  return {
    left: Math.max(...items.map(({ left }) => left)),
    right: Math.max(...items.map(({ right }) => right)),
    above: height / 2,
    below: height / 2,
    draw: (x, y) => {
      let top = y - height / 2;
      return items
        .map((item) => {
          const markup = item.draw(x, top + item.above);
          top += item.above + item.below + gap;
          return markup;
        })
        .join('');
    },
  };
}

/** `item`, then `end` right of it in the same frame. */
export function followedBy(item: Drawable, end: Drawable): Drawable {
  const shift = item.right + 5 + end.left;
  return {
    left: item.left,
    right: shift + end.right,
    above: Math.max(item.above, end.above),
    below: Math.max(item.below, end.below),
    draw: (x, y) => item.draw(x, y) + end.draw(x + shift, y),
  };
}

function elementShape(element: Element, colourOf: ColourOf): Drawable {
  if (element.kind === 'delivery') return delivery(element.events, colourOf);
  if (element.kind === 'value') return value(element.text, colourOf(element.table));
  return element.rows.length > 0 ? card(element, colourOf(element.table)) : eventShape(element, colourOf(element.table));
}

interface Ack {
  /** `enqueued`, `flushed`, or empty where the text is no event. */
  readonly kind: string;
  readonly name: string;
  readonly colour: string;
}

/** `flushed:a@5` is one, `flushed:[a@5 b@5]` two. */
function acksOf(text: string, colourOf: ColourOf): Ack[] {
  const [, kind = '', rest = text] = /^(enqueued|flushed):(.*)$/s.exec(text) ?? [];
  return eventsOf(elementOf(rest)).map((element) => {
    const name = element.kind === 'event' ? wordingOf({ ...element, session: '' }).text : rest;
    return { kind, name, colour: colourOf(tablesOf(element)[0] ?? null) };
  });
}

function eventsOf(element: Element): readonly Element[] {
  return element.kind === 'delivery' ? element.events : [element];
}

function ackCluster(kind: string, acks: readonly Ack[]): Drawable {
  const names = acks.some(({ name }) => name.includes(' '))
    ? acks.map(({ name }) => name)
    : wrapped(acks.map(({ name }) => name).join(' '), 16);
  const lines = kind === '' ? names : [kind, ...names];
  const step = 12;
  const half = Math.max((acks.length * step) / 2, ...lines.map((line) => textWidth(line, SMALL_FONT) / 2));
  const state = kind === 'enqueued' ? 'open' : 'full';
  return {
    left: half,
    right: half,
    above: 7,
    below: 10 + lines.length * 12,
    draw: (x, y) => {
      const first = x - ((acks.length - 1) * step) / 2;
      const symbols = acks.map(
        ({ colour }, i) => `<circle class="shape ${colour} ${state}" cx="${n(first + i * step)}" cy="${n(y)}" r="4.5"/>`,
      );
      return symbols.join('') + lines.map((line, i) => label(line, x, y + 18 + i * 12, 'small')).join('');
    },
  };
}

/** Next to each other, their common middle where the frame stands. */
function beside(items: readonly Drawable[]): Drawable {
  if (items.length === 1) return items[0]!;
  const width = items.reduce((sum, { left, right }) => sum + left + right, 0) + 8 * (items.length - 1);
  return {
    left: width / 2,
    right: width / 2,
    above: Math.max(...items.map(({ above }) => above)),
    below: Math.max(...items.map(({ below }) => below)),
    draw: (x, y) => {
      let at = x - width / 2;
      const markup = items.map((item) => {
        const drawn = item.draw(at + item.left, y);
        at += item.left + item.right + 8;
        return drawn;
      });
      return markup.join('');
    },
  };
}

/** Several events of one delivery in a common frame; without events, a small ring. */
function delivery(events: readonly Element[], colourOf: ColourOf): Drawable {
  if (events.length === 0) return { ...centred(10, 10), draw: (x, y) => `<circle class="shape frame" cx="${n(x)}" cy="${n(y)}" r="5"/>` };
  const inner = stack(
    events.map((event) => (event.kind === 'event' && event.type === 'res' ? insideTick(event) : elementShape(event, colourOf))),
  );
  const pad = 6;
  const width = inner.left + inner.right + 2 * pad;
  const height = inner.above + inner.below + 2 * pad;
  return {
    ...centred(width, height),
    draw: (x, y) => rect(x, y, width, height, 10, 'thin frame') + inner.draw(x, y),
  };
}

/** A resolved mark between other events: there is no line for it to stand on. */
function insideTick(event: EventElement): Drawable {
  const { text, markup } = wordingOf(event);
  const width = textWidth(text) + 12;
  return {
    ...centred(width, 20),
    draw: (x, y) => `<path class="bar" d="M${n(x - width / 2 + 2)} ${n(y - 7)}v14"/>${textAt(markup, x + 4, y)}`,
  };
}

function wordingOf({ type, table, target, place, session }: EventElement): { readonly text: string; readonly markup: string } {
  const prefix = type === 'rows' ? '' : table === null && place !== '' ? type : `${type}:`;
  const name = `${table ?? (place === '' ? '*' : '')}${target === null ? '' : ` → ${target}`}`;
  return {
    text: `${prefix}${name}${place}${session}`,
    markup: `${span(prefix, 'muted')}${span(name, 'strong')}${escapeXml(place)}${span(session, 'muted')}`,
  };
}

/** The outline says what it is: pill = rows, hexagon = schema change, square = TRUNCATE, tick = resolved, dashed = marker, open = signal. */
function eventShape(event: EventElement, colour: string): Drawable {
  const { text, markup } = wordingOf(event);
  const width = textWidth(text) + 18;
  switch (event.type) {
    case 'rows':
      return {
        ...centred(Math.max(width, HEIGHT), HEIGHT),
        draw: (x, y) => rect(x, y, Math.max(width, HEIGHT), HEIGHT, HEIGHT / 2, `shape ${colour}`) + textAt(markup, x, y),
      };
    case 'ddl':
    case 'sync': {
      const outer = width + 10;
      const points = (x: number, y: number) =>
        `M${n(x - outer / 2)} ${n(y)}l12 ${-HEIGHT / 2}H${n(x + outer / 2 - 12)}l12 ${HEIGHT / 2}l-12 ${HEIGHT / 2}H${n(x - outer / 2 + 12)}z`;
      return { ...centred(outer, HEIGHT), draw: (x, y) => `<path class="shape ${colour}" d="${points(x, y)}"/>${textAt(markup, x, y)}` };
    }
    case 'truncate':
      return { ...centred(width, HEIGHT), draw: (x, y) => rect(x, y, width, HEIGHT, 0, `shape ${colour}`) + textAt(markup, x, y) };
    case 'res':
      return {
        ...centred(textWidth(text, SMALL_FONT) + 6, 18),
        below: 22,
        draw: (x, y) => `<path class="bar" d="M${n(x)} ${n(y - 8)}v16"/>${label(text, x, y + 20, 'small')}`,
      };
    case 'marker':
      return {
        ...centred(width, HEIGHT),
        draw: (x, y) => rect(x, y, width, HEIGHT, 4, `shape dashed ${colour} open`) + textAt(markup, x, y),
      };
    default:
      return {
        ...centred(width, HEIGHT),
        draw: (x, y) => rect(x, y, width, HEIGHT, HEIGHT / 2, `shape ${colour} open`) + textAt(markup, x, y),
      };
  }
}

/** Rows with their values: the event on top, a line for each image below. */
function card(event: EventElement, colour: string): Drawable {
  const { text: head, markup } = wordingOf(event);
  const lines = event.rows;
  const width = Math.max(textWidth(head), ...lines.map((line) => textWidth(line, SMALL_FONT))) + 20;
  const height = 8 + LINE * (lines.length + 1) + 2;
  return {
    ...centred(width, height),
    draw: (x, y) => {
      const top = y - height / 2;
      const title = textAt(markup, x, top + 12);
      const rule = `<path class="thin ${colour}" d="M${n(x - width / 2)} ${n(top + 21)}h${n(width)}"/>`;
      const body = lines.map((line, i) => label(line, x - width / 2 + 10, top + 33 + i * LINE, 'small left')).join('');
      return rect(x, y, width, height, 6, `shape ${colour}`) + rule + title + body;
    },
  };
}

function value(text: string, colour: string): Drawable {
  const lines = wrapped(text, 16);
  const width = Math.max(HEIGHT, Math.max(...lines.map((line) => textWidth(line))) + (lines.length > 1 || text.length > 2 ? 18 : 10));
  const height = HEIGHT + (lines.length - 1) * LINE;
  return {
    ...centred(width, height),
    draw: (x, y) => {
      const first = y - ((lines.length - 1) * LINE) / 2;
      return (
        rect(x, y, width, height, HEIGHT / 2, `shape ${colour}`) +
        lines.map((line, i) => textAt(escapeXml(line), x, first + i * LINE)).join('')
      );
    },
  };
}

/** `text` in lines of at most `length` characters where blanks allow; a word that is longer is cut with an ellipsis. */
export function wrapped(text: string, length: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    const short = word.length > length + 8 ? `${word.slice(0, length + 7)}…` : word;
    if (last !== undefined && last.length + 1 + short.length <= length) lines[lines.length - 1] = `${last} ${short}`;
    else lines.push(short);
  }
  return lines;
}

function centred(width: number, height: number) {
  return { left: width / 2, right: width / 2, above: height / 2, below: height / 2 };
}

export function rect(x: number, y: number, width: number, height: number, radius: number, classes: string): string {
  const round = radius === 0 ? '' : ` rx="${n(Math.min(radius, height / 2))}"`;
  return `<rect class="${classes}" x="${n(x - width / 2)}" y="${n(y - height / 2)}" width="${n(width)}" height="${n(height)}"${round}/>`;
}

/** Text with its baseline at `y`. */
export function label(text: string, x: number, y: number, classes = ''): string {
  return `<text${classes === '' ? '' : ` class="${classes}"`} x="${n(x)}" y="${n(y)}">${escapeXml(text)}</text>`;
}

/** Markup whose middle is at `y`. */
function textAt(markup: string, x: number, y: number): string {
  return `<text x="${n(x)}" y="${n(y + 4.2)}">${markup}</text>`;
}

function span(text: string, classes: string): string {
  return text === '' ? '' : `<tspan class="${classes}">${escapeXml(text)}</tspan>`;
}
