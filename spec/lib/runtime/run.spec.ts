import { describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, lastValueFrom, VirtualTimeScheduler } from 'rxjs';
import { clockOf, silentLogger } from '../../../lib/flow/index.ts';
import { definePipeline, type Running, type RunOptions, type RunStatus, run } from '../../../lib/runtime/index.ts';
import { virtualTime } from '../../../lib/testing/index.ts';
import { type ManualClock, manualClock } from '../../support/manual-clock.ts';
import { errorOf, pass, pipelineIn, transaction, World, type WorldSinkOptions, type WorldSourceOptions } from '../../support/run-world.ts';

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

  it.each<[string, RunOptions, string]>([
    ['drainTimeoutMs', { drainTimeoutMs: -1 }, '-1'],
    ['maxBytesInFlight', { maxBytesInFlight: 0 }, '0'],
    ['until', { until: 'now' as 'caught-up' }, 'now'],
  ])('refuses a bad %s at once', (option, options, value) => {
    const definition = pipelineIn(new World(), {});
    expect(() => run(definition, options)).toThrow(new RegExp(`MR_INVALID_OPTION: option ${option} is ${value};`));
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

  it('tells of the stored checkpoint when it fails before the source is open, for nothing of that is lost', async () => {
    const world = new World();
    world.stored = { checkpointTs: 7n, sourceState: null };
    const told: object[] = [];
    const logger = { ...silentLogger, error: (details: object) => void told.push(details) };
    const onOpen = () => Promise.reject(new Error('refused'));
    const running = run(pipelineIn(world, { source: { onOpen } }), { logger });
    await errorOf(running.done);
    expect(told).toEqual([expect.objectContaining({ checkpointTs: 7n })]);
    await expect(lastValueFrom(running.status$)).resolves.toMatchObject({ phase: 'failed', checkpointTs: 7n });
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

  it('refuses a second run of a definition while the first lasts, and leaves the first alone', async () => {
    const world = new World();
    const definition = pipelineIn(world, { source: { deliveries: () => [transaction(5n)], stays: true } });
    const first = run(definition);
    await expect(run(definition).done).rejects.toMatchObject({ code: 'MR_ALREADY_RUNNING', details: { pipeline: 'test' } });
    expect(world.entries('store.close')).toEqual([]);
    await expect(first.stop()).resolves.toMatchObject({ drained: true });
    await expect(run(definition, { signal: AbortSignal.abort() }).done).resolves.toMatchObject({ rows: 0 });
  });

  it('keeps its place while its store stalls, beyond its own end, and tells the next run so: two never write one checkpoint', async () => {
    const world = new World();
    const clock = manualClock();
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let ask = () => {};
    const asked = new Promise<void>((resolve) => {
      ask = resolve;
    });
    const onSave = () => {
      ask();
      return answered;
    };
    const definition = pipelineIn(world, { source: { deliveries: () => [transaction(5n)], stays: true }, store: { onSave } });
    const first = run(definition, { clock });
    const early = await errorOf(run(definition).done);
    expect(early.message).toContain('MR_ALREADY_RUNNING: pipeline test runs in this process already');
    await asked;
    const stopped = first.stop({ drain: false });
    await settledOn(clock, stopped);
    await expect(stopped).resolves.toMatchObject({ drained: false });
    expect(world.entries('store.close')).toEqual([]);
    const late = await errorOf(run(definition).done);
    expect(late.message).toContain(
      'MR_ALREADY_RUNNING: pipeline test has ended in this process, but its checkpoint store has not closed yet',
    );
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.entries('store.close')).toEqual(['store.close']);
    await expect(run(definition, { signal: AbortSignal.abort() }).done).resolves.toMatchObject({ rows: 0 });
  });

  it('runs pipelines of different names beside each other, though they share a checkpoint store', async () => {
    const [world, other] = [new World(), new World()];
    const source = { stays: true };
    const first = pipelineIn(world, { source });
    const second = definePipeline({ ...pipelineIn(other, { source }), name: 'other', checkpoint: first.checkpoint });
    const runs = [run(first), run(second)];
    await expect(Promise.all(runs.map((running) => running.stop()))).resolves.toHaveLength(2);
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

    it.each([
      ['sink', { drain: true }],
      ['sink', { drain: false }],
      ['source', { drain: false }],
    ] as const)('while the %s opens waits until it is closed, because it may hold what the next run needs: %j', async (part, how) => {
      await virtualTime(async ({ clock }) => {
        const world = new World();
        const running = run(pipelineIn(world, { [part]: { onOpen: () => clock.sleep(1000) } }), { clock });
        await clock.sleep(500);
        await expect(running.stop(how)).resolves.toMatchObject({ drained: how.drain, rows: 0 });
        expect(clock.now()).toBe(1000);
        expect(world.entries(`${part}.close`, 'claim', 'store.close')).toEqual([`${part}.close`, 'store.close']);
      });
    });

    it.each(['sink', 'source'] as const)('leaves a %s that does not open to itself after 5 s, and closes it when it does', async (part) => {
      await virtualTime(async ({ clock }) => {
        const world = new World();
        const running = run(pipelineIn(world, { [part]: { onOpen: () => clock.sleep(60_000) } }), { clock });
        await clock.sleep(1000);
        await running.stop({ drain: false });
        expect([clock.now(), ...world.entries(`${part}.close`)]).toEqual([6000]);
        await clock.advance(60_000);
        expect(world.entries(`${part}.close`, 'claim')).toEqual([`${part}.close`]);
      });
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

    it('stops when the mark arrives, without waiting for a tick of the clock', async () => {
      const source: WorldSourceOptions = { deliveries: () => [transaction(5n), transaction(9n)], stays: true, headTs: 8n };
      const running = run(pipelineIn(new World(), { source }), { ...options, clock: manualClock() });
      await expect(running.done).resolves.toMatchObject({ drained: true, checkpointTs: 9n });
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

  it('status$ counts the same rows in its rate as in its sums: those that are durable, not those that wait', async () => {
    const scheduler = new VirtualTimeScheduler();
    const world = new World();
    let isHeld = true;
    const running = run(
      pipelineIn(world, {
        source: { deliveries: () => [transaction(5n, 3), transaction(9n, 2)], stays: true },
        sink: { flushes: (event) => event.type === 'dml' && (event.rows.rowCount === 3 || !isHeld) },
      }),
      { clock: clockOf(scheduler) },
    );
    const seen: RunStatus[] = [];
    running.status$.subscribe((status) => seen.push(status));
    while (world.entries('confirm').length === 0) await new Promise((resolve) => setImmediate(resolve));
    scheduler.maxFrames = 1000;
    scheduler.flush();
    expect(seen.at(-1)).toMatchObject({ pendingEvents: 1, rows: 3, rowsPerSecond: 3 });
    isHeld = false;
    await running.stop();
    expect(seen.at(-1)).toMatchObject({ pendingEvents: 0, rows: 5, rowsPerSecond: 5 });
  });
});

/** Moves time on until `promise` has settled. */
async function settledOn(clock: ManualClock, promise: Promise<unknown>): Promise<void> {
  let isOpen = true;
  const done = () => {
    isOpen = false;
  };
  promise.then(done, done);
  while (isOpen) {
    await new Promise((resolve) => setImmediate(resolve));
    if (isOpen) clock.advance(1000);
  }
}
