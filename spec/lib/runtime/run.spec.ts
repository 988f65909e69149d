import { describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, Observable, VirtualTimeScheduler } from 'rxjs';
import { MillraceError } from '../../../lib/errors.ts';
import { Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import { clockOf, operator, type Stage } from '../../../lib/flow/index.ts';
import { definePipeline, type PipelineDefinition, type Running, type RunOptions, type RunStatus, run } from '../../../lib/runtime/index.ts';
import {
  delivery,
  rows,
  transaction,
  World,
  type WorldSinkOptions,
  type WorldSourceOptions,
  type WorldStoreOptions,
  worldSink,
  worldSource,
  worldStore,
} from '../../support/run-world.ts';

interface Parts {
  readonly source?: WorldSourceOptions;
  readonly sink?: WorldSinkOptions;
  readonly store?: WorldStoreOptions;
  readonly stages?: readonly Stage[];
}

function pipelineIn(world: World, { source, sink, store, stages = [] }: Parts): PipelineDefinition {
  return definePipeline({
    name: 'test',
    source: worldSource(world, source),
    stages,
    sink: worldSink(world, sink),
    checkpoint: worldStore(world, store),
  });
}

const errorOf = (promise: Promise<unknown>): Promise<MillraceError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as MillraceError,
  );

const pass = (name: string) => operator<Delivery, Delivery>(name, {}, () => (source) => source);

/** A stage that fails when it meets this commitTs. */
const failingAt = (name: string, commitTs: bigint, error: unknown = new Error('no such mood')) =>
  operator<Delivery, Delivery>(
    name,
    {},
    () => (source) =>
      new Observable<Delivery>((subscriber) =>
        source.subscribe({
          next: (next) => {
            if (next.events.some((event) => event.type === 'dml' && event.rows.first.commitTs === commitTs)) subscriber.error(error);
            else subscriber.next(next);
          },
          error: (upstream: unknown) => subscriber.error(upstream),
          complete: () => subscriber.complete(),
        }),
      ),
  );

