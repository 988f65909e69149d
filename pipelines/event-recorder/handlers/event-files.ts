import { isMillraceError } from '../../../lib/errors.ts';
import { type ByteWriter, type DispatcherId, dispatcherId } from '../../../lib/events/index.ts';
import { type Context, createContext } from '../../../lib/flow/index.ts';
import { crc32Of } from '../../../lib/formats/checksum.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { DataDirectory, type DirectoryTarget, type FileContent } from '../../storage-writer/data-directory.ts';
import type { RecordedEvent } from '../event.ts';
import { parseEvents } from '../reading/stored-event.ts';
import { EVENT_EXTENSION, EVENT_PATHS } from './object-names.ts';

/** One row of an event, as it is to stand in a file. */
export interface EventLine {
  readonly event: RecordedEvent;
  readonly line: string;
}

/**
 * Writes files of events as the storage sink writes its data files, each folder under a numbering of its own, whose id nobody else has: so recorders write side by
 * side, and there is no run that an epoch would have to fence off.
 *
 * Of a write that failed, or that its caller gave up, nobody knows what became of it, and it may still come. Therefore the next one goes to the same number, which
 * one of both gets; whatever is published then is read, and its events are not written again (G7). They are told by their ids and not by position, because several
 * recorders may share a handler.
 *
 * Times ascend from file to file of a numbering, which readers rely on: events that are older than the file before them begin another one.
 */
export class EventFiles {
  readonly #target: DirectoryTarget;
  readonly #draw: () => bigint;
  /** By folder, in the order of their last writes. */
  readonly #places = new Map<string, Place>();
  /** Events of calls that have not succeeded as a whole, by id: these are published. */
  readonly #published = new Set<string>();

  constructor(store: ObjectStore, { clock, logger }: Pick<Context, 'clock' | 'logger'>) {
    const paths = EVENT_PATHS;
    const encoder = { extension: EVENT_EXTENSION };
    // A recorder tells nothing of itself in events (W14).
    const context = createContext({ clock, logger });
    this.#target = { store, paths, encoder, epoch: { check: async () => {} }, seen: new Map(), context };
    this.#draw = () => BigInt(Math.floor(clock.random() * 2 ** 48));
  }

  /**
   * Resolves when these events are published in a folder, all of them. Aborted, it begins no further file; what is under way goes on.
   *
   * @throws what the store throws.
   */
  async write(folder: string, lines: readonly EventLine[], signal: AbortSignal): Promise<void> {
    for (let round = 1; ; round++) {
      try {
        return await this.#write(folder, lines, signal);
      } catch (error) {
        // A write that was given up has come: see what it brought.
        if (round === ROUNDS_MAX || !isMillraceError(error, 'MR_FOREIGN_FILE')) throw error;
      }
    }
  }

  /** The call that brought these events has succeeded: they do not come again. */
  settled(events: readonly RecordedEvent[]): void {
    for (const { id } of events) this.#published.delete(id);
  }

  /** A folder was removed. */
  forget(folder: string): void {
    this.#places.delete(folder);
  }

  async #write(folder: string, lines: readonly EventLine[], signal: AbortSignal): Promise<void> {
    const open = await this.#opened(folder);
    const left = lines.filter(({ event }) => !this.#published.has(event.id));
    if (left.length === 0) return;
    const [firstNs, lastNs] = timesOf(left);
    const place = open !== null && firstNs >= open.lastNs ? open : await this.#begin(folder, firstNs);
    const { id, directory } = place;
    signal.throwIfAborted();
    this.#keep(folder, { ...place, directory: null });
    await directory.write(contentOf(left), id);
    // Given up meanwhile: another call may have looked already, and knows more.
    signal.throwIfAborted();
    for (const { event } of left) this.#note(event.id);
    this.#keep(folder, { id, directory, newest: directory.newest, lastNs });
  }

  /** The numbering that a folder's events went to; null when there is none. */
  async #opened(folder: string): Promise<OpenPlace | null> {
    const place = this.#places.get(folder);
    if (place === undefined) return null;
    const { id, newest } = place;
    if (place.directory !== null) return { ...place, directory: place.directory };
    const directory = await this.#open(folder, id);
    if (directory === null) return null;
    let { lastNs } = place;
    for (let number = newest + 1; number <= directory.newest; number++) {
      const content = await this.#target.store.get(directory.fileAt(number));
      for (const event of content === null ? [] : parseEvents(content)) {
        this.#note(event.id);
        if (event.timestampNs > lastNs) lastNs = event.timestampNs;
      }
    }
    const open = { id, directory, newest: directory.newest, lastNs };
    this.#keep(folder, open);
    return open;
  }

  async #begin(folder: string, lastNs: bigint): Promise<OpenPlace> {
    const id = dispatcherId(this.#draw(), this.#draw());
    return { id, directory: await DataDirectory.open(this.#target, folder, id), newest: 0, lastNs };
  }

  /** Null where something stands that nobody could publish: that numbering is left as it is. */
  async #open(folder: string, id: DispatcherId): Promise<DataDirectory | null> {
    try {
      return await DataDirectory.open(this.#target, folder, id);
    } catch (error) {
      if (!isMillraceError(error, 'MR_FOREIGN_FILE')) throw error;
      return null;
    }
  }

  #keep(folder: string, place: Place): void {
    this.#places.delete(folder);
    this.#places.set(folder, place);
    if (this.#places.size > PLACES_MAX) this.#places.delete(this.#places.keys().next().value!);
  }

  #note(id: string): void {
    this.#published.add(id);
    if (this.#published.size > PUBLISHED_MAX) this.#published.delete(this.#published.values().next().value!);
  }
}

/** Where a folder's events go. */
interface Place {
  readonly id: DispatcherId;
  /** Null from the beginning of a write until it is known to have succeeded. */
  readonly directory: DataDirectory | null;
  /** Up to this number it is known what the files hold. */
  readonly newest: number;
  /** The time of the newest event there. */
  readonly lastNs: bigint;
}

interface OpenPlace extends Place {
  readonly directory: DataDirectory;
}

/** Writes that were given up and come late, one after another, in the midst of one write. */
const ROUNDS_MAX = 8;
/** Folders that are remembered, a type's window each. One that is forgotten gets another numbering. */
const PLACES_MAX = 256;
/** Events whose call failed behind their file, and that may never come again: the oldest are forgotten. */
const PUBLISHED_MAX = 65_536;

function timesOf(lines: readonly EventLine[]): [firstNs: bigint, lastNs: bigint] {
  let firstNs = lines[0]!.event.timestampNs;
  let lastNs = firstNs;
  for (const { event } of lines) {
    if (event.timestampNs < firstNs) firstNs = event.timestampNs;
    if (event.timestampNs > lastNs) lastNs = event.timestampNs;
  }
  return [firstNs, lastNs];
}

/** The position of a row is the number of its event and its own number in that. */
function contentOf(lines: readonly EventLine[]): FileContent {
  const body = Buffer.from(lines.map(({ line }) => `${line}\n`).join(''));
  const rows = new Map<bigint, number>();
  for (const { event } of lines) rows.set(event.seq, (rows.get(event.seq) ?? 0) + 1);
  const writeJson = (out: ByteWriter) => out.writeText(Array.from(rows, ([seq, count]) => `["${seq}",0,${count - 1}]`).join());
  return { rows: lines.length, runs: [{ writeJson }], body: [body], bytes: body.length, crc32: crc32Of(body) };
}
