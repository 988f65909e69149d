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
  /** Appends the rows of `block` (terminators included) to `out`. Gives the CRC-32 of what it appended, if it has it; else null. */
  encode(block: RowBlock, out: ByteWriter): number | null;
}

/**
 * One change read back from a file. Values are text or null; a column that was not sent is absent. An insert has `data`, an update has `data` and
 * `old` (empty when the source sent no old image; in csv null without `output-old-value`), a delete has `old` alone: what was deleted, or its key.
 */
export interface DecodedRow {
  readonly op: 'I' | 'U' | 'D';
  /** 0 when the file does not carry it. */
  readonly commitTs: bigint;
  readonly old: Readonly<Record<string, string | null>> | null;
  readonly data: Readonly<Record<string, string | null>> | null;
}

/** Reads a row format back. */
export interface RowDecoder {
  /** `.json`, `.csv`. */
  readonly extension: string;
  /**
   * The changes of one data file, in file order, in batches; memory is bounded by a chunk and a row. `columns` are the names of the table version's
   * columns in order (canal-json names them itself). One `DecodedRow` for each row of the encoded block, also where csv writes an update as two lines.
   * Throws MR_ROW_MALFORMED.
   */
  decode(columns: readonly string[], chunks: AsyncIterable<Uint8Array>): AsyncIterable<DecodedRow[]>;
  /** The text that `decode` gives for a column of the source's `type` (`Column.type`) whose value the source prints as `text`. */
  fromSourceText(type: string, text: string): string;
}
