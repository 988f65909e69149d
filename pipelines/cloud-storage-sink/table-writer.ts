import { isMillraceError, MillraceError, reasonOf } from '../../lib/errors.ts';
import { type DdlEvent, firstPosition, formatPosition, type Table, type TruncateEvent, tableName } from '../../lib/events/index.ts';
import { dataDirectory, dateComponent, tableDirectory } from '../../lib/formats/storage-layout/index.ts';
import type { FlushReport } from '../../lib/runtime/sink.ts';
import type { Flush } from '../../operators/index.ts';
import { DataDirectory } from './data-directory.ts';
import type { EncodedRows } from './encoded-rows.ts';
import { effectiveVersion, writeSchemaFile } from './schema-versions.ts';
import type { Target } from './target.ts';

/**
 * Writes one target table, one call at a time. Flush acks run when data and index are durable, in order, then the gauge is released (spec storage-sink
 * §1, §3). It keeps the directory it writes to and nothing of earlier ones.
 */
export class TableWriter {
  readonly #target: Target;
  #version: { readonly table: Table; readonly effective: bigint } | null = null;
  #directory: DataDirectory | null = null;

  constructor(target: Target) {
    this.#target = target;
  }

  /**
   * One data file. Resolves to null when the rows were stale and discarded: they count as flushed. Nothing is acked once `isStopped`.
   *
   * @throws MR_SINK_WRITE_FAILED naming table, path and position, and nothing is acked; MR_FOREIGN_FILE, MR_SCHEMA_CONFLICT
   */
  async writeRows(flush: Flush<EncodedRows>, isStopped: () => boolean): Promise<FlushReport | null> {
    const { table, dispatcher } = flush.events[0]!;
    const directory = await this.#guarded(table, flush, () => this.#directoryOf(table));
    let report: FlushReport | null = null;
    if (directory === null) {
      const { version } = table;
      this.#target.context.logger.warn(
        { table: tableName(table), version },
        'discarded rows of a version that a later one has replaced at the target',
      );
    } else {
      const path = directory.nextFile;
      const header = flush.events[0]!.header;
      const parts = flush.events.flatMap(({ body }) => body);
      const runs = flush.events.map((event) => event.runs);
      const rows = flush.events.reduce((sum, event) => sum + event.rows, 0);
      const written = await this.#guarded(
        table,
        flush,
        () => directory.write(header === null ? parts : [header, ...parts], rows, runs),
        path,
      );
      report = { dispatcher, table: tableName(table), path, rows, bytes: written.bytes, reason: flush.reason };
    }
    if (isStopped()) return null;
    let bytes = 0;
    for (const event of flush.events) {
      this.#target.segments.release(event.body);
      event.ack.postFlush();
      bytes += event.bytes;
    }
    this.#target.context.gauge.release(bytes);
    return report;
  }

  /** The schema file of a DDL or TRUNCATE, whose rows before it are durable. Acks the event. */
  async writeSchema(event: DdlEvent | TruncateEvent, isStopped: () => boolean): Promise<FlushReport | null> {
    const { table, dispatcher } = event;
    this.#version = null;
    this.#directory = null;
    const { path, bytes } = await this.#guarded(table, event, () => writeSchemaFile(this.#target, event));
    if (isStopped()) return null;
    this.#version = { table, effective: table.version };
    event.ack.postFlush();
    return { dispatcher, table: tableName(table), path, rows: 0, bytes, reason: 'barrier' };
  }

  /** The directory that takes rows of `table` now, by the UTC date of the write; null when they are stale. */
  async #directoryOf(table: Table): Promise<DataDirectory | null> {
    if (this.#version === null || !isSameVersion(this.#version.table, table)) {
      const effective = await effectiveVersion(this.#target, table);
      if (effective === null) return null;
      this.#version = { table, effective };
    }
    const { effective } = this.#version;
    const { context, settings, paths } = this.#target;
    const path = dataDirectory(table, effective, dateComponent(context.clock.now(), settings.dateSeparator), paths);
    if (this.#directory?.path !== path) this.#directory = await DataDirectory.open(this.#target, path, table.dispatcher);
    return this.#directory;
  }

  async #guarded<T>(table: Table, what: Flush<EncodedRows> | DdlEvent | TruncateEvent, step: () => Promise<T>, path?: string): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (isMillraceError(error, 'MR_FOREIGN_FILE') || isMillraceError(error, 'MR_SCHEMA_CONFLICT')) throw error;
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

/** A source may describe a version again (after a reconnection): the number tells, the columns of a version never change. */
function isSameVersion(a: Table, b: Table): boolean {
  return a === b || (a.version === b.version && a.dispatcher === b.dispatcher);
}
