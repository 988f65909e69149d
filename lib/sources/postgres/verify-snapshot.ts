import { MillraceError } from '../../errors.ts';
import { type ColumnValue, dispatcherOfTable, RowCursor, type Table } from '../../events/index.ts';
import { type Clock, type Logger, silentLogger, systemClock } from '../../flow/index.ts';
import { CAPTURABLE, readPublication, readPublishedTables, readServer, readTables } from './catalog.ts';
import { ControlConnection } from './connection.ts';
import { postgresSettings } from './options.ts';
import { tableOf, versionFromCatalog } from './schema-history.ts';
import { openSnapshotAt } from './snapshot-reader.ts';

export interface SourceSnapshotOptions {
  /** Patterns of tables; default: all that are published, or every user table where there is no publication. */
  readonly tables?: readonly string[];
  /** Its row filters and column lists apply (P4), if it exists. Default `millrace`. */
  readonly publication?: string;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** The source's tables as they are for transactions with a commitTs below `consistentPoint` (S). */
export interface SourceSnapshot {
  readonly consistentPoint: bigint;
  /** Whether there is a publication of this name; without it every user table counts. */
  readonly isPublished: boolean;
  readonly tables: readonly Table[];
  /** Rows in batches, each in the order of `table.columns`, as PostgreSQL's text under the pinned settings (P8). One table at a time. */
  rows(table: Table): AsyncIterable<(string | null)[][]>;
  close(): Promise<void>;
}

/**
 * Opens a consistent snapshot of the source, for comparing: the same sessions, settings, filters and COPY as a capture uses.
 *
 * @throws MR_NO_TABLES when no table matches, and what connecting throws.
 */
export async function openSnapshot(url: string, options: SourceSnapshotOptions = {}): Promise<SourceSnapshot> {
  const { publication = 'millrace', clock = systemClock, logger = silentLogger, tables } = options;
  const settings = postgresSettings({ url, publication, ...(tables === undefined ? {} : { tables }) });
  const connect = { ...settings, applicationName: 'millrace verify', clock };
  const control = new ControlConnection(connect);
  try {
    const { versionNumber } = await readServer(control.query);
    const common = {
      connect,
      query: control.query,
      slot: 'millrace_verify',
      versionNumber,
      clock,
      logger,
      signal: new AbortController().signal,
    };
    const snapshot = await openSnapshotAt(common, 1);
    const reader = snapshot.readers[0]!;
    try {
      const exists = (await readPublication(control.query, publication)) !== null;
      const published = exists ? await readPublishedTables(control.query, publication, versionNumber) : null;
      const candidates = published?.map(({ oid }) => oid) ?? (await readTables(control.query, CAPTURABLE)).map(({ oid }) => oid);
      const catalogs = (await reader.tables(candidates)).filter(({ schema, name }) => settings.isWanted(schema, name));
      if (catalogs.length === 0) {
        throw new MillraceError('MR_NO_TABLES', { database: settings.database, patterns: settings.tables?.join(', ') ?? '*.*' });
      }
      const entries = new Map(
        catalogs.map((catalog) => {
          const generated = new Set(catalog.columns.filter((column) => column.generated !== '').map(({ name }) => name));
          const names = catalog.columns.filter(({ isDropped, name }) => !isDropped && !generated.has(name)).map(({ name }) => name);
          const entry = published?.find(({ oid }) => oid === catalog.oid) ?? {
            ...{ oid: catalog.oid, schema: catalog.schema, name: catalog.name, entry: null, columns: names, rowFilter: null },
          };
          const version = versionFromCatalog(catalog, entry.columns, snapshot.consistentPoint - 1n);
          return [tableOf(dispatcherOfTable('verify', catalog.oid), catalog.oid, version), { catalog, entry }] as const;
        }),
      );
      return {
        consistentPoint: snapshot.consistentPoint,
        isPublished: exists,
        tables: [...entries.keys()],
        async *rows(table) {
          const { catalog, entry } = entries.get(table)!;
          const cursor = new RowCursor();
          for await (const block of reader.rows(catalog, entry, table, snapshot.consistentPoint - 1n, 0n)) {
            const batch: (string | null)[][] = [];
            for (let i = 0; i < block.rowCount; i++) {
              const row = cursor.moveTo(block, i);
              batch.push(table.columns.map(({ name }) => (row.get(name) as ColumnValue) ?? null));
            }
            yield batch;
          }
        },
        async close() {
          await snapshot.close();
          await control.close();
        },
      };
    } catch (error) {
      snapshot.destroy();
      throw error;
    }
  } catch (error) {
    await control.close();
    throw error;
  }
}
