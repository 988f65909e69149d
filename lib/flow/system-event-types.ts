/** What a run tells of itself, by part. `docs/system-events.md` is made from it, and a payload has exactly these fields. */
export const SYSTEM_EVENTS = {
  pipeline_started: of('run', 'A run begins.', { source: 'what it reads, by its kind', sink: 'what it writes to, by its kind' }),
  pipeline_running: of('run', 'Everything is open: changes flow.', {
    checkpoint_ts: 'where it goes on; 0 at a first start',
    duration_ms: 'since the start',
  }),
  pipeline_caught_up: of('run', 'What the source had when it was opened is at the sink, snapshots included. Once a run.', {
    checkpoint_ts: 'the checkpoint then',
    duration_ms: 'since the start',
  }),
  pipeline_stopping: of('run', 'A stop was asked for.', { drain: 'whether what was accepted is flushed first' }),
  pipeline_drained: of('run', 'Everything accepted is durable at the target, and the checkpoint is stored.', {
    checkpoint_ts: 'the last one',
    duration_ms: 'since the stop was asked for; null where the source ended by itself',
  }),
  pipeline_stopped: of('run', 'The run has ended well, and everything is closed.', {
    drained: 'false after a stop without drain',
    checkpoint_ts: 'the last one',
    rows: 'made durable by this run',
    bytes: 'of them',
    files: 'of them',
    duration_ms: 'since the start',
  }),
  pipeline_failed: of('run', 'The run has ended with an error; the next one goes on at the checkpoint.', {
    code: 'of the error ([errors.md](errors.md))',
    error: 'the error in words',
    checkpoint_ts: 'the last one',
    rows: 'made durable by this run',
    bytes: 'of them',
    files: 'of them',
    duration_ms: 'since the start',
  }),
  checkpoint_failed: of(
    'run',
    'A checkpoint could not be loaded, stored, published at the target or confirmed to the source; the run fails.',
    {
      where: 'the checkpoint store by its name, `target` or `source`',
      code: 'of the error',
      error: 'the error in words',
    },
  ),

  slot_created: of('source', 'A first start has created the replication slot.', {
    slot: 'its name',
    consistent_point: 'where its stream begins, a position',
    duration_ms: 'how long the server took, which waits for open transactions',
  }),
  slot_lost: of(
    'source',
    'The replication slot cannot give what follows the checkpoint: it is gone, invalidated, or was advanced by somebody else.',
    {
      slot: 'its name',
      code: '`MR_SLOT_GONE`, `MR_SLOT_INVALIDATED` or `MR_SLOT_ADVANCED`',
      error: 'the error in words',
    },
  ),
  stream_broken: of('source', 'The replication stream broke, and is connected again.', { slot: 'its name', error: 'why, in words' }),
  stream_reconnected: of('source', 'The replication stream goes on.', {
    slot: 'its name',
    attempts: 'that it took',
    duration_ms: 'since it broke',
  }),
  publication_gap: of('source', 'The publication left changes out for a time, which are lost to the stream; the run fails.', {
    publication: 'its name',
    error: 'the error in words',
  }),
  table_snapshot_started: of('source', 'Copying a table begins.', { table: 'its name', version: 'of the snapshot, a position' }),
  table_snapshot_completed: of('source', 'All rows of the copy were read. It counts once the checkpoint is there.', {
    table: 'its name',
    version: 'of the snapshot, a position',
    rows: 'read',
    duration_ms: 'since it began, what the sink made it wait included',
  }),
  schema_changed: of('source', 'The columns of a table changed.', {
    table: 'its name',
    version: 'the new one, a position',
    columns: 'their names now, a list',
  }),
  table_dropped: of('source', 'A table was dropped: nothing more comes of it.', { table: 'its name' }),
  table_rewritten: of('source', 'Rows of a table changed without events, and it is captured no more (`MR_TABLE_REWRITTEN`).', {
    table: 'its name',
    reason: 'what was found',
  }),
  table_joined: of('source', 'A table is captured from now on, beside those of the first start.', { table: 'its name' }),
  table_left: of('source', 'A table is captured no more: it is not published, or fits the patterns no longer.', { table: 'its name' }),

  target_opened: of('sink', 'The run has taken the target over.', {
    uri: 'of the target, without secrets',
    epoch: 'the number of this writer; null where several write there',
    is_new: 'whether nobody had written there',
  }),
  schema_file_written: of('sink', 'A schema file is durable: for the first rows of a version, or a change of the schema.', {
    table: 'its name',
    version: 'of the table, a position',
    path: 'of the file',
  }),
  stale_rows_discarded: of('sink', 'Rows of a version that a later one has replaced at the target were not written.', {
    table: 'its name',
    version: 'theirs, a position',
    rows: 'left out',
  }),
  published_rows_skipped: of('sink', 'Rows that an earlier run had published came again, and were not written again.', {
    table: 'its name',
    rows: 'left out',
  }),
  file_adopted: of('sink', 'A whole file that an earlier run had left behind its index was published.', {
    path: 'of the file',
    rows: 'in it',
  }),
  clean_up_done: of('sink', 'Clean-up has removed the data folders of expired days.', {
    before: 'the first day that stays',
    files: 'removed',
    bytes: 'of them',
    directories: 'removed',
    duration_ms: 'how long it took',
  }),
  clean_up_failed: of('sink', 'Clean-up failed; the next one goes on.', {
    before: 'the first day that was to stay',
    error: 'the error in words',
  }),
  target_fenced_off: of('sink', 'Another run has taken the target over, and this one ends (`MR_STALE_EPOCH`).', {
    uri: 'of the target, without secrets',
    epoch: 'the number of this writer',
    other_epoch: 'the number of the writer now',
  }),
} as const;

export type SystemEventType = keyof typeof SYSTEM_EVENTS;

/** What an event of this type says, beside the pipeline's name. */
export type SystemEventPayload<Type extends SystemEventType> = Readonly<
  Record<keyof (typeof SYSTEM_EVENTS)[Type]['fields'], string | number | bigint | boolean | null | readonly string[]>
>;

/** What may be slow: recorded as `slow_operation` when it took longer than the threshold. */
export const SLOW_OPERATIONS = {
  open_source: { details: ['source'], help: 'opening the source: its checks, the slot, the state' },
  open_sink: { details: ['sink'], help: 'opening the target and its spool' },
  save_checkpoint: { details: ['store'], help: 'storing a checkpoint or a state of the source' },
  publish_checkpoint: { details: ['checkpoint_ts'], help: 'writing the checkpoint at the target' },
  snapshot_table: { details: ['table'], help: 'copying a table, what the sink made it wait included' },
  write_file: { details: ['table', 'path', 'rows', 'bytes'], help: 'writing a data file, its sidecar and its index' },
  write_schema: { details: ['table', 'version'], help: 'writing the schema file of a change' },
  drain: { details: ['dispatcher'], help: 'waiting, before a schema change, until the rows before it are durable' },
} as const;

export type SlowOperationName = keyof typeof SLOW_OPERATIONS;
export type SlowOperationDetails<Name extends SlowOperationName> = Readonly<
  Record<(typeof SLOW_OPERATIONS)[Name]['details'][number], string | number | bigint>
>;

function of<const Fields extends Readonly<Record<string, string>>>(part: 'run' | 'source' | 'sink', help: string, fields: Fields) {
  return Object.freeze({ part, help, fields });
}
