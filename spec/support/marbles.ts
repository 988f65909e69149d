import { expect } from '@jest/globals';
import { map, type Observable } from 'rxjs';
import { type RunHelpers, TestScheduler } from 'rxjs/testing';
import type { Delivery } from '../../lib/events/index.ts';
import { type Context, clockOf, createContext } from '../../lib/flow/index.ts';
import { deliveryOf, show } from './notation.ts';

/** What a marble test has at hand: RxJS's helpers in virtual time, a context on the same clock, and deliveries in short notation. */
export interface Marbles extends RunHelpers {
  readonly context: Context;
  /** A cold source; each letter is a delivery in the notation of `notation.ts`, fresh for each subscription. */
  deliveries(marbles: string, letters?: Letters): Observable<Delivery>;
  /** Like `expectObservable`, comparing deliveries by their notation. */
  expectDeliveries(
    actual: Observable<Delivery>,
    subscription?: string,
  ): { toBe(marbles: string, letters?: Letters, error?: unknown): void };
}

/** What the letters of a diagram stand for; a letter that is not listed is a delivery without events. */
export type Letters = Readonly<Record<string, string>>;

/** Runs `body` in virtual time: a dash is a millisecond. */
export function marbles(body: (tools: Marbles) => void, parts: Partial<Context> = {}): void {
  const scheduler = new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
  scheduler.run((helpers) => {
    body({
      ...helpers,
      context: createContext({ clock: clockOf(scheduler), ...parts }),
      deliveries: (diagram, letters = {}) => helpers.cold(diagram, named(diagram, letters)).pipe(map((text) => deliveryOf(text))),
      expectDeliveries: (actual, subscription) => ({
        toBe: (diagram, letters = {}, error) =>
          helpers.expectObservable(actual.pipe(map(show)), subscription).toBe(diagram, canonical(named(diagram, letters)), error),
      }),
    });
  });
}

function named(diagram: string, letters: Letters): Record<string, string> {
  const found = diagram.replace(/\d+(?:ms|s|m)\b/g, '').match(/[a-zA-Z]/g) ?? [];
  return Object.fromEntries(found.map((letter) => [letter, letters[letter] ?? '']));
}

/** The one spelling that `show` has for each delivery. */
function canonical(letters: Letters): Letters {
  return Object.fromEntries(Object.entries(letters).map(([letter, text]) => [letter, show(deliveryOf(text))]));
}
