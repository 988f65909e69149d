import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isMillraceError } from '../../../../lib/errors.ts';
import { type Diagram, type DiagramUse, parseDiagram } from '../../../../lib/testing/marbles/diagram.ts';
import { printDiagram, printEvent, printGroup, printItem } from '../../../../lib/testing/marbles/print.ts';
import { failureOf } from './failure-of.ts';
import { anySketch } from './sketches.ts';

/** What happens when: `0 a@5`, `3 |`. */
function happenings({ marks }: Diagram): string[] {
  return marks.map(({ frame, kind, item }) => `${frame} ${item === null ? kind : printItem(item)}`);
}

describe('a marble diagram', () => {
  it.each([
    ['a dash is a frame', '--a@5-|', ['2 a@5', '6 complete']],
    ['an item takes as many frames as it has characters, and happens in the first', 'a@5|', ['0 a@5', '3 complete']],
    ['so that columns are frames', 'a@5--b@5.2-#', ['0 a@5', '5 b@5.2', '11 error']],
    ['blanks are none', '  a@5 b@5  -  |', ['0 a@5', '3 b@5', '7 complete']],
    ['a group happens in the frame of its first character', '-(a@5 b@6|)', ['1 a@5', '1 b@6', '1 complete']],
    ['and is as long as its characters', '(a@5,b@6)-|', ['0 a@5', '0 b@6', '10 complete']],
    ['commas separate too', '(a@5,b@6)', ['0 a@5', '0 b@6']],
    ['a delivery of several', '-[a@5,b@6]-|', ['1 [a@5,b@6]', '11 complete']],
    ['a delivery of one', '[a@5]-', ['0 [a@5]']],
    ['an empty delivery', '[]-[]', ['0 []', '3 []']],
    ['letters, one character each', 'ab(cd)-e', ['0 a', '1 b', '2 c', '2 d', '7 e']],
    ['a letter in a delivery', '[x,a@5]', ['0 [x,a@5]']],
    ['time between blanks', '- 10ms a 2s b 1m |', ['11 a', '2012 b', '62013 complete']],
    ['time at both ends', '3ms a 4ms', ['3 a']],
    ['blanks in a text are a part of it', 'a@5{note:"a b"}-|', ['0 a@5{note:"a b"}', '16 complete']],
    ['blanks between values are none', 'a@5{id:1, note:x}-|', ['0 a@5{id:1,note:x}', '17 complete']],
    ['acks', 'enqueued:a@5-flushed:[a@5,b@5]-flushed:x', ['0 enqueued:a@5', '13 flushed:[a@5,b@5]', '31 flushed:x']],
    ['resets', '--reset:a--reset:shop.b', ['2 reset:a', '11 reset:shop.b']],
    ['a session in front of an error', 'a@5#1.2#', ['0 a@5#1.2', '7 error']],
    ['digits that are no time', '1-2', ['0 1', '2 2']],
    ['names in any script', 'ärzte@5-été.日本@6-|', ['0 ärzte@5', '8 été.日本@6', '17 complete']],
    ['a table named as a kind of event, in quotes', '"ddl"@5-|', ['0 "ddl"@5', '8 complete']],
    ['nothing', '', []],
  ])('%s: %s', (_, text, expected) => {
    expect(happenings(parseDiagram(text))).toEqual(expected);
  });

  it.each<[string, DiagramUse, string[]]>([
    ['^--!', 'subscription', ['0 subscribe', '3 unsubscribe']],
    ['--(^!)', 'subscription', ['2 subscribe', '2 unsubscribe']],
    ['5ms ^', 'subscription', ['5 subscribe']],
    ['-a-^-b-|', 'hot', ['1 a', '3 subscribe', '5 b', '7 complete']],
  ])('%s as a %s', (text, use, expected) => {
    expect(happenings(parseDiagram(text, use))).toEqual(expected);
  });

  it.each<[text: string, caret: number, reason: RegExp, advice: RegExp, use?: DiagramUse]>([
    ['a@5-$-|', 4, /\$ means nothing/, /letters that values explain/],
    ['(a@5', 0, /group is never closed/, /Put \) behind/],
    ['a@5)', 3, /nothing was opened/, /Put \( in front/],
    ['-[a@5', 1, /delivery is never closed/, /Put \] behind/],
    ['a@5]', 3, /nothing was opened/, /Put \[ in front/],
    ['a@5,b@5', 3, /a comma separates/, /Put \( or \[/],
    ['((a@5))', 1, /group stands inside a group/, /one pair/],
    ['-()', 2, /group is empty/, /\[\]/],
    ['(a@5-b@5)', 4, /no time passes inside a group/, /Close the group/],
    ['(a 5ms b)', 3, /no time passes inside a group/, /Close the group/],
    ['[a@5-b@5]', 4, /holds events and nothing else/, /Close it with \]/],
    ['a@5b@5', 3, /too close/, /blank .* dash .* comma/],
    ['a@5[]', 3, /too close/, /blank/],
    ['ddl:a', 5, /ddl:a has no position/, /ddl:a@5/],
    ['sync:a-', 6, /sync:a has no position/, /sync:a@5/],
    ['shop.a-', 6, /a has no position/, /a@5/],
    ['a@', 2, /position is missing/, /a@5\.2\.\.4/],
    ['res@', 4, /position is missing/, /res@7/],
    ['res@5.2', 4, /commitTs alone/, /@5/],
    ['dll:a@5', 0, /no kind of event called dll/, /ddl, truncate, sync/],
    ['a@5..3', 3, /range begins with an ordinal/, /5\.0\.\./],
    ['a@5.4..2', 2, /runs backwards/, /5\.2\.\.4/],
    ['ddl:a@5.1..2', 6, /one position, not a range/, /ddl:a@5\.1/],
    ['a@6+5', 4, /position order/, /earlier position/],
    ['a@5.0..2{id:1}', 2, /3 rows have 1 contents/, /own braces/],
    ['a@5{id:1', 3, /never closed/, /Put \}/],
    ['a@5{id}', 6, /column id has no value/, /id:value/],
    ['a@5{:1}', 4, /column name is missing/, /column:value/],
    ['a@5{id:1,id:2}', 9, /column id is given twice/, /Leave one/],
    ['a@5{note:a b}', 11, /belongs to no value/, /JSON string/],
    ['a@5{note:"a}', 9, /quote is never closed/, /Put "/],
    ['a@5{note:"\\x"}', 9, /no JSON string/, /Escape/],
    ['a@18446744073709551616', 2, /64 bits/, /at most 18446744073709551615/],
    ['a@5.4294967296', 2, /at most 4294967295/, /smaller/],
    ['a@5-10ms-|', 4, /time stands between blanks/, /" 10ms "/],
    ['1.5ms a', 0, /frame is a millisecond/, /whole number/],
    ['a@5|-b@5', 5, /has ended before/, /behind \| or #/],
    ['a-!', 2, /! belongs to a subscription/, /expectSubscriptions/],
    ['a-^', 2, /\^ belongs to a hot stream/, /hotEvents/],
    ['^-a', 2, /belongs to no subscription/, /\^ where it begins/, 'subscription'],
    ['^-^', 2, /begins once/, /diagram of its own/, 'subscription'],
    ['^-a-^', 4, /\^ belongs to a hot stream, once/, /take it away/, 'hot'],
    ['@5', 0, /@ means nothing/, /events such as a@5/],
    ['{id:1}', 0, /belong to no row/, /users@5\{id:1\}/],
    ['reset:-', 6, /table name is missing/, /shop\.orders/],
    ['ddl@5', 0, /ddl is a kind of event/, /ddl:users@5.*"ddl"@5/],
    ['res:*@5', 4, /table name is missing/, /res@7 is of all tables/],
    ['"a b@5', 0, /quote is never closed/, /"two words"/],
    ['[a@5,[b@5]]', 5, /holds events and nothing else/, /Close it with \]/],
    ['acked:a@5', 0, /no kind of event called acked/, /enqueued, flushed/],
    ['a@5#1-|', 3, /session has an epoch and a seq/, /a@5#1\.4.*blank/],
    ['[a@5]#1.2', 5, /epoch and seq stand behind an event/, /each event of the delivery/],
    ['a@5#18446744073709551616.1', 4, /64 bits/, /at most 18446744073709551615/],
    ['ddl:a@5v18446744073709551616', 7, /64 bits/, /at most 18446744073709551615/],
    ['a@5{>}', 3, /no image/, /\{id:1>\}/],
    ['9007199254740992ms a', 0, /longer than a clock can tell/, /shorter/],
    ['!--^', 0, /let go before it begins/, /\^ in front/, 'subscription'],
  ])('%s is refused with a caret at %i, and what to do', (text, caret, reason, advice, use: DiagramUse = 'stream') => {
    const error = failureOf(() => parseDiagram(text, use));
    expect(error.code).toBe('MR_MARBLES_MALFORMED');
    expect(error.details['reason']).toMatch(reason);
    expect(error.details['advice']).toMatch(advice);
    expect(error.message).toContain(`\n    ${text}\n    ${' '.repeat(caret)}^\n`);
  });

  it('shows a diagram of several lines in one, so that the caret stands right', () => {
    expect(failureOf(() => parseDiagram('a@5\n$')).message).toContain('\n    a@5 $\n        ^\n');
  });

  it('is print of parse of itself when it is written canonically', () => {
    fc.assert(
      fc.property(canonicalDiagram(), (text) => {
        expect(printDiagram(parseDiagram(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('means the same when it is printed canonically, however it was written', () => {
    fc.assert(
      fc.property(looseDiagram(), (text) => {
        const diagram = parseDiagram(text);
        const printed = parseDiagram(printDiagram(diagram));
        expect(happenings(printed)).toEqual(happenings(diagram));
        expect(printed.frames).toBe(diagram.frames);
      }),
      { numRuns: 500 },
    );
  });

  it('is read or refused with a position, whatever it is, and nothing else', () => {
    const soup = fc.array(
      fc.constantFrom(...'ab@5.,-|#()[]{}:>^!? "1', 'ddl:', 'res', '..', '10ms', '#1.2', 'note:', 'enqueued:', 'reset:'),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(soup, (pieces) => {
        try {
          parseDiagram(pieces.join(''));
        } catch (error) {
          expect(isMillraceError(error, 'MR_MARBLES_MALFORMED')).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** Items in their canonical text. */
function item(): fc.Arbitrary<string> {
  const event = anySketch().map(printEvent);
  const delivery = fc.array(event, { maxLength: 3 }).map((events) => (events.length === 1 ? events[0]! : `[${events.join(',')}]`));
  return fc.oneof(
    fc.constantFrom('x', 'y', 'ä', '7', 'reset:a', 'enqueued:x'),
    event,
    delivery,
    delivery.map((text) => `flushed:${text}`),
  );
}

function canonicalDiagram(): fc.Arbitrary<string> {
  const gap = fc.oneof(
    fc.integer({ min: 1, max: 20 }).map((frames) => '-'.repeat(frames)),
    fc.integer({ min: 21, max: 100_000 }).map((ms) => ` ${ms}ms `),
  );
  const group = fc.array(item(), { minLength: 1, maxLength: 3 }).map(printGroup);
  return fc
    .record({
      lead: fc.option(gap, { nil: '' }),
      groups: fc.array(fc.tuple(group, gap), { maxLength: 5 }),
      end: fc.constantFrom('', '|', '#'),
    })
    .map(({ lead, groups, end }) => `${lead}${groups.flat().join('')}${end}`.trim());
}

/** The same meaning may be written in many ways: with blanks, in needless groups and brackets, in two runs instead of one. */
function looseDiagram(): fc.Arbitrary<string> {
  const loose = fc.oneof(
    item(),
    fc.constantFrom('[a@5]', '[ a@5 , b@6 ]', 'a@5+5.1', 'a@5.0', 'a@5{ id : 1 }', 'public.a@5', '"a"@5', 'ddl:a@5v5'),
  );
  const separator = fc.constantFrom(' ', '-', '  ', '--', ' - ', ' 30ms ', ' 3ms ');
  const group = fc.oneof(
    loose,
    fc.array(loose, { minLength: 1, maxLength: 3 }).map((items) => `( ${items.join(' , ')} )`),
  );
  return fc.array(fc.tuple(group, separator), { maxLength: 5 }).map((groups) => groups.flat().join(''));
}
