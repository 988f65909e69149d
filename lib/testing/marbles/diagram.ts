import { looksLikeEvent, readEvent, readTable } from './read-event.ts';
import { malformed, Scanner } from './scanner.ts';
import type { EventSketch, TableName } from './sketch.ts';

/** What happens in a diagram: an event, a delivery of several, something that a letter stands for, an ack, or a reset. `at` is where it begins in the text. */
export type Item =
  | { readonly is: 'letter'; readonly letter: string; readonly at: number }
  | { readonly is: 'event'; readonly event: EventSketch; readonly at: number }
  | { readonly is: 'delivery'; readonly items: readonly Member[] }
  | { readonly is: 'enqueued' | 'flushed'; readonly of: Subject }
  | { readonly is: 'reset'; readonly table: TableName };

/** What a delivery may hold. */
export type Member = Extract<Item, { is: 'letter' | 'event' }>;
/** What may be acked. */
export type Subject = Extract<Item, { is: 'letter' | 'event' | 'delivery' }>;

export type SignKind = 'complete' | 'error' | 'subscribe' | 'unsubscribe';

/** One thing at its place. */
export interface PlacedMark {
  readonly frame: number;
  /** Where it begins in the diagram's text. */
  readonly at: number;
  /** Where the group that it is in begins; null when it stands alone. */
  readonly groupAt: number | null;
  readonly kind: 'next' | SignKind;
  /** Null for everything but `next`. */
  readonly item: Item | null;
}

/** A diagram as data. */
export interface Diagram {
  readonly text: string;
  /** By frame. */
  readonly marks: readonly PlacedMark[];
  /** Where the diagram ends. */
  readonly frames: number;
}

/** `stream`: what is emitted; `hot`: with the moment of subscription; `subscription`: `^` and `!` alone. */
export type DiagramUse = 'stream' | 'hot' | 'subscription';

/**
 * Reads a diagram: every character is a frame (one millisecond), blanks are none, and an item takes as many frames as it has characters and happens in the
 * first of them. `docs/event-marbles.md` has the grammar.
 *
 * @throws MR_MARBLES_MALFORMED with the diagram, a caret where it makes no sense, and what to do.
 */
export function parseDiagram(text: string, use: DiagramUse = 'stream'): Diagram {
  const scanner: Scanner = new Scanner(text);
  const marks: PlacedMark[] = [];
  let frame = 0;
  let openedAt: number | null = null;
  let groupFrame = 0;
  while (!scanner.isAtEnd) {
    const start = scanner.at;
    const time = readTime(scanner);
    if (time !== null) {
      if (openedAt !== null) scanner.fail('no time passes inside a group', 'Close the group first', start);
      frame += time;
      continue;
    }
    const char = text[start]!;
    const { blanks } = scanner;
    if (/\s/.test(char)) scanner.skipBlanks();
    else if (char === '-') {
      scanner.at++;
      if (openedAt !== null) scanner.fail('no time passes inside a group', 'Close the group before the dash', start);
    } else if (char === '(') {
      scanner.at++;
      if (openedAt !== null)
        scanner.fail('a group stands inside a group', 'Put everything of this frame into one pair of parentheses', start);
      openedAt = start;
      groupFrame = frame;
    } else if (char === ')') {
      scanner.at++;
      if (openedAt === null)
        scanner.fail('nothing was opened that this could close', 'Put ( in front of the first of the group, or take ) away', start);
      if (marks.at(-1)?.frame !== groupFrame)
        scanner.fail('the group is empty', 'Take it away; what happens without an event is []', start);
      openedAt = null;
    } else if (char === ',' && openedAt !== null) scanner.at++;
    else marks.push({ frame: openedAt === null ? frame : groupFrame, at: start, groupAt: openedAt, ...readMark(scanner, use, marks) });
    frame += scanner.at - start - (scanner.blanks - blanks);
  }
  if (openedAt !== null) scanner.fail('this group is never closed', 'Put ) behind the last of the group', openedAt);
  return { text, marks, frames: frame };
}

/** The events of a delivery, as the value of a letter gives them: `a@5 b@5`, `[a@5,b@5]`; an empty text has none. */
export function parseDelivery(text: string): readonly Member[] {
  const scanner: Scanner = new Scanner(text);
  scanner.skipBlanks();
  const bracketed = scanner.look(/\[/y) !== null;
  const members = bracketed ? readMembers(scanner) : readMembersUntil(scanner, () => scanner.isAtEnd);
  scanner.skipBlanks();
  if (!scanner.isAtEnd) scanner.fail('a delivery ends here', 'Put all of its events into one pair of brackets');
  return members;
}

const SIGNS: Readonly<Record<string, SignKind>> = { '|': 'complete', '#': 'error', '^': 'subscribe', '!': 'unsubscribe' };
const LETTER = /[\p{L}\p{N}]\p{M}*/uy;
const TIME = /(\d+(?:\.\d+)?)(ms|s|m)(?![\w@.:])/y;
const UNITS_MS = { ms: 1, s: 1000, m: 60_000 } as const;

/** `10ms` between blanks: the milliseconds, or null where none is. */
function readTime(scanner: Scanner): number | null {
  const start = scanner.at;
  const match = scanner.look(TIME);
  if (match === null) return null;
  const [written, amount = '', unit = 'ms'] = match;
  const isFree = /^$|\s/.test(scanner.text[start - 1] ?? '') && /^$|\s/.test(scanner.text[start + written.length] ?? '');
  if (!isFree) scanner.fail('a time stands between blanks', `Write " ${written} "`);
  const ms = Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS];
  if (ms > Number.MAX_SAFE_INTEGER) scanner.fail('this is longer than a clock can tell', 'Give a shorter time');
  if (!Number.isInteger(ms)) scanner.fail('a frame is a millisecond', 'Give a whole number of milliseconds');
  scanner.at += written.length;
  return ms;
}

