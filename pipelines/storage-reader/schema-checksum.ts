import { crc32 } from 'node:zlib';
import { type JsonValue, stringifyJson } from '../../lib/formats/json.ts';
import { type SchemaFile, schemaChecksum } from '../../lib/formats/storage-layout/index.ts';

/**
 * Whether a schema file's content is what the checksum in its name was made of.
 *
 * Text that is no UTF-8 stands in the file as `\ufffd`, six characters, and upstream's writer hashes these; read back it is the one character U+FFFD, which is written
 * as itself. Upstream's consumer panics there (spec storage-sink §12, tiflow 9288): here either counts.
 */
export function hasChecksum(file: SchemaFile, checksum: number): boolean {
  return schemaChecksum(file) === checksum || escapedChecksum(file) === checksum;
}

function escapedChecksum(file: SchemaFile): number | null {
  const columns = [...file.TableColumns].sort((a, b) => Buffer.compare(Buffer.from(a.ColumnName), Buffer.from(b.ColumnName)));
  const hashed = { Table: file.Table, Schema: file.Schema, Version: 0, TableColumns: columns, TableColumnsTotal: columns.length };
  const text = stringifyJson(hashed as unknown as JsonValue, 4);
  return text.includes('\ufffd') ? crc32(text.replaceAll('\ufffd', '\\ufffd')) : null;
}
