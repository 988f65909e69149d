import { type JsonValue, stringifyJson } from '../../../lib/formats/json.ts';
import { parseStoredJson } from '../../../lib/formats/storage-layout/index.ts';
import type { SinkSettings } from '../options.ts';

/** The object in which a target remembers its source and its row format. No table's folder can be called `meta`. */
export const TARGET_IDENTITY_PATH = 'meta/source.json';

export interface TargetIdentity {
  /** The source's identity, as the source gave it. */
  readonly identity: JsonValue;
  readonly format: TargetFormat;
}

/** What a reader must know to decode the files: the protocol and its options under their names of spec storage-sink §7. */
export type TargetFormat = { readonly protocol: string } & { readonly [option: string]: string | boolean };

/**
 * The options of `settings` that change what files look like, and the width of the numbers in their names: a file left behind the index under a name of
 * another width would not be found when the numbering goes on, and readers would meet two files of one number.
 */
export function targetFormatOf(settings: SinkSettings): TargetFormat {
  const { protocol, terminator, fileIndexDigits, csv } = settings;
  const common = { protocol, terminator, 'file-index-digit': String(fileIndexDigits), ...unusualPaths(settings) };
  if (protocol === 'canal-json') return common;
  return {
    ...common,
    delimiter: csv.delimiter,
    quote: csv.quote,
    null: csv.null,
    'include-commit-ts': csv.includeCommitTs,
    'binary-encoding-method': csv.binaryEncodingMethod,
    'output-old-value': csv.outputOldValue,
    'output-field-header': csv.outputFieldHeader,
  };
}

/**
 * What files are called where, and which columns' descriptions count as one: with another choice a run would not find what an earlier one wrote. Named only where
 * it is not the default, so that targets from before these options are what they were.
 */
function unusualPaths(settings: SinkSettings): { readonly [option: string]: boolean } {
  return {
    ...(!settings.enablePartitionSeparator && { 'enable-partition-separator': false }),
    ...(settings.useTableIdAsPath && { 'use-table-id-as-path': true }),
    ...(settings.enableTableAcrossNodes && { 'enable-table-across-nodes': true }),
    ...(settings.outputColumnId && { 'output-column-id': true }),
  };
}

export function stringifyTargetIdentity({ identity, format }: TargetIdentity): string {
  return `${stringifyJson({ v: 1, identity, format }, 2)}\n`;
}

/** Throws MR_STORAGE_FILE_MALFORMED. */
export function parseTargetIdentity(content: string): TargetIdentity {
  const { members, malformed } = parseStoredJson(content, TARGET_IDENTITY_PATH, 1);
  const { identity, format } = members as { identity?: JsonValue; format?: JsonValue };
  if (identity === undefined || typeof format !== 'object' || format === null || typeof (format as TargetFormat).protocol !== 'string') {
    throw malformed('identity or format is missing');
  }
  return { identity, format: format as TargetFormat };
}

/** One text for one value, whatever the order of its members. */
export function canonicalText(value: JsonValue): string {
  return stringifyJson(sorted(value));
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map(sorted);
  if (value === null || typeof value !== 'object') return value;
  const members = Object.entries(value as { readonly [key: string]: JsonValue | undefined }).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([key, member]) => [key, member === undefined ? undefined : sorted(member)]));
}
