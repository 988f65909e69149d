import { MillraceError, reasonOf } from '../../../lib/errors.ts';
import type { DispatcherId } from '../../../lib/events/index.ts';
import { dataFilePath, fileStem, parseIndexFile } from '../../../lib/formats/storage-layout/index.ts';
import type { ObjectStore } from '../../../lib/stores/index.ts';
import { EVENT_EXTENSION, EVENT_PATHS } from '../handlers/object-names.ts';
import { compareEvents, parseEvents, type StoredEvent } from './stored-event.ts';

/** Where a numbering is. */
export interface NumberingPlace {
  /** That of a time window. */
  readonly folder: string;
  readonly id: DispatcherId;
  readonly indexPath: string;
}

/** The published files of one numbering, one after another. Their times ascend from file to file (`EventFiles`). One file is in memory. */
export class EventNumbering {
  readonly #store: ObjectStore;
  readonly #place: NumberingPlace;
  readonly #last: number;
  /** The number behind the file that is in memory. */
  #next = 1;
  #events: readonly StoredEvent[] = [];

  private constructor(store: ObjectStore, place: NumberingPlace, last: number) {
    this.#store = store;
    this.#place = place;
    this.#last = last;
  }

  /**
   * Begins with the first file that has something from `sinceNs` on; null when there is none.
   *
   * @throws MR_EVENTS_UNREADABLE
   */
  static async begin(store: ObjectStore, place: NumberingPlace, sinceNs: bigint | undefined): Promise<EventNumbering | null> {
    const index = await store.get(place.indexPath);
    // Its clean-up may have been faster.
    if (index === null) return null;
    const numbering = new EventNumbering(store, place, lastIn(store, place, index));
    if (sinceNs !== undefined) await numbering.#skip(sinceNs);
    return (await numbering.advance()) ? numbering : null;
  }

  /** Of the file in memory, in the order of their time; one at least. */
  get events(): readonly StoredEvent[] {
    return this.#events;
  }

  get firstNs(): bigint {
    return this.#events[0]!.timestampNs;
  }

  /** Goes on to the next file. Resolves to whether there is one. @throws MR_EVENTS_UNREADABLE */
  async advance(): Promise<boolean> {
    while (this.#next <= this.#last) {
      this.#events = await this.#read(this.#next++);
      if (this.#events.length > 0) return true;
    }
    return false;
  }

  /** By halves: a numbering has a file for each batch of its window. */
  async #skip(sinceNs: bigint): Promise<void> {
    for (let end = this.#last + 1; this.#next < end; ) {
      const middle = (this.#next + end) >> 1;
      const newest = (await this.#read(middle)).at(-1);
      if (newest !== undefined && newest.timestampNs >= sinceNs) end = middle;
      else this.#next = middle + 1;
    }
  }

  async #read(number: number): Promise<StoredEvent[]> {
    const { folder, id } = this.#place;
    const path = dataFilePath(folder, fileStem(number, id, EVENT_PATHS), EVENT_EXTENSION);
    const content = await this.#store.get(path);
    // Its clean-up may have been faster.
    if (content === null) return [];
    try {
      return parseEvents(content).sort(compareEvents);
    } catch (error) {
      throw unreadable(this.#store, path, error);
    }
  }
}

function lastIn(store: ObjectStore, { indexPath }: NumberingPlace, content: Buffer): number {
  try {
    return parseIndexFile(content.toString(), EVENT_EXTENSION, indexPath);
  } catch (error) {
    throw unreadable(store, indexPath, error);
  }
}

function unreadable({ uri }: ObjectStore, path: string, cause: unknown): MillraceError {
  return new MillraceError('MR_EVENTS_UNREADABLE', { uri, reason: `${path} holds no events (${reasonOf(cause)})` }, cause);
}
