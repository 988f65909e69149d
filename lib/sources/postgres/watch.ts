import { MillraceError, reasonOf } from '../../errors.ts';
import type { Clock, Logger } from '../../flow/index.ts';
import type { CapturedTables } from './captured-tables.ts';
import {
  oidsIn,
  readCapturable,
  readPublication,
  readPublishedTables,
  readSlot,
  readTableMarks,
  readTables,
  readWalEnd,
  readWalPosition,
} from './catalog.ts';
import type { Query } from './connection.ts';
import { readCarrier } from './ddl-text.ts';
import type { PostgresSettings } from './options.ts';
import { addTables, displayName, identityProblems, isOwned, publicationGap } from './publication.ts';
import { provokeMark } from './slot.ts';
import type { PostgresState } from './state.ts';

export interface WatchOptions {
  readonly settings: PostgresSettings;
  readonly state: PostgresState;
  readonly captured: CapturedTables;
  readonly query: Query;
  readonly versionNumber: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Stores the state: durable when it resolves. */
  save(): Promise<void>;
  /** Tables are published that the state does not know. */
  onJoin(): void;
  /** The run cannot go on. */
  onFailure(error: unknown): void;
}

/**
 * Looks at the server on a timer, beside the stream: the publication (P4), the tables (P6), tables that should join, and how much WAL the slot holds back.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #warned = new Set<string>();
  /** oids of tables that our role may not add to the publication: tried once a run. */
  readonly #refused = new Set<number>();
  /** By oid: the catalog as it was when the table was last compared. */
  #marks = new Map<number, string>();
  #cancel = () => {};
  #looking: Promise<void> | null = null;
  #isClosed = false;
  #retainedBytes: number | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** WAL that the slot made the server keep at the last look; null before the first. */
  get retainedBytes(): number | null {
    return this.#retainedBytes;
  }

  /** Looks now; a look that is under way counts. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => {
        // A server that cannot be asked is the stream's affair: it notices, and it connects again.
        if (!this.#isClosed) this.#options.logger.warn({ reason: reasonOf(error) }, 'the catalog could not be compared');
      })
      .finally(() => {
        this.#looking = null;
      });
    return this.#looking;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    const { clock, settings } = this.#options;
    this.#cancel = clock.after(settings.watchIntervalMs, () => {
      this.look().then(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const { settings, state, query, versionNumber, captured } = this.#options;
    const name = settings.publication;
    const before = await readWalPosition(query);
    const publication = await readPublication(query, name);
    const published = await readPublishedTables(query, name, versionNumber);
    const followed = state.tables.filter(({ status }) => status !== 'left').map(({ oid }) => oid);
    const marks = await readTableMarks(query, followed);
    const changed = marks.filter(({ oid, mark }) => this.#marks.get(oid) !== mark).map(({ oid }) => oid);
    const present = await readTables(query, oidsIn(changed));
    const look = { before, after: await readWalEnd(query) };
    if (this.#isClosed) return;
    const waiting = new Set(state.tables.filter(({ wantsSnapshot }) => wantsSnapshot).map(({ oid }) => oid));
    const reason = publicationGap(state, publication, published, marks, waiting);
    if (reason !== null) {
      this.#options.onFailure(new MillraceError('MR_PUBLICATION_GAP', { publication: name, reason }));
      return;
    }
    const existing = new Set(marks.map(({ oid }) => oid));
    const dropped = followed.filter((oid) => !existing.has(oid) && captured.stateOf(oid)?.droppedBefore === null);
    for (const oid of dropped) captured.dropped(oid, look);
    let hasChanged = dropped.length > 0;
    for (const table of present) {
      const known = captured.stateOf(table.oid);
      if (known === null || known.status !== 'captured' || known.wantsSnapshot) continue;
      const seen = JSON.stringify(known.seen?.columns);
      hasChanged = !captured.compare(table.oid, table, look) || seen !== JSON.stringify(known.seen?.columns) || hasChanged;
    }
    if (hasChanged) await this.#options.save();
    const columns = new Map(published.map((table) => [table.oid, table.columns]));
    for (const table of present) {
      const listed = columns.get(table.oid);
      if (listed !== undefined) captured.expect(table.oid, table, listed, look);
    }
    // The marks are older than what was read: a change between is looked at again. So is what was not taken up.
    const taken = new Set(present.filter((table) => captured.stateOf(table.oid)?.seen === table).map(({ oid }) => oid));
    const settled = marks.filter(({ oid, mark }) => captured.isSettled(oid) && (taken.has(oid) || this.#marks.get(oid) === mark));
    this.#marks = new Map(settled.map(({ oid, mark }) => [oid, mark]));
    // What the stream is to decide, it decides at a mark behind this look; on a quiet server none may come by itself.
    if (followed.some((oid) => !captured.isSettled(oid))) await provokeMark(query);
    const unknown = published.some((table) => settings.isWanted(table.schema, table.name) && captured.stateOf(table.oid) === null);
    const isOurs = publication !== null && isOwned(publication, settings.slot);
    if ((await this.#addNewTables(new Set(published.map(({ oid }) => oid)), isOurs)) || unknown) this.#options.onJoin();
    await this.#checkRetention();
    await this.#checkCarrier();
  }

  /** Returns whether any was added. */
  async #addNewTables(published: ReadonlySet<number>, isOurs: boolean): Promise<boolean> {
    const { settings, query, versionNumber, logger } = this.#options;
    const lacking = (await readCapturable(query)).filter(
      ({ oid, schema, name }) => settings.isWanted(schema, name) && !published.has(oid) && !this.#refused.has(oid),
    );
    if (lacking.length === 0 || (!isOurs && settings.tables === null)) return false;
    if (!isOurs) {
      for (const table of lacking) {
        if (this.#isNews(`lacks ${table.oid}`))
          logger.warn({ table: displayName(table) }, 'a table that is to join is not in the publication; it is not captured');
      }
      return false;
    }
    const joining = (await readTables(query, oidsIn(lacking.map(({ oid }) => oid)))).filter((table) => {
      const problem = identityProblems(table, null, versionNumber);
      if (problem === null) return true;
      if (this.#isNews(`identity ${table.oid}`)) {
        logger.warn({ table: displayName(table), problem }, 'a table that is to join has no usable replica identity; it is not captured');
      }
      return false;
    });
    for (const { table, error } of await addTables(query, settings.publication, joining)) {
      this.#refused.add(table.oid);
      logger.warn(
        { table: displayName(table), reason: error.details['reason'] },
        'a table that is to join cannot be added to the publication; it is not captured',
      );
    }
    const joined = joining.filter(({ oid }) => !this.#refused.has(oid));
    for (const table of joined) logger.info({ table: displayName(table) }, 'a table joins');
    return joined.length > 0;
  }

  async #checkRetention(): Promise<void> {
    const { settings, query, versionNumber, logger } = this.#options;
    const slot = await readSlot(query, settings.slot, versionNumber);
    if (slot === null) return;
    const { retainedBytes, walStatus } = slot;
    this.#retainedBytes = retainedBytes;
    const isTooMuch = retainedBytes > settings.maxWalBytes;
    if (isTooMuch && this.#isNews('wal')) {
      logger.warn(
        { slot: settings.slot, retainedBytes, maxWalBytes: settings.maxWalBytes, walStatus },
        'the slot makes the server keep much WAL',
      );
    }
    if (!isTooMuch) this.#warned.delete('wal');
  }

  /** The text of schema changes is no part of what must not be lost: the run goes on without it. */
  async #checkCarrier(): Promise<void> {
    const { settings, query, versionNumber, logger } = this.#options;
    if (!settings.ddlText) return;
    const { slot, publication } = settings;
    const carrier = await readCarrier(query, { slot, publication, versionNumber });
    if (carrier === 'present') this.#warned.delete('carrier');
    else if (this.#isNews('carrier')) {
      logger.warn(
        { slot },
        'the event triggers that carry the text of schema changes were dropped, disabled or changed; a new start installs them',
      );
    }
  }

  #isNews(key: string): boolean {
    if (this.#warned.has(key)) return false;
    this.#warned.add(key);
    return true;
  }
}
