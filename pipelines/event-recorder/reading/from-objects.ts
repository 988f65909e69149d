import { MillraceError, reasonOf } from '../../../lib/errors.ts';
import { parseJson } from '../../../lib/formats/json.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { type EventFileKey, matchEventFile, typeFolder } from '../handlers/object-names.ts';
import { nsOfCompact } from '../handlers/time-text.ts';
import { compareEvents, type EventFilter, RecentRows, type StoredEvent } from './stored-event.ts';

/**
 * Reads what `objectStoreEvents` wrote, in the order of time over all tables and types, each row once. In memory are the files whose times overlap.
 *
 * @throws MR_EVENTS_UNREADABLE for a table that is not there, or a file that holds something else; and the store's own.
 */
export async function* eventsFromObjects(store: ObjectStore, filter: EventFilter = {}): AsyncGenerator<StoredEvent> {
  const { sinceNs } = filter;
  const recent = new RecentRows();
  let waiting: StoredEvent[] = [];
  for await (const { key, firstNs } of filesInOrder(store, await foldersOf(store, filter), sinceNs)) {
    waiting.sort(compareEvents);
    // Nothing that comes is older than this file's first event.
    const end = waiting.findIndex(({ timestampNs }) => timestampNs >= firstNs);
    const ready = end < 0 ? waiting : waiting.slice(0, end);
    waiting = end < 0 ? [] : waiting.slice(end);
    for (const event of ready) if (recent.isNew(event)) yield event;
    for (const event of await readFile(store, key)) if (sinceNs === undefined || event.timestampNs >= sinceNs) waiting.push(event);
  }
  waiting.sort(compareEvents);
  for (const event of waiting) if (recent.isNew(event)) yield event;
}

/** The folders of tables and types that are asked for, as far as they are there. */
async function foldersOf(store: ObjectStore, { table, types }: EventFilter): Promise<string[]> {
  const folders = new Set<string>();
  const tables = new Set<string>();
  for await (const { key } of store.list('')) {
    const file = matchEventFile(key);
    if (file === null) continue;
    tables.add(file.table);
    if (table !== undefined && file.table !== table) continue;
    if (types === undefined || types.includes(file.type)) folders.add(typeFolder(file.table, file.type));
  }
  if (table !== undefined && !tables.has(table)) {
    const known = [...tables].join(', ') || 'none yet';
    throw new MillraceError('MR_EVENTS_UNREADABLE', {
      uri: store.uri,
      reason: `there is no table ${table} of events; there are: ${known}`,
    });
  }
  return [...folders];
}

interface ListedFile extends EventFileKey {
  readonly key: string;
}

/** Files of all folders by the time of their first event. The keys of one folder are in that order, as long as its time windows were of one width. */
async function* filesInOrder(store: ObjectStore, folders: readonly string[], sinceNs: bigint | undefined): AsyncGenerator<ListedFile> {
  const lists = folders.map((folder) => filesOf(store, folder, sinceNs));
  try {
    const heads = await Promise.all(lists.map(nextOf));
    for (;;) {
      let first = -1;
      for (const [index, head] of heads.entries()) {
        if (head !== null && (first < 0 || head.firstNs < heads[first]!.firstNs)) first = index;
      }
      if (first < 0) return;
      yield heads[first]!;
      heads[first] = await nextOf(lists[first]!);
    }
  } finally {
    await Promise.all(lists.map((list) => list.return(undefined)));
  }
}

async function* filesOf(store: ObjectStore, folder: string, sinceNs: bigint | undefined): AsyncGenerator<ListedFile> {
  for await (const { key } of store.list(`${folder}/`)) {
    const file = matchEventFile(key);
    if (file !== null && (sinceNs === undefined || file.lastNs >= sinceNs)) yield { ...file, key };
  }
}

async function nextOf(list: AsyncGenerator<ListedFile>): Promise<ListedFile | null> {
  const { done, value } = await list.next();
  return done === true ? null : value;
}

async function readFile(store: ObjectStore, key: string): Promise<StoredEvent[]> {
  // Its clean-up may have been faster.
  const content = await store.get(key);
  if (content === null) return [];
  try {
    return content.toString().trimEnd().split('\n').map(parseLine);
  } catch (error) {
    throw new MillraceError('MR_EVENTS_UNREADABLE', { uri: store.uri, reason: `${key} holds no events (${reasonOf(error)})` }, error);
  }
}

function parseLine(line: string): StoredEvent {
  const { timestamp, type, event_table: table, event_id: id, event_row: row, event_seq: seq } = parseJson(line) as Record<string, unknown>;
  const timestampNs = typeof timestamp === 'string' ? nsOfCompact(timestamp.replace(/[-:]/g, '')) : null;
  if (timestampNs === null) throw new Error('a line without a timestamp');
  return {
    line,
    timestampNs,
    type: String(type),
    table: String(table),
    id: String(id),
    row: Number(row),
    seq: BigInt(seq as number | bigint),
  };
}
