import type { Trace, TraceLine } from './trace.ts';

/** The end of a trace as a person reads it: the first fault, then the last lines, what repeats itself told once. */
export function timelineOf(trace: Trace, lastLines = 40): string {
  const blocks: Block[] = collapsed(trace.lines());
  const shown = blocks.slice(-lastLines);
  const width = Math.max(0, ...shown.flatMap((block) => block.lines.map((line) => line.who.length)));
  const text: string[] = [];
  const first = trace.firstFault;
  if (first !== null && !shown.some((block) => block.lines.includes(first))) {
    text.push(shownLine(first, width), '          …');
  } else if (trace.count > shown.reduce((sum, block) => sum + block.lines.length * block.times, 0)) {
    text.push('          …');
  }
  for (const { lines, times } of shown) {
    for (const line of lines) text.push(shownLine(line, width));
    if (times > 1) text.push(`          … the last ${lines.length === 1 ? 'line' : `${lines.length} lines`} ${times} times in all`);
  }
  return text.join('\n');
}

interface Block {
  readonly lines: readonly TraceLine[];
  readonly times: number;
}

/** Runs of a pattern of up to `PATTERN_MAX` lines that differ in their numbers only become one block. */
function collapsed(lines: readonly TraceLine[]): Block[] {
  const forms = lines.map(({ who, what }) => `${who}\0${what.replace(/\d+/g, '#')}`);
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    let size = 1;
    let times = 1;
    for (let pattern = 1; pattern <= PATTERN_MAX; pattern++) {
      const found = repeats(forms, at, pattern);
      if (found >= REPEATS_MIN && found * pattern > size * times) {
        size = pattern;
        times = found;
      }
    }
    blocks.push({ lines: lines.slice(at, at + size), times });
    at += size * times;
  }
  return blocks;
}

const PATTERN_MAX = 4;
const REPEATS_MIN = 3;

function repeats(forms: readonly string[], start: number, size: number): number {
  let at = start + size;
  while (at < forms.length && forms[at] === forms[at - size]) at++;
  return Math.floor((at - start) / size);
}

function shownLine({ ms, who, what, isFault }: TraceLine, width: number): string {
  return `${String(Math.round(ms * 1000) / 1000).padStart(9)} ${isFault ? '!' : ' '} ${who.padEnd(width)}  ${what}`;
}
