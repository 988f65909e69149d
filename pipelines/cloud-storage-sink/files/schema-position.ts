import { MAX_ORDINAL, type Position } from '../../../lib/events/index.ts';
import { isCount, parseCommitTs, parseStoredJson } from '../../../lib/formats/storage-layout/index.ts';

/** Where a table version begins, which its schema file cannot say: readers order a TRUNCATE by it. */
export interface SchemaPosition extends Position {
  /** Readers clear the table first. */
  readonly startsEmpty: boolean;
}

/** `…/meta/schema_<version>_<checksum>.position`, beside the schema file and written before it. */
export function schemaPositionPath(schemaFile: string): string {
  return schemaFile.replace(/\.json$/, '.position');
}

/** `{"v":1,"commitTs":"N","ordinal":N,"startsEmpty":false}` */
export function stringifySchemaPosition({ commitTs, ordinal, startsEmpty }: SchemaPosition): string {
  return JSON.stringify({ v: 1, commitTs: String(commitTs), ordinal, startsEmpty });
}

/** Throws MR_STORAGE_FILE_MALFORMED. */
export function parseSchemaPosition(content: string, path: string): SchemaPosition {
  const { members, malformed } = parseStoredJson(content, path, 1);
  const { ordinal, startsEmpty } = members;
  const commitTs = parseCommitTs(members['commitTs']);
  if (commitTs === null) throw malformed('commitTs is no integer');
  if (!isCount(ordinal, MAX_ORDINAL)) throw malformed('ordinal is out of bounds');
  if (typeof startsEmpty !== 'boolean') throw malformed('startsEmpty is no boolean');
  return { commitTs, ordinal, startsEmpty };
}
