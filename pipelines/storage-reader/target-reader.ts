import { MillraceError } from '../../lib/errors.ts';
import { tableMatcher } from '../../lib/events/index.ts';
import { type Clock, systemClock } from '../../lib/flow/index.ts';
import type { ObjectStore } from '../../lib/stores/index.ts';
import { parseDurationMs } from '../../lib/units.ts';
import type { TableChanges } from './change.ts';
import type { ReadOptions } from './read-table.ts';
import { parseCursor, type ReaderState, stringifyCursor } from './reader-cursor.ts';
import { StoredTarget } from './stored-target.ts';
import { startOfTable, tableHistory } from './table-history.ts';
import type { TableName } from './table-name.ts';

export interface ReaderOptions {
  /** Where an earlier reader was: its `cursor`. Without one, or with null, the reader begins at the beginning. */
  readonly cursor?: string | null;
  /** Which tables, as patterns (`['public.*', '!public.audit_*']`); default: all. */
  readonly tables?: readonly string[];
}

export interface FollowOptions {
  /** How long to wait behind a round for the next; default `2s`, at least 10 ms. */
  readonly interval?: string | number;
  /** Ends it, between two batches. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Reads what a target has, and later what is new in it: each change once, in position order per table, never beyond the target's checkpoint.
 *
 * In plain words: ask it as often as you like; it gives what came since, and its `cursor` is what to keep for the day the process starts anew.
 *
 * A round costs one small read while the checkpoint has not moved; else the target is listed once, and of each table only new files are read. Tables come one after
 * another, so a consistent state over all of them is there at the end of a round: that of `checkpointTs`. Memory is that of `readTable` for one table, and
 * for each table what its part of the cursor holds. What is known of a version is forgotten when the next begins, of a data folder when it is cleaned up, of a
 * table when its folder is gone.
 *
 * @example
 * ```ts
 * import { TargetReader } from 'millrace/pipelines';
 * import { MemoryStore } from 'millrace/stores';
 *
 * const reader = new TargetReader(new MemoryStore(), { tables: ['public.*'] });
 * for await (const { table, changes } of reader.poll()) console.log(table, changes.length);
 * const saved = reader.cursor;
 * ```
 */
export class TargetReader {
  readonly #store: ObjectStore;
  readonly #isChosen: (schema: string, table: string) => boolean;
  readonly #state: ReaderState;
  /** The checkpoint that this reader itself has read everything up to. */
  #completeTs: bigint | null = null;
  #isPolling = false;

  /** @throws MR_CURSOR_MALFORMED, MR_INVALID_OPTION */
  constructor(store: ObjectStore, { cursor = null, tables }: ReaderOptions = {}) {
    this.#store = store;
    this.#isChosen = tables === undefined ? () => true : tableMatcher(tables);
    this.#state = parseCursor(cursor);
  }

  /** Everything up to here was given, of all tables; null before the first round has ended. */
  get checkpointTs(): bigint | null {
    return this.#state.checkpointTs;
  }

  /** What a later reader goes on with: behind the batch that was given last. Text; making it takes time in proportion to the number of tables. */
  get cursor(): string {
    return stringifyCursor(this.#state);
  }

  /**
   * One round: what is there and was not given yet. A batch counts as given when it is handed out. Breaking off, or an error, loses nothing: the next round
   * goes on behind the last batch.
   *
   * @param upTo gives nothing beyond this commitTs either.
   * @throws MR_READER_BUSY, MR_CURSOR_OF_ANOTHER_TARGET, MR_TARGET_DAMAGED, MR_STORAGE_FILE_MALFORMED; MR_HISTORY_REMOVED when clean-up has removed changes of a
   * table that this reader had begun and not read
   */
  async *poll({ upTo }: ReadOptions = {}): AsyncGenerator<TableChanges> {
    if (this.#isPolling) throw new MillraceError('MR_READER_BUSY', { uri: this.#store.uri });
    this.#isPolling = true;
    try {
      const target = await StoredTarget.openBeyond(this.#store, this.#completeTs, upTo);
      if (target === null) return;
      this.#checkSource(target);
      this.#forget(target);
      for (const name of target.tables()) if (this.#isChosen(name.schema, name.table)) yield* this.#readOn(target, name);
      this.#completeTs = target.checkpointTs;
      const { checkpointTs } = this.#state;
      if (checkpointTs === null || target.checkpointTs! > checkpointTs) this.#state.checkpointTs = target.checkpointTs;
    } finally {
      this.#isPolling = false;
    }
  }

  /**
   * Round after round, until `signal` is aborted.
   *
   * @throws what `poll` throws, and then has ended; MR_INVALID_OPTION
   */
  async *follow({ interval = '2s', signal, clock = systemClock }: FollowOptions = {}): AsyncGenerator<TableChanges> {
    const intervalMs = parseDurationMs(interval, 'interval', { min: 10 });
    while (!signal?.aborted) {
      for await (const part of this.poll()) {
        yield part;
        if (signal?.aborted) return;
      }
      await clock.sleep(intervalMs, signal);
    }
  }

  async *#readOn(target: StoredTarget, name: TableName): AsyncGenerator<TableChanges> {
    const { tables } = this.#state;
    const key = `${name.schema}\0${name.table}`;
    const progress = tables.get(key) ?? { ...name, ...startOfTable() };
    for await (const part of tableHistory(target, name, progress)) {
      tables.set(key, progress);
      yield part;
    }
  }

  #checkSource({ source }: StoredTarget): void {
    const known = this.#state.source;
    if (known !== null && source !== known) {
      const reason = source === null ? 'it is of another source, or was written anew' : 'the target was written from another source';
      throw new MillraceError('MR_CURSOR_OF_ANOTHER_TARGET', { uri: this.#store.uri, reason });
    }
    this.#state.source = source;
  }

  /** Tables whose folder is gone. */
  #forget(target: StoredTarget): void {
    for (const [key, name] of this.#state.tables) if (!target.hasFolderOf(name)) this.#state.tables.delete(key);
  }
}
