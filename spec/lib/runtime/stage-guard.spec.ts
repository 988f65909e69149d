import { describe, expect, it } from '@jest/globals';
import { Observable } from 'rxjs';
import { MillraceError } from '../../../lib/errors.ts';
import { Delivery, resolvedEvent } from '../../../lib/events/index.ts';
import { operator } from '../../../lib/flow/index.ts';
import { type RunStatus, run } from '../../../lib/runtime/index.ts';
import { delivery, errorOf, type Parts, pass, pipelineIn, rows, transaction, World } from '../../support/run-world.ts';

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

describe('the errors of a run', () => {
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
    const error = await errorOf(run(pipelineIn(new World(), { source: { deliveries: two }, stages: [failingAt('mine', 7n, vague)] })).done);
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

async function* throwing(): AsyncGenerator<Delivery> {
  yield transaction(5n);
  throw new Error('boom');
}
