import { describe, expect, it } from '@jest/globals';
import type { EventPort } from '../../../lib/flow/index.ts';
import { type RunOptions, run } from '../../../lib/runtime/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { EventLog } from '../../support/event-log.ts';
import { errorOf, type Parts, pipelineIn, transaction, World } from '../../support/run-world.ts';

const TWO = { deliveries: () => [transaction(5n, 3), transaction(9n)], headTs: 9n };

describe('what a run tells', () => {
  it('of one that catches up: that it started, runs, has caught up, stops, has drained and stopped', async () => {
    const log = new EventLog();
    await run(pipelineIn(new World(), { source: { ...TWO, stays: true } }), { events: log, until: 'caught-up' }).done;
    expect(log.types).toEqual([
      'pipeline_started',
      'pipeline_running',
      'pipeline_caught_up',
      'pipeline_stopping',
      'pipeline_drained',
      'pipeline_stopped',
    ]);
    expect(log.told('pipeline_started')).toEqual([{ pipeline: 'test', source: 'world', sink: 'memory' }]);
    expect(log.told('pipeline_stopping')).toMatchObject([{ drain: true }]);
    expect(log.told('pipeline_stopped')).toMatchObject([{ drained: true, checkpoint_ts: '9', rows: 4, files: 2 }]);
  });

  it('of one that goes on, that it has caught up, once', async () => {
    await virtualTime(async ({ clock }) => {
      const log = new EventLog();
      const running = run(pipelineIn(new World(), { source: { ...TWO, stays: true } }), { events: log, clock });
      await clock.advance(5000);
      expect(log.told('pipeline_caught_up')).toMatchObject([{ checkpoint_ts: '9' }]);
      await running.stop();
      expect(log.types.filter((type) => type === 'pipeline_caught_up')).toHaveLength(1);
    });
  });

  it('of one whose source ends by itself no stop, and of one that is stopped without drain that nothing drained', async () => {
    const ended = new EventLog();
    await run(pipelineIn(new World(), { source: TWO }), { events: ended }).done;
    expect(ended.types).not.toContain('pipeline_stopping');
    expect(ended.told('pipeline_drained')).toMatchObject([{ duration_ms: null }]);
    const halted = new EventLog();
    await run(pipelineIn(new World(), { source: { stays: true } }), { events: halted }).stop({ drain: false });
    expect(halted.types).toEqual(['pipeline_started', 'pipeline_stopping', 'pipeline_stopped']);
    expect(halted.told('pipeline_stopped')).toMatchObject([{ drained: false }]);
  });

  it.each<[string, Parts, string, string[]]>([
    [
      'its source cannot be opened',
      { source: { onOpen: () => Promise.reject(new Error('refused postgres://app:hunter2@db/x')) } },
      'MR_SOURCE_FAILED',
      ['pipeline_started', 'pipeline_failed'],
    ],
    [
      'its checkpoint cannot be stored',
      { source: TWO, store: { onSave: () => Promise.reject(new Error('disk full')) } },
      'MR_CHECKPOINT_FAILED',
      ['pipeline_started', 'pipeline_running', 'checkpoint_failed', 'pipeline_failed'],
    ],
    [
      'its checkpoint cannot be published',
      { source: TWO, sink: { onPublish: () => Promise.reject(new Error('no')) } },
      'MR_CHECKPOINT_FAILED',
      ['pipeline_started', 'pipeline_running', 'checkpoint_failed', 'pipeline_failed'],
    ],
  ])('of one that fails because %s: the code and the error in words, without secrets', async (_, parts, code, types) => {
    const log = new EventLog();
    await errorOf(run(pipelineIn(new World(), parts), { events: log }).done);
    expect(log.types).toEqual(types);
    expect(log.told('pipeline_failed')).toMatchObject([{ code, error: expect.stringContaining(code) }]);
    expect(JSON.stringify(log.told('pipeline_failed'))).not.toContain('hunter2');
  });

  it('of a checkpoint that cannot be loaded: where, and why', async () => {
    const log = new EventLog();
    const definition = pipelineIn(new World(), {});
    const checkpoint = { ...definition.checkpoint, load: () => Promise.reject(new Error('torn')) };
    await errorOf(run({ ...definition, checkpoint }, { events: log }).done);
    expect(log.told('checkpoint_failed')).toMatchObject([
      { where: 'memory', code: 'MR_CHECKPOINT_FAILED', error: expect.stringContaining('torn') },
    ]);
  });

  it('of a checkpoint that takes long to be stored, as of every slow operation', async () => {
    await virtualTime(async ({ clock }) => {
      const log = new EventLog();
      const definition = pipelineIn(new World(), { source: TWO, store: { onSave: () => clock.sleep(2000) } });
      await run(definition, { events: log, clock, slowThreshold: '1s' }).done;
      const slow = log.all.filter(({ type }) => type === 'slow_operation');
      expect(slow[0]).toMatchObject({
        payload: { pipeline: 'test', store: 'memory' },
        extraRows: [[2000n, 1000, 'save_checkpoint', null]],
      });
    });
  });

  it('of each step of a run that takes long: opening target and source, storing and publishing a checkpoint', async () => {
    await virtualTime(async ({ clock }) => {
      const log = new EventLog();
      const takes = (ms: number) => () => clock.sleep(ms);
      const definition = pipelineIn(new World(), {
        source: { ...TWO, onOpen: takes(2000) },
        sink: { onOpen: takes(3000), onPublish: takes(4000) },
        store: { onSave: takes(5000) },
      });
      await run(definition, { events: log, clock, slowThreshold: '1s' }).done;
      const slow = log.all.filter(({ type }) => type === 'slow_operation');
      const told = slow.map(({ payload, extraRows }) => [extraRows?.[0]?.[2], { costMs: extraRows?.[0]?.[0], payload }]);
      expect(Object.fromEntries(told)).toEqual({
        open_sink: { costMs: 3000n, payload: { pipeline: 'test', sink: 'memory' } },
        open_source: { costMs: 2000n, payload: { pipeline: 'test', source: 'world' } },
        save_checkpoint: { costMs: 5000n, payload: { pipeline: 'test', store: 'memory' } },
        publish_checkpoint: { costMs: 4000n, payload: { pipeline: 'test', checkpoint_ts: '9' } },
      });
    });
  });

  it.each<[string, EventPort['record']]>([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
    ['never settles', () => new Promise(() => {})],
  ])('C5.40: a recorder that %s changes nothing of the run', async (_, record) => {
    const outcome = async (options: RunOptions) => {
      const world = new World();
      const { tables: _tables, ...summary } = await run(pipelineIn(world, { source: TWO }), options).done;
      return { summary, steps: world.entries('claim', 'save', 'publish', 'confirm', 'source.close', 'sink.close'), stored: world.stored };
    };
    expect(await outcome({ events: { record }, slowThreshold: 0 })).toEqual(await outcome({}));
  });

  it.each<[string, RunOptions, string]>([
    ['events', { events: {} as EventPort }, 'object'],
    ['slowThreshold', { slowThreshold: 'soon' }, '"soon"'],
    ['slowSampleRatio', { slowSampleRatio: 2 }, '2'],
  ])('refuses a bad %s at once', (option, options, value) => {
    expect(() => run(pipelineIn(new World(), {}), options)).toThrow(new RegExp(`MR_INVALID_OPTION: option ${option} is ${value};`));
  });
});
