import { type EventPort, SLOW_OPERATIONS_TABLE, SYSTEM_EVENTS_TABLE } from '../lib/flow/index.ts';
import { checkName, connectionOf } from '../lib/sources/postgres/options.ts';
import { type EventHandler, eventRecorder, objectStoreEvents, postgresEvents, stdoutEvents } from '../pipelines/index.ts';
import type { Output } from './output.ts';

/** Where a capture's own events go. */
export interface RecordingOptions {
  /** `postgres://…`, `file:///dir`, `s3://bucket/prefix`, or `stdout`. */
  readonly to: string;
  /** In a database: the schema of their tables. */
  readonly schema: string;
}

export interface Recording {
  readonly events: EventPort;
  /** Delivers what waits for that long, and then ends what is under way, which may take some seconds more. Default: 5 s. Never rejects. */
  close(deadlineMs?: number): Promise<void>;
}

/**
 * Checks where events are to go, and connects to nothing. Called, it begins to record: a target that is down or refuses events is logged, and never ends the run.
 *
 * @throws MR_INVALID_OPTION, MR_INVALID_URI.
 */
export function recordingTo(options: RecordingOptions, output: Output): () => Promise<Recording> {
  // The log tells of losses. A summary among the events would stand in a table of its own, whose name may be a user's.
  const definition = eventRecorder({ name: 'capture', handler: handlerOf(options, output), lossSummary: false });
  return async () => {
    const recorder = await definition.open({ logger: output.logger });
    return {
      events: recorder,
      close: async (deadlineMs = 5000) => {
        const { isComplete, dropped } = await recorder.close(deadlineMs);
        if (!isComplete) output.logger.warn({ events: dropped.closed }, 'some events of this run could not be delivered before it ended');
      },
    };
  };
}

/**
 * Patterns that keep the tables of events out of a capture of the same database: else what a run tells of itself would be captured too. Null where `tables` can
 * stay as they are.
 */
export function withoutEventTables(from: string, { to, schema }: RecordingOptions, tables: readonly string[] | null): string[] | null {
  if (!isDatabase(to)) return null;
  const [source, target] = [connectionOf(from), connectionOf(to, 'events')];
  if (source.address !== target.address || source.database !== target.database) return null;
  const quoted = `"${schema.replaceAll('"', '""')}"`;
  return [...(tables ?? ['*.*']), ...[SYSTEM_EVENTS_TABLE, SLOW_OPERATIONS_TABLE].map((table) => `!${quoted}.${table}`)];
}

function handlerOf({ to, schema }: RecordingOptions, output: Output): EventHandler {
  checkName('events-schema', schema);
  if (to === 'stdout') return stdoutEvents({ stream: output.stdout });
  if (!isDatabase(to)) return objectStoreEvents({ uri: to });
  connectionOf(to, 'events');
  return postgresEvents({ url: to, schema });
}

function isDatabase(uri: string): boolean {
  return /^postgres(?:ql)?:/i.test(uri);
}
