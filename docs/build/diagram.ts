import type { Mark, RecordedStream, Recording } from '../../lib/testing/index.ts';
import {
  ackShape,
  COMPLETE,
  type ColourOf,
  type Drawable,
  escapeXml,
  FAILED,
  followedBy,
  label,
  markShape,
  n,
  rect,
  SUBSCRIBED,
  stack,
  textWidth,
  UNSUBSCRIBED,
} from './drawables.ts';
import { elementOf, tablesOf } from './notation.ts';
import { styleSheet, TABLE_COLOURS } from './style.ts';

export interface Diagram {
  /** What stands in the box: `dedupeCommitTs({ startTs: 4n })`. */
  readonly expression: string;
  readonly recording: Recording;
  /** For those who do not see the picture. */
  readonly title: string;
}

/** The usual width; a picture that needs more gets more. */
const WIDTH = 800;
const PAD = 20;
const GAP = 9;
const BAND_GAP = 18;
/** Per frame. */
const WIDEST_STEP = 72;
/** Frames in which nothing happens, beyond which they are cut out. */
const LONG_GAP = 16;
const CUT_WIDTH = 22;
/** An item of more characters than these is drawn as if it took no longer. */
const SHORT_WORD = 4;

/** A marble diagram as SVG: sources, the operator's box, what comes out. The same recording gives the same bytes everywhere. */
export function diagramSvg({ expression, recording, title }: Diagram): string {
  const colourOf = colours(recording.streams);
  const lanes = lanesOf(recording.streams).map((stream) => laneOf(stream, colourOf));
  const labelWidth = Math.max(...lanes.map(({ stream }) => textWidth(stream.label, 10.5)), 0);
  const start = PAD + labelWidth + 14;
  const frames = [...new Set(lanes.flatMap(({ items }) => [...items.keys()]))].sort((a, b) => a - b);
  const { columns, cuts, end } = spread(lanes, frames, start + 12);
  const box = boxOf(expression, Math.max(WIDTH, end + PAD + 20) - 2 * PAD);
  const width = Math.max(WIDTH, end + PAD + 20);
  const bands = place(lanes, box.height);
  const height = bands.bottom + 30;
  const timeEnd = width - PAD;
  const parts = [
    rect(width / 2, height / 2, width - 1, height - 1, 10, 'paper'),
    ...guides(lanes, columns, bands),
    ...lanes.flatMap((lane, i) => laneMarkup(lane, bands.lines[i]!, columns, start, timeEnd)),
    ...cuts.flatMap((x) => [...bands.lines, bands.bottom + 4].map((y) => cutMarkup(x, y))),
    rect(width / 2, bands.box + box.height / 2, width - 2 * PAD, box.height, 8, 'shape box'),
    ...box.lines.map((line, i) => `<text class="name" x="${n(width / 2)}" y="${n(bands.box + 27 + i * 20)}">${line}</text>`),
    ...axis(frames, columns, start, bands.bottom + 8),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${n(width)}" height="${n(height)}" viewBox="0 0 ${n(width)} ${n(height)}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<desc>${escapeXml(describe(recording, expression))}</desc>`,
    `<style>${styleSheet()}</style>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

interface Lane {
  readonly stream: RecordedStream;
  /** By frame. */
  readonly items: ReadonlyMap<number, Drawable>;
  /** Characters of what happens in a frame. */
  readonly lengths: ReadonlyMap<number, number>;
  readonly above: number;
  readonly below: number;
}

/** From top to bottom: what goes in and who subscribes to it, then what comes out. Subscriptions that follow each other share a line. */
function lanesOf(streams: readonly RecordedStream[]): RecordedStream[] {
  const subscriptions = streams.filter(({ role }) => role === 'subscription');
  const marks = subscriptions.flatMap((stream) => stream.marks);
  const isOneAfterAnother = marks.every(({ frame }, i) => i === 0 || frame >= marks[i - 1]!.frame);
  const shared = { role: 'subscription' as const, label: 'subscriptions', marks };
  return [
    ...streams.filter(({ role }) => role === 'source'),
    ...(subscriptions.length > 1 && isOneAfterAnother ? [shared] : subscriptions),
    ...streams.filter(({ role }) => role !== 'source' && role !== 'subscription'),
  ];
}

function laneOf(stream: RecordedStream, colourOf: ColourOf): Lane {
  const frames = new Map<number, Mark[]>();
  for (const mark of stream.marks) frames.set(mark.frame, [...(frames.get(mark.frame) ?? []), mark]);
  const items = new Map<number, Drawable>();
  for (const [frame, marks] of frames) {
    const texts = marks.flatMap((mark) => (mark.kind === 'next' ? [mark.text] : []));
    const ends = marks.flatMap((mark) => (mark.kind === 'next' ? [] : [END[mark.kind]]));
    const shape = () => (stream.role === 'acks' ? ackShape(texts, colourOf) : stack(texts.map((text) => markShape(text, colourOf))));
    const body = texts.length > 0 ? [shape()] : [];
    items.set(
      frame,
      [...body, ...ends].reduce((item, end) => followedBy(item, end)),
    );
  }
  const all = [...items.values()];
  const lengths = new Map([...frames].map(([frame, marks]) => [frame, lengthOf(marks)]));
  return {
    stream,
    items,
    lengths,
    above: Math.max(13, ...all.map(({ above }) => above)),
    below: Math.max(13, ...all.map(({ below }) => below)),
  };
}

function lengthOf(marks: readonly Mark[]): number {
  return marks.reduce((sum, mark) => sum + (mark.kind === 'next' ? mark.text.length : 1), 0);
}

const END = { complete: COMPLETE, error: FAILED, subscribe: SUBSCRIBED, unsubscribe: UNSUBSCRIBED };

/** A colour for each table, in the order in which they are named. */
function colours(streams: readonly RecordedStream[]): ColourOf {
  const texts = streams.flatMap(({ marks }) => marks.flatMap((mark) => (mark.kind === 'next' ? [mark.text] : [])));
  const tables = [...new Set(texts.flatMap((text) => tablesOf(elementOf(text.replace(/^(?:enqueued|flushed):/, '')))))];
  return (table) => (table === null ? 'plain' : `c${tables.indexOf(table) % TABLE_COLOURS}`);
}

interface Spread {
  /** Where each frame stands. */
  readonly columns: ReadonlyMap<number, number>;
  /** Where long gaps are cut out of time. */
  readonly cuts: readonly number[];
  readonly end: number;
}

/** Places frames from left to right, as far from each other as time says where there is room, and never so near that shapes touch. */
function spread(lanes: readonly Lane[], frames: readonly number[], start: number): Spread {
  const available = WIDTH - PAD - 20;
  const tightest = positions(lanes, frames, start, 0);
  let [low, high] = [0, WIDEST_STEP];
  // The widest step per frame that fits; without one that fits the picture grows.
  for (let round = 0; round < 24; round++) {
    const middle = (low + high) / 2;
    if (positions(lanes, frames, start, middle).end <= available) low = middle;
    else high = middle;
  }
  return tightest.end > available ? tightest : positions(lanes, frames, start, low);
}

function positions(lanes: readonly Lane[], frames: readonly number[], start: number, step: number): Spread {
  const columns = new Map<number, number>();
  const cuts: number[] = [];
  const free = lanes.map(() => start);
  let x = start;
  frames.forEach((frame, i) => {
    const passed = i === 0 ? frame : frame - frames[i - 1]!;
    // In a diagram's text an item takes as many frames as it has characters.
    const written = i === 0 ? 0 : Math.max(...lanes.map(({ lengths }) => lengths.get(frames[i - 1]!) ?? 1));
    const isCut = passed - written > LONG_GAP;
    const longWord = Math.max(0, Math.min(written, passed - 1) - SHORT_WORD);
    const shown = isCut ? SHORT_WORD + LONG_GAP / 2 : passed - longWord;
    x += i === 0 ? Math.min(shown, 3) * step : Math.max(14, shown * step);
    const last = Math.max(...free);
    lanes.forEach(({ items }, lane) => {
      const item = items.get(frame);
      if (item !== undefined) x = Math.max(x, (isCut ? last + CUT_WIDTH : free[lane]!) + item.left);
    });
    if (isCut) cuts.push((last + x - Math.max(...lanes.map(({ items }) => items.get(frame)?.left ?? 0))) / 2);
    lanes.forEach(({ items }, lane) => {
      const item = items.get(frame);
      if (item !== undefined) free[lane] = x + item.right + GAP;
    });
    columns.set(frame, x);
  });
  return { columns, cuts, end: Math.max(x, ...free) };
}

interface Bands {
  /** The height of each lane's line. */
  readonly lines: readonly number[];
  readonly box: number;
  readonly bottom: number;
}

function place(lanes: readonly Lane[], boxHeight: number): Bands {
  const lines: number[] = [];
  let y = PAD - 2;
  let box = -1;
  for (const { stream, above, below } of lanes) {
    const isSource = stream.role === 'source' || stream.role === 'subscription';
    if (!isSource && box < 0) {
      box = y + 4;
      y = box + boxHeight + BAND_GAP + 4;
    }
    lines.push(y + above);
    y += above + below + BAND_GAP;
  }
  if (box < 0) {
    box = y;
    y += boxHeight + BAND_GAP;
  }
  return { lines, box, bottom: y - BAND_GAP + 8 };
}

/** Faint lines from what goes into the box, and to what comes out. */
function guides(lanes: readonly Lane[], columns: Spread['columns'], { lines, box }: Bands): string[] {
  const output = lanes.findIndex(({ stream }) => stream.role === 'output');
  return lanes.flatMap(({ stream, items }, i) => {
    if (stream.role !== 'source' && i !== output) return [];
    return [...items].map(([frame, { above, below }]) => {
      const from = lines[i]! < box ? lines[i]! + below : lines[i]! - above;
      return `<path class="guide" d="M${n(columns.get(frame)!)} ${n(from)}V${n(box)}"/>`;
    });
  });
}

function laneMarkup({ stream, items }: Lane, y: number, columns: Spread['columns'], start: number, end: number): string[] {
  const isThin = stream.role !== 'source' && stream.role !== 'output';
  const lines = stream.role === 'subscription' ? subscribed(stream, columns, end) : [[start, end - 8]];
  const head = `<path class="head" d="M${n(end)} ${n(y)}l-10 -5v10z"/>`;
  return [
    label(stream.label, start - 14, y + 3.7, 'small muted right'),
    ...lines.map(([from, to]) => `<path class="${isThin ? 'thin' : 'time'}" d="M${n(from!)} ${n(y)}H${n(to!)}"/>`),
    ...(stream.role === 'subscription' ? [] : [head]),
    ...[...items].map(([frame, item]) => item.draw(columns.get(frame)!, y)),
  ];
}

/** From where to where somebody was subscribed. */
function subscribed({ marks }: RecordedStream, columns: Spread['columns'], end: number): number[][] {
  const begins = marks.filter(({ kind }) => kind === 'subscribe').map(({ frame }) => columns.get(frame)!);
  const ends = marks.filter(({ kind }) => kind === 'unsubscribe').map(({ frame }) => columns.get(frame)!);
  // In one frame the end is drawn right of the beginning.
  return begins.map((from, i) => [from, Math.max(ends[i] ?? end, from + SUBSCRIBED.right + 8)]);
}

/** Two strokes across a line: time is missing here. */
function cutMarkup(x: number, y: number): string {
  return `<path class="gap" d="M${n(x - 6)} ${n(y + 7)}l6 -14h6l-6 14z"/><path class="thin" d="M${n(x - 6)} ${n(y + 7)}l6 -14m6 0l-6 14"/>`;
}

/** The time of each column below everything; where two are too near, the later one is left out. */
function axis(frames: readonly number[], columns: Spread['columns'], start: number, y: number): string[] {
  let free = start;
  const marks = frames.flatMap((frame) => {
    const x = columns.get(frame)!;
    const half = textWidth(String(frame), 10.5) / 2;
    if (x - half < free) return [];
    free = x + half + 6;
    return [label(String(frame), x, y, 'small muted')];
  });
  return [label('ms', start - 14, y, 'small muted right'), ...marks];
}

function boxOf(expression: string, width: number): { readonly lines: readonly string[]; readonly height: number } {
  const fits = Math.floor((width - 24) / textWidth('x', 15));
  const lines = brokenCode(expression, fits);
  const named = lines.map((line, i) => {
    const name = i === 0 ? (/^\w+/.exec(line)?.[0] ?? '') : '';
    return `${name === '' ? '' : `<tspan class="strong">${name}</tspan>`}${escapeXml(line.slice(name.length))}`;
  });
  return { lines: named, height: 24 + 20 * lines.length };
}

/** Code in lines of at most `fits` characters, broken at the blanks that are least deep in brackets. */
function brokenCode(code: string, fits: number): string[] {
  if (code.length <= fits) return [code];
  let depth = 0;
  let best = { at: -1, depth: Number.POSITIVE_INFINITY };
  for (let at = 0; at <= fits; at++) {
    if ('([{'.includes(code[at]!)) depth++;
    if (')]}'.includes(code[at]!)) depth--;
    if (code[at] === ' ' && (depth <= best.depth || best.at < fits / 3)) best = { at, depth };
  }
  if (best.at <= 0) return [`${code.slice(0, fits - 1)}…`, ...brokenCode(code.slice(fits - 1), fits)];
  return [code.slice(0, best.at), ...brokenCode(code.slice(best.at + 1), fits)];
}

/** The picture in words. */
function describe({ streams }: Recording, expression: string): string {
  const lines = streams.map(({ label: name, marks }) => {
    const words = marks.map((mark) => `${mark.kind === 'next' ? mark.text : mark.kind} at ${mark.frame}`);
    return `${name}: ${words.length === 0 ? 'nothing' : words.join(', ')}.`;
  });
  return `Marble diagram of ${expression}, times in milliseconds. ${lines.join(' ')}`;
}
