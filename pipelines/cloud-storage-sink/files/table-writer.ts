import { isMillraceError, MillraceError, reasonOf } from '../../../lib/errors.ts';
import {
  type DdlEvent,
  type DispatcherId,
  firstPosition,
  formatPosition,
  type Table,
  type TruncateEvent,
  tableName,
} from '../../../lib/events/index.ts';
import { dataDirectory, indexFilePath, tableDirectory } from '../../../lib/formats/storage-layout/index.ts';
import type { FlushReport } from '../../../lib/runtime/sink.ts';
import type { Flush } from '../../../operators/index.ts';
import { DataDirectory } from '../../storage-writer/data-directory.ts';
import type { WriteMeter } from '../metrics.ts';
import type { SpooledRows } from '../rows/spool-rows.ts';
import type { Target } from '../target.ts';
import { contentOf, spoolFailureIn } from './file-content.ts';
import { goOverTo, readOpenFolder } from './open-folder.ts';
import { effectiveVersion, writeSchemaFile } from './schema-versions.ts';

/**
 * Writes one target table, one call at a time, or the next file while the one before it is published. Flush acks run when data and index are durable, in order,
 * and the spool lets go of the rows (spec storage-sink §1, §3). A table has one dispatcher, or several where its partitions or spans come apart. Of each the writer keeps the directory it writes to and nothing of
 * earlier ones; of those that have not written for longest it forgets all, and reads it from the target when they do (spec storage-sink §10).
 */
export class TableWriter {
  readonly #target: Target;
  readonly #meter: WriteMeter;
  /** In the order of their last writes. */
  readonly #places = new Map<DispatcherId, Place>();
  /** The folders that are written to, by version and date-less index: dispatchers whose names of files do not tell them apart share the numbering too. */
  readonly #directories = new Map<string, DataDirectory>();
  /** Where the file before went. */
  #written: DataDirectory | null = null;
  /** Until that is published, or has failed. */
  #publishing: Promise<void> = Promise.resolve();

  constructor(target: Target, meter: WriteMeter) {
    this.#target = target;
    this.#meter = meter;
  }

  /**
   * One data file. Resolves to null when the rows were stale and discarded: they count as flushed. Nothing is acked once `isStopped`. `handOn` is called when
   * rows may come next whose file is begun while this one is published.
   *
   * @throws MR_SINK_WRITE_FAILED naming table, path and position, and nothing is acked; MR_FOREIGN_FILE, MR_STALE_EPOCH, MR_SCHEMA_CONFLICT, MR_INVALID_OPTION;
   * MR_SPOOL_CORRUPT, MR_SPOOL_FAILED: nothing of that file is published
   */
  async writeRows(flush: Flush<SpooledRows>, isStopped: () => boolean, handOn: () => void): Promise<FlushReport | null> {
    const { table, dispatcher } = flush.events[0]!;
    this.#checkPartition(table);
    const directory = await this.#guarded(table, flush, () => this.#directoryOf(table));
    let report: FlushReport | null = null;
    if (directory === null) {
      const { version } = table;
      this.#target.context.logger.warn(
        { table: tableName(table), version },
        'discarded rows of a version that a later one has replaced at the target',
      );
      this.#target.context.events.record('stale_rows_discarded', () => ({ table: tableName(table), version, rows: rowsOf(flush) }));
      this.#meter.discarded(flush);
      await this.#target.drafts.take(flush.events)?.discard();
    } else {
      const path = directory.nextFile;
      const { clock, events } = this.#target.context;
      const startedMs = clock.now();
      const content = contentOf(this.#target, flush);
      const { rows, bytes } = content;
      const write = () => {
        const writing = this.#guarded(table, flush, () => directory.write(content, dispatcher, handOn), path);
        this.#publishing = writing.catch(() => {});
        return writing;
      };
      await events.timed('write_file', () => ({ table: tableName(table), path, rows, bytes }), write);
      report = { dispatcher, table: tableName(table), path, rows, bytes, reason: flush.reason };
      this.#meter.wrote(report, clock.now() - startedMs);
    }
    if (isStopped()) return null;
    this.#target.spool.flushed(flush.events.map(({ entry }) => entry));
    return report;
  }

  /** The schema file of a DDL or TRUNCATE, whose rows before it are durable. Acks the event. */
  async writeSchema(event: DdlEvent | TruncateEvent, isStopped: () => boolean): Promise<FlushReport | null> {
    const { table, dispatcher } = event;
    this.#places.clear();
    this.#directories.clear();
    const write = () => this.#guarded(table, event, () => writeSchemaFile(this.#target, event));
    const details = () => ({ table: tableName(table), version: table.version });
    const { clock, events } = this.#target.context;
    const startedMs = clock.now();
    const { path, bytes } = await events.timed('write_schema', details, write);
    this.#meter.wroteSchema(event, clock.now() - startedMs);
    if (isStopped()) return null;
    this.#places.set(table.dispatcher, { table, effective: table.version, numbering: null });
    event.ack.postFlush();
    return { dispatcher, table: tableName(table), path, rows: 0, bytes, reason: 'barrier' };
  }

