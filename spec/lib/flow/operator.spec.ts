import { describe, expect, it } from '@jest/globals';
import { map, of, scan } from 'rxjs';
import { type Context, compose, createContext, operator } from '../../../lib/flow/index.ts';

const times = (factor: number) => operator<number, number>('times', { factor }, () => map((value) => value * factor));
const asText = operator<number, string>('asText', {}, () => map((value) => `${value}!`));

/** architecture §2, operators and context */
describe('operator', () => {
  it('is an RxJS operator that carries its name and plain options', () => {
    const out: number[] = [];
    const double = times(2);
    of(1, 2)
      .pipe(double)
      .subscribe((value) => out.push(value));
    expect(out).toEqual([2, 4]);
    expect([double.operatorName, double.options, double.parts]).toEqual(['times', { factor: 2 }, []]);
  });

  it('is a frozen value, and keeps no hold on the options it was given', () => {
    const options = { factor: 2 };
    const made = operator<number, number>('times', options, () => (source) => source);
    options.factor = 3;
    expect(made.options).toEqual({ factor: 2 });
    expect([Object.isFrozen(made), Object.isFrozen(made.options), Object.isFrozen(made.parts)]).toEqual([true, true, true]);
  });

  it('builds for each subscription, so that no state is shared', () => {
    const count = operator<number, number>('count', {}, () => scan((sum) => sum + 1, 0));
    const stream = of(7, 8).pipe(count);
    const out: number[] = [];
    for (let i = 0; i < 2; i++) stream.subscribe((value) => out.push(value));
    expect(out).toEqual([1, 2, 1, 2]);
  });

  it('has a context of its own for each bare subscription, and that of the run when bound', () => {
    const seen: Context[] = [];
    const spy = operator<number, number>('spy', {}, (context) => {
      seen.push(context);
      return (source) => source;
    });
    const context = createContext();
    const stream = of(1).pipe(spy);
    for (let i = 0; i < 2; i++) stream.subscribe();
    of(1).pipe(spy.withContext(context)).subscribe();
    expect(seen[0]).not.toBe(seen[1]);
    expect(seen[2]).toBe(context);
  });

  it('fails the stream, not the caller, when it cannot be built', () => {
    const broken = operator<number, number>('broken', {}, () => {
      throw new Error('no');
    });
    const errors: unknown[] = [];
    of(1)
      .pipe(broken)
      .subscribe({ error: (error) => errors.push(error) });
    expect(errors).toEqual([new Error('no')]);
  });
});

describe('compose', () => {
  it('is the operators one after another, typed from the first to the last', () => {
    const out: string[] = [];
    of(1, 2)
      .pipe(compose('both', times(3), asText))
      .subscribe((text) => out.push(text));
    expect(out).toEqual(['3!', '6!']);
  });

  it('names its parts, so that describe can show them', () => {
    const { operatorName, parts } = compose('both', times(3), asText);
    expect([operatorName, parts.map(({ operatorName: name, options }) => [name, options])]).toEqual([
      'both',
      [
        ['times', { factor: 3 }],
        ['asText', {}],
      ],
    ]);
  });

  it.each(['bound', 'bare'])('gives all of them one context: %s', (how) => {
    const seen: Context[] = [];
    const spy = () =>
      operator<number, number>('spy', {}, (context) => {
        seen.push(context);
        return (source) => source;
      });
    const context = createContext();
    const both = compose('outer', compose('inner', spy(), spy()), spy());
    of(1)
      .pipe(how === 'bound' ? both.withContext(context) : both)
      .subscribe();
    expect(new Set(seen).size).toBe(1);
    expect(seen.length).toBe(3);
    expect(seen[0] === context).toBe(how === 'bound');
  });
});
