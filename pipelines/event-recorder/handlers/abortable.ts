import { MillraceError } from '../../../lib/errors.ts';
import type { EventGroup } from '../event.ts';

/** Resolves as the work does, or rejects as soon as `signal` is aborted: then the work is not begun, or what it still does is its own business. */
export async function abortable<T>(signal: AbortSignal, begin: () => Promise<T>): Promise<T> {
  if (signal.aborted) throw givenUp();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(givenUp());
    signal.addEventListener('abort', stop, { once: true });
  });
  const work = begin();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
    work.catch(() => {});
  }
}

function givenUp(): MillraceError {
  return new MillraceError('MR_EVENT_CALL_GIVEN_UP');
}

/** A failure of a handler's target that may pass. */
export function targetFailed(handler: string, { table, type }: EventGroup, reason: string, cause: unknown): MillraceError {
  return new MillraceError('MR_EVENT_TARGET_FAILED', { handler, table, type, reason }, cause);
}
