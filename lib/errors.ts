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
  MR_EMPTY_BLOCK: {
    message: 'a block of table {table} was left without rows',
    remedy: 'A stage that keeps no row of a block drops the event (return DROP) instead of making an empty block.',
  },
  MR_INVALID_VALUE: {
    message: 'column {column} of table {table} was set to {kind}; it takes text or null',
    remedy: 'Return the value as text (String(value)), or null; to leave a column as it is, do not set it.',
  },
  MR_ROUTE_CONFLICT: {
    message: 'tables {tables} are both routed to {target}',
    remedy: 'Give each table a target name of its own; a rule may build it from the names of the source schema and table.',
  },
  MR_COUNTER_OVERFLOW: {
    message: '{counter} would exceed {bound}',
    remedy: 'Report this: a bound of the event model was met.',
  },
  MR_STAGE_CONTRACT: {
    message: 'stage {stage} {what} (position {position}, table {table})',
    remedy: 'A stage emits exactly one delivery, perhaps empty, for each that it receives, in order: perEvent and lift make such stages.',
  },
  MR_MARBLES_MALFORMED: {
    message: 'a marble diagram cannot be read: {reason}',
    remedy: '{advice}:{diagram}',
  },
  MR_MARBLES_DIFFER: {
    message: 'not as expected: {reason}',
    remedy: '{advice}:{diagrams}',
  },
  MR_MARBLES_ASYNC: {
    message: 'the body of eventMarbles returned a promise',
    remedy: 'Frames pass inside the call of eventMarbles, so it can wait for nothing. Test what promises carry with virtualTime.',
  },
  MR_MARBLES_UNFINISHED: {
    message: '{expectation} was not told what to expect, so it would pass whatever happens',
    remedy: 'Call toBe(diagram) on what it returns. To subscribe a stream without expecting anything, call its subscribe().',
  },
  MR_MARBLES_ENDLESS: {
    message: 'a marble test has not come to rest at frame {frame}, after {steps} steps',
    remedy:
      'Frames pass until nothing waits for time any more. Let go of what repeats for ever: expectObservable(stream, "^----!"), take(3), or a source that ends.',
  },
  MR_VIRTUAL_TIME_STALLED: {
    message: 'a promise is still open at virtual time {nowMs} ms: {reason}',
    remedy:
      'Whatever waits in a test in virtual time waits on the clock of its context: look for a promise that nobody settles, a real timer, or real IO.',
  },
  MR_REAL_TIMER: {
    message: '{what} was called in virtual time, at {nowMs} ms: it waits for real time, which does not pass there',
    remedy:
      'Wait on the clock that a part is given: context.clock in stages, sinks and sources, clock.sleep(ms) in the test, and clock.scheduler for RxJS, as in delay(5, clock.scheduler).',
  },
  MR_VIRTUAL_TIME_NESTED: {
    message: 'virtual time was begun while another is running, which has come to {nowMs} ms',
    remedy: 'Use the clock of the one that runs; await it before the next begins; such tests do not run concurrently.',
  },
  MR_FEED_REFUSED: {
    message: 'the memory source cannot take {event}: {reason}',
    remedy:
      'Feed what a database could commit: positions that ascend in each table, nothing at or below a resolved mark, a schema change or TRUNCATE as a delivery of its own.',
  },
  MR_TEST_PIPELINE_MISUSED: {
    message: '{call}() was called while the pipeline {state}',
    remedy: 'A test pipeline runs from its making or a restart until it is stopped, fails or crashes; only then can it be started again.',
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
    message:
      'the stop took longer than {timeout}; events that are not flushed: {pendingEvents} ({pendingBytes}); the checkpoint is {checkpointTs}',
    remedy:
      'See whether the target answers, or allow more time (--drain-timeout); the next start resumes from the checkpoint and nothing is lost.',
  },
  MR_PGOUTPUT_MALFORMED: {
    message: 'a logical replication message ({message}) is malformed at its byte {offset}: {reason}',
    remedy:
      'The run resumes from its checkpoint; if it happens again, check what stands between Millrace and the server, and report the server version.',
  },
  MR_PGOUTPUT_BINARY: {
    message: 'column {column} of a tuple of relation {relationId} came in binary form; rows are read as text',
    remedy: 'Start replication without the option `binary`.',
  },
  MR_COPY_MALFORMED: {
    message: 'a COPY row is malformed at its byte {offset}: {reason}',
    remedy:
      'The snapshot of the table is taken again; if it happens again, check what stands between Millrace and the server, and report the server version.',
  },
  MR_CSV_UNCHANGED_TOAST: {
    message:
      'csv cannot write column {column} of table {table} at position {position}: its TOASTed value did not change and the source left it out',
    remedy: 'Run ALTER TABLE {table} REPLICA IDENTITY FULL, or use the canal-json protocol.',
  },
  MR_ROW_MALFORMED: {
    message: '{format} row {row} is malformed: {reason}',
    remedy: 'The file was cut or changed, or the reader was given other format options than the writer had.',
  },
  MR_STORAGE_FILE_MALFORMED: {
    message: '{path} is malformed: {reason}',
    remedy: 'Restore the file, or capture into an empty target.',
  },
  MR_STORAGE_INVALID_FILE_NAME: {
    message: 'filename in storage sink is invalid: "{name}"',
    remedy: 'Only Millrace may write below the target.',
  },
  MR_STORAGE_INVALID_PATH: {
    message: 'cannot match {kind} path pattern for "{path}"',
    remedy: 'Only Millrace may write below the target; check that the reader has the date-separator of the writer.',
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
  MR_CURSOR_MALFORMED: {
    message: 'the cursor of a reader is malformed: {reason}',
    remedy: 'Give the text that a reader made, unchanged; without a cursor a reader begins at the beginning.',
  },
  MR_CURSOR_OF_ANOTHER_TARGET: {
    message: 'the cursor does not belong to target {uri}: {reason}',
    remedy: 'Give the cursor of this target, or begin without one: the target was made anew, and everything in it is to be read again.',
  },
  MR_HISTORY_REMOVED: {
    message: 'clean-up has removed changes of {table} at {uri} up to {position}: {reason}',
    remedy:
      'Begin without a cursor and with an empty table, where the first part says from where on the history is whole; to have all rows in the files again, take the table again (--resnapshot {table}). Let files live longer (file-expiration-days) than a reader may be away.',
  },
  MR_READER_BUSY: {
    message: 'a reader of {uri} was asked again before its round had ended',
    remedy: 'Take one round to its end, or break off, before the next; use a reader each for two consumers.',
  },
  MR_FOREIGN_FILE: {
    message: '{path} of target {uri} is in the way: {reason}. It is neither shown nor overwritten',
    remedy:
      'See that nobody else writes to this target; if the file is a leftover, move it away. The next start resumes from the checkpoint.',
  },
  MR_STALE_EPOCH: {
    message:
      'another run has taken over target {uri}: its epoch is {epoch}, the epoch of this one was {mine}. This run writes nothing further',
    remedy: 'See that one process alone captures to this target. If the other run is the one that you want, there is nothing to do.',
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
  MR_UNKNOWN_TABLE: {
    message: 'target {uri} has no table {table} up to checkpoint {checkpoint}',
    remedy: 'It has: {tables}.',
  },
  MR_STOPPED: {
    message: 'pipeline {pipeline} was stopped',
    remedy: 'Start it again; it resumes from its checkpoint.',
  },
  MR_INVALID_URI: {
    message: 'storage URI {uri} is not usable: {reason}',
    remedy:
      'Give file:///absolute/dir or s3://bucket/prefix; the region of a bucket is given as s3://bucket/prefix?region=… or in AWS_REGION.',
  },
  MR_STORE_UNWRITABLE: {
    message: 'cannot write to {path}: {reason}',
    remedy: 'Give the process the right to write there, or name another target; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_STORE_FULL: {
    message: 'no room left at {path}: {reason}',
    remedy: 'Make room (disk, quota or file size limit) and start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_STORE_NOT_FOUND: {
    message: 'there is nothing at {uri}',
    remedy: 'Correct the URI: it names the folder that capture wrote to, or a recorder of events.',
  },
  MR_STORE_INVALID_KEY: {
    message: 'object key {key} is refused: {reason}',
    remedy: 'Report this: names are escaped before they become keys.',
  },
  MR_STORE_FAILED: {
    message: '{operation} of {key} at {uri} failed: {reason}',
    remedy: 'Remove the cause and start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_STORE_DENIED: {
    message: '{operation} of {key} at {uri} was denied (HTTP status {status}): {reason}',
    remedy:
      "See that the credentials are right (those of the URI, else of the SDK's chain: AWS_ACCESS_KEY_ID, profile, role) and have the rights to list, get, put and delete below that prefix.",
  },
  MR_STORE_NO_BUCKET: {
    message: 'there is no bucket {bucket} for {uri}',
    remedy: 'Create the bucket, or correct its name, the region or the endpoint.',
  },
  MR_STORE_UNAVAILABLE: {
    message: '{operation} of {key} at {uri} failed {attempts} times, last (HTTP status {status}): {reason}',
    remedy: 'See that the endpoint is right and answers, then start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_STORE_OPTION_REFUSED: {
    message: '{uri} refuses option {option} with the value {value}: {reason}',
    remedy: 'Correct the option, or allow it where the bucket or the key is managed.',
  },
  MR_STORE_NOT_CONDITIONAL: {
    message: 'the store at {uri} does not honour {condition}, so it cannot promise that two writers never overwrite each other',
    remedy: 'Use a store that does, or add ?conditional-writes=false to the URI and let only one process write there.',
  },
  MR_CHECKPOINT_CORRUPT: {
    message: 'checkpoint file {path} cannot be used: {reason}',
    remedy:
      'Restore the file from a backup; or move the state folder away, remove slot and publication (teardown) and start into a new target with a new snapshot.',
  },
  MR_CHECKPOINT_UNWRITABLE: {
    message: 'the state in {path} cannot be read or written: {reason}',
    remedy: 'Make it a folder that the process may write to, with room left, or name another one (--state).',
  },
  MR_ALREADY_RUNNING: {
    message: 'pipeline {pipeline} {state}, with its checkpoint in {where}',
    remedy:
      'Wait until the first run has ended (`done`) and its store has closed: one that stalls is kept until it answers, since two runs must not write one checkpoint. Or give the second pipeline a name or a checkpoint store of its own.',
  },
  MR_STATE_LOCKED: {
    message: 'the state in {path} is in use by process {pid} on host {host}',
    remedy: 'Stop that process first, or use another state folder. If it is gone for good (another host or container), delete {lock}.',
  },
  MR_SERVER_ERROR: {
    message: 'PostgreSQL answered with an error ({sqlState}): {reason}',
    remedy: "Look the state up in PostgreSQL's list of error codes; the server's log says more.",
  },
  MR_SOURCE_UNREACHABLE: {
    message: 'no connection to PostgreSQL at {address}: {reason}',
    remedy: 'Check host and port of the URL, that the server runs, and that it may be reached from here.',
  },
  MR_CONNECTION_LOST: {
    message: 'the connection to PostgreSQL was lost: {reason}',
    remedy: 'The stream connects again by itself; elsewhere start again, and the run resumes from its checkpoint.',
  },
  MR_WIRE_MALFORMED: {
    message: 'the server sent what its protocol does not know: {reason}',
    remedy: 'Check what stands between Millrace and the server, and report the server version.',
  },
  MR_SLOT_GONE: {
    message: 'the replication slot {slot} does not exist',
    remedy:
      'Its changes since the checkpoint are lost. Start with a new target and state (the tables are then copied anew), or restore the slot.',
  },
  MR_SLOT_INVALIDATED: {
    message: 'the server has invalidated the replication slot {slot}: {reason}',
    remedy:
      'Its changes since the checkpoint are lost. Drop the slot (millrace teardown) and start with a new target and state; raise max_slot_wal_keep_size or idle_replication_slot_timeout.',
  },
  MR_SLOT_ACTIVE: {
    message: 'the replication slot {slot} is in use by process {pid} of the server',
    remedy: 'Stop whoever reads it, or end that process (pg_terminate_backend), or use another slot.',
  },
  MR_SLOT_ADVANCED: {
    message: 'the replication slot {slot} stands at {confirmed}, beyond the checkpoint {checkpoint}: the changes between are gone',
    remedy:
      'Somebody else has read or advanced it. Use a slot of its own for each pipeline, drop this one and start with a new target and state.',
  },
  MR_PUBLICATION_GAP: {
    message: 'the publication {publication} has changed behind our back: {reason}',
    remedy:
      'Rows between may be missing. Drop the slot (millrace teardown) and start with a new target and state, or take the tables again (--resnapshot).',
  },
  MR_STREAM_BROKEN: {
    message: 'the replication stream does not make sense at {position}: {reason}',
    remedy: 'The run resumes from its checkpoint; if it happens again, report it with the server version.',
  },
  MR_SOURCE_LOGIN_REFUSED: {
    message: 'PostgreSQL at {address} refuses the login of {user}: {reason}',
    remedy: 'Check user and password of the URL, and pg_hba.conf on the server.',
  },
  MR_SOURCE_DATABASE_MISSING: {
    message: 'PostgreSQL at {address} has no database {database}',
    remedy: 'Correct the database in the URL.',
  },
  MR_SOURCE_FULL: {
    message: 'PostgreSQL at {address} takes no further connection: {reason}',
    remedy: 'Raise max_connections or max_wal_senders, or end connections that are not needed.',
  },
  MR_NO_REPLICATION_RIGHT: {
    message: 'role {user} may not replicate: {reason}',
    remedy: 'Run ALTER ROLE {user} REPLICATION as a superuser (managed services grant a role instead, such as rds_replication).',
  },
  MR_SOURCE_PERMISSION: {
    message: 'role {user} may not {what}: {reason}',
    remedy:
      'Grant it, or let the owner of the tables or a superuser do it: create the publication beforehand and grant SELECT on its tables; run millrace teardown where something is to be dropped.',
  },
  MR_DDL_TEXT_REFUSED: {
    message: 'role {user} may not install the event triggers that carry the text of schema changes to slot {slot}: {reason}',
    remedy:
      'Event triggers need a superuser: let one run millrace ddl-text, once, with the same slot and publication; then capture needs no such right. Or leave ddl-text off.',
  },
  MR_SOURCE_VERSION: {
    message: 'the server is PostgreSQL {version}',
    remedy: 'PostgreSQL 14 or later is needed.',
  },
  MR_SOURCE_IS_STANDBY: {
    message: 'the server at {address} is a standby',
    remedy: 'Connect to the primary.',
  },
  MR_WAL_LEVEL: {
    message: 'wal_level is {walLevel}',
    remedy: 'Run ALTER SYSTEM SET wal_level = logical and restart the server.',
  },
  MR_TOO_FEW_SLOTS: {
    message: 'the server has {free} of {max} replication slots free; {needed} are needed (a snapshot uses one for a while)',
    remedy: 'Raise max_replication_slots and restart the server, or drop slots that nobody reads.',
  },
  MR_TOO_FEW_SENDERS: {
    message: 'the server has {free} of {max} WAL senders free; {needed} are needed (a snapshot uses one for a while)',
    remedy: 'Raise max_wal_senders and restart the server, or end readers that are not needed.',
  },
  MR_NO_TABLES: {
    message: 'no table of database {database} matches {patterns}',
    remedy:
      'Correct the patterns (schema.table, case-sensitive), or create the tables first. Temporary and unlogged tables cannot be captured.',
  },
  MR_NO_REPLICA_IDENTITY: {
    message: 'tables without a usable replica identity: {tables}. In a publication, UPDATE and DELETE on them fail in the application',
    remedy: '{advice}',
  },
  MR_PUBLICATION_LACKS_TABLE: {
    message: 'publication {publication} exists and does not hold {tables}',
    remedy: 'Run ALTER PUBLICATION "{publication}" ADD TABLE for them, or leave them out of the tables option.',
  },
  MR_PUBLICATION_BY_PARTITION: {
    message: 'publication {publication} publishes the partitions of {tables} for themselves, not as one table',
    remedy:
      'Run ALTER PUBLICATION "{publication}" SET (publish_via_partition_root = true), or name the partitions in the tables option instead.',
  },
  MR_SOURCE_CHANGED: {
    message: 'the source is another one than this state was made with: {what} was {was} and is {is}',
    remedy: 'Connect to the source that the state belongs to, or start with a new target, state and slot.',
  },
  MR_STATE_MISSING: {
    message: '{what} exists, but there is no state of it here',
    remedy: 'Give the state folder that belongs to it, or remove it (millrace teardown) and start with a new target.',
  },
  MR_TARGET_MISSING: {
    message: 'the state says that changes up to {checkpoint} are written, but the target is empty',
    remedy: 'Give the target that belongs to the state, or start anew: remove the slot (millrace teardown) and the state.',
  },
  MR_STATE_MALFORMED: {
    message: 'the state of the source cannot be used: {reason}',
    remedy: 'Use the version of Millrace that wrote it, or start anew: remove the slot (millrace teardown) and use a new state and target.',
  },
  MR_SLOT_FOREIGN: {
    message: 'the replication slot {slot} is of another {what}: {is} instead of {wanted}',
    remedy: 'Use another slot name.',
  },
  MR_TABLE_REWRITTEN: {
    message: 'table {table} is stopped, because its rows may have changed without row events: {reason}',
    remedy: 'Take it again with --resnapshot {table}; the other tables go on.',
  },
  MR_SNAPSHOT_UNSTABLE: {
    message: 'the snapshot of {tables} was begun {attempts} times, and each time their definition changed meanwhile',
    remedy: 'Start again when no schema change is running.',
  },
  MR_SPOOL_UNUSABLE: {
    message: 'the spool cannot use its folder {folder}: {reason}',
    remedy: 'Make it a folder that the process may write to, with room left, or name another one (spool-base-dir).',
  },
  MR_SPOOL_FAILED: {
    message: 'the spool could not {what} {path}: {reason}',
    remedy:
      'See that the disk works and the folder is left alone, then start again; the run resumes from its checkpoint and nothing is lost.',
  },
  MR_SPOOL_CORRUPT: {
    message: 'the spool file {path} does not give back what was written to it at its byte {offset}: {reason}',
    remedy:
      'Check disk and memory of this machine, and that nobody else writes there. Nothing of it was sent on; start again, and the run resumes from its checkpoint.',
  },
  MR_SPOOL_CLOSED: {
    message: 'the spool in {folder} is closed',
    remedy: 'Start the pipeline again; it resumes from its checkpoint.',
  },
  MR_METRICS_UNSERVED: {
    message: 'metrics cannot be served at {address}: {reason}',
    remedy: 'Name another address (--metrics-port; 0 takes any free port), or end the process that listens there; each run serves its own.',
  },
  MR_MODULE_NOT_LOADED: {
    message: '{file} could not be loaded: {reason}',
    remedy: 'Importing it threw that. Correct the path or the module, or give it what it needs, such as an environment variable.',
  },
  MR_MODULE_NO_LOADER: {
    message: '{file} cannot be loaded by this Node alone, and tsx is not installed beside it: {reason}',
    remedy: 'Give a JavaScript module, or install tsx beside it for TypeScript.',
  },
  MR_NO_DEFINITION: {
    message: '{file} exports no pipeline definition',
    remedy: 'Export what definePipeline returns, under any name.',
  },
  MR_TARGET_LAGS: {
    message: 'the checkpoint of {uri} is {checkpoint} and did not reach {needed} in {wait}',
    remedy: 'See whether the capture runs and keeps up, or wait longer (--wait).',
  },
  MR_EVENT_INVALID: {
    message: 'an event of type {type} for table {table} cannot be recorded: {reason}',
    remedy: 'Correct what the producer records. It was told so by the outcome of record, and the event was counted.',
  },
  MR_EVENT_SCHEMA_MISMATCH: {
    message: 'events of type {type} for table {table} differ in their extra columns: {first}, and {other}',
    remedy: 'Record events of one type with the same extra columns, in the same order.',
  },
  MR_EVENT_GROUP_MIXED: {
    message: 'a group of events of {expected} holds one of {found}',
    remedy: 'Group events by table and type before their rows are built, as groupByType does.',
  },
  MR_EVENT_REJECTED: {
    message: 'handler {handler} cannot deliver {events} of the events of type {type} for table {table}: {reason}',
    remedy: 'They are given up, and kept where the recorder has a store for dead letters. Correct the target, or what is recorded.',
  },
  MR_EVENT_TARGET_FAILED: {
    message: 'handler {handler} could not deliver events of type {type} for table {table}: {reason}',
    remedy: 'The recorder tries again by itself. If it goes on, see whether the target answers and who may write there.',
  },
  MR_EVENT_HANDLER_TIMEOUT: {
    message: '{handler} has not taken events within {timeoutMs} ms',
    remedy: 'The recorder tries again by itself. See whether the target answers; allow more with the option handlerTimeout.',
  },
  MR_EVENT_RECORDER_STOPPED: {
    message: 'the event recorder {recorder} was stopped while events were on their way',
    remedy: 'Give close a longer deadline, or use the overflow policy spill, which keeps them on disk.',
  },
  MR_EVENT_SPILL_UNUSABLE: {
    message: 'the spill of an event recorder cannot be used in {folder}: {reason}',
    remedy: 'Name a folder in which this process may write, on a disk that works.',
  },
  MR_EVENT_DEAD_LETTERS_FULL: {
    message: 'the file {path} of dead letters has reached its quota of {quota} bytes',
    remedy: 'Look at the letters and move the file away, or allow more.',
  },
  MR_EVENT_CALL_GIVEN_UP: {
    message: 'the call of the event handler was given up',
    remedy: 'It took too long, or the recorder was ended; what it did may stay. The recorder tries again while it lives.',
  },
  MR_EVENTS_UNREADABLE: {
    message: 'events cannot be read from {uri}: {reason}',
    remedy: 'Name where an event handler writes: a postgres:// URL, file:///dir or s3://bucket/prefix, and its table.',
  },
  MR_SIMULATION_FAILED: {
    message: 'seed {seed}: "{invariant}" does not hold at {virtualMs} ms, step {steps}: {reason}\n\n{timeline}\n\n(trace hash {hash})',
    remedy: 'Replay it with `{replay}`.',
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
    // The reason that a message ends with may be a sentence, or another error's message.
    const sentence = fill(message, details).replace(/[.\s]+$/, '');
    super(`${code}: ${sentence}. ${fill(remedy, details)}`, cause === undefined ? undefined : { cause });
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
  // Not by class: an error of another realm (Node's own, under a test runner) is no instance of this one's.
  try {
    return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
  } catch {
    return 'an error without a text';
  }
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name]));
}
