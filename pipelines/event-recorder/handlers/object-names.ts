import { DEFAULT_PATH_OPTIONS, escapeName, type PathOptions } from '../../../lib/formats/storage-layout/index.ts';
import { isoOfMs } from './time-text.ts';

/** How files are numbered: each numbering of one folder by itself, `CDC_<id>_000001.jsonl`, `meta/CDC_<id>.index`. */
export const EVENT_PATHS: PathOptions = { ...DEFAULT_PATH_OPTIONS, enableTableAcrossNodes: true, fileIndexDigit: 6 };
export const EVENT_EXTENSION = '.jsonl';

/** `<table>/<type>`, escaped as in every layout of files here. */
export function typeFolder(table: string, type: string): string {
  return `${escapeName(table)}/${escapeName(type)}`;
}

/** The folder of a time window within that of its type, called by its bounds in seconds: `20261122T000000Z_20261123T000000Z`. */
export function windowName(startMs: number, windowMs: number): string {
  return `${textOfSecond(startMs)}_${textOfSecond(startMs + windowMs)}`;
}

/** The bounds of the window whose folder is called so; null for whatever else a folder is called. */
export function windowOf(name: string): { readonly startMs: number; readonly endMs: number } | null {
  const [startMs, endMs] = name.split('_').map(msOfSecond);
  return startMs === undefined || endMs === undefined || windowName(startMs, endMs - startMs) !== name ? null : { startMs, endMs };
}

/** As windows are called by it: names in their order are in that of the times. */
export function textOfSecond(ms: number): string {
  return isoOfMs(ms).replace(/[-:]|\.\d+/g, '');
}

function msOfSecond(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}
