import { describe, expect, it } from '@jest/globals';
import { delay } from 'rxjs';
import { type Clock, definePipeline, memoryCheckpoint, type PipelineDefinition, systemClock } from '../../../lib/index.ts';
import { memorySink, memorySource, testPipeline, type VirtualClock, type VirtualTime, virtualTime } from '../../../lib/testing/index.ts';
import { deliveryOf } from '../../../lib/testing/marbles/notation.ts';
import { filterRows, lift, perEvent } from '../../../operators/index.ts';
import { cloudStorage, readTable } from '../../../pipelines/index.ts';
import { errorOf } from '../../support/run-world.ts';

/** Any definition: in a test only its name and its stages count. */
const definition = (...stages: PipelineDefinition['stages']) =>
  definePipeline({ name: 'test', source: memorySource(), stages, sink: memorySink(), checkpoint: memoryCheckpoint() });

const events = (...texts: string[]) => texts.map((text) => deliveryOf(text).events);
const idsOf = (changes: readonly { readonly commitTs: bigint }[]) => changes.map(({ commitTs }) => Number(commitTs));

const inTime = (body: (time: VirtualTime) => Promise<void>) => () => virtualTime(body);

describe('testPipeline', () => {
  it(
    'runs a definition against memory parts: what is fed reaches the sink, is durable, checkpointed and confirmed',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.feed(...events('a@5', 'a@6'));
      await test.advance(1000);
      expect(idsOf(test.sink.changes('a'))).toEqual([5, 6]);
      expect(test.arrivals.map(({ changes }) => idsOf(changes))).toEqual([[5], [6]]);
      expect(test.acks.map(({ ack }) => ack)).toEqual(['enqueued', 'enqueued', 'flushed', 'flushed']);
      expect(test.checkpointTs).toBe(6n);
      expect(test.confirmed.at(-1)).toBe(6n);
      expect(test.sink.published.at(-1)).toBe(6n);
    }),
  );

  it(
    'runs the stages of the definition on the virtual clock, asynchronous ones too',
    inTime(async ({ clock }) => {
      const slow = lift('slow', delay(250, clock.scheduler));
      const test = testPipeline(
        definition(
          filterRows('public.a', (row) => row.position.commitTs !== 6n),
          slow,
        ),
        { clock },
      );
      test.feed(...events('a@5', 'a@6', 'a@7'));
      await test.advance(249);
      expect(test.arrivals).toEqual([]);
      await test.advance(1);
      expect(test.arrivals.map(({ atMs, changes }) => [atMs, idsOf(changes)])).toEqual([
        [250, [5]],
        [250, []],
      ]);
      await test.advance(1000);
      expect(idsOf(test.sink.changes())).toEqual([5, 7]);
    }),
  );

  it(
    'keeps to the flush settings of the sink: before the interval nothing is durable and no checkpoint moves (I1)',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock, sink: memorySink({ flushIntervalMs: 5000 }) });
      test.feed(...events('a@5', 'b@6'));
      await test.advance(4999);
      expect(test.acks.map(({ ack }) => ack)).toEqual(['enqueued', 'enqueued']);
      expect(test.sink.changes()).toEqual([]);
      expect(test.checkpointTs).toBe(4n);
      await test.advance(1);
      expect(test.sink.pieces.map(({ atMs, table, reason }) => [atMs, table, reason])).toEqual([
        [5000, 'public.a', 'interval'],
        [5000, 'public.b', 'interval'],
      ]);
      await test.advance(200);
      expect(test.checkpointTs).toBe(6n);
    }),
  );

  it(
    'a crash loses what is not durable, and the next life gets it again from the checkpoint (I8)',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock, sink: memorySink({ flushIntervalMs: 1000 }) });
      test.feed(...events('a@5'));
      await test.advance(2000);
      test.feed(...events('a@6', 'a@7'));
      await test.advance(500);
      test.crash();
      await test.advance(60_000);
      expect(idsOf(test.sink.changes())).toEqual([5]);
      expect(test.acks.filter(({ ack }) => ack === 'flushed')).toHaveLength(1);
      test.feed(...events('a@8'));
      test.restart();
      await test.advance(1500);
      expect(test.arrivals.map(({ life, changes }) => [life, ...idsOf(changes)])).toEqual([
        [1, 5],
        [1, 6],
        [1, 7],
        [2, 6],
        [2, 7],
        [2, 8],
      ]);
      expect(idsOf(test.sink.changes())).toEqual([5, 6, 7, 8]);
    }),
  );

  it(
    'after a crash nothing of the old life happens any more: no write, no ack, no checkpoint, no confirmation, no stage',
    inTime(async ({ clock }) => {
      const seen: bigint[] = [];
      const watch = perEvent('watch', (event) => {
        seen.push(event.type === 'dml' ? event.rows.first.commitTs : -1n);
        return event;
      });
      const slow = lift('slow', delay(100, clock.scheduler));
      const sink = memorySink({ writeMs: 100 });
      const test = testPipeline(definition(slow, watch), { clock, sink });
      test.feed(...events('a@5', 'a@6', 'a@7'));
      await test.advance(250);
      const before = JSON.stringify([
        seen.map(String),
        test.acks.length,
        test.checkpoints.length,
        test.confirmed.length,
        sink.pieces.length,
      ]);
      test.crash();
      await test.advance(100_000);
      expect(JSON.stringify([seen.map(String), test.acks.length, test.checkpoints.length, test.confirmed.length, sink.pieces.length])).toBe(
        before,
      );
    }),
  );

  it(
    'a write that hangs in a crash is not taken up when the target goes on, and the next life writes it (I8)',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.sink.hold();
      test.feed(...events('a@5'));
      await test.advance(10);
      test.crash();
      test.sink.release();
      await test.advance(1000);
      expect(test.sink.pieces).toEqual([]);
      test.restart();
      await test.advance(10);
      expect(idsOf(test.sink.changes())).toEqual([5]);
    }),
  );

  it(
    'a connection that breaks later breaks for the life that runs then, not for one that is gone',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.feed('a@5');
      await test.advance(300);
      test.crash();
      test.restart();
      await test.advance(10);
      test.feed('--#');
      test.feed('-----a@6');
      expect(await errorOf(test.advance(100))).toMatchObject({
        code: 'MR_SOURCE_FAILED',
        details: { reason: expect.stringContaining('--#') },
      });
      test.restart();
      await test.advance(300);
      expect(idsOf(test.sink.changes())).toEqual([5, 6]);
      expect(test.checkpointTs).toBe(6n);
    }),
  );

  it(
    'what was written and not checkpointed is written again, and a reader sees it once (I8)',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.feed(...events('a@5'));
      await test.advance(0);
      test.feed(...events('a@6'));
      await test.advance(1);
      expect([test.sink.pieces.length, test.checkpointTs]).toEqual([2, 4n]);
      test.crash();
      test.restart();
      await test.advance(1000);
      expect(test.sink.pieces).toHaveLength(4);
      expect(idsOf(test.sink.changes())).toEqual([5, 6]);
    }),
  );

  it(
    'is fed and watched by diagrams: what comes when, what reaches the sink, which acks follow',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock, sink: memorySink({ flushIntervalMs: 1000 }) });
      test.feed('          ---a@5 500ms [a@6,b@6]');
      await test.advance(2000);
      test.expectArrivals('---a@5 500ms [a@6,b@6]');
      test.expectAcks('    ---enqueued:a@5 491ms enqueued:[a@6,b@6] 479ms flushed:a@5 492ms flushed:[a@6,b@6]');
      expect(() => test.expectArrivals('---a@5 500ms a@6')).toThrow('[a@6,b@6]');
    }),
  );

  it(
    'runs the real cloud storage sink over a store in memory, through a crash between two of its writes',
    inTime(async ({ clock }) => {
      const options = { protocol: 'canal-json', flushInterval: '5s' } as const;
      const test = testPipeline(
        ({ source, store, checkpoint }) => definePipeline({ name: 'lake', source, sink: cloudStorage({ ...options, store }), checkpoint }),
        { clock, storeLatencyMs: 20 },
      );
      test.feed(...events('a@5{id:1,note:x}', 'a@6{id:2,note:y}'));
      await test.advance(5100);
      test.crash();
      await test.advance(10_000);
      expect(test.checkpointTs).toBe(4n);
      test.restart();
      await test.advance(9000);
      await test.stop();
      const found = [];
      for await (const batch of readTable(test.store, { schema: 'public', table: 'a' })) found.push(...batch.map(({ data }) => data));
      expect(found).toEqual([
        { id: '1', note: 'x' },
        { id: '2', note: 'y' },
      ]);
      expect(test.checkpointTs).toBe(6n);
    }),
  );

  it(
    'stops drained, or not, as a run does, and can be restarted',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock, sink: memorySink({ flushIntervalMs: 60_000 }) });
      test.feed(...events('a@5'));
      await test.advance(10);
      expect(await test.stop({ drain: false })).toMatchObject({ drained: false, rows: 0 });
      test.restart();
      await test.advance(10);
      expect(await test.stop()).toMatchObject({ drained: true, rows: 1, checkpointTs: 5n });
    }),
  );

  it(
    'tells the failure of a run at the next advance, so that no test passes over it',
    inTime(async ({ clock }) => {
      const stage = perEvent('picky', () => {
        throw new Error('not this one');
      });
      const test = testPipeline(definition(stage), { clock });
      test.feed(...events('a@5'));
      expect(await errorOf(test.advance(10))).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'picky' } });
      await test.advance(10);
      test.restart();
      const { done } = test;
      await expect(done).rejects.toMatchObject({ code: 'MR_STAGE_FAILED' });
      await test.advance(10);
    }),
  );

  it(
    'a write that fails ends the run without an ack, and the restart writes it (I1)',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.sink.failNext('disk full');
      test.feed(...events('a@5'));
      expect(await errorOf(test.advance(10))).toMatchObject({ code: 'MR_SINK_WRITE_FAILED', details: { reason: 'disk full' } });
      expect(test.acks.map(({ ack }) => ack)).toEqual(['enqueued']);
      expect(test.checkpointTs).toBe(4n);
      test.restart();
      await test.advance(1000);
      expect([test.checkpointTs, idsOf(test.sink.changes())]).toEqual([5n, [5]]);
    }),
  );

  it.each(['crash', 'stop', 'restart'] as const)('says what is wrong with a %s at the wrong time', (call) =>
    virtualTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      if (call !== 'restart') test.crash();
      const error = await errorOf((async () => test[call]())());
      expect(error).toMatchObject({ code: 'MR_TEST_PIPELINE_MISUSED', details: { call } });
    }),
  );

  it(
    'refuses to be fed what no source could emit, and says why',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.feed(...events('a@5'));
      const refusal = (text: string) => errorOf((async () => test.feed(...events(text)))());
      expect(await refusal('a@5')).toMatchObject({ code: 'MR_FEED_REFUSED', details: { reason: 'it does not come after 5/0' } });
      expect(await refusal('ddl:a@6 a@6.1')).toMatchObject({ details: { reason: 'it is not alone in its delivery' } });
      await test.advance(10);
      expect(await refusal('b@5')).toMatchObject({ details: { reason: expect.stringContaining('resolved mark 5') } });
      test.feed(...events('a@6', 'b@7'));
      await test.advance(1000);
      expect(test.checkpointTs).toBe(7n);
    }),
  );

  const broken = () =>
    perEvent('picky', () => {
      throw new Error('not this one');
    });

  it('fails the test at its end when nobody has heard of a failure, whatever the test does not call', async () => {
    const ended = virtualTime(async ({ clock }) => {
      const test = testPipeline(definition(broken()), { clock });
      test.feed(...events('a@5'));
      await clock.advance(10);
    });
    expect(await errorOf(ended)).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'picky' } });
  });

  it('tells the failure instead of saying only that the test waits for what never comes', async () => {
    const ended = virtualTime(async ({ clock }) => {
      const test = testPipeline(definition(broken()), { clock });
      test.feed(...events('a@5'));
      await new Promise(() => {});
    });
    expect(await errorOf(ended)).toMatchObject({ code: 'MR_STAGE_FAILED' });
  });

  it.each(['restart', 'crash', 'stop'] as const)('tells the failure of a run at a %s, once', (call) =>
    virtualTime(async ({ clock }) => {
      const test = testPipeline(definition(broken()), { clock });
      test.feed(...events('a@5'));
      await clock.advance(10);
      expect(await errorOf((async () => test[call]())())).toMatchObject({ code: 'MR_STAGE_FAILED' });
      test.restart();
      await expect(test.done).rejects.toMatchObject({ code: 'MR_STAGE_FAILED' });
    }),
  );

  it(
    'lets letters stand for acks that are closer in time than their texts are long',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      test.feed('---a@5 -b@6');
      await test.advance(100);
      test.expectAcks('---(ef)(gh)', { e: 'enqueued:a@5', f: 'flushed:a@5', g: 'enqueued:x', h: 'flushed:[b@6]', x: 'b@6' });
    }),
  );

  it.each([
    ['flushed:[res@5]', {}, 'an ack of nothing that changes the sink'],
    ['x', { x: 'flushed:[res@5]' }, 'an ack of nothing that changes the sink'],
    ['x', { x: 'a@5' }, 'this is no ack'],
  ])('says that %s %j is no ack that it could have seen', (diagram, values, reason) =>
    virtualTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock });
      await test.advance(10);
      expect(() => test.expectAcks(diagram, values)).toThrow(reason);
    }),
  );

  it.each([
    [{ maxBytesInFlight: 0 }, 'maxBytesInFlight'],
    [{ maxBytesInFlight: -1 }, 'maxBytesInFlight'],
    [{ drainTimeoutMs: Number.NaN }, 'drainTimeoutMs'],
  ])('refuses what a run refuses: %j', (options, option) =>
    virtualTime(async ({ clock }) => {
      const error = await errorOf((async () => testPipeline(definition(), { clock, ...options }))());
      expect(error).toMatchObject({ code: 'MR_INVALID_OPTION', details: { option } });
    }),
  );

  it('refuses another clock than that of virtualTime, and what is no definition, before anything runs', () =>
    virtualTime(async ({ clock }) => {
      const refused = (option: string) => ({ code: 'MR_INVALID_OPTION', details: { option } });
      const make = (of: PipelineDefinition, on: Clock) => errorOf((async () => testPipeline(of, { clock: on as VirtualClock }))());
      expect(await make(definition(), systemClock)).toMatchObject(refused('clock'));
      expect(await make({} as PipelineDefinition, clock)).toMatchObject(refused('definition'));
    }));

  it(
    'gives a drain no time at all where it is told so',
    inTime(async ({ clock }) => {
      const test = testPipeline(definition(), { clock, drainTimeoutMs: 0, sink: memorySink({ writeMs: 100 }) });
      test.feed(...events('a@5'));
      await test.advance(10);
      expect(await errorOf(test.stop())).toMatchObject({ code: 'MR_DRAIN_TIMEOUT' });
    }),
  );
});
