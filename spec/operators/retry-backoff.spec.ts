import { describe, expect, it } from '@jest/globals';
import { defer, type Observable, of, throwError } from 'rxjs';
import { seededRandom } from '../../lib/testing/random.ts';
import { type RetryOptions, retryBackoff } from '../../operators/index.ts';
import { eventMarbles } from '../support/marbles.ts';
import { operatorLaws } from '../support/operator-laws.ts';

describe('retryBackoff', () => {
  it('subscribes to the source again when it fails, after a delay that grows', () => {
    eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
      const source = cold('---#');
      const subs = ['      ^--!', '-----^--!', '------------^--!'];
      const expected = '   ---------------#';
      expectObservable(source.pipe(retryBackoff({ base: 2, factor: 2, retries: 2 }).withContext(context))).toBe(expected);
      expectSubscriptions(source.subscriptions).toBe(subs);
    });
  });

  it.each<[string, string, RetryOptions, string, string[]]>([
    //                         source    options                                      emits                    subscriptions
    ['waits longer each time', '#', { base: 2, retries: 3 }, '2ms 4ms 8ms #', ['(^!)', '--(^!)', '6ms (^!)', '14ms (^!)']],
    ['by the factor it is given', '#', { base: 2, factor: 3, retries: 2 }, '2ms 6ms #', ['(^!)', '--(^!)', '8ms (^!)']],
    ['no longer than the cap', '#', { base: 2, cap: 3, retries: 3 }, '2ms 3ms 3ms #', ['(^!)', '--(^!)', '5ms (^!)', '8ms (^!)']],
    ['counting from the failure', '--#', { base: 3, retries: 1 }, '2ms 3ms 2ms #', ['^-!', '5ms ^-!']],
    ['no later than the deadline', '#', { base: 2, deadline: 6 }, '2ms 4ms #', ['(^!)', '--(^!)', '6ms (^!)']],
    ['not at all where that is behind it', '#', { base: 2, deadline: 5 }, '2ms #', ['(^!)', '--(^!)']],
    ['a deadline that runs from the first failure', '---#', { base: 2, deadline: 2 }, '8ms #', ['^--!', '-----^--!']],
    ['and gives up with the last error', '#', { base: 2, retries: 0 }, '#', ['(^!)']],
  ])('subscribes again, and waits: %s', (_, diagram, options, expected, subs) => {
    eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
      const source = cold<never>(diagram);
      expectObservable(source.pipe(retryBackoff<never>(options).withContext(context))).toBe(expected);
      expectSubscriptions(source.subscriptions).toBe(subs);
    });
  });

  it('starts anew after a value, because what worked for a while is not failing in a row', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const attempts: Observable<string>[] = [cold('#'), cold('-a-#'), cold('#'), cold('-b-|')];
      let attempt = 0;
      const source = defer(() => attempts[attempt++]!);
      //                   fails, 2 ms,  a,  fails, 2 ms, fails, 4 ms, b
      const expected = '   2ms -a- 2ms 4ms -b-|';
      expectObservable(source.pipe(retryBackoff<string>({ base: 2, retries: 2 }).withContext(context))).toBe(expected);
    });
  });

  it('begins its deadline anew after a value', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const attempts: Observable<string>[] = [cold('#'), cold('-a-#'), cold('#'), cold('-b-|')];
      let attempt = 0;
      const source = defer(() => attempts[attempt++]!);
      expectObservable(source.pipe(retryBackoff<string>({ base: 2, deadline: 6 }).withContext(context))).toBe('2ms -a- 2ms 4ms -b-|');
    });
  });

  it('counts its deadline from a failure that came before, until there is a value', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const attempts: Observable<string>[] = [cold('-#'), cold('-#')];
      let attempt = 0;
      const source = defer(() => attempts[attempt++]!);
      //                fails, 2 ms, fails; the next retry would begin 8 ms behind what came before, 2 ms ago
      const late = source.pipe(retryBackoff<string>({ base: 2, deadline: 7, failingSinceMs: 0 }).withContext(context));
      expectObservable(late).toBe('- 2ms -#');
    });
  });

  it('does not retry what is not worth it', () => {
    eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
      const source = cold<never>('-#', {}, 'fatal');
      expectObservable(source.pipe(retryBackoff<never>({ base: 2, retryable: (error) => error !== 'fatal' }).withContext(context))).toBe(
        '-#',
        {},
        'fatal',
      );
      expectSubscriptions(source.subscriptions).toBe('^!');
    });
  });

  it('takes a random part of the delay with full jitter', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const parts = [0.5, 0.25];
      const options: RetryOptions = { base: 4, retries: 2, jitter: 'full' };
      const clock = { ...context.clock, random: () => parts.shift()! };
      expectObservable(cold<never>('#').pipe(retryBackoff<never>(options).withContext({ ...context, clock }))).toBe('2ms 2ms #');
    });
  });

  it('stays between nothing and the delay, whatever is drawn', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      const options: RetryOptions = { base: 4, factor: 1, retries: 50, jitter: 'full' };
      const clock = { ...context.clock, random: seededRandom(7) };
      let failedAt = -1;
      cold<never>('#')
        .pipe(retryBackoff<never>(options).withContext({ ...context, clock }))
        .subscribe({ error: () => (failedAt = context.clock.now()) });
      context.clock.after(201, () => expect(failedAt).toBeGreaterThan(0));
      expectObservable(of(0)).toBe('(a|)', { a: 0 });
    });
  });

  it('cancels the retry when it is unsubscribed while it waits', () => {
    eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
      const source = cold<never>('#');
      const unsub = '             -!';
      expectObservable(source.pipe(retryBackoff<never>({ base: 2 }).withContext(context)), unsub).toBe('--');
      expectSubscriptions(source.subscriptions).toBe('(^!)');
    });
  });

  it('passes what is emitted, failure after failure', () => {
    eventMarbles(({ cold, context, expectObservable }) => {
      expectObservable(cold('ab#').pipe(retryBackoff<string>({ base: 1 }).withContext(context)), '------!').toBe('ab-ab-');
    });
  });

  it('builds no stack over many failures', () => {
    eventMarbles(({ context, expectObservable }) => {
      const source = throwError(() => 'broken');
      expectObservable(source.pipe(retryBackoff<never>({ base: 1, factor: 1, retries: 5000 }).withContext(context))).toBe(
        '5000ms #',
        {},
        'broken',
      );
    });
  });

  it.each<[string, RetryOptions]>([
    ['base', { base: 0 }],
    ['factor', { factor: 0.5 }],
    ['cap', { base: 100, cap: 99 }],
    ['retries', { retries: -1 }],
    ['retries', { retries: 1.5 }],
    ['deadline', { deadline: -1 }],
    ['failingSinceMs', { failingSinceMs: -1 }],
    ['jitter', { jitter: 'some' as 'full' }],
    ['retryable', { retryable: true as unknown as () => boolean }],
  ])('refuses %s out of bounds at once: %j', (option, options) => {
    expect(() => retryBackoff(options)).toThrow(new RegExp(`MR_INVALID_OPTION: option ${option} `));
  });

  operatorLaws({ make: () => retryBackoff<number>({ retries: 0 }), items: () => [1, 2], show: (value) => value });
});
