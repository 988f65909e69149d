import { describe, expect, it } from '@jest/globals';
import { type ChangeEvent, dmlEvent, RowBlockWriter, truncateEvent } from '../../../lib/events/index.ts';
import { MemoryStore } from '../../../lib/stores/index.ts';
import { seededRandom } from '../../../lib/testing/random.ts';
import { rebuildTable, TableImage, TargetReader } from '../../../pipelines/index.ts';
import { FaultStore } from '../../support/fault-store.ts';
import { manualClock } from '../../support/manual-clock.ts';
import { runSink, type Transaction, table } from '../../support/sink-world.ts';

const SEEDS = 30;
const RUNS = 8;
const DAY_MS = 86_400_000;
const NAMES = ['a', 'b'];
const SHAPES = [
  ['id', 'v'],
  ['id', 'v', 'w'],
];

type Below = (bound: number) => number;

interface History {
  readonly transactions: readonly Transaction[];
  /** By table: `commitTs/ordinal op id` of each change. */
  readonly changes: ReadonlyMap<string, string[]>;
}

/** Transactions over two tables: rows and TRUNCATEs, which also change the columns. */
function historyOf(random: Below): History {
  const changes = new Map(NAMES.map((name) => [name, [] as string[]]));
  const versions = new Map(NAMES.map((name) => [name, table(name, 1n, SHAPES[0]!, ['id'])]));
  const transactions = Array.from({ length: 12 }, (_, index): Transaction => {
    const commitTs = BigInt(10 * (index + 1));
    const makers: (() => ChangeEvent)[] = [];
    let ordinal = 0;
    for (let step = 0; step <= random(3); step++) {
      const name = NAMES[random(NAMES.length)]!;
      const position = { commitTs, ordinal };
      if (random(6) === 0) {
        const next = table(name, commitTs + BigInt(step), SHAPES[random(SHAPES.length)]!, ['id']);
        versions.set(name, next);
        changes.get(name)!.push(`${commitTs}/${ordinal++} T`);
        makers.push(() => truncateEvent({ position, commitTimeUs: 0n, table: next, query: 'TRUNCATE' }));
        continue;
      }
      const of = versions.get(name)!;
      const ids = Array.from({ length: 1 + random(15) }, () => String(random(9)));
      changes.get(name)!.push(...ids.map((id, i) => `${commitTs}/${position.ordinal + i} I ${id}`));
      ordinal += ids.length;
      makers.push(() => {
        const rows = new RowBlockWriter(of).beginTransaction(commitTs, 0n, position.ordinal);
        for (const id of ids) rows.insert({ id, v: String(commitTs), w: null });
        return dmlEvent(rows.build());
      });
    }
    return { commitTs, events: () => makers.map((make) => make()) };
  });
  return { transactions, changes };
}

describe('a reader that comes and goes while a writer crashes and comes back', () => {
  it.each(Array.from({ length: SEEDS }, (_, i) => i + 1))(
    'I8: is given each change up to the checkpoint once, in order, whatever it was broken off behind: seed %i',
    async (seed) => {
      const chance = seededRandom(seed);
      const random = (bound: number) => Math.floor(chance() * bound);
      const { transactions, changes } = historyOf(random);
      // A table whose first event is a TRUNCATE has nothing to be cleared.
      for (const lines of changes.values()) if (lines[0]?.endsWith('T')) lines.shift();
      const store = new MemoryStore();
      const seen = new Map(NAMES.map((name) => [name, [] as string[]]));
      const images = new Map(NAMES.map((name) => [name, new TableImage()]));
      let reader = new TargetReader(store);
      let checkpointTs = 0n;
      for (let run = 1; run <= RUNS; run++) {
        const clock = manualClock();
        clock.advance((8 + random(3)) * DAY_MS);
        const fault = { at: 1 + random(60), when: random(2) === 0 ? ('before' as const) : ('after' as const) };
        const options = { fileSize: 1024, dateSeparator: ['none', 'day'][random(2)]! };
        const ended = await runSink(run === RUNS ? store : new FaultStore(store, fault), transactions, options, { checkpointTs, clock });
        ({ checkpointTs } = ended);
        for (let round = run === RUNS ? 3 : random(3); round > 0; round--) {
          if (random(2) === 0) reader = new TargetReader(store, { cursor: reader.cursor });
          const batches = random(2) === 0 || (run === RUNS && round === 1) ? Number.POSITIVE_INFINITY : random(4);
          let taken = 0;
          for await (const part of reader.poll()) {
            images.get(part.table)!.apply(part);
            seen
              .get(part.table)!
              .push(
                ...part.changes.map((change) => `${change.commitTs}/${change.ordinal} ${change.op} ${change.data?.['id'] ?? ''}`.trim()),
              );
            if (taken++ === batches) break;
          }
          for (const [name, lines] of seen) expect(lines).toEqual(changes.get(name)!.slice(0, lines.length));
        }
      }
      expect(seen).toEqual(changes);
      for (const name of NAMES.filter((known) => changes.get(known)!.length > 0)) {
        const rebuilt = await rebuildTable(store, { schema: 'public', table: name });
        expect([...images.get(name)!.rows()].sort()).toEqual([...rebuilt.rows()].sort());
      }
    },
  );
});
