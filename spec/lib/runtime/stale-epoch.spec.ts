import { describe, expect, it } from '@jest/globals';
import { filter, firstValueFrom, map } from 'rxjs';
import { type ChangeEvent, type Delivery, dmlEvent, isAckedEvent, lastPosition, resolvedEvent } from '../../../lib/events/index.ts';
import { operator, type Sessions } from '../../../lib/flow/index.ts';
import { run } from '../../../lib/runtime/index.ts';
import { filterEpoch } from '../../../operators/index.ts';
import { delivery, pipelineIn, rows, tableOf, World } from '../../support/run-world.ts';

const { dispatcher } = tableOf('t');

/** A transaction of the table in an epoch, and the epoch's word that it is complete. */
function transactionIn(epoch: bigint, commitTs: bigint): Delivery {
  const session = { epoch, seq: 1n };
  return delivery(dmlEvent(rows('t', commitTs).rows, session), resolvedEvent(commitTs, 0n, dispatcher, session));
}

/** What a collector of one table does: its session's epoch is asked for with each event, and its marks that pass become those of all. */
const collector = (epochOf: Sessions['epochOf']) =>
  operator<Delivery, Delivery>('collector', {}, (context) => (source) => {
    const sessions = { epochOf, requestReset: () => {} };
    const ofAll = (event: ChangeEvent) => (event.type === 'resolved' ? resolvedEvent(event.commitTs) : event);
    return source.pipe(
      filterEpoch().withContext({ ...context, sessions }),
      map((passed) => passed.with(passed.events.map(ofAll))),
    );
  });

describe('a run in a session', () => {
  it.each<[what: string, stale: bigint]>([
    ['older', 1n],
    ['newer', 3n],
  ])(
    'I9: a stale epoch can neither emit nor commit: nothing of an %s one reaches the sink, and its marks move no checkpoint',
    async (_, stale) => {
      const world = new World();
      const arrived: bigint[] = [];
      const deliveries = () => [transactionIn(2n, 5n), transactionIn(stale, 6n), transactionIn(stale, 99n), transactionIn(2n, 7n)];
      const onWrite = ({ events }: Delivery) =>
        void arrived.push(...events.filter(isAckedEvent).map((event) => lastPosition(event).commitTs));
      const definition = pipelineIn(world, { source: { deliveries }, sink: { onWrite }, stages: [collector(() => 2n)] });
      const summary = await run(definition).done;
      expect({ arrived, checkpointTs: summary.checkpointTs, rows: summary.rows }).toEqual({ arrived: [5n, 7n], checkpointTs: 7n, rows: 2 });
      expect(world.stored?.checkpointTs).toBe(7n);
    },
  );

  it('I9: what a reset left behind waits for its replay: the checkpoint stays where the old epoch had got to', async () => {
    const world = new World();
    let epoch = 1n;
    let replay = () => {};
    const isReset = new Promise<void>((resolve) => {
      replay = resolve;
    });
    let isStaleTaken = false;
    async function* deliveries() {
      yield transactionIn(1n, 5n);
      epoch = 2n;
      yield transactionIn(1n, 9n);
      isStaleTaken = true;
      await isReset;
      yield transactionIn(2n, 9n);
    }
    const running = run(pipelineIn(world, { source: { deliveries, stays: true }, stages: [collector(() => epoch)] }));
    await firstValueFrom(running.status$.pipe(filter(({ checkpointTs }) => checkpointTs === 5n && isStaleTaken)));
    expect(Math.max(...world.entries('confirm').map((entry) => Number(entry.split(' ')[1])))).toBeLessThanOrEqual(5);
    replay();
    await firstValueFrom(running.status$.pipe(filter(({ checkpointTs }) => checkpointTs === 9n)));
    await running.stop();
    expect(world.entries('confirm').at(-1)).toBe('confirm 9');
  });
});
