import { Cron } from 'croner';
import { MillraceError, reasonOf } from '../../../lib/errors.ts';

/** When clean-up runs by default: at two in the morning (spec storage-sink §7.2). */
export const CLEAN_UP_SPEC = '0 0 2 * * *';

/** Throws MR_INVALID_OPTION for what is no cron spec of six fields, or one whose time never comes. */
export function checkCronSpec(option: string, spec: string): void {
  // Nearly every sink has it.
  if (spec === CLEAN_UP_SPEC) return;
  const bound = (reason: string) => `six fields: second minute hour day-of-month month day-of-week, such as "${CLEAN_UP_SPEC}" (${reason})`;
  let nextMs: number | null;
  try {
    nextMs = nextTime(spec, 0);
  } catch (error) {
    throw new MillraceError('MR_INVALID_OPTION', { option, value: `"${spec}"`, bound: bound(reasonOf(error)) }, error);
  }
  if (nextMs === null) throw new MillraceError('MR_INVALID_OPTION', { option, value: `"${spec}"`, bound: bound('that time never comes') });
}

/** The first time after `afterMs` that a cron spec names, in UTC, as the dates in paths are; null when there is none. */
export function nextTime(spec: string, afterMs: number): number | null {
  // Without a function it sets no timer: it only reckons.
  const cron = new Cron(spec, { mode: '6-part', timezone: 'UTC', paused: true });
  return cron.nextRun(new Date(afterMs))?.getTime() ?? null;
}
