import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { expect } from '@jest/globals';
import { type EventMarbles, type EventMarblesOptions, type Recording, eventMarbles as run } from '../../lib/testing/index.ts';

/**
 * `eventMarbles` of the test kit, for our own specs. When the environment variable MILLRACE_RECORD_DIAGRAMS names a folder, what happened in each test that
 * passed is written there, one JSON file a call: `{ spec, test, order, recording }`, a `RecordedTest`. The diagrams of `docs/operators` are drawn from these;
 * the one of an operator is that with the lowest `order` of its spec.
 */
export function eventMarbles(body: (tools: EventMarbles) => void, options: EventMarblesOptions = {}): void {
  const folder = process.env['MILLRACE_RECORD_DIAGRAMS'];
  run(body, folder === undefined || folder === '' ? options : { ...options, onRecorded: (recording) => write(folder, recording) });
}

/** What is written of one call; the file is called by `spec` (its slashes as two underscores) and `order`: `spec__operators__lift.spec.ts.0.json`. */
export interface RecordedTest {
  /** The spec's file, from the repository's root, with slashes. */
  readonly spec: string;
  /** The test's full title, with those of the groups that it is in. */
  readonly test: string;
  /** Which call of its spec this was, from 0. */
  readonly order: number;
  readonly recording: Recording;
}

/** Each spec has a module of its own. */
let calls = 0;

function write(folder: string, recording: Recording): void {
  const { testPath = '', currentTestName = '' } = expect.getState();
  const spec = relative(process.cwd(), testPath).split(sep).join('/');
  const recorded: RecordedTest = { spec, test: currentTestName, order: calls++, recording };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${spec.replaceAll('/', '__')}.${recorded.order}.json`), `${JSON.stringify(recorded, null, 1)}\n`);
}
