import { type ErrorCode, isMillraceError } from '../../errors.ts';
import type { SystemEvents } from '../../flow/index.ts';
import type { StreamNames } from './stream-fate.ts';

/** Tells of an error that says that changes are lost to the stream; of others nothing. */
export function recordLoss(events: SystemEvents, { slot, publication }: StreamNames, error: unknown): void {
  if (!isMillraceError(error)) return;
  const { code, message } = error;
  if (SLOT_LOST.includes(code)) events.record('slot_lost', () => ({ slot, code, error: message }));
  else if (code === 'MR_PUBLICATION_GAP') events.record('publication_gap', () => ({ publication, error: message }));
}

const SLOT_LOST: readonly ErrorCode[] = ['MR_SLOT_GONE', 'MR_SLOT_INVALIDATED', 'MR_SLOT_ADVANCED'];
