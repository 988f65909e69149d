import { type EventPort, SYSTEM_EVENTS_TABLE } from '../lib/flow/index.ts';
import { checkName, connectionOf } from '../lib/sources/postgres/options.ts';
import { type EventHandler, eventRecorder, objectStoreEvents, postgresEvents, stdoutEvents } from '../pipelines/index.ts';
import { checkEventFiles, isDatabase } from './options.ts';
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
  const definition = eventRecorder({ name: 'capture', handler: handlerOf(options, output), lossTable: SYSTEM_EVENTS_TABLE });
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

function handlerOf({ to, schema }: RecordingOptions, output: Output): EventHandler {
  checkName('events-schema', schema);
  if (to === 'stdout') return stdoutEvents({ stream: output.stdout });
  if (!isDatabase(to)) {
    checkEventFiles(to, 'events', ', or stdout');
    return objectStoreEvents({ uri: to });
  }
  connectionOf(to, 'events');
  return postgresEvents({ url: to, schema });
}
