import { describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import { deliveryOf, dispatcherNamed, type EventMarbles, eventMarbles } from '../../../../lib/testing/index.ts';
import { failureOf } from './failure-of.ts';

describe('a comparison of marbles that fails', () => {
  it.each<[string, (tools: EventMarbles) => void, string, string]>([
    [
      'another event',
      ({ events, expectEvents }) => expectEvents(events('a@5--b@5-|')).toBe('a@5--c@5-|'),
      'the output had b@5 at frame 5, and c@5 was expected',
      `
    expected  a@5--c@5-|
    actual    a@5--b@5-|
                   ^
`,
    ],
    [
      'the right one at another time',
      ({ events, expectEvents }) => expectEvents(events('a@5--b@5-|')).toBe('a@5-b@5--|'),
      'the output had b@5 at frame 5, and it was expected at frame 4',
      `
    expected  a@5-b@5--|
    actual    a@5--b@5-|
                  ^
`,
    ],
    [
      'one too few',
      ({ events, expectEvents }) => expectEvents(events('a@5-')).toBe('a@5--|'),
      'the output had nothing more, and its end was expected at frame 5',
      `
    expected  a@5--|
    actual    a@5
                   ^
`,
    ],
    [
      'one too many',
      ({ events, expectEvents }) => expectEvents(events('a@5-|')).toBe('a@5'),
      'the output had its end at frame 4, and nothing more was expected',
      `
    expected  a@5
    actual    a@5-|
                  ^
`,
    ],
    [
      'nothing where something was expected',
      ({ events, expectEvents }) => expectEvents(events('a@5-----|')).toBe('a@5-b@5-|'),
      'the output had nothing at frame 4, and b@5 was expected',
      `
    expected  a@5-b@5-|
    actual    a@5-----|
                  ^
`,
    ],
    [
      'something where nothing was expected',
      ({ events, expectEvents }) => expectEvents(events('a@5-b@5-|')).toBe('a@5-----|'),
      'the output had b@5 at frame 4, and nothing was expected before frame 8',
      `
    expected  a@5-----|
    actual    a@5-b@5-|
                  ^
`,
    ],
    [
      'a difference inside a group',
      ({ events, expectEvents }) => expectEvents(events('--(a@5,b@5,c@5)-|')).toBe('--(a@5,b@6,c@5)-|'),
      'the output had b@5 at frame 2, and b@6 was expected',
      `
    expected  --(a@5,b@6,c@5)-|
    actual    --(a@5,b@5,c@5)-|
                     ^
`,
    ],
    [
      'texts longer than their frames, which blanks make room for',
      ({ events, expectEvents }) => expectEvents(events('xy-|', { x: '[a@5,b@5]', y: 'a@6' })).toBe('xy-|', { x: '[a@5,b@5]', y: 'b@6' }),
      'the output had a@6 at frame 1, and b@6 was expected',
      `
    expected  [a@5,b@5] b@6 |
    actual    [a@5,b@5] a@6 |
                        ^
`,
    ],
    [
      'a long time',
      ({ events, expectEvents }) => expectEvents(events('a@5 60s b@5|')).toBe('a@5 60s c@5|'),
      'the output had b@5 at frame 60003, and c@5 was expected',
      `
    expected  a@5 60000ms c@5|
    actual    a@5 60000ms b@5|
                          ^
`,
    ],
    [
      'values that have no notation, by their letters',
      ({ cold, expectObservable }) => expectObservable(cold('a-b', { a: { n: 1 }, b: { n: 2 } })).toBe('x-y', { x: { n: 1 }, y: { n: 3 } }),
      'the output had { n: 2 } at frame 2, and y was expected',
      `
    expected  x-y
    actual    x-{ n: 2 }
                ^
`,
    ],
    [
      'an error that nobody expected',
      ({ cold, expectObservable }) => expectObservable(cold('a-#', {}, new Error('broken')).pipe(map(() => 'a'))).toBe('a-|'),
      'the output failed at frame 2 with broken',
      `
    expected  a-|
    actual    a-#
                ^
`,
    ],
    [
      'another error',
      ({ cold, expectObservable }) => expectObservable(cold('#', {}, new Error('broken'))).toBe('#'),
      "the output failed with broken, and 'error' was expected (give the error, its code, or a pattern of its message as the last argument)",
      `
    expected  #
    actual    #
              ^
`,
    ],
    [
      'an error of the same message that is another',
      ({ cold, expectObservable }) => expectObservable(cold('#', {}, new TypeError('no'))).toBe('#', {}, new RangeError('no')),
      'the output failed with TypeError: no, and RangeError: no was expected (give the error, its code, or a pattern of its message as the last argument)',
      `
    expected  #
    actual    #
              ^
`,
    ],
    [
      'a text of several lines in one',
      ({ cold, expectObservable }) => expectObservable(cold('x|', { x: 'a\nb' })).toBe('x|', { x: 'a\nc' }),
      'the output had a\\nb at frame 0, and a\\nc was expected',
      `
    expected  a\\nc |
    actual    a\\nb |
              ^
`,
    ],
    [
      'an event where a delivery of it was expected',
      ({ cold, expectObservable }) => expectObservable(cold('-a@5')).toBe('-x', { x: deliveryOf('a@5') }),
      'the output had an event a@5 at frame 1, and a delivery of it was expected',
      `
    expected  -a@5
    actual    -a@5
               ^
`,
    ],
    [
      'acks',
      ({ events, expectAcks }) => {
        const source = events('a@5');
        source.subscribe(({ ack }) => ack.postEnqueue());
        expectAcks(source).toBe('flushed:a@5');
      },
      'the acks had enqueued:a@5 at frame 0, and flushed:a@5 was expected',
      `
    expected  flushed:a@5
    actual    enqueued:a@5
              ^
`,
    ],
    [
      'the reason of a reset',
      ({ context, expectResets }) => {
        context.sessions.requestReset(dispatcherNamed('a'), 'seq 3 after 1');
        expectResets().toBe('reset:a', [/handshake/]);
      },
      'a reset was asked for because of "seq 3 after 1", and the reason should be /handshake/',
      `
    expected  reset:a
    actual    reset:a
              ^
`,
    ],
    [
      'a subscription',
      ({ cold, expectObservable, expectSubscriptions }) => {
        const source = cold('--|');
        expectObservable(source).toBe('--|');
        expectSubscriptions(source.subscriptions).toBe('^--!');
      },
      'the subscription had an unsubscription at frame 2, and it was expected at frame 3',
      `
    expected  ^--!
    actual    ^-!
                ^
`,
    ],
    [
      'a subscription too many',
      ({ cold, expectSubscriptions }) => {
        const source = cold('');
        source.subscribe();
        expectSubscriptions(source.subscriptions).toBe([]);
      },
      'the subscription had a subscription at frame 0, and nothing more was expected',
      `
    expected  ${''}
    actual    ^
              ^
`,
    ],
  ])('shows %s', (_, body, reason, diagrams) => {
    const error = failureOf(() => eventMarbles(body));
    expect([error.code, error.details['reason'], error.details['diagrams']]).toEqual(['MR_MARBLES_DIFFER', reason, `\n${diagrams}`]);
  });

  it('points at the line that expected it', () => {
    const error = failureOf(() => eventMarbles(({ cold, expectObservable }) => expectObservable(cold('a')).toBe('b')));
    expect(error.stack?.split('\n').find((line) => /^\s+at /.test(line))).toContain('compare.spec');
  });

  it('shows rows that differ in a value only', () => {
    const body = ({ events, expectEvents }: EventMarbles) =>
      expectEvents(events('users@5{id:1,note:ann}-|')).toBe('users@5{id:1,note:bob}-|');
    expect(failureOf(() => eventMarbles(body)).message).toContain(
      'had users@5{id:1,note:ann} at frame 0, and users@5{id:1,note:bob} was expected',
    );
  });
});
