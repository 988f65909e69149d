import { MillraceError } from '../../lib/errors.ts';
import { parseDurationMs } from '../../lib/units.ts';
import type { EventHints } from './event.ts';

/** How tables of events are to be kept (C3). */
export interface HintOptions extends TypeHintOptions {
  /** Other hints for events of one type; what is left out is as for all. */
  readonly types?: Readonly<Record<string, TypeHintOptions>>;
}

export interface TypeHintOptions {
  /** How long rows are kept, from `1s` on; null for ever. Default `90d`. */
  readonly ttl?: string | null;
  /** False: of rows of equal tags and timestamp only the last is kept. Default true. */
  readonly appendMode?: boolean;
  /** The width of the windows that rows are cleaned up by, `1m` to `366d`. Default `1d`. */
  readonly timeWindow?: string;
}

const DEFAULT_HINTS: EventHints = { ttl: '90d', appendMode: true, timeWindow: '1d' };

/** Looks hints up by the type of an event; the same object for the same type. Checks all of them at once. @throws MR_INVALID_OPTION. */
export function hintsByType(options: HintOptions = {}): (type: string) => EventHints {
  const { types = {}, ...all } = options;
  const general = withDefaults(all, DEFAULT_HINTS, '');
  const special = new Map(Object.entries(types).map(([type, own]) => [type, withDefaults(own, general, `types.${type}.`)]));
  return (type) => special.get(type) ?? general;
}

/** Hints as a database takes them with an insert: names as of GreptimeDB. */
export function hintTexts({ ttl, appendMode, timeWindow }: EventHints): Readonly<Record<string, string>> {
  return { ...(ttl === null ? {} : { ttl }), append_mode: String(appendMode), 'compaction.twcs.time_window': timeWindow };
}

/** How long rows are kept and how wide a window is, in milliseconds. */
export function hintTimes({ ttl, timeWindow }: EventHints): { readonly ttlMs: number | null; readonly windowMs: number } {
  return { ttlMs: ttl === null ? null : parseDurationMs(ttl, 'ttl'), windowMs: parseDurationMs(timeWindow, 'timeWindow') };
}

/** For so long a clean-up that failed is left alone: it holds up the deliveries that come with it. */
export const CLEAN_UP_RETRY_MS = 60_000;

/** Where the window begins that holds a time. */
export function windowStartMs(ms: number, windowMs: number): number {
  return Math.floor(ms / windowMs) * windowMs;
}

function withDefaults(given: TypeHintOptions, defaults: EventHints, prefix: string): EventHints {
  const { ttl = defaults.ttl, appendMode = defaults.appendMode, timeWindow = defaults.timeWindow } = given;
  if (ttl !== null) parseDurationMs(ttl, `${prefix}ttl`, { min: 1000 });
  if (typeof appendMode !== 'boolean') {
    throw new MillraceError('MR_INVALID_OPTION', { option: `${prefix}appendMode`, value: String(appendMode), bound: 'true or false' });
  }
  parseDurationMs(timeWindow, `${prefix}timeWindow`, { min: 60_000, max: 366 * 86_400_000 });
  return Object.freeze({ ttl, appendMode, timeWindow });
}
