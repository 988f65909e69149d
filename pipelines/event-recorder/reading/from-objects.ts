import { MillraceError } from '../../../lib/errors.ts';
import type { DispatcherId } from '../../../lib/events/index.ts';
import { unescapeName } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { mapBounded } from '../../storage-reader/map-bounded.ts';
import { windowOf } from '../handlers/object-names.ts';
import { EventNumbering, type NumberingPlace } from './event-numbering.ts';
import { compareEvents, type EventFilter, RecentRows, type StoredEvent } from './stored-event.ts';

/**
 * Reads what `objectStoreEvents` wrote, as far as indexes name it, in the order of time over all tables and types, each row once. In memory are the files whose times
 * overlap and one more of each numbering of their time windows: of each type and each run of a recorder there.
 *
 * @throws MR_EVENTS_UNREADABLE for a table that is not there, or a file that holds something else; and the store's own.
 */
export async function* eventsFromObjects(store: ObjectStore, filter: EventFilter = {}): AsyncGenerator<StoredEvent> {
  const { sinceNs } = filter;
  const recent = new RecentRows();
  let waiting: StoredEvent[] = [];
  for await (const events of filesInOrder(store, await windowsOf(store, filter), sinceNs)) {
    waiting.sort(compareEvents);
    // Nothing that comes is older than this file's first event.
    const firstNs = events[0]!.timestampNs;
    const end = waiting.findIndex(({ timestampNs }) => timestampNs >= firstNs);
    const ready = end < 0 ? waiting : waiting.slice(0, end);
    waiting = end < 0 ? [] : waiting.slice(end);
    for (const event of ready) if (recent.isNew(event)) yield event;
    for (const event of events) if (sinceNs === undefined || event.timestampNs >= sinceNs) waiting.push(event);
  }
  waiting.sort(compareEvents);
  for (const event of waiting) if (recent.isNew(event)) yield event;
}

/** A time window of a type. */
interface Window {
  readonly folder: string;
  readonly startMs: number;
}

/** The windows that are asked for, as far as they are there, in order. */
async function windowsOf(store: ObjectStore, { table, types, sinceNs }: EventFilter): Promise<Window[]> {
  const windows: Window[] = [];
  const tables = new Set<string>();
  for await (const [ofTable, ofType] of typesIn(store)) {
    const [name, type] = [unescapeName(ofTable), unescapeName(ofType)];
    if (name === null || type === null) continue;
    for await (const ofWindow of store.folders(`${ofTable}/${ofType}/`)) {
      const bounds = windowOf(ofWindow);
      if (bounds === null) continue;
      tables.add(name);
      if ((table !== undefined && name !== table) || types?.includes(type) === false) break;
      const isOver = sinceNs !== undefined && BigInt(bounds.endMs) * NS_PER_MS <= sinceNs;
      if (!isOver) windows.push({ folder: `${ofTable}/${ofType}/${ofWindow}`, startMs: bounds.startMs });
    }
  }
  if (table !== undefined && !tables.has(table)) {
    const known = [...tables].join(', ') || 'none yet';
    throw new MillraceError('MR_EVENTS_UNREADABLE', {
      uri: store.uri,
      reason: `there is no table ${table} of events; there are: ${known}`,
    });
  }
  return windows.sort((a, b) => a.startMs - b.startMs);
}

const NS_PER_MS = 1_000_000n;

async function* typesIn(store: ObjectStore): AsyncGenerator<[table: string, type: string]> {
  for await (const table of store.folders('')) for await (const type of store.folders(`${table}/`)) yield [table, type];
}

/** The events of one file after another, by the time of their first; a window is looked into when its turn comes. */
async function* filesInOrder(
  store: ObjectStore,
  windows: readonly Window[],
  sinceNs: bigint | undefined,
): AsyncGenerator<readonly StoredEvent[]> {
  let open: EventNumbering[] = [];
  let next = 0;
  for (;;) {
    let first: EventNumbering | null = null;
    for (const one of open) if (first === null || one.firstNs < first.firstNs) first = one;
    const startMs = windows[next]?.startMs;
    if (startMs !== undefined && (first === null || BigInt(startMs) * NS_PER_MS <= first.firstNs)) {
      const from = next;
      while (windows[next]?.startMs === startMs) next++;
      const places = await mapBounded(windows.slice(from, next), (window) => numberingsIn(store, window));
      const begun = await mapBounded(places.flat(), (place) => EventNumbering.begin(store, place, sinceNs));
      open.push(...begun.filter((one) => one !== null));
      continue;
    }
    if (first === null) return;
    const taken = first;
    yield taken.events;
    if (!(await taken.advance())) open = open.filter((one) => one !== taken);
  }
}

async function numberingsIn(store: ObjectStore, { folder }: Window): Promise<NumberingPlace[]> {
  const places: NumberingPlace[] = [];
  for await (const { key } of store.list(`${folder}/meta/CDC_`)) {
    const id = /\/CDC_([0-9a-f]{32})\.index$/.exec(key)?.[1];
    if (id !== undefined) places.push({ folder, id: id as DispatcherId, indexPath: key });
  }
  return places;
}
