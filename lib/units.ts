import { MillraceError } from './errors.ts';

/** The values an option may have, both ends included, in the unit the parser returns. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/**
 * A size as people type it: `64MiB`, `10 GB`, `1.5kB`, `1000`. Binary units (`KiB` … `TiB`) are powers of 1024, decimal ones (`kB` … `TB`) powers of
 * 1000; without a unit, or as a number, it is bytes. The result is a whole number.
 *
 * @throws MR_INVALID_OPTION when it is no such size or outside `bounds`.
 */
export function parseBytes(value: string | number, option: string, bounds: Bounds = {}): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(String(value));
  const unit = match === null ? undefined : BYTE_UNITS.get(match[2]!.toLowerCase());
  const bytes = match === null || unit === undefined ? Number.NaN : Math.round(Number(match[1]) * unit);
  return withinBounds(bytes, value, option, bounds, 'a size such as 1000, 64MiB or 10GB', formatBytes);
}

/**
 * A duration as people type it: `100ms`, `5s`, `1m30s`, `1.5h`, `90d` (a day is 24 hours); a number is milliseconds. Text needs its unit. The result is a whole number of
 * milliseconds.
 *
 * @throws MR_INVALID_OPTION when it is no such duration or outside `bounds`.
 */
export function parseDurationMs(value: string | number, option: string, bounds: Bounds = {}): number {
  const ms = typeof value === 'number' ? (value >= 0 ? Math.round(value) : Number.NaN) : durationOf(value);
  return withinBounds(ms, value, option, bounds, 'a duration such as 100ms, 5s, 1m30s or 1h', formatDuration);
}

/** `64MiB`, `1.5KiB`, `12B`: for messages and the status line; at most one decimal. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < BINARY_NAMES.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(1))}${BINARY_NAMES[unit]}`;
}

/** `250ms`, `5s`, `1m30s`, `2h`: for messages and the status line. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))}s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'm'],
    [seconds % 60, 's'],
  ] as const;
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('');
}

const BINARY_NAMES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
const BYTE_UNITS = new Map<string, number>([
  ['', 1],
  ['b', 1],
  ...['k', 'm', 'g', 't'].flatMap((prefix, index): [string, number][] => [
    [`${prefix}ib`, 1024 ** (index + 1)],
    [`${prefix}b`, 1000 ** (index + 1)],
  ]),
]);
const MS_BY_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationOf(text: string): number {
  if (!/^\s*(?:\d+(?:\.\d+)?(?:ms|s|m|h|d)\s*)+$/.test(text)) return Number.NaN;
  let ms = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) ms += Number(count) * MS_BY_UNIT[unit!]!;
  return Math.round(ms);
}

function withinBounds(
  parsed: number,
  value: string | number,
  option: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds,
  shape: string,
  format: (value: number) => string,
): number {
  if (parsed >= min && parsed <= max) return parsed;
  const ends = [min > 0 ? `at least ${format(min)}` : '', max < Number.MAX_SAFE_INTEGER ? `at most ${format(max)}` : ''].filter(
    (end) => end !== '',
  );
  throw new MillraceError('MR_INVALID_OPTION', { option, value: JSON.stringify(value), bound: [shape, ...ends].join(', ') });
}
