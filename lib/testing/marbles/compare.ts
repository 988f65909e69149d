import { MillraceError } from '../../errors.ts';
import { printGroup, SIGN_OF } from './print.ts';
import type { Mark } from './recording.ts';

/** What was expected at a frame: `matches` decides, the mark is what a failed comparison shows. */
export interface Expectation {
  readonly mark: Mark;
  readonly matches: (actual: Happening) => boolean;
}

/** What happened at a frame; `value` is what was emitted, or the error. */
export interface Happening {
  readonly mark: Mark;
  readonly value: unknown;
}

/**
 * Compares what was expected with what happened, in order.
 *
 * @param what is compared: `the stream`, `the acks`.
 * @throws MR_MARBLES_DIFFER with both diagrams, aligned by frame, and a caret under the first difference.
 */
export function compare(what: string, expected: readonly Expectation[], actual: readonly Happening[], explain: Explain = () => null): void {
  const index = firstDifference(expected, actual);
  if (index === null) return;
  const reason = explain(expected[index], actual[index]) ?? sentence(what, expected[index]?.mark, actual[index]?.mark);
  const diagrams = align(
    expected.map(({ mark }) => mark),
    actual.map(({ mark }) => mark),
    index,
  );
  throw new MillraceError('MR_MARBLES_DIFFER', {
    reason,
    advice: `${actual.length === 0 ? SILENCE : ''}Correct the code or the diagram; both stand here, with a caret under the first difference`,
    diagrams,
  });
}

const SILENCE = 'When nothing at all happens, perhaps something waits for a promise, which frames do not carry: use virtualTime. ';

/** Says more of a difference than the marks do; null when there is nothing more to say. */
export type Explain = (expected: Expectation | undefined, actual: Happening | undefined) => string | null;

function firstDifference(expected: readonly Expectation[], actual: readonly Happening[]): number | null {
  for (let i = 0; i < Math.max(expected.length, actual.length); i++) {
    const want = expected[i];
    const got = actual[i];
    if (want === undefined || got === undefined) return i;
    if (want.mark.frame !== got.mark.frame || want.mark.kind !== got.mark.kind || !want.matches(got)) return i;
  }
  return null;
}

function sentence(what: string, expected: Mark | undefined, actual: Mark | undefined): string {
  if (expected === undefined) return `${what} had ${wordOf(actual!)} at frame ${actual!.frame}, and nothing more was expected`;
  const wanted = wordOf(expected);
  if (actual === undefined) return `${what} had nothing more, and ${wanted} was expected at frame ${expected.frame}`;
  const got = wordOf(actual);
  if (expected.frame === actual.frame) {
    return got === wanted
      ? `${what} had another ${got} at frame ${actual.frame} than was expected`
      : `${what} had ${got} at frame ${actual.frame}, and ${wanted} was expected`;
  }
  if (got === wanted) return `${what} had ${got} at frame ${actual.frame}, and it was expected at frame ${expected.frame}`;
  return expected.frame < actual.frame
    ? `${what} had nothing at frame ${expected.frame}, and ${wanted} was expected`
    : `${what} had ${got} at frame ${actual.frame}, and nothing was expected before frame ${expected.frame}`;
}

const WORDS = { complete: 'its end', error: 'an error', subscribe: 'a subscription', unsubscribe: 'an unsubscription' } as const;

function wordOf(mark: Mark): string {
  return mark.kind === 'next' ? mark.text : WORDS[mark.kind];
}

/**
 * Both diagrams, one above the other: what happens at one frame begins in one column, and a column is a frame as far as the texts leave room. Where they do
 * not, blanks make room, which are no frames; a long time is written as one.
 */
export function align(expected: readonly Mark[], actual: readonly Mark[], difference: number): string {
  const rows = [cellsOf(expected), cellsOf(actual)] as const;
  const columns = columnsOf(rows);
  const frame = Math.min(expected[difference]?.frame ?? Number.POSITIVE_INFINITY, actual[difference]?.frame ?? Number.POSITIVE_INFINITY);
  const caretAt = (columns.get(frame) ?? 0) + Math.max(...rows.map((cells) => offsetOf(cells, frame, difference)));
  const [first, second] = rows.map((cells) => draw(cells, columns)) as [string, string];
  return `\n\n    expected  ${first}\n    actual    ${second}\n    ${' '.repeat(10 + caretAt)}^\n`;
}

/** What a row shows at one frame. */
interface Cell {
  readonly frame: number;
  readonly text: string;
  readonly marks: readonly string[];
  /** The index of its first mark. */
  readonly first: number;
}

function cellsOf(marks: readonly Mark[]): Cell[] {
  const frames = [...new Set(marks.map(({ frame }) => frame))];
  return frames.map((frame) => {
    const texts = marks.filter((mark) => mark.frame === frame).map((mark) => (mark.kind === 'next' ? mark.text : SIGN_OF[mark.kind]));
    return { frame, text: printGroup(texts), marks: texts, first: marks.findIndex((mark) => mark.frame === frame) };
  });
}

const DASHES_MAX = 20;

/** The column of each frame at which something happens in either row. */
function columnsOf(rows: readonly (readonly Cell[])[]): Map<number, number> {
  const columns = new Map<number, number>();
  const ends = rows.map(() => ({ column: 0, frame: 0 }));
  let least = 0;
  for (const frame of [...new Set(rows.flat().map((cell) => cell.frame))].sort((a, b) => a - b)) {
    const here = rows.flatMap((cells, row) => cells.filter((cell) => cell.frame === frame).map((cell) => ({ cell, end: ends[row]! })));
    const column = Math.max(least, ...here.map(({ end }) => end.column + roomOf(frame - end.frame)));
    for (const { cell, end } of here) {
      end.column = column + cell.text.length;
      end.frame = frame + cell.text.length;
    }
    columns.set(frame, column);
    least = column + 1;
  }
  return columns;
}

/** At least a blank stands between two that overlap. */
function roomOf(frames: number): number {
  if (frames < 0) return 1;
  return frames > DASHES_MAX ? ` ${frames}ms `.length : frames;
}

function draw(cells: readonly Cell[], columns: ReadonlyMap<number, number>): string {
  let text = '';
  let at = 0;
  for (const cell of cells) {
    const width = columns.get(cell.frame)! - text.length;
    const frames = Math.max(0, cell.frame - at);
    const isDashed = frames <= DASHES_MAX || frames === width;
    text += (isDashed ? '-'.repeat(frames) : ` ${frames}ms `).padEnd(width) + cell.text;
    at = cell.frame + cell.text.length;
  }
  return text;
}

/** Where mark `index` stands in what a row shows at `frame`; 0 when it is not there. */
function offsetOf(cells: readonly Cell[], frame: number, index: number): number {
  const cell = cells.find((candidate) => candidate.frame === frame);
  if (cell === undefined || cell.marks.length === 1 || index < cell.first || index >= cell.first + cell.marks.length) return 0;
  const upTo = cell.marks.slice(0, index - cell.first + 1);
  return upTo.length === 1 ? 1 : printGroup(upTo).length - 1 - upTo.at(-1)!.length;
}
