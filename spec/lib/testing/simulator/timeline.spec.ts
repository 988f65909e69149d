import { describe, expect, it } from '@jest/globals';
import { Trace, timelineOf } from '../../../../lib/testing/index.ts';

function traceOf(...lines: (readonly [ms: number, who: string, what: string, isFault?: boolean])[]): Trace {
  const trace = new Trace();
  for (const [ms, who, what, isFault = false] of lines) trace.add({ ms, who, what, isFault });
  return trace;
}

const shown = (trace: Trace, lines?: number) => `\n${timelineOf(trace, lines)}\n`;

describe('timelineOf', () => {
  it('shows when, who and what, in columns, faults marked', () => {
    expect(shown(traceOf([1, 'a', 'starts'], [20.5, 'disk', 'is full', true]))).toBe(`
        1   a     starts
     20.5 ! disk  is full
`);
  });

  it('tells a line that repeats itself once, its numbers aside', () => {
    const lines = Array.from({ length: 100 }, (_, i) => [i, 'a', `writes ${i}`] as const);
    expect(shown(traceOf(...lines, [100, 'a', 'ends']))).toBe(`
        0   a  writes 0
          … the last line 100 times in all
      100   a  ends
`);
  });

  it('tells a pattern that repeats itself once', () => {
    const lines = Array.from({ length: 60 }, (_, i) => [i, i % 3 === 0 ? 'b' : 'a', `does ${['one', 'two', 'three'][i % 3]}`] as const);
    expect(shown(traceOf(...lines))).toBe(`
        0   b  does one
        1   a  does two
        2   a  does three
          … the last 3 lines 20 times in all
`);
  });

  it('shows the last lines, and the first fault before them', () => {
    const words = 'abcdefghijklmnop'.split('');
    const lines = words.map((word, i) => [i, 'x', word, word === 'b' || word === 'o'] as const);
    expect(shown(traceOf(...lines), 3)).toBe(`
        1 ! x  b
          …
       13   x  n
       14 ! x  o
       15   x  p
`);
    expect(shown(traceOf(...lines.map(([ms, who, what]) => [ms, who, what] as const)), 1)).toBe(`
          …
       15   x  p
`);
  });
});

describe('Trace', () => {
  it('has another hash for another time, actor, text or order', () => {
    const line = [1, 'a', 'x'] as const;
    const traces = [
      traceOf(),
      traceOf(line),
      traceOf(line, line),
      traceOf([2, 'a', 'x']),
      traceOf([1, 'b', 'x']),
      traceOf([1, 'a', 'y']),
      traceOf([1, '', 'ax']),
      traceOf(line, [1, 'a', 'y']),
      traceOf([1, 'a', 'y'], line),
    ];
    expect(new Set(traces.map(({ hash }) => hash)).size).toBe(traces.length);
    expect(traceOf(line).hash).toBe(traceOf(line).hash);
    expect(traceOf().hash).toMatch(/^[0-9a-f]{16}$/);
  });

  it('keeps the last lines only, and counts and hashes all', () => {
    const trace = new Trace();
    for (let ms = 0; ms < 10_000; ms++) trace.add({ ms, who: 'a', what: 'x', isFault: ms === 5 });
    expect([trace.count, trace.lines().length, trace.firstFault?.ms]).toEqual([10_000, 4096, 5]);
    expect(trace.lines(2).map(({ ms }) => ms)).toEqual([9998, 9999]);
  });
});
