import { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Output } from '../../bin/output.ts';
import { recordingTo } from '../../bin/recording.ts';
import { SystemEvents, systemClock } from '../../lib/flow/index.ts';

function outputs() {
  const texts = { stdout: '', stderr: '' };
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      texts.stdout += chunk.toString();
      done();
    },
  });
  const stderr = new Writable({
    write(chunk: Buffer, _encoding, done) {
      texts.stderr += chunk.toString();
      done();
    },
  });
  return { texts, output: new Output({ stdout, stderr }) };
}

const PUBLIC = { schema: 'public' };

describe('capture --events', () => {
  it('stdout: what a run tells comes as JSON lines, when it has ended at the latest', async () => {
    const { texts, output } = outputs();
    const recording = await recordingTo({ to: 'stdout', ...PUBLIC }, output)();
    const events = new SystemEvents({ pipeline: 'p', events: recording.events, clock: systemClock });
    events.record('pipeline_stopping', () => ({ drain: true }));
    events.slow('drain', () => ({ dispatcher: 'd' })).end({ force: true });
    await recording.close();
    const lines = texts.stdout.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { type: 'pipeline_stopping', event_table: 'millrace_events', payload: { pipeline: 'p', drain: true } },
      { type: 'slow_operation', event_table: 'millrace_slow_operations', operation: 'drain', payload: { pipeline: 'p', dispatcher: 'd' } },
    ]);
    expect(texts.stderr).toBe('');
  });

  it('what of it was lost comes last, in a table of its own', async () => {
    const { texts, output } = outputs();
    const recording = await recordingTo({ to: 'stdout', ...PUBLIC }, output)();
    recording.events.record({ type: 'bad', table: 'millrace_events', payload: 1n });
    await recording.close();
    expect(JSON.parse(texts.stdout)).toMatchObject({ type: 'events_lost', event_table: 'millrace_events', payload: { n: 1 } });
  });

  it('a target that is down is warned about, without its password, and nothing else happens', async () => {
    const { texts, output } = outputs();
    const recording = await recordingTo({ to: 'postgres://app:hunter2@127.0.0.1:1/ops', ...PUBLIC }, output)();
    const events = new SystemEvents({ pipeline: 'p', events: recording.events, clock: systemClock });
    events.record('pipeline_stopping', () => ({ drain: true }));
    await recording.close(200);
    const levels = texts.stderr
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { level: string }).level);
    expect(new Set(levels)).toEqual(new Set(['warn']));
    expect(texts.stderr).toContain('some events of this run could not be delivered');
    expect(texts.stderr).not.toContain('hunter2');
  });

  it.each<[string, string, string]>([
    [
      'ftp://host/x',
      'public',
      'option events is "ftp://host/x"; it must be postgres://user@host/database, file:///dir, s3://bucket/prefix, or stdout.',
    ],
    ['', 'public', 'option events is ""; it must be postgres://'],
    ['file://host/x', 'public', 'or stdout (File URL host'],
    ['s3:///x', 'public', 'bucket'],
    ['postgres://', 'public', 'MR_INVALID_OPTION: option events is'],
    ['stdout', '', 'MR_INVALID_OPTION: option events-schema is'],
  ])('%j in schema %j is refused at once', (to, schema, message) => {
    expect(() => recordingTo({ to, schema }, outputs().output)).toThrow(message);
  });
});