  /** The directory that takes rows of `table` now, by the UTC date of the write; null when they are stale. */
  async #directoryOf(table: Table): Promise<DataDirectory | null> {
    const { dispatcher } = table;
    const known = this.#places.get(dispatcher);
    const isKnown = known !== undefined && isSameVersion(known.table, table);
    const effective = isKnown ? known.effective : await effectiveVersion(this.#target, table);
    if (effective === null) return null;
    const { cleanUp, paths } = this.#target;
    const date = cleanUp.dateOfWrite();
    const path = dataDirectory(table, effective, date, paths);
    const numbering = indexFilePath(dataDirectory(table, effective, '', paths), dispatcher, paths);
    this.#places.delete(dispatcher);
    this.#places.set(dispatcher, { table, effective, numbering });
    // Of nothing else is a directory left over: a place that is new, or follows a change of schema, had none.
    const isOneTooMany = this.#places.size > PLACES_MAX;
    if (isOneTooMany) this.#places.delete(this.#places.keys().next().value!);
    if (isOneTooMany || (known?.numbering ?? numbering) !== numbering) this.#forgetDirectories();
    let directory = this.#directories.get(numbering);
    // Only files of one directory are published behind each other whatever happens.
    if (directory?.path !== path || directory !== this.#written) await this.#publishing;
    if (directory?.path !== path) {
      const target = this.#target;
      const opening = DataDirectory.open(target, path, dispatcher);
      const [opened, before] = await Promise.all([opening, readOpenFolder(target, table, effective)]);
      await goOverTo({ target, table, effective, date }, before);
      directory = opened;
      this.#directories.set(numbering, directory);
    }
    this.#written = directory;
    return directory;
  }

  /** In one folder and under one numbering nothing tells partitions apart: readers would take rows of one for repeated rows of another (tiflow #8724). */
  #checkPartition(table: Table): void {
    const { enablePartitionSeparator, useTableIdAsPath, enableTableAcrossNodes } = this.#target.paths;
    if (table.isPartition !== true || enablePartitionSeparator || useTableIdAsPath || enableTableAcrossNodes) return;
    const bound = `true for ${tableName(table)}, whose partitions come one by one, unless enable-table-across-nodes or use-table-id-as-path is`;
    throw new MillraceError('MR_INVALID_OPTION', { option: 'enable-partition-separator', value: 'false', bound });
  }

  #forgetDirectories(): void {
    const used = new Set(Array.from(this.#places.values(), ({ numbering }) => numbering));
    for (const numbering of this.#directories.keys()) if (!used.has(numbering)) this.#directories.delete(numbering);
  }

  async #guarded<T>(table: Table, what: Flush<SpooledRows> | DdlEvent | TruncateEvent, step: () => Promise<T>, path?: string): Promise<T> {
    try {
      return await step();
    } catch (error) {
      const ofSpool = spoolFailureIn(error);
      if (ofSpool !== null) throw ofSpool;
      if (AS_THEY_ARE.some((code) => isMillraceError(error, code))) throw error;
      const position = 'events' in what ? what.events[0]!.runs.first : firstPosition(what);
      const details = {
        path: path ?? tableDirectory(table, this.#target.paths),
        table: tableName(table),
        position: formatPosition(position),
        reason: reasonOf(error),
      };
      throw new MillraceError('MR_SINK_WRITE_FAILED', details, error);
    }
  }
}

function rowsOf({ events }: Flush<SpooledRows>): number {
  return events.reduce((sum, { rows }) => sum + rows, 0);
}

/** Errors that say themselves what is wrong, and where. */
const AS_THEY_ARE = ['MR_FOREIGN_FILE', 'MR_SCHEMA_CONFLICT', 'MR_STALE_EPOCH'] as const;

/** Where a dispatcher writes. */
interface Place {
  readonly table: Table;
  /** The version whose directory takes the rows. */
  readonly effective: bigint;
  /** Under which its files are numbered; null while nothing has been written there. */
  readonly numbering: string | null;
}

/** Dispatchers of one table that are remembered. */
const PLACES_MAX = 256;

/** A source may describe a version again (after a reconnection): the number tells, the columns of a version never change. */
function isSameVersion(a: Table, b: Table): boolean {
  return a === b || (a.version === b.version && a.dispatcher === b.dispatcher);
}
