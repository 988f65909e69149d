import { MillraceError } from '../../lib/errors.ts';
import { formatBytes, parseBytes } from '../../lib/units.ts';

/** How one option is read, whether it comes as a member or as text in the URI. */
export interface Option<T> {
  /** The key in the options object; `csv.` before it for one of the csv format. */
  readonly member: string;
  /** Whether an empty text in the URI is a value. Default true. */
  readonly isSetByEmpty?: boolean;
  parse(name: string, value: unknown, note: (text: string) => void): T;
  show?(value: T): string;
}

export function choice(member: string, allowed: readonly string[], byDefault: string | null): Option<string> {
  return {
    member,
    parse: (name, value) => {
      const chosen = value ?? byDefault;
      if (typeof chosen !== 'string' || !allowed.includes(chosen)) throw invalid(name, chosen ?? 'missing', `one of ${allowed.join(', ')}`);
      return chosen;
    },
  };
}

export function text(member: string, byDefault: string, mustHaveLength = false): Option<string> {
  return {
    member,
    parse: (name, value) => {
      const chosen = value ?? byDefault;
      if (typeof chosen !== 'string') throw invalid(name, chosen, 'text');
      if (mustHaveLength && chosen === '') throw invalid(name, chosen, 'at least one character');
      return chosen;
    },
  };
}

/** Bytes, more than none (spec storage-sink §7.1). */
export function size(member: string, byDefault: string): Option<number> {
  return {
    member,
    isSetByEmpty: false,
    parse: (name, value) => {
      const bytes = signed(quantity(value, byDefault), (given) => parseBytes(given, name));
      if (bytes <= 0) throw invalid(name, value, 'greater than 0');
      return bytes;
    },
    show: formatBytes,
  };
}

export function flag(member: string, byDefault: boolean): Option<boolean> {
  return {
    member,
    parse: (name, value) => {
      const chosen = value ?? byDefault;
      if (chosen === true || chosen === 'true') return true;
      if (chosen === false || chosen === 'false') return false;
      throw invalid(name, chosen, 'true or false');
    },
  };
}

export function integer(name: string, value: unknown, byDefault: number): number {
  const chosen = value ?? byDefault;
  const number = typeof chosen === 'string' && /^-?\d+$/.test(chosen) ? Number(chosen) : chosen;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw invalid(name, chosen, 'a whole number');
  return number;
}

/** What `parseBytes` and `parseDurationMs` take; empty text counts as not given (spec storage-sink §7.1). */
export function quantity(value: unknown, byDefault: string): string | number {
  if (value === undefined || value === '') return byDefault;
  return typeof value === 'number' ? value : String(value);
}

/** A quantity that may be below zero, because its bounds have a word to say to that too; 0 needs no unit (spec storage-sink §7.1). */
export function signed(given: string | number, parse: (given: string | number) => number): number {
  if (typeof given === 'number') return given < 0 ? -parse(-given) : parse(given);
  const [, minus, digits] = /^\s*(-?)(\d.*)$/s.exec(given) ?? [];
  if (digits === undefined) return parse(given);
  const size = /^0\s*$/.test(digits) ? 0 : parse(digits);
  return minus === '' ? size : -size;
}

export function clamp(
  name: string,
  value: number,
  min: number,
  max: number,
  show: (value: number) => string,
  note: (text: string) => void,
): number {
  const clamped = Math.min(Math.max(value, min), max);
  if (clamped !== value) note(`${name} is ${show(value)}, outside ${show(min)} to ${show(max)}: ${show(clamped)} is used`);
  return clamped;
}

export function invalid(option: string, value: unknown, bound: string): MillraceError {
  return new MillraceError('MR_INVALID_OPTION', { option, value: value === '' ? '""' : String(value), bound });
}
