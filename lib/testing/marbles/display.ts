import { inspect, isDeepStrictEqual } from 'node:util';
import { hasNotation, notationIfAny } from './item-maker.ts';

/** What is shown of a value: the notation of an event or a delivery, what `show` says, a plain value itself, or the letter that stood for it. */
export function textOf(value: unknown, letter: string | null, show: ((value: never) => string) | undefined): string {
  const notation = notationIfAny(value);
  if (notation !== null) return notation;
  if (show !== undefined) return show(value as never);
  if (typeof value === 'object' && value !== null) return letter ?? brief(value);
  return String(value);
}

/** Whether two values are equal in depth; events and deliveries are when their notation is. */
export function areEqual(one: unknown, other: unknown): boolean {
  if (hasNotation(one) && hasNotation(other)) return notationIfAny(one) === notationIfAny(other);
  return isDeepStrictEqual(one, other);
}

/** Whether an error is the expected one: itself, its code, a pattern of its message, or one of the same message. */
export function isExpectedError(expected: unknown, actual: unknown): boolean {
  if (expected instanceof RegExp) return expected.test(messageOf(actual));
  if (typeof actual === 'object' && actual !== null) {
    if ('code' in actual && actual.code === expected) return true;
    if ('message' in actual && typeof expected === 'object' && expected !== null && 'message' in expected)
      return actual.message === expected.message;
  }
  return isDeepStrictEqual(expected, actual);
}

/** A value in one line. */
export function brief(value: unknown): string {
  return inspect(value, { depth: 3, breakLength: Number.POSITIVE_INFINITY, compact: true });
}

export function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : brief(error);
}
