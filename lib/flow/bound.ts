import { MillraceError } from '../errors.ts';

/**
 * Requires an option to be a number of `min` … `max`, whole unless `fraction`.
 *
 * @throws MR_INVALID_OPTION naming the option, the value and the bound.
 */
export function requireNumber(option: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER, fraction = false): number {
  if (
    typeof value === 'number' &&
    value >= min &&
    value <= max &&
    (fraction || Number.isInteger(value) || value === Number.POSITIVE_INFINITY)
  )
    return value;
  const range = max === Number.MAX_SAFE_INTEGER || max === Number.POSITIVE_INFINITY ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new MillraceError('MR_INVALID_OPTION', { option, value: String(value), bound: `a${fraction ? '' : ' whole'} number ${range}` });
}
