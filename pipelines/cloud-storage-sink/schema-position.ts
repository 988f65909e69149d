import { MillraceError } from '../../lib/errors.ts';
import { MAX_ORDINAL, type Position } from '../../lib/events/index.ts';
import { parseJson } from '../../lib/formats/json.ts';

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
  const malformed = (reason: string, cause?: unknown) => new MillraceError('MR_STORAGE_FILE_MALFORMED', { path, reason }, cause);
  let value: unknown;
  try {
    value = parseJson(content);
  } catch (error) {
    throw malformed('it is no JSON', error);
  }
  const { v, commitTs, ordinal, startsEmpty } = (value ?? {}) as Record<string, unknown>;
  if (v !== 1) throw malformed('its version is not 1');
  if (typeof commitTs !== 'string' || !/^\d{1,20}$/.test(commitTs)) throw malformed('commitTs is no integer');
  if (typeof ordinal !== 'number' || !Number.isSafeInteger(ordinal) || ordinal < 0 || ordinal > MAX_ORDINAL)
    throw malformed('ordinal is out of bounds');
  if (typeof startsEmpty !== 'boolean') throw malformed('startsEmpty is no boolean');
  return { commitTs: BigInt(commitTs), ordinal, startsEmpty };
}
