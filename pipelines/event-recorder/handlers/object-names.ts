import { escapeName, unescapeName } from '../../../lib/formats/storage-layout/names.ts';
import { compactOfNs, nsOfCompact } from './time-text.ts';

/** What the key of a file of events says. */
export interface EventFileKey {
  readonly table: string;
  readonly type: string;
  /** The times of its first and its last event. */
  readonly firstNs: bigint;
  readonly lastNs: bigint;
}

/** `<table>/<type>`, escaped as in every layout of files here. */
export function typeFolder(table: string, type: string): string {
  return `${escapeName(table)}/${escapeName(type)}`;
}

/** `<table>/<type>/<begin>_<end>`, the window's bounds in seconds: `20261122T000000Z_20261123T000000Z`. */
export function eventFolder(table: string, type: string, startMs: number, windowMs: number): string {
  return `${typeFolder(table, type)}/${secondsOf(startMs)}_${secondsOf(startMs + windowMs)}`;
}

/** `<first>_<last>_<hash>.jsonl`. */
export function eventFileName(firstNs: bigint, lastNs: bigint, hash: string): string {
  return `${compactOfNs(firstNs)}_${compactOfNs(lastNs)}_${hash}.jsonl`;
}

/** Takes a file's key apart; null for whatever is no file of events. */
export function matchEventFile(key: string): EventFileKey | null {
  const match = /^([^/]+)\/([^/]+)\/[^/]+\/([^/_]+)_([^/_]+)_[0-9a-f]{16}\.jsonl$/.exec(key);
  if (match === null) return null;
  const [table, type] = [unescapeName(match[1]!), unescapeName(match[2]!)];
  const [firstNs, lastNs] = [nsOfCompact(match[3]!), nsOfCompact(match[4]!)];
  return table === null || type === null || firstNs === null || lastNs === null ? null : { table, type, firstNs, lastNs };
}

/** The bounds of the window that a file of events stands in; null for whatever is no such file. */
export function matchWindow(key: string): { readonly startMs: number; readonly endMs: number } | null {
  const match = /^[^/]+\/[^/]+\/(\d{8}T\d{6})Z_(\d{8}T\d{6})Z\/[^/]+\.jsonl$/.exec(key);
  const [startMs, endMs] = [match?.[1], match?.[2]].map((text) => (text === undefined ? null : msOf(text)));
  return startMs === null || endMs === null || startMs === undefined || endMs === undefined ? null : { startMs, endMs };
}

function msOf(text: string): number | null {
  const ns = nsOfCompact(`${text}.000000000Z`);
  return ns === null ? null : Number(ns / 1_000_000n);
}

function secondsOf(ms: number): string {
  return `${compactOfNs(BigInt(ms) * 1_000_000n).slice(0, 15)}Z`;
}
