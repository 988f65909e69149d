import { isMillraceError, type MillraceError } from '../../../../lib/errors.ts';

/** The Millrace error that `act` throws. */
export function failureOf(act: () => unknown): MillraceError {
  try {
    act();
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error('nothing failed');
}
