import { describe, expect, it } from '@jest/globals';
import { defer, from, map, Observable, take } from 'rxjs';
import type { Operator } from '../../lib/flow/index.ts';
import { createContext } from '../../lib/flow/index.ts';
import { eventMarbles } from './marbles.ts';

export interface LawOptions<In, Out> {
  readonly make: () => Operator<In, Out>;
  /** Fresh items, for which the operator emits something. */
  readonly items: () => In[];
  readonly show: (out: Out) => unknown;
}

/** What every operator keeps, whatever it does: the ends of its source are its own, it lets go when it is let go, and subscriptions share nothing. */
export function operatorLaws<In, Out>({ make, items, show }: LawOptions<In, Out>): void {
  const first = () => items()[0]!;

  describe('like every operator', () => {
    it.each([
      ['empty', '  |', '  |', '  (^!)'],
      ['never', '  -', '  -', '  ^'],
      ['an error', '---#', '---#', '^--!'],
    ])('passes on the end of its source: %s', (_, diagram, expected, subs) => {
      eventMarbles(({ cold, context, expectObservable, expectSubscriptions }) => {
        const source = cold<never>(diagram);
        expectObservable(source.pipe(make().withContext(context))).toBe(expected);
        expectSubscriptions(source.subscriptions).toBe(subs);
      });
    });

    it('unsubscribes its source when it is unsubscribed, and leaves no timer behind', () => {
      eventMarbles(({ cold, context, expectSubscriptions }) => {
        const source = cold('-a-a-a-', { a: first() });
        const subs = '       ^--!';
        const subscription = source.pipe(make().withContext(context)).subscribe();
        context.clock.after(3, () => subscription.unsubscribe());
        expectSubscriptions(source.subscriptions).toBe(subs);
      });
    });

    it('stops a synchronous source when its subscriber has enough', () => {
      let emitted = 0;
      const endless = new Observable<In>((subscriber) => {
        for (const item of items()) {
          if (!subscriber.closed) subscriber.next(item);
        }
        while (!subscriber.closed && emitted < 1000) {
          emitted++;
          subscriber.next(first());
        }
        subscriber.complete();
      });
      endless.pipe(make().withContext(createContext()), take(1)).subscribe();
      expect(emitted).toBeLessThan(1000);
    });

    it('shares no state between two subscriptions', () => {
      const operator = make();
      const source = defer(() => from(items()));
      const runs: unknown[][] = [[], []];
      for (const run of runs) source.pipe(operator.withContext(createContext()), map(show)).subscribe((value) => run.push(value));
      expect(runs[0]).not.toEqual([]);
      expect(runs[1]).toEqual(runs[0]);
    });

    it('works bare in a pipe, with a context of its own', () => {
      const out: unknown[] = [];
      from(items())
        .pipe(make(), map(show))
        .subscribe((value) => out.push(value));
      expect(out).not.toEqual([]);
    });

    it('is frozen, named plain data', () => {
      const operator = make();
      expect(Object.isFrozen(operator)).toBe(true);
      expect(operator.operatorName).not.toBe('');
      expect(structuredClone(operator.options)).toEqual(operator.options);
    });
  });
}
