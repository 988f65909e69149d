import { map, type OperatorFunction } from 'rxjs';
import { Delivery, dmlEvent, type RowBlock, resolvedEvent } from '../lib/events/index.ts';
import { createContext, Metrics, type MetricsExporter, pump } from '../lib/flow/index.ts';
import type { FlushReport } from '../lib/runtime/sink.ts';
import type { SpoolLimits } from '../lib/spool/index.ts';
import { composeSink, SINK_OPERATORS } from '../pipelines/cloud-storage-sink/cloud-storage.ts';
import { SPOOL_METRICS } from '../pipelines/cloud-storage-sink/metrics.ts';
import type { CloudStorageOptions } from '../pipelines/cloud-storage-sink/options.ts';

export interface SinkPush {
  readonly options: CloudStorageOptions;
  /** Bounds of the spool that no option has. */
  readonly limits?: Partial<SpoolLimits>;
  /** What is pushed: the blocks of each delivery. */
  readonly blocks: Iterable<readonly RowBlock[]> | AsyncIterable<readonly RowBlock[]>;
  /** In place of the sink's own operators. */
  readonly operators?: typeof SINK_OPERATORS;
  /** Hears of each file. */
  readonly onFile?: (report: FlushReport) => void;
  /** Between the source's pump and the sink. */
  readonly between?: OperatorFunction<Delivery, Delivery>;
  /** What the pump has in flight un-woken. Default: its own. */
  readonly maxBytesInFlight?: number;
}

export interface SinkTotals {
  readonly rows: number;
  readonly bytes: number;
  readonly files: number;
  /** Bytes that came back from the disk. */
  readonly loadedBytes: number;
}

/** A sink that is open, so that what is measured is neither its opening nor its closing. */
export interface BenchSink {
  push(): Promise<SinkTotals>;
  close(): Promise<void>;
}

/** A cloud storage sink behind the pump of all sources: no checkpoint is stored, each delivery ends with a resolved mark. It takes one push. */
export async function openBenchSink(
  name: string,
  { options, limits = {}, operators = SINK_OPERATORS, ...push }: SinkPush,
): Promise<BenchSink> {
  let loadedBytes = 0;
  const exporter: MetricsExporter = {
    number: () => {},
    histogram: ({ name: metric }) => ({
      observe: (value) => {
        if (metric === SPOOL_METRICS.loadBytes.name) loadedBytes += value;
      },
    }),
  };
  const context = createContext({ metrics: new Metrics(exporter) });
  const sink = await composeSink(options, operators, { limits }).open({ pipeline: name, context });
  await sink.claim({ bench: name }, { hasOrdinals: true });
  return {
    push: () => {
      const { maxBytesInFlight } = push;
      const deliveries = pump(deliveriesOf(push.blocks), maxBytesInFlight === undefined ? {} : { maxBytesInFlight });
      const totals = { rows: 0, bytes: 0, files: 0 };
      const add = (report: FlushReport) => {
        totals.rows += report.rows;
        totals.bytes += report.bytes;
        totals.files++;
        push.onFile?.(report);
      };
      return new Promise((resolve, reject) => {
        sink.write(push.between === undefined ? deliveries : deliveries.pipe(push.between)).subscribe({
          next: add,
          error: reject,
          complete: () => resolve({ ...totals, loadedBytes }),
        });
      });
    },
    close: () => sink.close(),
  };
}

/** The source is woken when the rows are durable, and not before: what the sink would be without its early wake. */
export const wakeAtFlush: OperatorFunction<Delivery, Delivery> = map(({ events, bytes, ack }) => {
  const delivery = new Delivery(events, bytes);
  delivery.ack.addPostFlush(() => ack.postFlush());
  return delivery;
});

/** One delivery of each group of blocks, with a resolved mark behind them. */
export async function* deliveriesOf(blocks: SinkPush['blocks']): AsyncGenerator<Delivery> {
  for await (const group of blocks) {
    const { commitTs } = group.at(-1)!.last;
    const bytes = group.reduce((sum, block) => sum + block.bytes.length, 0);
    yield new Delivery([...group.map((block) => dmlEvent(block)), resolvedEvent(commitTs)], bytes);
  }
}
