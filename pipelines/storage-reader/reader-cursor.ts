import { MillraceError, reasonOf } from '../../lib/errors.ts';
import { MAX_ORDINAL } from '../../lib/events/index.ts';
import { isCount, parseCommitTs } from '../../lib/formats/storage-layout/index.ts';
import { NOTHING_YET, type TableProgress } from './table-history.ts';
import type { TableName } from './table-name.ts';

/** What a reader remembers. */
export interface ReaderState {
  /** Which source the target says it was written from; null while it has not said so. */
  source: string | null;
  /** The checkpoint of the last round that came to its end. */
  checkpointTs: bigint | null;
  /** By `schema\0table`. */
  readonly tables: Map<string, TableName & TableProgress>;
}

/** A cursor's text: JSON. It grows with the tables and with the data folders of the version that each is at. */
export function stringifyCursor({ source, checkpointTs, tables }: ReaderState): string {
  return JSON.stringify({
    v: 1,
    source,
    checkpointTs: checkpointTs === null ? null : String(checkpointTs),
    tables: [...tables.values()].map(({ schema, table, version, at, files }) => ({
      schema,
      table,
      version: version === null ? null : String(version),
      at: at.commitTs < 0n ? null : [String(at.commitTs), at.ordinal],
      files: [...files],
    })),
  });
}

/** Reads a cursor's text; without one, the beginning. Throws MR_CURSOR_MALFORMED. */
export function parseCursor(text: string | null): ReaderState {
  if (text === null) return { source: null, checkpointTs: null, tables: new Map() };
  const cursor = recordOf(jsonOf(text));
  if (cursor['v'] !== 1) throw malformed('its version is not 1');
  const { source, checkpointTs, tables } = cursor;
  if (source !== null && typeof source !== 'string') throw malformed('source is no text');
  if (!Array.isArray(tables)) throw malformed('tables is no list');
  const parsed = tables.map(tableOf);
  return {
    source,
    checkpointTs: checkpointTs === null ? null : numberOf(checkpointTs, 'checkpointTs'),
    tables: new Map(parsed.map((table) => [`${table.schema}\0${table.table}`, table])),
  };
}

function tableOf(value: unknown): TableName & TableProgress {
  const { schema, table, version, at, files } = recordOf(value);
  if (typeof schema !== 'string' || typeof table !== 'string') throw malformed('a table has no name');
  if (!Array.isArray(files)) throw malformed('files is no list');
  return {
    schema,
    table,
    version: version === null ? null : numberOf(version, 'version'),
    at: at === null ? NOTHING_YET : positionOf(at),
    files: new Map(
      files.map((entry: unknown) => {
        const [name, number] = Array.isArray(entry) ? (entry as unknown[]) : [];
        if (typeof name !== 'string' || !isCount(number)) throw malformed('an entry of files is no [name, number]');
        return [name, number];
      }),
    ),
  };
}

function positionOf(value: unknown) {
  const [commitTs, ordinal] = Array.isArray(value) ? (value as unknown[]) : [];
  if (!isCount(ordinal, MAX_ORDINAL)) throw malformed('at is no [commitTs, ordinal]');
  return { commitTs: numberOf(commitTs, 'at'), ordinal };
}

function numberOf(value: unknown, name: string): bigint {
  const number = parseCommitTs(value);
  if (number === null) throw malformed(`${name} is no integer`);
  return number;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw malformed('it is no object');
  return value as Readonly<Record<string, unknown>>;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed(`it is no JSON: ${reasonOf(error)}`, error);
  }
}

function malformed(reason: string, cause?: unknown): MillraceError {
  return new MillraceError('MR_CURSOR_MALFORMED', { reason }, cause);
}
