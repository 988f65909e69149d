export { type DeadLetterFileOptions, type DeadLetterStore, type DeadLetters, deadLetterFile } from './dead-letters.ts';
export type {
  ColumnSemantic,
  ColumnSpec,
  ColumnType,
  DeliverOptions,
  EventGroup,
  EventHandler,
  EventHints,
  EventInput,
  EventTarget,
  EventValue,
  RecordedEvent,
  RejectedEvents,
  StoredValue,
} from './event.ts';
export { EventRejectedError, isRetryable } from './event.ts';
export { type ObjectStoreEventsOptions, objectStoreEvents } from './handlers/object-store.ts';
export { type PostgresEventsOptions, postgresEvents } from './handlers/postgres.ts';
export { type StdoutEventsOptions, stdoutEvents } from './handlers/stdout.ts';
export { type HintOptions, hintTexts, type TypeHintOptions } from './hints.ts';
export { EVENTS_LOST } from './losses.ts';
export type { EventRecorderOptions, EventRetryOptions, ExhaustionPolicy, OverflowPolicy, SpillOptions } from './options.ts';
export type {
  AcceptedOutcome,
  CloseReport,
  DropReason,
  Outcome,
  RecorderHealth,
  RecorderStatus,
  RefusalReason,
  RefusedOutcome,
  Tally,
} from './outcome.ts';
export {
  LIFECYCLE_TRIGGERS,
  type LifecycleChange,
  type LifecycleOptions,
  type LifecycleTrigger,
  lifecycle,
  type RunningOperation,
  type SlowOperationOptions,
  type SlowOperations,
  slowOperations,
} from './producers.ts';
export { eventsFromObjects } from './reading/from-objects.ts';
export { eventsFromPostgres, type PostgresEventsPlace } from './reading/from-postgres.ts';
export type { EventFilter, StoredEvent } from './reading/stored-event.ts';
export { type EventRecorderDefinition, eventRecorder, type RecorderParts } from './recorder.ts';
export { buildRows, type EventRow, type EventRows } from './rows.ts';
export type { EventRecorder, RecordResult } from './running-recorder.ts';
