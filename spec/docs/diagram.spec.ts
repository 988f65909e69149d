import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseComment } from '../../docs/build/comment.ts';
import { diagramSvg } from '../../docs/build/diagram.ts';
import { textWidth } from '../../docs/build/drawables.ts';
import { legendSvg } from '../../docs/build/legend.ts';
import { elementOf } from '../../docs/build/notation.ts';
import type { Mark, RecordedStream } from '../../lib/testing/index.ts';

const next = (frame: number, text: string): Mark => ({ frame, kind: 'next', text });
const svgOf = (streams: readonly RecordedStream[], expression = 'op()') =>
  diagramSvg({ expression, title: 'a title', recording: { streams, frames: 0 } });

describe('a marble diagram', () => {
  it('keeps every label inside the picture and apart from the others, whatever was recorded', () => {
    fc.assert(
      fc.property(fc.array(streams, { minLength: 1, maxLength: 4 }), fc.string({ maxLength: 200, size: 'max' }), (recorded, expression) => {
        const svg = svgOf(recorded, expression);
        const [, width, height] = /<svg [^>]*width="([\d.]+)" height="([\d.]+)"/.exec(svg)!.map(Number);
        const labels = labelsOf(svg);
        const outside = labels.filter(({ left, right, top, bottom }) => left < 0 || right > width! || top < 0 || bottom > height!);
        const touching = labels.flatMap((a, i) => labels.slice(i + 1).flatMap((b) => (touch(a, b) ? [[a, b]] : [])));
        expect({ outside, touching }).toEqual({ outside: [], touching: [] });
      }),
      { numRuns: 100 },
    );
  });

  it('is 800 wide as long as that is enough, and wider rather than crowded', () => {
    const few = svgOf([{ role: 'source', label: 'source', marks: [next(0, 'a@5'), next(900, 'b@6')] }]);
    const many = svgOf([{ role: 'source', label: 'source', marks: Array.from({ length: 40 }, (_, i) => next(i, `table${i}@5`)) }]);
    expect(few).toContain('<svg xmlns="http://www.w3.org/2000/svg" width="800"');
    expect(Number(/width="(\d+)/.exec(many)![1])).toBeGreaterThan(2000);
  });

  it('is the same bytes for the same recording, because CI compares them', () => {
    expect(legendSvg()).toBe(legendSvg());
  });

  it('escapes what XML would take for markup', () => {
    const svg = svgOf([{ role: 'source', label: '<a&b>', marks: [next(0, 'users@5{note:"<&>"}'), next(3, '</svg>')] }], 'op<T>("&")');
    expect(svg.match(/<\/svg>/g)).toHaveLength(1);
    expect(svg.replace(/&(amp|lt|gt|quot);/g, '')).not.toContain('&');
  });

  it('says in words what it shows, and changes its colours with the reader’s scheme', () => {
    const svg = svgOf([{ role: 'source', label: 'source', marks: [next(0, 'a@5'), { frame: 3, kind: 'complete' }] }], 'lift()');
    expect(svg).toContain('<title>a title</title>');
    expect(svg).toContain('<desc>Marble diagram of lift(), times in milliseconds. source: a@5 at 0, complete at 3.</desc>');
    expect(svg).toContain('@media (prefers-color-scheme:dark)');
  });

  it('gives a table one colour in all streams', () => {
    const svg = svgOf([
      { role: 'source', label: 'source', marks: [next(0, 'a@5'), next(4, 'b@5')] },
      { role: 'output', label: 'output', marks: [next(4, 'b@5')] },
      { role: 'acks', label: 'acks', marks: [next(9, 'flushed:b@5')] },
    ]);
    expect(svg.match(/class="shape c\d[^"]*"/g)).toEqual([
      'class="shape c0"',
      'class="shape c1"',
      'class="shape c1"',
      'class="shape c1 full"',
    ]);
  });
});

describe('the notation of a mark', () => {
  it.each([
    ['a@5.2..4#1.2', { kind: 'event', type: 'rows', table: 'a', target: null, place: '@5.2..4', session: '#1.2', rows: [] }],
    ['shop.a>lake.b@5', { kind: 'event', type: 'rows', table: 'shop.a', target: 'lake.b', place: '@5', session: '', rows: [] }],
    ['ddl:a@5v7', { kind: 'event', type: 'ddl', table: 'a', target: null, place: '@5v7', session: '', rows: [] }],
    ['res@7', { kind: 'event', type: 'res', table: null, target: null, place: '@7', session: '', rows: [] }],
    ['marker:*', { kind: 'event', type: 'marker', table: null, target: null, place: '', session: '', rows: [] }],
    [
      'users@5{id:1,name:"x, y}"}',
      { kind: 'event', type: 'rows', table: 'users', target: null, place: '@5', session: '', rows: ['+ id:1, name:"x, y}"'] },
    ],
    [
      'a@5{id:1>id:2}{id:3>}',
      { kind: 'event', type: 'rows', table: 'a', target: null, place: '@5', session: '', rows: ['~ id:1', '→ id:2', '− id:3'] },
    ],
    ['a1 by size', { kind: 'value', text: 'a1 by size', table: 'a' }],
    ['[]', { kind: 'delivery', events: [] }],
  ])('%s is taken apart', (text, element) => {
    expect(elementOf(text)).toEqual(element);
  });

  it('holds the events of a delivery apart', () => {
    expect(elementOf('[a@5{id:1,note:x},res@5]')).toMatchObject({ kind: 'delivery', events: [{ type: 'rows' }, { type: 'res' }] });
  });
});

describe('a doc comment', () => {
  it('is read in its parts', () => {
    const comment = parseComment(
      [
        '/**',
        ' * Does',
        ' * it.',
        ' *',
        ' * In plain words: it.',
        ' *',
        ' * ![x](x.svg)',
        ' *',
        ' * More.',
        ' *',
        ' * @example',
        ' * With a caption:',
        ' * ```ts',
        ' * @x',
        ' * ```',
        ' * @see other',
        ' */',
      ].join('\n'),
    );
    expect(comment).toMatchObject({ summary: 'Does it.', plainWords: 'it.', prose: ['More.'], see: ['other'] });
    expect(comment.examples).toEqual([{ caption: 'With a caption:', code: '@x\n', line: 13 }]);
  });
});

const text = fc.oneof(
  fc.constantFrom(
    'a@5',
    'orders@12.3..4',
    'ddl:a@6v7',
    'truncate:b@7',
    'res@9',
    'res:a@9',
    'sync@9',
    'marker:*',
    'hello:a@5#1.1',
    '[]',
    '[a@5,res:a@6,ddl:b@7]',
  ),
  fc.constantFrom(
    'users@5{id:1,email:ann>id:1,email:bob}',
    'a1 a2 a3 a4 a5 a6 by size',
    'enqueued:a@5',
    'flushed:[a@5,b@5]',
    'reset:a',
    '漢字',
  ),
  fc.string({ minLength: 1, maxLength: 30 }),
);
const mark: fc.Arbitrary<Mark> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ frame: fc.nat(40), kind: fc.constant('next' as const), text }) },
  { weight: 1, arbitrary: fc.record({ frame: fc.nat(400), kind: fc.constantFrom('complete' as const, 'error' as const) }) },
);
const streams: fc.Arbitrary<RecordedStream> = fc.record({
  role: fc.constantFrom('source' as const, 'output' as const, 'acks' as const, 'resets' as const),
  label: fc.constantFrom('source', 'output', 'acks', 'a longer label'),
  marks: fc.array(mark, { maxLength: 10 }),
});

interface Label {
  readonly text: string;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

function labelsOf(svg: string): Label[] {
  return [...svg.matchAll(/<text(?: class="([^"]*)")? x="(-?[\d.]+)" y="(-?[\d.]+)">(.*?)<\/text>/gs)].map(
    ([, classes = '', x, y, markup = '']) => {
      const content = markup.replace(/<[^>]*>/g, '').replace(/&\w+;/g, '&');
      const size = classes.includes('small') ? 10.5 : classes.includes('name') ? 15 : 12;
      const width = textWidth(content, size);
      const left = classes.includes('left') ? Number(x) : classes.includes('right') ? Number(x) - width : Number(x) - width / 2;
      return { text: content, left, right: left + width, top: Number(y) - size * 0.75, bottom: Number(y) + size * 0.2 };
    },
  );
}

/** Rounding to a tenth is not touching. */
function touch(a: Label, b: Label): boolean {
  const slack = 0.2;
  return a.left < b.right - slack && b.left < a.right - slack && a.top < b.bottom - slack && b.top < a.bottom - slack;
}