function readMark(scanner: Scanner, use: DiagramUse, before: readonly PlacedMark[]): Pick<PlacedMark, 'kind' | 'item'> {
  const start = scanner.at;
  const sign = SIGNS[scanner.text[start]!];
  const isSubscription = sign === 'subscribe' || sign === 'unsubscribe';
  if (use === 'subscription') {
    if (!isSubscription)
      scanner.fail('this belongs to no subscription', 'A subscription has ^ where it begins, ! where it is let go, dashes and times');
    if (before.some(({ kind }) => kind === sign))
      scanner.fail('a subscription begins once and is let go once', 'Give each subscription a diagram of its own');
    if (sign === 'subscribe' && before.length > 0)
      scanner.fail('the subscription is let go before it begins', 'Put ^ in front of !', before[0]!.at);
  } else {
    if (sign === 'unsubscribe')
      scanner.fail(
        '! belongs to a subscription',
        'Write it in the diagram of a subscription: expectSubscriptions, or the second argument of an expectation',
      );
    if (sign === 'subscribe' && (use !== 'hot' || before.some(({ kind }) => kind === sign))) {
      scanner.fail('^ belongs to a hot stream, once, or to a subscription', 'Use hot or hotEvents, or take it away');
    }
    if (before.some(({ kind }) => kind === 'complete' || kind === 'error')) {
      scanner.fail('the stream has ended before', 'Take away what stands behind | or #');
    }
  }
  if (sign !== undefined) {
    scanner.at++;
    return { kind: sign, item: null };
  }
  return { kind: 'next', item: readItem(scanner) };
}

function readItem(scanner: Scanner): Item {
  const ack = scanner.take(/(enqueued|flushed):/y);
  if (ack !== null) return { is: ack[1] as 'enqueued' | 'flushed', of: readSubject(scanner) };
  if (scanner.take(/reset:/y) !== null) {
    const table = readTable(scanner);
    requireEnd(scanner);
    return { is: 'reset', table };
  }
  return readSubject(scanner);
}

function readSubject(scanner: Scanner): Subject {
  return scanner.look(/\[/y) === null ? readMember(scanner) : { is: 'delivery', items: readMembers(scanner) };
}

function readMembers(scanner: Scanner): readonly Member[] {
  const start = scanner.at++;
  const members = readMembersUntil(scanner, () => {
    if (scanner.isAtEnd) scanner.fail('this delivery is never closed', 'Put ] behind its last event', start);
    return scanner.take(/\]/y) !== null;
  });
  if (scanner.look(/#\d/y) !== null)
    scanner.fail('an epoch and seq stand behind an event', 'Write them behind each event of the delivery: [a@5#1.2,b@5#1.3]');
  return members;
}

function readMembersUntil(scanner: Scanner, isOver: () => boolean): readonly Member[] {
  const members: Member[] = [];
  for (;;) {
    scanner.skipBlanks();
    if (members.length > 0 && scanner.take(/,/y) !== null) scanner.skipBlanks();
    if (isOver()) return members;
    if (scanner.look(/[-()|#^![]/y) !== null) {
      scanner.fail('a delivery holds events and nothing else', 'Close it with ] first');
    }
    members.push(readMember(scanner));
  }
}

function readMember(scanner: Scanner): Member {
  const start = scanner.at;
  if (looksLikeEvent(scanner)) {
    const event = readEvent(scanner);
    requireEnd(scanner);
    return { is: 'event', event, at: start };
  }
  const letter = scanner.take(LETTER);
  if (letter !== null) return { is: 'letter', letter: letter[0], at: start };
  const char = String.fromCodePoint(scanner.text.codePointAt(start) ?? 0x20);
  if (char === ',')
    scanner.fail('a comma separates what stands in a group or a delivery', 'Put ( or [ in front of the first, or take the comma away');
  if (char === ']')
    scanner.fail('nothing was opened that this could close', 'Put [ in front of the first event of the delivery, or take ] away');
  if (char === '"') scanner.fail('this quote is never closed', 'Put " behind the name: "two words"@5');
  if (char === '{') scanner.fail('these values belong to no row', 'Write the table and its position in front of them: users@5{id:1}');
  return scanner.fail(
    `${char} means nothing in a diagram`,
    'A diagram has - | # ( ) [ ], events such as a@5, letters that values explain, and times such as 10ms between blanks',
  );
}

/** What follows a word directly would be read as a part of it. */
function requireEnd(scanner: Scanner): void {
  if (scanner.look(/[\p{L}\p{N}\p{M}_"[{@:.+>*]/uy) === null) return;
  scanner.fail(
    'this stands too close to the event before it',
    'Separate them with a blank (no time passes), a dash (1 ms), or, in a group, a comma',
  );
}

/** Fails at the mark that stands at `at`. */
export function failAt(diagram: Pick<Diagram, 'text'>, at: number, reason: string, advice: string): never {
  throw malformed(diagram.text, at, reason, advice);
}
