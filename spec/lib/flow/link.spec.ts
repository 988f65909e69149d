import { describe, expect, it } from '@jest/globals';
import { Observable, of, Subject, take } from 'rxjs';
import { link } from '../../../lib/flow/index.ts';

const through = <T>(source: Observable<T>, next: (value: T) => void = () => {}) =>
  new Observable<T>((subscriber) => {
    link(source, subscriber, {
      next: (value) => {
        next(value);
        subscriber.next(value);
      },
    });
  });

describe('link', () => {
  it('passes on the end and the error of the source where no handler takes them', () => {
    const log: string[] = [];
    const failing = new Observable<number>((subscriber) => subscriber.error('broken'));
    for (const source of [of(1), failing]) {
      through(source).subscribe({
        next: (value) => log.push(`${value}`),
        error: (error) => log.push(`${error}`),
        complete: () => log.push('end'),
      });
    }
    expect(log).toEqual(['1', 'end', 'broken']);
  });

  it('stops a synchronous source within the emission that was enough', () => {
    let emitted = 0;
    const endless = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1000) subscriber.next(emitted++);
    });
    through(endless).pipe(take(2)).subscribe();
    expect(emitted).toBe(2);
  });

  it.each(['next', 'error', 'complete'] as const)(
    'makes what the %s handler throws the error of the stream, and lets the source go',
    (which) => {
      const source = new Subject<number>();
      const fail = () => {
        throw new Error(which);
      };
      const errors: unknown[] = [];
      new Observable<number>((subscriber) => link(source, subscriber, { next: () => {}, [which]: fail })).subscribe({
        error: (error) => errors.push(error),
      });
      if (which === 'next') source.next(1);
      if (which === 'error') source.error('broken');
      if (which === 'complete') source.complete();
      expect(errors).toEqual([new Error(which)]);
      expect(source.observed).toBe(false);
    },
  );
});
