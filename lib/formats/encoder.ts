import type { ByteWriter, RowBlock, Table } from '../events/index.ts';

/**
 * A row format of the storage layout: row blocks to bytes. Encoders are synchronous, keep a plan for each table version (prefixes, column kinds)
 * and allocate nothing per row.
 */
export interface RowEncoder {
  /** `.json`, `.csv`. */
  readonly extension: string;
  /** The bytes that begin each file, or null. */
  header(table: Table): Buffer | null;
  /** Appends the rows of `block` (terminators included) to `out`. */
  encode(block: RowBlock, out: ByteWriter): void;
}

/** One change read back from a file. Values are text or null; a column that was not sent is absent. */
export interface DecodedRow {
  readonly op: 'I' | 'U' | 'D';
  /** 0 when the file does not carry it. */
  readonly commitTs: bigint;
  readonly old: Readonly<Record<string, string | null>> | null;
  readonly data: Readonly<Record<string, string | null>> | null;
}
