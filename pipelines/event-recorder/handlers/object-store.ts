import { MillraceError, reasonOf } from '../../../lib/errors.ts';
import { type Context, createContext } from '../../../lib/flow/index.ts';
import { redactUrl } from '../../../lib/redact.ts';
import { checkStoreUri, type ObjectStore, openStore } from '../../../lib/stores/index.ts';
import type { EventGroup, EventHandler } from '../event.ts';
import { CLEAN_UP_RETRY_MS, hintTimes, windowStartMs } from '../hints.ts';
import { buildRows } from '../rows.ts';
import { abortable, targetFailed } from './abortable.ts';
import { EventFiles, type EventLine } from './event-files.ts';
import { linesOf } from './event-line.ts';
import { textOfSecond, typeFolder, windowName, windowOf } from './object-names.ts';
import { msOfNs } from './time-text.ts';

export interface ObjectStoreEventsOptions {
  /** Where to: `file:///dir`, `s3://bucket/prefix`, `memory://name`. This or `store`. */
  readonly uri?: string;
  /** A store that is open already; it is not closed here. */
  readonly store?: ObjectStore;
}

/**
 * Writes events as files of JSON lines through the storage sink's writer, one file for each group and time window: `<table>/<type>/<window>/CDC_<id>_000001.jsonl`,
 * with sidecar and index below `meta/` (spec storage-sink §5). A file exists for readers when the index names it. Each recorder numbers its files under ids of its own.
 *
 * A call that is made again writes nothing twice, whatever became of the one before. Only behind a crash, where another recorder begins with what is in the spill, an event can
 * stand in two files: readers tell by its id (G7).
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
  #files: EventFiles | null = null;
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
    const windows = windowsOf(group);
    try {
      await abortable(signal, () => this.#write(windows, signal));
    } catch (error) {
      throw targetFailed(this.name, group, reasonOf(error), error);
    }
    this.#files?.settled(group.events);
    await this.#cleanUp(group, signal);
  }

  async close(): Promise<void> {
    this.#files = null;
    if (this.#uri === null) return;
    // One that still opens for a call that was given up would otherwise stay open.
    const store = this.#store ?? (await this.#opening?.catch(() => null));
    this.#store = null;
    await store?.close();
  }

  async #write(windows: ReadonlyMap<string, readonly EventLine[]>, signal: AbortSignal): Promise<void> {
    const store = await this.#opened();
    signal.throwIfAborted();
    this.#files ??= new EventFiles(store, this.#context);
    const files = this.#files;
    for (const [folder, lines] of windows) await files.write(folder, lines, signal);
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
      if (await abortable(signal, () => this.#removeBefore(store, folder, cutoffMs, signal))) this.#cleanedUpToMs.set(folder, cutoffMs);
    } catch (error) {
      this.#failedMs.set(folder, nowMs);
      if (!signal.aborted) this.#context.logger.warn({ folder, reason: reasonOf(error) }, 'events beyond their ttl could not be removed');
    }
  }

  /** Resolves to whether nothing is left of it: one call removes a bounded number of objects. */
  async #removeBefore(store: ObjectStore, folder: string, cutoffMs: number, signal: AbortSignal): Promise<boolean> {
    let removed = 0;
    for await (const name of store.folders(`${folder}/`, textOfSecond(cutoffMs))) {
      const window = windowOf(name);
      if (window === null || window.endMs > cutoffMs) continue;
      const path = `${folder}/${name}`;
      // Data come before the index: a reader takes a file that is missing for one that was removed.
      for await (const { key } of store.list(`${path}/`)) {
        if (signal.aborted || removed === REMOVED_MAX) return false;
        await store.delete(key);
        removed++;
      }
      await store.removeEmptyFolders?.(path);
      this.#files?.forget(path);
    }
    return true;
  }
}

const REMOVED_MAX = 1000;

/** The lines of a group by the folder of their window; rows keep their order, and those of one event stay together. */
function windowsOf(group: EventGroup): ReadonlyMap<string, readonly EventLine[]> {
  const { windowMs } = hintTimes(group.hints);
  const built = buildRows(group);
  const lines = linesOf(built);
  const ofType = typeFolder(group.table, group.type);
  const windows = new Map<string, EventLine[]>();
  for (const [index, { event }] of built.rows.entries()) {
    const folder = `${ofType}/${windowName(windowStartMs(Number(msOfNs(event.timestampNs)), windowMs), windowMs)}`;
    const line = { event, line: lines[index]! };
    const window = windows.get(folder);
    if (window === undefined) windows.set(folder, [line]);
    else window.push(line);
  }
  return windows;
}
