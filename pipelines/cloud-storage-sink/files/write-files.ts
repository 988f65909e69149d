import { Observable } from 'rxjs';
import { ALL_DISPATCHERS, type BlockEvent, type DrainMarker } from '../../../lib/events/index.ts';
import { type Operator, operator } from '../../../lib/flow/index.ts';
import type { FlushReport } from '../../../lib/runtime/sink.ts';
import type { Flush } from '../../../operators/index.ts';
import { WriteMeter } from '../metrics.ts';
import type { SpooledRows } from '../rows/spool-rows.ts';
import type { Target } from '../target.ts';
import { FlushQueue } from './flush-queue.ts';
import { TableLanes } from './table-lanes.ts';

/** What arrives at the end of the sink. A block event comes when its dispatcher is drained. */
export type WriteItem = Flush<SpooledRows> | DrainMarker | BlockEvent;

/**
 * Writes flushes to files: one target table strictly in order, the next file while the one before it is published, several tables beside each other
 * (`worker-count`), so that a slow one delays no other. A drain marker is flush-acked when everything of its dispatcher before it is durable.
 *
 * The first error ends the stream; nothing is started or acked after it. When the source completes, the stream does once all is written.
 *
 * @param track hears of each queue that starts, so that whoever closes the store can wait for it.
 */
export function writeFiles(target: Target, track: (queue: FlushQueue) => void): Operator<WriteItem, FlushReport> {
  return operator(
    'writeFiles',
    { parallel: target.settings.workerCount },
    ({ metrics, clock }) =>
      (source) =>
        new Observable((subscriber) => {
          const queue = new FlushQueue(target.settings.workerCount, (error) => subscriber.error(error));
          track(queue);
          const meter = new WriteMeter({ metrics, clock });
          const tables = new TableLanes(target, meter, (lane) => queue.isBusy(lane));
          const report = (written: FlushReport | null) => {
            if (written !== null && !queue.isStopped) subscriber.next(written);
          };
          const write = async (events: 'dml' | 'ddl', step: () => Promise<FlushReport | null>) => {
            try {
              report(await step());
            } catch (error) {
              if (!queue.isStopped) meter.failed(events);
              throw error;
            }
          };
          const accept = (item: WriteItem) => {
            if ('events' in item) {
              const { lane, writer } = tables.of(item.events[0]!.table);
              target.drafts.due(item.events);
              const rows = (handOn: () => void) => write('dml', () => writer.writeRows(item, () => queue.isStopped, handOn));
              queue.pushOverlapping(lane, (handOn) => meter.busy(() => rows(handOn)));
            } else if (item.type === 'marker') {
              const done = async () => item.ack.postFlush();
              const lane = item.dispatcher === ALL_DISPATCHERS ? null : tables.laneOf(item.dispatcher);
              if (lane === null) queue.pushBehindAll(done);
              else queue.push(lane, done);
            } else if (item.type === 'syncpoint') {
              queue.pushBehindAll(async () => item.ack.postFlush());
            } else {
              const { lane, writer } = tables.of(item.table);
              queue.push(lane, () => meter.busy(() => write('ddl', () => writer.writeSchema(item, () => queue.isStopped))));
            }
          };
          subscriber.add(() => queue.stop());
          subscriber.add(
            source.subscribe({
              next: (item) => {
                try {
                  accept(item);
                } catch (error) {
                  subscriber.error(error);
                }
              },
              error: (error: unknown) => subscriber.error(error),
              complete: () => {
                queue.idle().then(() => subscriber.complete());
              },
            }),
          );
        }),
  );
}
