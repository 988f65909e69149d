import { describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom } from 'rxjs';
import { MillraceError } from '../../../lib/errors.ts';
import { resolvedEvent } from '../../../lib/events/index.ts';
import type { Checkpoint } from '../../../lib/runtime/checkpoint.ts';
import { CheckpointLoop } from '../../../lib/runtime/checkpoint-loop.ts';
import { run } from '../../../lib/runtime/index.ts';
import { manualClock } from '../../support/manual-clock.ts';
import {
  delivery,
  errorOf,
  pipelineIn,
  rows,
  transaction,
  World,
  type WorldSinkOptions,
  type WorldSourceOptions,
} from '../../support/run-world.ts';

describe('the checkpoints of a run', () => {
  it('I1, I4: saves, then publishes, then confirms, in this order and each only after the one before', async () => {
    const world = new World();
    await run(pipelineIn(world, { source: { deliveries: () => [delivery(resolvedEvent(5n))] } })).done;
    expect(world.entries('save', 'publish', 'confirm')).toEqual(['save 5', 'publish 5', 'confirm 5', 'publish 5 final']);
  });

  it('publishes what is stored as a run begins: a crash may have come between the two, and a quiet source brings no newer one', async () => {
    const world = new World();
    world.stored = { checkpointTs: 5n, sourceState: null };
    const running = run(pipelineIn(world, { source: { stays: true } }));
    await firstValueFrom(running.status$.pipe(filter(({ phase }) => phase === 'streaming')));
    expect(world.entries('claim', 'publish', 'confirm')).toEqual(['claim world-1', 'publish 5']);
    await running.stop();
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

  it('saves at most one interval later when the clock was set back', async () => {
    const clock = manualClock();
    const now = clock.now;
    let shift = 86_400_000;
    const saved: unknown[] = [];
    const store = {
      name: 'memory',
      load: async () => null,
      save: async (_: string, { checkpointTs }: Checkpoint) => void saved.push(checkpointTs),
    };
    const loop = new CheckpointLoop({
      pipeline: 'p',
      store,
      loaded: null,
      clock: { ...clock, now: () => now() + shift },
      publish: async () => {},
      confirm: () => {},
      onFailure: () => {},
    });
    loop.advance(5n);
    await new Promise(setImmediate);
    shift = 0;
    loop.advance(6n);
    await new Promise(setImmediate);
    clock.advance(200);
    await new Promise(setImmediate);
    expect(saved).toEqual([5n, 6n]);
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
