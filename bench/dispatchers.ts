import type { RowBlock } from '../lib/events/index.ts';
import { BenchBlocks, benchTable } from './bench-table.ts';
import { openBenchSink } from './sink-run.ts';
import { median } from './stats.ts';

const ACTIVE = 10;
const DISPATCHERS = [10, 1000];
const ROWS_PER_BLOCK = 20;
const DELIVERIES_PER_ROUND = 500;
const WARM_UP_ROUNDS = 6;
const ROUNDS = 41;

/**
 * (g): two sinks in one process, one of 10 tables and one of 1000, of which 10 get rows; all have had some. They take turns, in rounds of small blocks, and what is
 * measured of a round is the CPU time of the process.
 */
export async function dispatchers(): Promise<string> {
  const sinks = await Promise.all(DISPATCHERS.map(openRounds));
  const usPerDelivery = sinks.map((): number[] => []);
  const ratios: number[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const inTurn = round % 2 === 0 ? [0, 1] : [1, 0];
    const us = [0, 0];
    for (const index of inTurn) {
      const cpu = process.cpuUsage();
      await sinks[index]!.round();
      const { user, system } = process.cpuUsage(cpu);
      us[index] = (user + system) / DELIVERIES_PER_ROUND;
    }
    if (round < 0) continue;
    for (const [index, value] of us.entries()) usPerDelivery[index]!.push(value);
    ratios.push(us[1]! / us[0]!);
  }
  for (const sink of sinks) await sink.end();
  const [few, many] = usPerDelivery.map(median) as [number, number];
  const lines = [few, many].map((us, index) => {
    const ratio = index === 0 ? '1.00' : `${median(ratios).toFixed(2)} (asked: 0.90 – 1.10)`;
    return `| ${DISPATCHERS[index]!.toLocaleString('en')} | ${ACTIVE} | ${us.toFixed(1)} | ${(us / ACTIVE / ROWS_PER_BLOCK).toFixed(3)} | ${ratio} |`;
  });
  return [
    `### (g) Dispatchers that are idle: ${ACTIVE} blocks of ${ROWS_PER_BLOCK} rows a delivery`,
    '',
    '| dispatchers | active | CPU µs/delivery | CPU µs/row | of the first row’s CPU, median of the rounds |',
    '|--:|--:|--:|--:|--:|',
    ...lines,
    '',
  ].join('\n');
}

interface Rounds {
  /** Some deliveries, until they are durable. */
  round(): Promise<void>;
  end(): Promise<void>;
}

/** A sink all of whose tables have written, and then only the first ones do. */
async function openRounds(count: number): Promise<Rounds> {
  const tables = Array.from({ length: count }, (_, number) => new BenchBlocks(benchTable(number), ROWS_PER_BLOCK, 2));
  const feed = new Feed();
  const sink = await openBenchSink(`d-${count}`, {
    options: { uri: 'noop://', protocol: 'canal-json', flushInterval: '100ms' },
    blocks: feed.groups(),
    onFile: ({ rows }) => feed.durable(rows),
  });
  const done = sink.push();
  await feed.push([tables.map((table) => table.next())]);
  const active = tables.slice(0, ACTIVE);
  return {
    round: () => feed.push(Array.from({ length: DELIVERIES_PER_ROUND }, () => active.map((table) => table.next()))),
    end: async () => {
      feed.end();
      await done;
      await sink.close();
    },
  };
}

/** Deliveries that come now and then; whoever brings some waits until they are durable. */
class Feed {
  #waiting: (readonly RowBlock[])[] = [];
  #isOver = false;
  #wake = () => {};
  #rowsLeft = 0;
  #done = () => {};

  async *groups(): AsyncGenerator<readonly RowBlock[]> {
    for (;;) {
      yield* this.#waiting.splice(0);
      if (this.#waiting.length > 0) continue;
      if (this.#isOver) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  push(groups: readonly (readonly RowBlock[])[]): Promise<void> {
    this.#waiting.push(...groups);
    this.#rowsLeft += groups.flat().reduce((sum, { rowCount }) => sum + rowCount, 0);
    this.#wake();
    return new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  durable(rows: number): void {
    this.#rowsLeft -= rows;
    if (this.#rowsLeft === 0) this.#done();
  }

  end(): void {
    this.#isOver = true;
    this.#wake();
  }
}