describe('run', () => {
  it('moves everything from source to sink and ends with a summary when the source ends', async () => {
    const world = new World();
    const definition = pipelineIn(world, {
      source: { deliveries: () => [transaction(5n, 3), transaction(9n)] },
      stages: [pass('a'), pass('b')],
    });
    const summary = await run(definition).done;
    expect(summary).toMatchObject({ drained: true, checkpointTs: 9n, rows: 4, files: 2, tables: { 'public.t': { rows: 4, files: 2 } } });
    expect(world.stored).toEqual({ checkpointTs: 9n, sourceState: null });
  });

  it('opens the sink before the source and claims the target before anything is written', async () => {
    const world = new World();
    await run(pipelineIn(world, { source: { deliveries: () => [transaction(5n)] }, sink: { onWrite: () => world.log.push('write') } }))
      .done;
    expect(world.entries('sink.open', 'source.open', 'claim', 'write', 'source.close', 'sink.close', 'store.close')).toEqual([
      'sink.open',
      'source.open null',
      'claim world-1',
      'write',
      'source.close',
      'sink.close',
      'store.close',
    ]);
  });

  it('tells the source what the target remembers, the checkpoint and its state', async () => {
    const world = new World();
    world.stored = { checkpointTs: 7n, sourceState: { oid: 16384n } };
    let seen: unknown;
    const onOpen: WorldSourceOptions['onOpen'] = ({ checkpointTs, state, targetIdentity, pipeline }) => {
      seen = { checkpointTs, state, targetIdentity, pipeline };
    };
    await run(pipelineIn(world, { source: { onOpen }, sink: { identity: 'world-1' } })).done;
    expect(seen).toEqual({ checkpointTs: 7n, state: { oid: 16384n }, targetIdentity: 'world-1', pipeline: 'test' });
  });

  it('runs one definition twice, the second time from the checkpoint of the first', async () => {
    const world = new World();
    let round = 0;
    const definition = pipelineIn(world, { source: { deliveries: () => [transaction(round++ === 0 ? 5n : 8n)] } });
    await run(definition).done;
    const second = await run(definition).done;
    expect(world.entries('source.open')).toEqual(['source.open null', 'source.open 5']);
    expect(second).toMatchObject({ checkpointTs: 8n, rows: 1 });
  });

  describe('checkpoints', () => {
    it('I1, I4: saves, then publishes, then confirms, in this order and each only after the one before', async () => {
      const world = new World();
      await run(pipelineIn(world, { source: { deliveries: () => [delivery(resolvedEvent(5n))] } })).done;
      expect(world.entries('save', 'publish', 'confirm')).toEqual(['save 5', 'publish 5', 'confirm 5', 'publish 5 final']);
    });

    it('I1: confirms and publishes nothing when the save fails, and ends with the failure', async () => {
      const world = new World();
      const onSave = () => Promise.reject(new Error('disk gone'));
      const error = await errorOf(
        run(pipelineIn(world, { source: { deliveries: () => [transaction(5n)], stays: true }, store: { onSave } })).done,
      );
      expect(error.code).toBe('MR_CHECKPOINT_FAILED');
      expect(error.message).toContain('disk gone');
      expect(world.entries('publish', 'confirm')).toEqual([]);
      expect(world.entries('source.close', 'sink.close', 'store.close')).toEqual(['source.close', 'sink.close', 'store.close']);
    });

    it('I1: confirms nothing when the target does not take the checkpoint', async () => {
      const world = new World();
      const onPublish = () => Promise.reject(new MillraceError('MR_SINK_FAILED', { sink: 'memory', reason: 'full' }));
      const error = await errorOf(
        run(pipelineIn(world, { source: { deliveries: () => [transaction(5n)], stays: true }, sink: { onPublish } })).done,
      );
      expect(error.code).toBe('MR_SINK_FAILED');
      expect(world.entries('save', 'confirm')).toEqual(['save 4']);
    });

    it('I1: never confirms past an event that is not flushed', async () => {
      const world = new World();
      const flushes: WorldSinkOptions['flushes'] = (event) => event.type !== 'dml' || event.rows.first.commitTs !== 7n;
      const running = run(
        pipelineIn(world, {
          source: { deliveries: () => [transaction(5n), transaction(7n), transaction(9n)], stays: true },
          sink: { flushes },
        }),
      );
      await firstValueFrom(running.status$.pipe(filter(({ resolvedTs, checkpointTs }) => resolvedTs === 9n && checkpointTs === 6n)));
      await running.stop({ drain: false });
      expect(world.stored?.checkpointTs).toBe(6n);
      expect(world.entries('confirm').at(-1)).toBe('confirm 6');
    });

    it('keeps one save in flight and takes the newest checkpoint next', async () => {
      const world = new World();
      let inFlight = 0;
      let release = () => {};
      const first = new Promise<void>((resolve) => {
        release = resolve;
      });
      const onSave = async () => {
        expect(++inFlight).toBe(1);
        await first;
        inFlight--;
      };
      async function* deliveries() {
        yield transaction(5n);
        for (let ts = 6n; ts < 50n; ts++) yield transaction(ts);
        release();
      }
      await run(pipelineIn(world, { source: { deliveries }, store: { onSave } })).done;
      expect(world.entries('save')).toEqual(['save 4', 'save 49']);
    });

    it('I5: stores what the source saves when it hears the last confirmation, before the store is closed', async () => {
      const world = new World();
      const saves: Promise<void>[] = [];
      const onConfirm: WorldSourceOptions['onConfirm'] = (checkpointTs, { saveState }) =>
        void saves.push(saveState(`snapshot complete at ${checkpointTs}`));
      const onClose = async () => void (await Promise.all(saves));
      await run(pipelineIn(world, { source: { deliveries: () => [transaction(5n)], onConfirm, onClose } })).done;
      expect(world.stored).toEqual({ checkpointTs: 5n, sourceState: 'snapshot complete at 5' });
      expect(world.log.at(-1)).toBe('store.close');
    });

    it('saves the state of the source with the checkpoint it had, durable when the promise resolves', async () => {
      const world = new World();
      world.stored = { checkpointTs: 3n, sourceState: 'old' };
      const onOpen: WorldSourceOptions['onOpen'] = async ({ saveState }) => {
        await saveState('intent');
        expect(world.stored).toEqual({ checkpointTs: 3n, sourceState: 'intent' });
      };
      await run(pipelineIn(world, { source: { onOpen } })).done;
      expect(world.entries('confirm')).toEqual([]);
    });

    it('refuses to save for a source that outlives its run', async () => {
      const world = new World();
      let save: (state: string) => Promise<void> = async () => {};
      const onOpen: WorldSourceOptions['onOpen'] = ({ saveState }) => {
        save = saveState;
      };
      await run(pipelineIn(world, { source: { onOpen } })).done;
      expect((await errorOf(save('late'))).code).toBe('MR_STOPPED');
    });

    it('has no checkpoint before the source has resolved anything', async () => {
      const world = new World();
      await run(pipelineIn(world, { source: { deliveries: () => [delivery(rows('t', 5n))] } })).done;
      expect(world.entries('save', 'publish', 'confirm')).toEqual([]);
    });
  });

  describe('errors', () => {
    const two = () => [transaction(5n), delivery(rows('users', 7n, 2, 3), resolvedEvent(7n))];

    it.each([0, 1, 2])('in stage %i name the stage, the position and the table', async (index) => {
      const world = new World();
      const stages = ['first', 'second', 'third'].map((name, at) => (at === index ? failingAt(name, 7n) : pass(name)));
      const error = await errorOf(run(pipelineIn(world, { source: { deliveries: two }, stages })).done);
      const stage = ['first', 'second', 'third'][index];
      expect(error).toMatchObject({
        code: 'MR_STAGE_FAILED',
        details: { stage, position: '7/3', table: 'public.users', reason: 'no such mood' },
      });
      expect((error.cause as Error).message).toBe('no such mood');
      expect(world.stored?.checkpointTs ?? 0n).toBeLessThan(7n);
      expect(world.entries('source.close', 'sink.close', 'store.close')).toHaveLength(3);
    });

    it('of a stage that name stage and position already pass as they are', async () => {
      const exact = new MillraceError('MR_OUT_OF_ORDER', { stage: 'mine', position: '7/4', previous: '7/5', dispatcher: 'd' });
      const error = await errorOf(
        run(pipelineIn(new World(), { source: { deliveries: two }, stages: [failingAt('mine', 7n, exact), pass('after')] })).done,
      );
      expect(error).toBe(exact);
    });

    it('of the table without a place get one', async () => {
      const vague = new MillraceError('MR_UNKNOWN_COLUMN', { table: 'public.users', column: 'x', columns: 'y' });
      const error = await errorOf(
        run(pipelineIn(new World(), { source: { deliveries: two }, stages: [failingAt('mine', 7n, vague)] })).done,
      );
      expect(error).toMatchObject({ code: 'MR_STAGE_FAILED', details: { stage: 'mine', position: '7/3' }, cause: vague });
    });

    it.each<[string, Parts, string]>([
      ['of the source while it opens', { source: { onOpen: () => Promise.reject(new Error('boom')) } }, 'MR_SOURCE_FAILED'],
      ['of the source while it streams', { source: { deliveries: () => throwing() } }, 'MR_SOURCE_FAILED'],
      ['of the sink while it opens', { sink: { onOpen: () => Promise.reject(new Error('boom')) } }, 'MR_SINK_FAILED'],
    ])('%s end the run with a code', async (_, parts, code) => {
      const world = new World();
      const error = await errorOf(run(pipelineIn(world, { ...parts, stages: [pass('a')] })).done);
      expect(error.code).toBe(code);
      expect(error.message).toContain('boom');
      expect(world.entries('store.close')).toHaveLength(1);
    });

    it.each<[string, (deliveries: Delivery) => Delivery[], string]>([
      ['swallows a delivery', () => [], 'ended without emitting'],
      ['makes a delivery of its own', ({ events }) => [new Delivery(events)], 'use delivery.with(events)'],
      ['emits a delivery twice', (same) => [same, same], 'had not received'],
    ])('a stage that %s is named, because progress would stall', async (_, change, what) => {
      const stage = operator<Delivery, Delivery>(
        'odd',
        {},
        () => (source) =>
          new Observable<Delivery>((subscriber) =>
            source.subscribe({
              next: (next) => {
                for (const made of change(next)) subscriber.next(made);
              },
              complete: () => subscriber.complete(),
            }),
          ),
      );
      const error = await errorOf(run(pipelineIn(new World(), { source: { deliveries: () => [transaction(5n)] }, stages: [stage] })).done);
      expect(error).toMatchObject({ code: 'MR_STAGE_CONTRACT', details: { stage: 'odd' } });
      expect(error.message).toContain(what);
    });

    it('do not crash a process that only watches status$', async () => {
      const running = run(pipelineIn(new World(), { source: { onOpen: () => Promise.reject(new Error('boom')) } }));
      const seen: RunStatus['phase'][] = [];
      await new Promise<void>((complete) => running.status$.subscribe({ next: ({ phase }) => seen.push(phase), complete }));
      expect(seen.at(-1)).toBe('failed');
    });

    it('leave the parts closed though one of them cannot be', async () => {
      const world = new World();
      const onClose = () => Promise.reject(new Error('stuck'));
      await run(pipelineIn(world, { source: { deliveries: () => [transaction(5n)], onClose } })).done;
      expect(world.entries('sink.close', 'store.close')).toHaveLength(2);
    });
  });

  describe('stop', () => {
    const held: WorldSinkOptions = { flushes: () => false };
    const staying: WorldSourceOptions = { deliveries: () => [transaction(5n)], stays: true };
    const accepted = (running: Running) => firstValueFrom(running.status$.pipe(filter(({ resolvedTs }) => resolvedTs === 5n)));

    it('with drain flushes what was accepted and stores the checkpoint', async () => {
      const world = new World();
      let isOpen = false;
      const running = run(pipelineIn(world, { source: staying, sink: { flushes: () => isOpen } }));
      await accepted(running);
      expect(world.entries('save', 'publish', 'confirm')).toEqual(['save 4', 'publish 4', 'confirm 4']);
      isOpen = true;
      await expect(running.stop({ drain: true })).resolves.toMatchObject({ drained: true, checkpointTs: 5n });
      expect(world.entries('save', 'publish', 'confirm').slice(3)).toEqual(['save 5', 'publish 5', 'confirm 5', 'publish 5 final']);
    });

    it('without drain ends at once and leaves what is not flushed to the next run', async () => {
      const world = new World();
      const running = run(pipelineIn(world, { source: staying, sink: held }));
      await accepted(running);
      await expect(running.stop({ drain: false })).resolves.toMatchObject({ drained: false, checkpointTs: 4n });
      expect(world.entries('sink.unsubscribed', 'source.close', 'sink.close', 'store.close')).toHaveLength(4);
    });

    it('fails with MR_DRAIN_TIMEOUT when the target does not answer, and says what is left', async () => {
      const world = new World();
      const running = run(pipelineIn(world, { source: staying, sink: held }), { drainTimeoutMs: 20 });
      await accepted(running);
      const error = await errorOf(running.stop());
      expect(error).toMatchObject({ code: 'MR_DRAIN_TIMEOUT', details: { timeout: '20ms', pendingEvents: 1 } });
      expect(world.entries('publish').filter((entry) => entry.endsWith('final'))).toEqual([]);
    });

    it('without drain cuts short a stop with drain', async () => {
      const running = run(pipelineIn(new World(), { source: staying, sink: held }));
      await accepted(running);
      void running.stop();
      await expect(running.stop({ drain: false })).resolves.toMatchObject({ drained: false });
    });

    it('comes with the signal too, even one that was aborted before', async () => {
      const world = new World();
      const running = run(pipelineIn(world, { source: staying }), { signal: AbortSignal.abort() });
      await expect(running.done).resolves.toMatchObject({ drained: true, rows: 0 });
      expect(world.entries('source.open')).toEqual([]);
      const controller = new AbortController();
      const second = run(pipelineIn(world, { source: staying }), { signal: controller.signal });
      await accepted(second);
      controller.abort();
      await expect(second.done).resolves.toMatchObject({ drained: true, checkpointTs: 5n });
    });

    it('while the source opens ends well, because nothing was accepted', async () => {
      const world = new World();
      const onOpen: WorldSourceOptions['onOpen'] = ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true }));
      const running = run(pipelineIn(world, { source: { onOpen } }));
      await expect(running.stop()).resolves.toMatchObject({ drained: true, rows: 0 });
      expect(world.entries('store.close')).toHaveLength(1);
    });

    it('while the sink opens does not wait for it, because nothing was accepted', async () => {
      const world = new World();
      let open = () => {};
      const opening = new Promise<void>((resolve) => {
        open = resolve;
      });
      const running = run(pipelineIn(world, { sink: { onOpen: () => opening } }));
      await expect(running.stop()).resolves.toMatchObject({ drained: true, rows: 0 });
      expect(world.entries('source.open', 'sink.close')).toEqual([]);
      open();
      await new Promise((resolve) => setImmediate(resolve));
      expect(world.entries('sink.close')).toEqual(['sink.close']);
    });

    it('without drain closes a source that opens too late', async () => {
      const world = new World();
      let open = () => {};
      const opening = new Promise<void>((resolve) => {
        open = resolve;
      });
      let begun = () => {};
      const asked = new Promise<void>((resolve) => {
        begun = resolve;
      });
      const onOpen = () => {
        begun();
        return opening;
      };
      const running = run(pipelineIn(world, { source: { onOpen } }));
      await asked;
      await running.stop({ drain: false });
      expect(world.entries('source.close')).toEqual([]);
      open();
      await new Promise((resolve) => setImmediate(resolve));
      expect(world.entries('source.close')).toEqual(['source.close']);
      expect(world.entries('claim')).toEqual([]);
    });

    it('after the end is the end', async () => {
      const running = run(pipelineIn(new World(), { source: { deliveries: () => [transaction(5n)] } }));
      await running.done;
      await expect(running.stop()).resolves.toMatchObject({ checkpointTs: 5n });
    });
  });

  describe('until caught-up', () => {
    const options: RunOptions = { until: 'caught-up' };

    it('stops, drained, once what the source had at start has arrived', async () => {
      const world = new World();
      const source: WorldSourceOptions = { deliveries: () => [transaction(5n), transaction(9n)], stays: true, headTs: 8n };
      await expect(run(pipelineIn(world, { source }), options).done).resolves.toMatchObject({ drained: true, checkpointTs: 9n });
    });

    it('stops at once when the checkpoint is there already', async () => {
      const world = new World();
      world.stored = { checkpointTs: 9n, sourceState: null };
      await expect(run(pipelineIn(world, { source: { stays: true, headTs: 9n } }), options).done).resolves.toMatchObject({
        drained: true,
        checkpointTs: 9n,
      });
    });

    it('does not stop in a snapshot', async () => {
      const running = run(
        pipelineIn(new World(), { source: { deliveries: () => [transaction(9n)], stays: true, headTs: 8n, phase: 'snapshot' } }),
        options,
      );
      await firstValueFrom(running.status$.pipe(filter(({ checkpointTs }) => checkpointTs === 9n)));
      const later = await firstValueFrom(running.status$.pipe(filter((_, ticks) => ticks === 1)));
      expect(later.phase).toBe('snapshot');
      await running.stop();
    });
  });

  it('status$ tells rows, lag and checkpoint twice a second, multicast, and completes', async () => {
    const scheduler = new VirtualTimeScheduler();
    const world = new World();
    const running = run(pipelineIn(world, { source: { deliveries: () => [transaction(5n, 3)], stays: true, headTs: 5n } }), {
      clock: clockOf(scheduler),
    });
    const seen: RunStatus[] = [];
    const again: RunStatus[] = [];
    running.status$.subscribe((status) => seen.push(status));
    running.status$.subscribe((status) => again.push(status));
    while (world.entries('confirm').length === 0) await new Promise((resolve) => setImmediate(resolve));
    scheduler.maxFrames = 1000;
    scheduler.flush();
    await running.stop();
    expect(seen.map(({ phase }) => phase)).toEqual(['starting', 'streaming', 'streaming', 'closed']);
    expect(seen.at(-1)).toMatchObject({
      rows: 3,
      files: 1,
      checkpointTs: 5n,
      resolvedTs: 5n,
      lagMs: 0,
      pendingEvents: 0,
      rowsPerSecond: 3,
    });
    expect(again).toEqual(seen);
  });
});

async function* throwing(): AsyncGenerator<Delivery> {
  yield transaction(5n);
  throw new Error('boom');
}
