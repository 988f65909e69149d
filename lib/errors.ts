/**
 * Every error Millrace raises, in one table: code, message, remedy. `docs/errors.md` is made from it.
 *
 * A message may name details as `{detail}`; whoever raises the error passes them. Details never hold a secret: connection URLs go through
 * `redactUrl` before they come here.
 */
export const ERRORS = {
  MR_INVALID_OPTION: {
    message: 'option {option} is {value}; it must be {bound}',
    remedy: 'Correct the option.',
  },
  MR_OUT_OF_ORDER: {
    message: 'stage {stage} emitted position {position} after {previous} for {dispatcher}',
    remedy: 'A stage must keep the order of the events it receives; nothing inside a transaction may be reordered.',
  },
  MR_STAGE_FAILED: {
    message: 'stage {stage} failed at position {position}, table {table}: {reason}',
    remedy: 'Correct the stage; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_UNKNOWN_COLUMN: {
    message: 'table {table} has no column {column}; it has {columns}',
    remedy: 'Correct the column name; names are exact, case included.',
  },
  MR_COUNTER_OVERFLOW: {
    message: '{counter} would exceed {bound}',
    remedy: 'Report this: a bound of the event model was met.',
  },
  MR_STAGE_CONTRACT: {
    message: 'stage {stage} {what} (position {position}, table {table})',
    remedy: 'A stage emits exactly one delivery, perhaps empty, for each that it receives, in order: perEvent and lift make such stages.',
  },
  MR_SOURCE_FAILED: {
    message: 'source {source} failed: {reason}',
    remedy: 'Remove the cause and start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_SINK_FAILED: {
    message: 'sink {sink} failed: {reason}',
    remedy: 'Remove the cause and start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_CHECKPOINT_FAILED: {
    message: 'the checkpoint of pipeline {pipeline} could not be handed on ({where}): {reason}',
    remedy: 'Remove the cause and start again; the run resumes from the checkpoint before it and nothing is lost.',
  },
  MR_DRAIN_TIMEOUT: {
    message: 'the stop took longer than {timeout}: {pendingEvents} events ({pendingBytes}) are not flushed, the checkpoint is {checkpointTs}',
    remedy: 'See whether the target answers, or allow more time (--drain-timeout); the next start resumes from the checkpoint and nothing is lost.',
  },
  MR_PGOUTPUT_MALFORMED: {
    message: 'a logical replication message ({message}) is malformed at its byte {offset}: {reason}',
    remedy: 'The run resumes from its checkpoint; if it happens again, check what stands between Millrace and the server, and report the server version.',
  },
  MR_PGOUTPUT_BINARY: {
    message: 'column {column} of a tuple of relation {relationId} came in binary form; rows are read as text',
    remedy: 'Start replication without the option `binary`.',
  },
  MR_COPY_MALFORMED: {
    message: 'a COPY row is malformed at its byte {offset}: {reason}',
    remedy: 'The snapshot of the table is taken again; if it happens again, check what stands between Millrace and the server, and report the server version.',
  },
  MR_CSV_UNCHANGED_TOAST: {
    message: 'csv cannot write column {column} of table {table} at position {position}: its TOASTed value did not change and the source left it out',
    remedy: 'Run ALTER TABLE {table} REPLICA IDENTITY FULL, or use the canal-json protocol',
  },
  MR_ROW_MALFORMED: {
    message: '{format} row {row} is malformed: {reason}',
    remedy: 'The file was cut or changed, or the reader was given other format options than the writer had',
  },
  MR_STORAGE_FILE_MALFORMED: {
    message: '{path} is malformed: {reason}',
    remedy: 'Restore the file, or capture into an empty target',
  },
  MR_STORAGE_INVALID_FILE_NAME: {
    message: 'filename in storage sink is invalid: "{name}"',
    remedy: 'Only Millrace may write below the target',
  },
  MR_STORAGE_INVALID_PATH: {
    message: 'cannot match {kind} path pattern for "{path}"',
    remedy: 'Only Millrace may write below the target; check that the reader has the date-separator of the writer',
  },
  MR_UNKNOWN_OPTION: {
    message: 'unknown option {option} of {owner}',
    remedy: 'It may be one of: {known}.',
  },
  MR_TARGET_OF_ANOTHER_SOURCE: {
    message: 'target {uri} was written from another source: it remembers {remembered}, this is {source}',
    remedy: 'Write to a new place, or go on with the source that this target belongs to.',
  },
  MR_TARGET_OF_ANOTHER_FORMAT: {
    message: 'target {uri} was written with {remembered}, this run would write {format}',
    remedy: 'Keep the row format of a target, or write to a new place.',
  },
  MR_TARGET_DAMAGED: {
    message: '{path} of target {uri} is damaged: {reason}',
    remedy: 'Restore the object, or capture into a new place.',
  },
  MR_FOREIGN_FILE: {
    message: '{path} of target {uri} is in the way: {reason}. It is neither shown nor overwritten',
    remedy: 'See that nobody else writes to this target; if the file is a leftover, move it away. The next start resumes from the checkpoint.',
  },
  MR_SCHEMA_CONFLICT: {
    message: 'version {version} of table {table} is at the target with other columns ({path})',
    remedy: 'Stages that choose columns or names were changed: write to a new place, or take the table again (--resnapshot {table}).',
  },
  MR_TABLES_COLLIDE: {
    message: 'tables {table} and {other} are both routed to {target}',
    remedy: 'Route each table to a name of its own.',
  },
  MR_SINK_WRITE_FAILED: {
    message: 'cannot write {path} of table {table}, position {position}: {reason}',
    remedy: 'Remove the cause and start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_UNSUPPORTED_EVENT: {
    message: 'sink {sink} cannot write a {event} event',
    remedy: 'Take such events off with a stage.',
  },
  MR_UNKNOWN_TABLE: {
    message: 'target {uri} has no table {table} up to checkpoint {checkpoint}',
    remedy: 'It has: {tables}.',
  },
  MR_STOPPED: {
    message: 'pipeline {pipeline} was stopped',
    remedy: 'Start it again; it resumes from its checkpoint.',
  },
} as const satisfies Record<string, { message: string; remedy: string }>;

export type ErrorCode = keyof typeof ERRORS;
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean | null | undefined>>;

/** An error of the table above. `code` is stable; `message` ends with the remedy; `details` are the values it names. */
export class MillraceError extends Error {
  override readonly name = 'MillraceError';
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, details: ErrorDetails = {}, cause?: unknown) {
    const { message, remedy } = ERRORS[code];
    super(`${code}: ${fill(message, details)}. ${fill(remedy, details)}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = fill(remedy, details);
    this.details = details;
  }
}

/** Whether `error` is a Millrace error, of the given code if one is given. */
export function isMillraceError(error: unknown, code?: ErrorCode): error is MillraceError {
  return error instanceof MillraceError && (code === undefined || error.code === code);
}

/** What went wrong, for a message: an error's own message, anything else as text. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name]));
}
