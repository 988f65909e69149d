import { createHash } from 'node:crypto';
import { MillraceError, reasonOf } from '../../../lib/errors.ts';
import { type Context, createContext } from '../../../lib/flow/index.ts';
import { redactUrl } from '../../../lib/redact.ts';
import { checkStoreUri, type ObjectStore, openStore } from '../../../lib/stores/index.ts';
import type { EventGroup, EventHandler } from '../event.ts';
import { CLEAN_UP_RETRY_MS, hintTimes, windowStartMs } from '../hints.ts';
import { buildRows, type EventRow } from '../rows.ts';
import { abortable, targetFailed } from './abortable.ts';
import { linesOf } from './event-line.ts';
import { eventFileName, eventFolder, matchWindow, typeFolder } from './object-names.ts';
import { msOfNs } from './time-text.ts';

export interface ObjectStoreEventsOptions {
  /** Where to: `file:///dir`, `s3://bucket/prefix`, `memory://name`. This or `store`. */
  readonly uri?: string;
  /** A store that is open already; it is not closed here. */
  readonly store?: ObjectStore;
}

/**
 * Writes events as files of JSON lines, one file for each group and time window: `<table>/<type>/<window>/<first>_<last>_<hash>.jsonl`. Files appear whole; their names come
 * from what is in them, so a call made again replaces its file by itself. Where the recorder cuts groups otherwise the second time, an event can stand in
 * two files: readers tell by its id (G7).
 *
 * Windows that are older than the hint `ttl` are removed whole, at most once per window.
 *
 * @throws MR_INVALID_OPTION, MR_INVALID_URI.
 */
export function objectStoreEvents(options: ObjectStoreEventsOptions): EventHandler {
  const { uri, store } = options;
  if ((uri === undefined) === (store === undefined)) {
    throw new MillraceError('MR_INVALID_OPTION', {
      option: 'uri',
      value: uri === undefined ? 'missing' : redactUrl(uri),
      bound: 'given, or store, and not both',
    });
  }
  if (uri !== undefined) checkStoreUri(uri);
  return new ObjectStoreEvents(uri ?? null, store ?? null);
}

class ObjectStoreEvents implements EventHandler {
  readonly name = 'object-store';
  readonly #uri: string | null;
  #context: Context = createContext();
  #store: ObjectStore | null;
  #opening: Promise<ObjectStore> | null = null;
  /** Up to when each type's folder is cleaned up. */
  readonly #cleanedUpToMs = new Map<string, number>();
  /** When the last clean-up of a folder failed. */
  readonly #failedMs = new Map<string, number>();

  constructor(uri: string | null, store: ObjectStore | null) {
    this.#uri = uri;
    this.#store = store;
  }

  async open(context: Context): Promise<void> {
    this.#context = context;
  }

  async deliver(group: EventGroup, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const files = filesOf(group);
    try {
      const store = await abortable(signal, () => this.#opened());
      for (const { key, body } of files) await abortable(signal, () => store.put(key, [body]));
    } catch (error) {
      throw targetFailed(this.name, group, reasonOf(error), error);
    }
    await this.#cleanUp(group, signal);
  }

  async close(): Promise<void> {
    if (this.#uri === null) return;
    // One that still opens for a call that was given up would otherwise stay open.
    const store = this.#store ?? (await this.#opening?.catch(() => null));
    this.#store = null;
    await store?.close();
  }

  async #opened(): Promise<ObjectStore> {
    if (this.#store !== null) return this.#store;
    this.#opening ??= openStore(this.#uri!, this.#context.clock);
    try {
      this.#store = await this.#opening;
      return this.#store;
    } finally {
      this.#opening = null;
    }
  }

  /** The events are delivered: that old ones could not be removed is a warning, and tried again a minute later. */
  async #cleanUp(group: EventGroup, signal: AbortSignal): Promise<void> {
    const { ttlMs, windowMs } = hintTimes(group.hints);
    const store = this.#store;
    if (ttlMs === null || store === null) return;
    const nowMs = this.#context.clock.now();
    const cutoffMs = windowStartMs(nowMs - ttlMs, windowMs);
    const folder = typeFolder(group.table, group.type);
    if ((this.#cleanedUpToMs.get(folder) ?? Number.NEGATIVE_INFINITY) >= cutoffMs) return;
    if (nowMs - (this.#failedMs.get(folder) ?? Number.NEGATIVE_INFINITY) < CLEAN_UP_RETRY_MS) return;
    try {
      const isDone = await abortable(signal, () => removeBefore(store, folder, cutoffMs, signal));
      if (isDone) this.#cleanedUpToMs.set(folder, cutoffMs);
    } catch (error) {
      this.#failedMs.set(folder, nowMs);
      if (!signal.aborted) this.#context.logger.warn({ folder, reason: reasonOf(error) }, 'events beyond their ttl could not be removed');
    }
  }
}

/** Resolves to whether nothing is left of it: one call removes a bounded number of files. */
async function removeBefore(store: ObjectStore, folder: string, cutoffMs: number, signal: AbortSignal): Promise<boolean> {
  let removed = 0;
  for await (const { key } of store.list(`${folder}/`)) {
    if (signal.aborted) return false;
    const window = matchWindow(key);
    if (window === null) continue;
    // Keys ascend with the beginnings of their windows.
    if (window.startMs >= cutoffMs) return true;
    if (window.endMs > cutoffMs) continue;
    if (removed === REMOVED_MAX) return false;
    await store.delete(key);
    removed++;
  }
  return true;
}

const REMOVED_MAX = 1000;

interface EventFile {
  readonly key: string;
  readonly body: Buffer;
}

/** One file per window; rows keep their order. */
function filesOf(group: EventGroup): EventFile[] {
  const { windowMs } = hintTimes(group.hints);
  const built = buildRows(group);
  const lines = linesOf(built);
  const windows = new Map<number, { readonly rows: EventRow[]; readonly lines: string[] }>();
  for (const [index, row] of built.rows.entries()) {
    const startMs = windowStartMs(Number(msOfNs(row.event.timestampNs)), windowMs);
    let window = windows.get(startMs);
    if (window === undefined) {
      window = { rows: [], lines: [] };
      windows.set(startMs, window);
    }
    window.rows.push(row);
    window.lines.push(lines[index]!);
  }
  return Array.from(windows, ([startMs, window]) => {
    const body = Buffer.from(`${window.lines.join('\n')}\n`);
    let [firstNs, lastNs] = [window.rows[0]!.event.timestampNs, window.rows[0]!.event.timestampNs];
    for (const { event } of window.rows) {
      if (event.timestampNs < firstNs) firstNs = event.timestampNs;
      if (event.timestampNs > lastNs) lastNs = event.timestampNs;
    }
    const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
    const folder = eventFolder(group.table, group.type, startMs, windowMs);
    return { key: `${folder}/${eventFileName(firstNs, lastNs, hash)}`, body };
  });
}
