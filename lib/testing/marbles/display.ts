import { inspect, isDeepStrictEqual } from 'node:util';
import { isMillraceError } from '../../errors.ts';
import { Delivery } from '../../events/index.ts';
import { hasNotation, notationIfAny } from './item-maker.ts';

/** What is shown of a value: the notation of an event or a delivery, what `show` says, a plain value itself, or the letter that stood for it. */
export function textOf(value: unknown, letter: string | null, show: ((value: never) => string) | undefined): string {
  const notation = notationIfAny(value);
  if (notation !== null) return notation;
  if (show !== undefined) return inOneLine(show(value as never));
  if (typeof value === 'object' && value !== null) return letter ?? brief(value);
  return inOneLine(String(value));
}

/** Diagrams stand one above the other: a text that breaks its line is shown with escapes. */
export function inOneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => JSON.stringify(control).slice(1, -1));
}

/** Whether two values are equal in depth; events are when their notation is, and deliveries, but no event is a delivery. */
export function areEqual(one: unknown, other: unknown): boolean {
  if (hasNotation(one) && hasNotation(other))
    return one instanceof Delivery === other instanceof Delivery && notationIfAny(one) === notationIfAny(other);
  return isDeepStrictEqual(one, other);
}

/** Whether an error is the expected one: itself, its code, a pattern of its message, or one of the same name and message. */
export function isExpectedError(expected: unknown, actual: unknown): boolean {
  if (expected instanceof RegExp) return expected.test(hasMessage(actual) ? String(actual.message) : brief(actual));
  if (typeof actual === 'object' && actual !== null) {
    if ('code' in actual && actual.code === expected) return true;
    if (hasMessage(actual) && hasMessage(expected)) return actual.message === expected.message && nameOf(actual) === nameOf(expected);
  }
  return isDeepStrictEqual(expected, actual);
}

/** A value in one line. */
export function brief(value: unknown): string {
  return inOneLine(inspect(value, { depth: 3, breakLength: Number.POSITIVE_INFINITY, compact: true }));
}

/** What an error says, behind its name where that says more than `Error`. */
export function messageOf(error: unknown): string {
  if (!hasMessage(error)) return brief(error);
  const name = nameOf(error);
  return name === 'Error' || isMillraceError(error) ? String(error.message) : `${name}: ${error.message}`;
}

function hasMessage(error: unknown): error is { readonly message: unknown } {
  return typeof error === 'object' && error !== null && 'message' in error;
}

function nameOf(error: object): string {
  return 'name' in error ? String(error.name) : 'Error';
}
