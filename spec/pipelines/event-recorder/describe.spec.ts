import { expect, it, describe as suite } from '@jest/globals';
import { stringifyJson } from '../../../lib/formats/json.ts';
import { describe, toMermaid } from '../../../lib/index.ts';
import { eventRecorder, stdoutEvents } from '../../../pipelines/index.ts';

suite('describe of an event recorder', () => {
  it('prints where events come from, the operators that they pass, and the handler; nothing is checkpointed', () => {
    const description = describe(eventRecorder({ handler: stdoutEvents(), name: 'ops', overflow: 'block', queueEvents: 500 }));
    expect(description).toMatchObject({
      name: 'ops',
      source: { name: 'record', options: { overflow: 'block', queueEvents: 500, queueBytes: 16 * 1024 * 1024 } },
      sink: { name: 'stdout', options: {} },
      checkpoint: null,
    });
    const stages = description.stages.map(({ name, options }) => [name, options]);
    expect(stages).toEqual([
      ['watermarkBackpressure', { high: 16 * 1024 * 1024, low: 12 * 1024 * 1024 }],
      ['flushBy', expect.objectContaining({ intervalMs: 5000, count: 100, bytes: 1024 * 1024 })],
      ['groupByType', {}],
      ['retryBackoff', expect.objectContaining({ base: 1666, cap: 5000, retries: 3 })],
    ]);
    expect(() => stringifyJson(description)).not.toThrow();
  });

  it('has no gate where nobody waits for room', () => {
    expect(describe(eventRecorder({ handler: stdoutEvents() })).stages.map(({ name }) => name)).toEqual([
      'flushBy',
      'groupByType',
      'retryBackoff',
    ]);
  });

  it('draws a flow chart without a checkpoint', () => {
    const chart = toMermaid(describe(eventRecorder({ handler: stdoutEvents() })));
    expect(chart).toMatch(/^flowchart LR\n {2}source\[\("record<br\/>/);
    expect(chart).toMatch(/ {2}source --> stage1 --> stage2 --> stage3 --> sink\n$/);
    expect(chart).not.toContain('checkpoint');
  });
});
